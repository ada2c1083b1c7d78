"""Softmax against scipy's."""

import numpy as np
import pytest
import scipy.special

from db3.soft_labels.softmax import softmax


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
def test_rows_are_scipys(scale: float) -> None:
    logits = np.random.default_rng(0).normal(size=(50, 7)) * scale
    found = softmax(logits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, scipy.special.softmax(logits, axis=1), rtol=1e-6, atol=1e-30)


def test_large_numbers_do_not_overflow_and_minus_infinity_is_impossible() -> None:
    found = softmax(np.array([[1e300, 1e300, -np.inf], [-1e300, 0.0, -1e300]]))
    assert found.tolist() == [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]


def test_a_rows_result_does_not_depend_on_the_others() -> None:
    logits = np.random.default_rng(1).normal(size=(33, 10))
    assert np.array_equal(softmax(logits)[5:6], softmax(logits[5:6]))

"""Temperature scaling against scipy's minimiser, and on probabilities whose temperature is known."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from db3.errors import DataError
from db3.gate.calibration import calibrated, calibration_error, fit_temperature

RANDOM = np.random.default_rng(0)
LOGITS = 3 * RANDOM.normal(size=(4000, 5))


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


DECISIONS = (softmax(LOGITS).cumsum(axis=1) < RANDOM.random((4000, 1))).sum(axis=1)


@pytest.mark.parametrize("overconfidence", [0.5, 1.0, 4.0])
def test_the_temperature_is_found(overconfidence: float) -> None:
    told = softmax(LOGITS * overconfidence)

    def loss(temperature: float) -> float:
        return -np.log(calibrated(told, temperature)[np.arange(4000), DECISIONS]).mean()

    found = fit_temperature(told, DECISIONS)
    assert found == pytest.approx(minimize_scalar(loss, bounds=(0.05, 20), method="bounded").x, rel=1e-3)
    assert found == pytest.approx(overconfidence, rel=0.1)
    assert fit_temperature(told.astype(np.float32), DECISIONS) == pytest.approx(found, rel=1e-3)


def test_calibrated_probabilities_say_what_happens() -> None:
    told = softmax(LOGITS * 4)
    better = calibrated(told, fit_temperature(told, DECISIONS))
    assert np.array_equal(better.argmax(axis=1), told.argmax(axis=1))
    agrees = (told.argmax(axis=1) == DECISIONS).astype(float)
    before, after = calibration_error(told.max(axis=1), agrees), calibration_error(better.max(axis=1), agrees)
    assert after < 0.03 < before


def test_probabilities_of_zero_and_students_that_are_never_wrong_have_a_temperature() -> None:
    certain = np.eye(3)[[0, 1, 2, 2]]
    assert 0.05 <= fit_temperature(certain, np.array([0, 1, 2, 2])) <= 20
    assert fit_temperature(certain, np.array([1, 2, 0, 0])) == pytest.approx(20)


def test_foreign_classes_and_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="a decision is 5; expected 0 … 4"):
        fit_temperature(softmax(LOGITS[:2]), np.array([0, 5]))
    with pytest.raises(DataError, match="2 rows of probabilities beside 1 decisions"):
        fit_temperature(softmax(LOGITS[:2]), np.array([0]))

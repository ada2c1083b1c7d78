"""Boundaries beside the nearest samples."""

import numpy as np

from db3.search.share import boundary_share


def test_the_median_of_the_pairs_found() -> None:
    distances = np.array([[0.0, 1.0, np.inf], [3.0, 0.0, 1.0]], np.float32)
    starts = np.array([[[0.0], [2.0], [5.0]], [[4.0], [0.0], [4.0]]], np.float32)
    assert boundary_share(distances, starts) == 0.5


def test_none_where_no_boundary_was_found() -> None:
    assert boundary_share(np.array([[0.0, np.inf]]), np.array([[[0.0], [1.0]]])) is None
    assert boundary_share(np.array([[0.0, 1.0]]), np.empty((1, 2, 0))) is None

"""Matrices: numbers while they can be read, a picture beyond, and colours that follow the values."""

import base64
import io

import numpy as np
from PIL import Image

from db3.report.boundaries import ClassDistances
from db3.report.matrices import READABLE, confusion_matrix, distance_matrix


def distances(mean: np.ndarray) -> ClassDistances:
    return ClassDistances(mean, np.ones(len(mean), dtype=np.int64), mean.size, 0)


def names(classes: int) -> list[str]:
    return [f"c{k}" for k in range(classes)]


def pixels(uri: str | None) -> np.ndarray:
    assert uri is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def test_the_nearer_the_stronger() -> None:
    mean = np.array([[np.nan, 1.0, 3.0], [2.0, np.nan, np.nan], [4.0, 2.5, np.nan]])
    told = distance_matrix(distances(mean), names(3))
    assert told.rows is not None
    assert [cell.text for cell in told.rows[0]] == ["", "1.00", "3.00"]
    assert told.rows[0][1].strength == 1 > told.rows[0][2].strength > told.rows[2][0].strength > 0
    assert (told.rows[1][2].text, told.rows[1][2].kind, told.rows[1][2].strength) == ("∞", "none", 0)
    assert (told.low, told.high) == ("1.00", "4.00")
    assert [(pair.row, pair.column, pair.value) for pair in told.extremes[:2]] == [
        ("c0", "c1", "1.00"),
        ("c1", "c0", "2.00"),
    ]


def test_nothing_reached_gives_no_colour() -> None:
    told = distance_matrix(distances(np.full((4, 4), np.nan)), names(4))
    assert told.rows is not None
    assert all(cell.strength == 0 for row in told.rows for cell in row)
    assert told.extremes == []


def test_disagreements_are_ranked() -> None:
    told = confusion_matrix(np.array([[5, 1, 0], [0, 7, 4], [2, 0, 0]]), names(3))
    assert told.rows is not None
    assert [(pair.row, pair.column, pair.value) for pair in told.extremes] == [
        ("c1", "c2", "4"), ("c2", "c0", "2"), ("c0", "c1", "1"),
    ]  # fmt: skip
    assert [cell.text for cell in told.rows[1]] == ["·", "7", "4"]
    assert told.rows[1][2].strength == 1


def test_many_classes_become_a_picture_of_one_pixel_a_cell() -> None:
    side = READABLE + 10
    mean = np.random.default_rng(0).uniform(1, 4, (side, side))
    np.fill_diagonal(mean, np.nan)
    told = distance_matrix(distances(mean), names(side))
    assert told.rows is None
    image = pixels(told.picture)
    assert image.shape == (side, side, 4)
    off = ~np.eye(side, dtype=bool)
    assert image[..., 3][off].argmax() == (-mean[off]).argmax()


def test_a_lone_disagreement_survives_scaling_down() -> None:
    counts = np.zeros((1000, 1000), dtype=np.int64)
    counts[700, 3] = 1
    image = pixels(confusion_matrix(counts, names(1000)).picture)
    assert image.shape == (250, 250, 4)
    assert np.argwhere(image[..., 3]).tolist() == [[175, 0]]

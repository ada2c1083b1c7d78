"""A variant without some samples keeps nothing that descends from them."""

import numpy as np
import pytest

from db3.students.held_out import cross_validate, without
from db3.students.variants import Variant
from db3.training.examples import Examples, Group


def _images(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)


def _variant(parents: np.ndarray | None = None, groups: tuple[Group, ...] = (), count: int = 6) -> Variant:
    return Variant(
        "v", "a variant", Examples(_images(count), np.arange(count) % 2), 1.0, 0.0, 1.0, 1.0, True, groups, parents
    )


def test_samples_held_out_are_gone() -> None:
    left = without(_variant(), np.array([1, 4]))
    assert left.examples.images[:, 0, 0, 0].tolist() == [0, 2, 3, 5]
    assert left.examples.decisions.tolist() == [0, 0, 1, 1]


def test_an_image_of_two_samples_goes_with_either() -> None:
    left = without(_variant(np.array([[0, 0], [1, 1], [0, 1], [1, 0], [2, 3], [0, 0]])), np.array([1]))
    assert left.examples.images[:, 0, 0, 0].tolist() == [0, 4, 5]


def test_what_a_search_asked_goes_with_its_sample_and_with_its_start() -> None:
    group = Group("queried_images", Examples(_images(3), [0, 1, 0]), 0.5, parents=np.array([[0, 1], [2, 0], [3, -1]]))
    assert without(_variant(groups=(group,)), np.array([1])).groups[0].examples.images[:, 0, 0, 0].tolist() == [1, 2]


def test_a_group_of_which_nothing_is_left_goes() -> None:
    group = Group("queried_images", Examples(_images(2), [0, 1]), 0.5, parents=np.array([1, 1]))
    assert without(_variant(groups=(group,)), np.array([1])).groups == ()


def test_soft_labels_stay_with_their_images() -> None:
    soft = np.eye(6, dtype=np.float32)
    variant = Variant("v", "a variant", Examples(_images(6), np.arange(6), soft), 0.0, 1.0, 1.0, 1.0)
    left = without(variant, np.array([0, 5]))
    assert left.examples.soft_labels is not None
    assert left.examples.soft_labels.argmax(axis=1).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_each_sample_is_held_out_once(folds: int) -> None:
    found = list(cross_validate([_variant()], 6, folds, seed=0))[:6]
    assert sorted(np.concatenate([fold.held for fold in found]).tolist()) == list(range(6))
    for fold in found:
        assert not set(fold.held) & set(fold.variants[0].examples.images[:, 0, 0, 0])

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db3.errors import DataError
from db3.soft_labels import QueriedImages, Recipe, TransferSet
from db3.students import baselines, variants
from db3.students.variants import Variant
from db3.training.examples import Examples
from db3.training.train import TrainSettings

Bars = Callable[..., Examples]

_SEEDS = st.integers(0, 2**31)


def _images(count: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.zeros((count, 1, 2, 2), dtype=np.uint8)


@settings(deadline=None, max_examples=40)
@given(_SEEDS, st.integers(2, 12), st.integers(1, 30), st.floats(0.1, 3))
def test_noise_agrees_with_the_decision_and_is_keyed_by_sample(
    seed: int, classes: int, count: int, scale: float
) -> None:
    decisions = np.random.default_rng(seed).integers(0, classes, count)
    soft = baselines.noise_labels(decisions, classes, scale, seed)
    assert (soft.argmax(axis=1) == decisions).all()
    assert soft.sum(axis=1) == pytest.approx(np.ones(count), abs=1e-5)
    assert (baselines.noise_labels(decisions[: count // 2 + 1], classes, scale, seed) == soft[: count // 2 + 1]).all()
    if count > 1:
        assert not (np.sort(soft[0]) == np.sort(soft[1])).all()


def test_noise_is_gaussian_of_the_given_scale() -> None:
    count, classes = 4000, 10
    soft = baselines.noise_labels(np.zeros(count, dtype=np.int64), classes, 2.0, 1).astype(np.float64)
    logits = np.log(soft)
    # log p is the logits less a constant per row, so a row's deviations from its mean are the Gaussians'.
    spread = np.sqrt(((logits - logits.mean(axis=1, keepdims=True)) ** 2).sum() / (count * (classes - 1)))
    assert spread == pytest.approx(2.0, rel=0.02)


@settings(deadline=None, max_examples=40)
@given(_SEEDS, st.integers(2, 12), st.floats(0.01, 0.99))
def test_smoothing_spreads_its_share_evenly(seed: int, classes: int, share: float) -> None:
    decisions = np.random.default_rng(seed).integers(0, classes, 9)
    variant = baselines.smoothing(_images(9), decisions, classes, share)
    soft = variant.examples.soft_labels
    assert soft is not None
    assert soft.sum(axis=1) == pytest.approx(np.ones(9), abs=1e-5)
    for row, decision in zip(soft, decisions, strict=True):
        assert row[decision] == pytest.approx(1 - share + share / classes, abs=1e-6)
        assert np.delete(row, decision) == pytest.approx(np.full(classes - 1, share / classes), abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(_SEEDS, st.floats(0.5, 20))
def test_kd_is_the_softmax_at_its_temperature(seed: int, temperature: float) -> None:
    logits = 30 * np.random.default_rng(seed).standard_normal((7, 5)).astype(np.float32)
    variant = baselines.kd(_images(7), logits.argmax(axis=1), logits, temperature)
    soft = variant.examples.soft_labels
    assert soft is not None
    # Ratios undo a softmax: log p_i − log p_j = (z_i − z_j) / T, where float32 has not lost p to zero.
    seen = soft > 1e-30
    gaps = np.log(np.where(seen, soft, 1).astype(np.float64)) - np.log(soft.max(axis=1, keepdims=True))
    expected = (logits - logits.max(axis=1, keepdims=True)) / temperature
    assert gaps[seen] == pytest.approx(expected[seen], abs=1e-4)
    assert (variant.temperature, variant.black_box) == (temperature, False)


def test_hard_is_cross_entropy_alone(bars: Bars) -> None:
    examples = bars(6)
    variant = baselines.hard(examples.images, examples.decisions)
    assert (variant.ce, variant.kl, variant.examples.soft_labels, variant.queries_per_sample) == (1, 0, None, 1)


def test_augmented_counts_every_query(bars: Bars) -> None:
    examples = bars(60)
    variant = baselines.augmented(examples.images, examples.decisions, originals=6)
    assert (variant.ce, variant.kl, variant.queries_per_sample, len(variant.examples)) == (1, 0, 10, 60)
    with pytest.raises(DataError, match="0 originals among 60 images"):
        baselines.augmented(examples.images, examples.decisions, originals=0)


def test_boundary_points_are_learnt_by_their_labels_and_descend_from_their_samples() -> None:
    pairs = np.array([[4, 2], [1, 0]])
    labels = np.array([[0.5, 0, 0.5], [0.5, 0.5, 0]], dtype=np.float32)
    group = variants.boundary_points(_images(2), pairs, labels, 0.3, temperature=8.0)
    assert (group.name, group.share, group.ce, group.kl, group.temperature) == ("boundary_points", 0.3, 0.0, 1.0, 8.0)
    assert group.examples.soft_labels is labels
    assert group.parents is not None
    assert group.parents.tolist() == [4, 1]


def test_answered_images_are_learnt_by_their_decisions() -> None:
    group = variants.queried_images(_images(3), np.array([1, 0, 2]), np.array([0, 0, 5]), 0.9)
    assert (group.name, group.share, group.ce, group.kl) == ("queried_images", 0.9, 1.0, 0.0)
    assert group.examples.decisions.tolist() == [1, 0, 2]
    assert group.parents is not None
    assert group.parents.tolist() == [0, 0, 5]


def test_a_variant_changes_the_loss_alone() -> None:
    common = TrainSettings(steps=7, batch=3, lr=0.5, weight_decay=0.25, warmup=2, select="best", holdout=0.4)
    soft = np.full((6, 3), 1 / 3, dtype=np.float32)
    variant = Variant("student", "t", Examples(_images(6), np.zeros(6, int), soft), 0.5, 2.0, 3.0, 91.0)
    assert variant.settings(common) == TrainSettings(
        7, 3, 0.5, 0.25, 2, select="best", holdout=0.4, temperature=3.0, ce=0.5, kl=2.0
    )


def test_only_kd_needs_more_than_decisions_and_every_title_is_told_apart(bars: Bars) -> None:
    examples = bars(6)
    logits = np.eye(3, dtype=np.float32)[examples.decisions]
    images, decisions = examples.images, examples.decisions
    built = [
        baselines.hard(images, decisions),
        baselines.smoothing(images, decisions, 3, 0.1),
        baselines.noise(images, decisions, 3, 1.0, 0, ce=0.0, kl=1.0),
        baselines.augmented(images, decisions, 3),
        baselines.kd(images, decisions, logits, 8.0),
    ]
    assert [variant.name for variant in built if not variant.black_box] == ["kd"]
    assert [variant.title for variant in built] == [baselines.TITLES[variant.name] for variant in built]
    assert len(set(baselines.TITLES.values())) == len(baselines.TITLES)


def test_what_was_asked_descends_from_its_sample_its_start_or_both_parents() -> None:
    images, decisions = _images(12), np.zeros(12, np.int64)
    keys = np.array([[0, 1, 0], [3, -1, 0]])  # of the pair (sample 0, class 1), and a mix of samples 3 and 9
    queried = QueriedImages(images[:2], decisions[:2], keys, np.array([-1, 9]))
    labels = np.eye(2, dtype=np.float32)[decisions]
    transfer = TransferSet(Recipe("hard", 2.0, 1.0, 0.0, 0.0, 0.9), None, images, decisions, labels, None, queried)
    starts = np.full((12, 2, 1), 7)
    (group,) = variants.student_variant(transfer, 3.0, starts=starts).groups
    assert group.parents is not None
    assert group.parents.tolist() == [[0, 7], [3, 9]]

import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from db3.errors import ConfigError, Db3Error
from db3.training.batches import batches
from db3.training.examples import Examples, Group, pixels
from db3.training.mixing import draw_share, mixup
from db3.training.train import TrainSettings, _split, train

Network = Callable[..., nn.Module]
Bars = Callable[..., Examples]
Weights = Callable[[nn.Module], bytes]

_SHORT = TrainSettings(steps=30, batch=16, lr=1e-2, warmup=3)


def _accuracy(network: nn.Module, examples: Examples) -> float:
    with torch.inference_mode():
        return float((network(pixels(examples.images)).argmax(dim=1).numpy() == examples.decisions).mean())


def test_a_separable_problem_is_learnt(small_network: Network, bars: Bars) -> None:
    network = small_network()
    history = train(network, bars(200), replace(_SHORT, steps=150), seed=1)
    assert _accuracy(network, bars(300, seed=9)) > 0.95
    assert history[-1].loss < 0.3 * history[0].loss


def test_short_products_learn_as_well_and_are_truly_short(small_network: Network, bars: Bars, weights: Weights) -> None:
    """bfloat16 keeps 8 bits of a number: its losses differ from float32's from the first step on, by a little."""
    runs = {}
    for arithmetic in ("float32", "bfloat16", "bfloat16"):
        network = small_network()
        plan = replace(_SHORT, steps=150, arithmetic=arithmetic)
        rows = train(network, bars(200), plan, seed=1)
        assert {each.dtype for each in network.parameters()} == {torch.float32}
        assert _accuracy(network, bars(300, seed=9)) > 0.95
        assert runs.setdefault(arithmetic, (weights(network), rows)) == (weights(network), rows)
    first, short = (runs[name][1][0].loss for name in ("float32", "bfloat16"))
    assert first != short == pytest.approx(first, rel=0.02)


def test_soft_labels_are_learnt_too(small_network: Network, bars: Bars) -> None:
    examples = bars(200)
    soft = np.full((200, 3), 0.1, dtype=np.float32)
    soft[np.arange(200), examples.decisions] = 0.8
    network = small_network()
    train(network, replace(examples, soft_labels=soft), replace(_SHORT, steps=300, ce=0.0, kl=1.0), seed=1)
    with torch.inference_mode():
        answers = network(pixels(examples.images)).softmax(dim=1).mean(dim=0)
    assert _accuracy(network, bars(300, seed=9)) > 0.95
    assert answers.numpy() == pytest.approx(soft.mean(axis=0), abs=0.05)


@pytest.mark.parametrize("select", ["last", "best"])
def test_the_same_seed_gives_the_same_bytes(small_network: Network, bars: Bars, weights: Weights, select: str) -> None:
    chosen = replace(_SHORT, select=select, augment="warp", mix=0.5)

    def run(seed: int) -> tuple[bytes, list[object]]:
        network = small_network(dropout=0.3)
        history = train(network, bars(50), chosen, seed)
        return weights(network), list(history)

    first = run(1)
    torch.rand(3)  # moves the shared generator
    assert run(1) == first
    assert run(2)[0] != first[0]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, [1, 2, 1]))[::2] == [first, first]


def test_the_result_is_independent_of_how_the_images_are_stored(
    small_network: Network, bars: Bars, weights: Weights, tmp_path: Path
) -> None:
    examples = bars(50)
    np.save(tmp_path / "images.npy", examples.images)
    mapped = replace(examples, images=np.load(tmp_path / "images.npy", mmap_mode="r"))
    networks = small_network(), small_network()
    for network, each in zip(networks, (examples, mapped), strict=True):
        train(network, each, _SHORT, seed=1)
    assert weights(networks[0]) == weights(networks[1])


def test_the_network_comes_back_ready_to_use(small_network: Network, bars: Bars) -> None:
    network = small_network(dropout=0.5)
    train(network, bars(20), _SHORT, seed=1)
    assert not network.training
    assert all(tensor.is_contiguous() for tensor in network.state_dict().values())


def test_fewer_examples_than_a_batch_are_enough(small_network: Network, bars: Bars) -> None:
    network = small_network()
    history = train(network, bars(3), replace(_SHORT, batch=16), seed=1)
    assert len(history) == 30
    assert _accuracy(network, bars(3)) == 1


@pytest.mark.parametrize(("steps", "rows"), [(1, 1), (30, 30), (50, 50), (51, 26), (600, 50), (1009, 49)])
def test_the_history_spans_the_run(bars: Bars, steps: int, rows: int) -> None:
    history = train(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), bars(4), replace(_SHORT, steps=steps, batch=1), 0)
    assert len(history) == rows
    assert history[-1].step == steps
    assert all(a.step < b.step for a, b in itertools.pairwise(history))


def test_a_row_is_the_mean_since_the_row_before(bars: Bars) -> None:
    examples, network = bars(4), nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    frozen = replace(_SHORT, steps=100, batch=4, lr=1e-30, weight_decay=0.0)
    loss = torch.nn.functional.cross_entropy(network(pixels(examples.images)), torch.from_numpy(examples.decisions))
    history = train(network, examples, frozen, seed=0)
    assert [row.step for row in history] == list(range(2, 101, 2))
    assert [row.loss for row in history] == pytest.approx([float(loss.detach())] * 50, rel=1e-5)


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    plan = TrainSettings(steps=100, lr=0.5, warmup=10)
    rates = plan.rates()
    assert len(rates) == 100
    assert rates[:11] == pytest.approx([0.5 * (step + 1) / 11 for step in range(11)])
    assert rates[55] == pytest.approx(0.25)
    assert all(a > b > 0 for a, b in itertools.pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.001


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_run_shorter_than_its_warm_up_still_reaches_its_rate(steps: int) -> None:
    plan = TrainSettings(steps=steps, lr=0.5, warmup=50)
    assert max(plan.rates()) == 0.5


def test_every_step_is_reported(small_network: Network, bars: Bars) -> None:
    seen = itertools.count()
    train(small_network(), bars(8), _SHORT, seed=0, on_step=lambda: next(seen))
    assert next(seen) == 30


def test_best_keeps_the_weights_that_agree_most_with_the_held_out_part(small_network: Network, bars: Bars) -> None:
    """Labels of the part learnt from are wrong, so agreement on the part held out can only fall as steps go by."""
    clean = bars(60)
    plan = TrainSettings(steps=150, batch=16, lr=3e-2, warmup=0, select="best", holdout=0.3)
    start = small_network()
    train(start, bars(200, seed=3), replace(plan, steps=100, select="last"), seed=1)
    learnt, held = _split(60, plan, seed=4)
    assert held is not None
    assert (len(held), len(learnt)) == (18, 42)
    assert not set(held) & set(learnt)
    wrong = clean.decisions.copy()
    wrong[learnt] = (wrong[learnt] + 1) % 3
    misled = Examples(clean.images, wrong)
    examples = {"best": misled, "last": Examples(clean.images[learnt], wrong[learnt])}
    kept = {}
    for select in ("best", "last"):
        network = small_network()
        network.load_state_dict(start.state_dict())
        train(network, examples[select], replace(plan, select=select), seed=4)
        kept[select] = _accuracy(network, Examples(clean.images[held], clean.decisions[held]))
    assert kept["best"] > 0.8
    assert kept["last"] < 0.2


def test_the_held_out_part_is_never_learnt(small_network: Network, bars: Bars, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(_SHORT, select="best", holdout=0.25)
    seen: set[int] = set()

    def spy(images: Tensor, step: int, examples: np.ndarray, epochs: np.ndarray) -> Tensor:  # type: ignore[type-arg]
        seen.update(examples.tolist())
        return images

    monkeypatch.setattr("db3.training.assemble.augmentation", lambda *_: spy)
    train(small_network(), bars(40), plan, seed=1)
    learnt, _ = _split(40, plan, seed=1)
    assert seen == set(learnt.tolist())
    assert len(seen) == 30


def test_best_needs_two_examples(small_network: Network, bars: Bars) -> None:
    with pytest.raises(ConfigError, match="select is best with 1 example"):
        train(small_network(), bars(1), replace(_SHORT, select="best"), seed=0)
    train(small_network(), bars(2), replace(_SHORT, select="best"), seed=0)


def test_one_step_of_a_mixture_is_the_weighted_loss(small_network: Network, bars: Bars) -> None:
    """Held against SGD-free arithmetic: the loss of the first step is the mean over all images of the batch."""
    originals, boundary_points = bars(12), bars(8, seed=4)
    soft = np.full((8, 3), 0.25, dtype=np.float32)
    soft[:, 1] = 0.5
    group = Group("boundary_points", replace(boundary_points, soft_labels=soft), 0.4, ce=0.0, kl=0.7, temperature=2.0)
    with torch.inference_mode():
        network = small_network()
        logits, other = network(pixels(originals.images)), network(pixels(boundary_points.images))
        hard = torch.nn.functional.cross_entropy(logits, torch.from_numpy(originals.decisions))
        log_q = (other / 2).log_softmax(dim=1)
        p = torch.from_numpy(soft)
        divergence = 4 * (p * (p.log() - log_q)).sum(dim=1).mean()
    plan = replace(_SHORT, steps=1, batch=20)
    history = train(small_network(), originals, plan, seed=0, groups=[group])
    assert history[0].loss == pytest.approx(0.6 * float(hard) + 0.4 * 0.7 * float(divergence), rel=1e-5)


def test_one_step_of_a_mixed_batch_is_the_weighted_loss(small_network: Network, bars: Bars) -> None:
    """With a group of other weights; a batch of all images, so that partners are each part's neighbours."""
    originals, others = bars(12), bars(8, seed=4)
    soft = np.full((8, 3), 0.25, dtype=np.float32)
    soft[:, 1] = 0.5
    soft[:4, 0], soft[:4, 1] = 0.7, 0.05
    group = Group("more", replace(others, soft_labels=soft), 0.4, ce=0.0, kl=0.7, temperature=2.0)
    share = draw_share(1.0, seed=3, step=0)
    plan = replace(_SHORT, steps=1, batch=20, mix=1.0)
    history = train(small_network(), originals, plan, seed=3, groups=[group])
    orders = [next(batches(np.arange(12), 12, 3)), next(batches(np.arange(8), 8, 3, "more"))]
    first, second = (
        (pixels(each.images[rows]), pixels(each.images[np.roll(rows, 1)]))
        for each, rows in zip((originals, others), orders, strict=True)
    )
    with torch.inference_mode():
        network = small_network()
        answers, theirs = network(mixup(*first, share)), network(mixup(*second, share))
        loss = 0.0
        for by, weight in ((0, 1 - share), (1, share)):
            hard = torch.from_numpy(originals.decisions[np.roll(orders[0], by)])
            p = torch.from_numpy(soft[np.roll(orders[1], by)])
            divergence = 4 * (p * (p.log() - (theirs / 2).log_softmax(dim=1))).sum(dim=1).mean()
            ce = torch.nn.functional.cross_entropy(answers, hard)
            loss += weight * (0.6 * float(ce) + 0.4 * 0.7 * float(divergence))
    assert history[0].loss == pytest.approx(loss, rel=1e-5)


def test_a_group_teaches_what_the_originals_do_not(small_network: Network, bars: Bars) -> None:
    examples = bars(120)
    known = examples.decisions < 2
    some = Examples(examples.images[known], examples.decisions[known])
    rest = Group("queried_images", Examples(examples.images[~known], examples.decisions[~known]), 0.4)
    plan, clean = replace(_SHORT, steps=150), bars(300, seed=9)
    alone, together = small_network(), small_network()
    train(alone, some, plan, seed=1)
    train(together, some, plan, seed=1, groups=[rest])
    assert _accuracy(alone, clean) < 0.75
    assert _accuracy(together, clean) > 0.95


@pytest.mark.parametrize("select", ["last", "best"])
def test_a_mixture_repeats_byte_for_byte(small_network: Network, bars: Bars, weights: Weights, select: str) -> None:
    def run(seed: int, share: float) -> bytes:
        network = small_network(dropout=0.3)
        group = Group("queried_images", bars(40, seed=2), share, parents=np.arange(40) % 30)
        train(network, bars(30), replace(_SHORT, select=select), seed, groups=[group])
        return weights(network)

    assert run(1, 0.5) == run(1, 0.5)
    assert len({run(1, 0.5), run(2, 0.5), run(1, 0.25)}) == 3


def test_images_of_groups_are_numbered_on_for_augmentations(
    small_network: Network, bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()

    def spy(images: Tensor, step: int, examples: np.ndarray, epochs: np.ndarray) -> Tensor:  # type: ignore[type-arg]
        assert len(images) == len(examples) == 16
        seen.update(examples.tolist())
        return images

    groups = [Group("a", bars(6), 0.25), Group("b", bars(7), 0.25)]
    monkeypatch.setattr("db3.training.assemble.augmentation", lambda *_: spy)
    train(small_network(), bars(5), _SHORT, seed=1, groups=groups)
    assert seen == set(range(5 + 6 + 7))


def test_a_loss_that_diverges_stops_the_run_with_its_step(small_network: Network, bars: Bars) -> None:
    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = small_network(), 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += 1
            logits: Tensor = self.inner(images)
            return logits * (math.nan if self.calls >= 138 else 1)

    with pytest.raises(
        Db3Error, match=r"became nan at step 138 of 200.*rate 0\.00\d+;.*lower lr \(now 0\.01\)"
    ) as info:
        train(Breaks(), bars(20), replace(_SHORT, steps=200, arithmetic="float32"), seed=0)
    assert "\n" not in str(info.value)


def test_an_absurd_rate_diverges_by_itself(small_network: Network, bars: Bars) -> None:
    with pytest.raises(Db3Error, match="lower lr"):
        train(small_network(), bars(20), replace(_SHORT, lr=1e30), seed=0)


def test_soft_labels_are_needed_for_their_weight(small_network: Network, bars: Bars) -> None:
    with pytest.raises(ConfigError, match="no soft labels"):
        train(small_network(), bars(20), replace(_SHORT, kl=1.0), seed=0)


def test_training_leaves_the_shared_generator_alone(small_network: Network, bars: Bars) -> None:
    network, before = small_network(dropout=0.5), torch.get_rng_state()
    train(network, bars(20), _SHORT, seed=0)
    assert torch.equal(before, torch.get_rng_state())

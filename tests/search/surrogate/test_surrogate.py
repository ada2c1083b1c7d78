"""Surrogates: gradients, fixed calls, arrays that carry all there is."""

import functools

import numpy as np
import pytest
import torch

from db3.errors import ConfigError
from db3.networks import build
from db3.search.minimal_perturbation import movable
from db3.search.subspace import error_basis
from db3.search.surrogate.surrogate import CALL, Answers, Surrogate, SurrogateSettings, ask_synthetic
from tests.search.conftest import RealTeacher

SHAPE = (1, 16, 16)
SETTINGS = SurrogateSettings(networks=2, steps=30, retrain=10, maximum=20, basis=40)


@pytest.fixture(scope="module")
def known(real_teacher: RealTeacher) -> Answers:
    pool = real_teacher.pool
    return Answers(torch.from_numpy(pool.images).flatten(1), torch.from_numpy(pool.decisions))


@pytest.fixture(scope="module")
def surrogate(known: Answers) -> Surrogate:
    made = Surrogate(SHAPE, 10, SETTINGS)
    made.learn(known)
    return made


def test_the_gradient_is_that_of_the_margin(surrogate: Surrogate, known: Answers) -> None:
    images, targets = surrogate.pixels(known.images[:4]), (known.decisions[:4] + 1) % 10
    value, gradient = surrogate.margin(images, targets)
    assert torch.allclose(surrogate.value(images, targets), value, atol=1e-5)
    step = torch.nn.functional.normalize(gradient, dim=1) * 1e-3
    ahead, behind = surrogate.value(images + step, targets), surrogate.value(images - step, targets)
    assert torch.allclose((ahead - behind) / 0.002, gradient.norm(dim=1), rtol=0.15)


def test_a_row_s_numbers_do_not_depend_on_its_neighbours(surrogate: Surrogate, known: Answers) -> None:
    images, targets = surrogate.pixels(known.images[: CALL + 5]), (known.decisions[: CALL + 5] + 1) % 10
    some = torch.tensor([CALL + 2, 3, 17])
    for compute in (surrogate.margin, lambda a, k: (surrogate.value(a, k), surrogate.coordinates(a))):
        for all_, few in zip(compute(images, targets), compute(images[some], targets[some]), strict=True):
            assert torch.equal(all_[some], few)


def test_arrays_carry_a_surrogate_to_its_next_training(surrogate: Surrogate, known: Answers) -> None:
    other = Surrogate(SHAPE, 10, SETTINGS)
    other.load(surrogate.arrays())
    before = surrogate.arrays()
    one, two = Surrogate(SHAPE, 10, SETTINGS), other
    one.load(before)
    paid = Answers(known.images[:50], known.decisions[:50])
    one.learn(known, paid)
    two.learn(known, paid)
    assert one.arrays().keys() == two.arrays().keys()
    assert all(np.array_equal(a, b) for a, b in zip(one.arrays().values(), two.arrays().values(), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), surrogate.arrays().values(), strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(before.values(), one.arrays().values(), strict=True))


def test_first_weights_are_no_teacher_s() -> None:
    """A teacher of the same architecture and seed would hand its features over."""
    for seed in range(3):
        mine = Surrogate(SHAPE, 10, SurrogateSettings("lenet5", networks=3, seed=seed)).networks
        foreign = [build("lenet5", SHAPE, 10, seed=number) for number in (seed, *range(1000 * seed, 1000 * seed + 3))]
        for network in mine:
            weights = network.state_dict()["body.conv1.weight"]
            assert all(not torch.equal(weights, other.state_dict()["body.conv1.weight"]) for other in foreign)


@pytest.mark.parametrize("count", [5, 40, 200, 300])
def test_the_basis_holds_about_as_much_as_so_many_principal_components(
    surrogate: Surrogate, known: Answers, count: int
) -> None:
    points, targets = surrogate.pixels(known.images), (known.decisions + 1) % 10
    members = [functools.partial(surrogate.margin, member=number) for number in range(2)]
    basis = error_basis(members, points, targets, (0.0, 1.0), count).double()
    unit = []
    for member in members:
        _, gradient = member(points, targets)
        unit.append(torch.nn.functional.normalize(gradient * movable(points, gradient, (0.0, 1.0)), dim=1).double())
    differences = torch.cat([unit[0] - unit[1], unit[1] - unit[0]]) / 2
    covariance = differences.T @ differences
    strength = torch.linalg.eigvalsh(covariance).flip(0)
    share = float((basis @ covariance @ torch.linalg.pinv(basis, rtol=1e-4)).trace() / strength.sum())
    assert float((basis * basis).sum()) == pytest.approx(1, abs=1e-5)
    assert share > 0.97 * float(strength[:count].sum() / strength.sum())
    if count >= 150:  # as many differences as there are
        assert torch.allclose(basis.T @ basis, covariance / strength.sum(), atol=1e-6)


@pytest.mark.parametrize("decisions", [10, 61])
def test_synthetic_queries_asks_what_its_budget_leaves(
    real_teacher: RealTeacher, known: Answers, decisions: int
) -> None:
    surrogate = Surrogate(SHAPE, 10, SurrogateSettings(networks=1, steps=10, retrain=5, maximum=5, basis=10))
    asked, asks = 0, ask_synthetic(surrogate, known, decisions)
    images = next(asks)
    while True:
        asked += len(images)
        assert float(images.min()) >= 0
        assert float(images.max()) <= 1
        try:
            images = asks.send(real_teacher.teacher.decide(images.view(-1, *SHAPE)))
        except StopIteration as ended:
            learnt = ended.value
            break
    assert asked + (decisions - int(0.6 * decisions)) == len(learnt) <= decisions


def test_networks_trained_side_by_side_have_the_same_bits(known: Answers, surrogate: Surrogate) -> None:
    other = Surrogate(SHAPE, 10, SETTINGS, workers=2)
    other.learn(known)
    assert all(np.array_equal(a, b) for a, b in zip(surrogate.arrays().values(), other.arrays().values(), strict=True))


def test_networks_take_the_architectures_in_turn() -> None:
    settings = SurrogateSettings(("compact_half", "lenet5_fifth"), networks=3)
    names = [[name for name, _ in network.body.named_children()] for network in Surrogate(SHAPE, 10, settings).networks]
    assert names[0] == names[2] != names[1]
    alone = Surrogate(SHAPE, 10, SurrogateSettings("lenet5_fifth", networks=2)).networks[1]
    mixed = Surrogate(SHAPE, 10, settings).networks[1]
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), mixed.parameters(), strict=True))


@pytest.mark.parametrize("wrong", [(), "", ("compact", "")])
def test_no_architecture_is_refused(wrong: str | tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="architecture"):
        SurrogateSettings(wrong)

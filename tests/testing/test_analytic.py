"""The analytic teachers keep the contract, and their distances are those that an independent minimiser finds."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import LinearConstraint, minimize
from torch import Tensor

from db3.testing.analytic import Analytic, Box, Brightest, HalfSpace, Shells
from tests.contracts.teacher import TeacherContract


def _drawn(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(11))


def _half_space() -> HalfSpace:
    return HalfSpace(normal=_drawn(1, 8, 8) - 0.3, offset=6.0)


def _brightest() -> Brightest:
    return Brightest(areas=torch.arange(3 * 4 * 4).view(3, 4, 4) % 5)


def _sphere() -> Shells:
    return Shells(centre=_drawn(1, 3, 3), radii=(1.1,))


def _shells() -> Shells:
    return Shells(centre=_drawn(3, 4, 4), radii=(2.0, 2.6, 3.1))


def _box() -> Box:
    return Box(low=torch.full((1, 2, 2), 0.3), high=torch.full((1, 2, 2), 0.9))


ALL = {"half-space": _half_space, "brightest": _brightest, "sphere": _sphere, "shells": _shells, "box": _box}


class _AnalyticContract(TeacherContract):
    @pytest.fixture
    def images(self, teacher: Analytic) -> Tensor:
        """Contrast rises, so that every kind of region is met."""
        pixels = _drawn(23, *teacher.spec.input_shape)
        return 0.6 + (pixels - 0.6) * torch.linspace(0.1, 1, 23).view(-1, 1, 1, 1)


class TestHalfSpace(_AnalyticContract):
    EXTRA = frozenset({"distance", "max_batch", "normal", "offset"})

    @pytest.fixture
    def teacher(self) -> HalfSpace:
        return _half_space()


class TestBrightest(_AnalyticContract):
    EXTRA = frozenset({"distance", "max_batch", "areas"})

    @pytest.fixture
    def teacher(self) -> Brightest:
        return _brightest()


class TestSphere(_AnalyticContract):
    EXTRA = frozenset({"distance", "max_batch", "centre", "radii"})

    @pytest.fixture
    def teacher(self) -> Shells:
        return _sphere()


class TestShells(_AnalyticContract):
    EXTRA = frozenset({"distance", "max_batch", "centre", "radii"})

    @pytest.fixture
    def teacher(self) -> Shells:
        return _shells()


class TestBox(_AnalyticContract):
    EXTRA = frozenset({"distance", "max_batch", "low", "high"})

    @pytest.fixture
    def teacher(self) -> Box:
        return _box()


@pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())
def test_distance_is_zero_exactly_at_the_own_class(make: Callable[[], Analytic]) -> None:
    teacher = make()
    images = _drawn(200, *teacher.spec.input_shape) * torch.linspace(0.2, 1, 200).view(-1, 1, 1, 1)
    decisions = teacher.decide(images)
    assert len(decisions.unique()) > 1
    for k in range(teacher.spec.classes):
        distance = teacher.distance(images, k)
        assert distance.dtype == torch.float64
        assert torch.equal(distance == 0, decisions == k)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())
def test_no_point_nearer_than_the_distance_is_of_the_class(make: Callable[[], Analytic]) -> None:
    """Random points on spheres of 0.999 of the distance around each image, in float64: none is decided k."""
    teacher = make()
    images = _drawn(6, *teacher.spec.input_shape)
    directions = torch.randn(2000, *teacher.spec.input_shape, generator=torch.Generator().manual_seed(2)).double()
    directions /= directions.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    for k in range(teacher.spec.classes):
        for image, distance in zip(images, teacher.distance(images, k), strict=True):
            if distance > 0:
                probes = image + 0.999 * distance * directions
                assert not (teacher.decide(probes.float()) == k).any()


def test_half_space_against_hand_made_numbers() -> None:
    teacher = HalfSpace(normal=torch.tensor([[[3.0, 4.0]]]), offset=2.5)
    images = torch.tensor([[[[0.0, 0.0]]], [[[0.5, 0.5]]]])
    assert teacher.decide(images).tolist() == [0, 1]
    assert teacher.distance(images, 1).tolist() == [0.5, 0.0]
    assert teacher.distance(images, 0).tolist() == pytest.approx([0.0, 0.2])


def test_shells_against_hand_made_numbers() -> None:
    teacher = Shells(centre=torch.zeros(1, 1, 2), radii=(0.5, 1.0))
    images = torch.tensor([[[[0.3, 0.4]]], [[[0.0, 0.75]]], [[[1.2, 0.9]]]], dtype=torch.float64).float()
    assert teacher.distance(images, 0).tolist() == pytest.approx([0.0, 0.25, 1.0], abs=1e-7)
    assert teacher.distance(images, 1).tolist() == pytest.approx([0.0, 0.0, 0.5], abs=1e-7)
    assert teacher.distance(images, 2).tolist() == pytest.approx([0.5, 0.25, 0.0], abs=1e-7)


def test_box_against_hand_made_numbers() -> None:
    teacher = _box()
    images = torch.tensor([[[[0.3, 0.5], [0.6, 0.8]]], [[[0.0, 0.5], [0.5, 0.0]]], [[[0.5, 0.5], [0.5, 0.6]]]])
    assert teacher.distance(images, 1).tolist() == pytest.approx([0.0, 0.3 * 2**0.5, 0.0])
    assert teacher.distance(images, 0).tolist() == pytest.approx([0.0, 0.0, 0.2], abs=1e-7)


def test_the_nearest_brightest_point_is_the_quadratic_programmes() -> None:
    """scipy projects onto the polyhedron {y : score_k(y) ≥ score_j(y) for all j}, knowing nothing of the formula."""
    teacher = _brightest()
    images = _drawn(4, 3, 4, 4)
    areas = teacher.areas.flatten().numpy()
    weights = np.stack([(areas == k) / np.sqrt((areas == k).sum()) for k in range(5)])
    for image, point in zip(images, images.flatten(1).double().numpy(), strict=True):
        for k in range(5):
            differences = np.delete(weights[k] - weights, k, axis=0)
            found = minimize(
                lambda y, x=point: ((y - x) ** 2).sum(),
                point,
                jac=lambda y, x=point: 2 * (y - x),
                constraints=[LinearConstraint(differences, 0, np.inf)],
                method="SLSQP",
                options={"ftol": 1e-14, "maxiter": 200},
            )
            assert found.success
            assert float(teacher.distance(image[None], k)) == pytest.approx(np.sqrt(found.fun), abs=1e-6)


def test_decisions_are_the_same_with_any_number_of_neighbours() -> None:
    """Bit for bit near the boundary, where a sum in another order would flip them."""
    teacher = HalfSpace(normal=torch.ones(1, 9, 9), offset=40.5)
    images = _drawn(500, 1, 9, 9)
    images += ((40.5 - images.sum(dim=(1, 2, 3))) / 81).view(-1, 1, 1, 1)
    together = teacher.decide(images)
    assert 50 < together.sum() < 450
    assert torch.equal(torch.cat([teacher.decide(image[None]) for image in images]), together)


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"class 5 is unknown; expected 0 … 4"):
        _brightest().distance(_drawn(1, 3, 4, 4), 5)


@pytest.mark.parametrize("radii", [(2.0, 1.0), (0.0, 1.0), (1.0, 1.0)])
def test_radii_that_do_not_rise_are_refused(radii: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="expected positive ones, rising"):
        Shells(centre=torch.zeros(1, 2, 2), radii=radii)


def test_the_identity_names_the_numbers_that_decide() -> None:
    normal = _drawn(1, 2, 2)
    teachers = [
        HalfSpace(normal, 1.0),
        HalfSpace(normal, 1.1),
        HalfSpace(normal + 0.1, 1.0),
        HalfSpace(normal, 1.0, max_batch=32),
        Shells(normal, (1.0,)),
        Shells(normal, (1.0, 1.1)),
    ]
    assert len({teacher.spec.identity for teacher in teachers}) == len(teachers)
    assert HalfSpace(normal.clone(), 1.0).spec == teachers[0].spec


def test_the_repr_is_short_and_names_the_kind() -> None:
    assert repr(_brightest()).startswith("Brightest(5 classes, 3x4x4 in [0, 1], ")

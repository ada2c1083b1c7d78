"""Searches whose pairs share surrogates: any cut, any shape, any number of classes, replayed with no teacher."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from db3.networks.fitting import fitting
from db3.search import Distances, SearchSettings, replay_distances, search_distances, search_pairs
from db3.search.methods.auto import SurrogateSearch, replayed
from db3.search.surrogate.surrogate import SurrogateSettings
from db3.settings.search import MethodName
from db3.teachers.base import ImageShape, Teacher
from db3.types import TransferImages
from db3.work import run_here
from tests.search.problems import Constant, Recording, brightest, half_space, pool, truth
from tests.teachers.unsteady import Unsteady

pytestmark = pytest.mark.usefixtures("small_calls", "few_steps", "unchecked")

TINY = SurrogateSettings("compact", networks=2, steps=4, retrain=2, batch=16, basis=8)
FEW = replace(TINY, synthetic_queries=0.75)
SHAPE: ImageShape = (1, 6, 6)
FIELDS = (
    "distances",
    "asked",
    "at",
    "points",
    "point_pairs",
    "queried_images",
    "queried_decisions",
    "queried_keys",
    "starts",
)


def _search(teacher: Teacher, images: TransferImages, parts: list[range], method: SearchSettings) -> list[Distances]:
    return list(search_pairs(teacher, images, method, parts, FEW))


@pytest.mark.parametrize("name", ["guided", "auto"])
def test_a_cut_into_shards_changes_no_byte_and_journals_replay(name: MethodName) -> None:
    teacher = brightest(SHAPE)
    images = pool(teacher, 16)
    method = SearchSettings(name, budget=14, checkpoints=(3, 9), points=2, queried_images=20)
    (whole,) = _search(teacher, images, [range(6)], method)
    parts = [range(2), range(2, 3), range(3, 6)]
    cut = _search(teacher, images, parts, method)
    for field in FIELDS:
        joined = np.concatenate([getattr(part, field) for part in cut], axis=1 if field == "at" else 0)
        assert joined.tobytes() == getattr(whole, field).tobytes(), field
    assert whole.asked.max() <= 14

    found = search_pairs(teacher, images, method, parts, FEW)
    answer, left = replayed(found.synthetic_answers, [part.answers for part in found])
    again = SurrogateSearch(answer, teacher.spec, images, parts, method, FEW).distances(run_here)
    assert left() == 0
    for one, other in zip(found, again, strict=True):
        assert all(getattr(one, field).tobytes() == getattr(other, field).tobytes() for field in FIELDS)


def test_the_seed_of_the_search_reaches_the_local_probes() -> None:
    """The surrogates' own seed is the same; guided rounds draw nothing, so only local phases can differ."""
    teacher = brightest(SHAPE)
    images = pool(teacher, 16)

    def answers(budget: int, seed: int) -> bytes:
        method = SearchSettings("auto", budget=budget, seed=seed)
        return search_distances(teacher, images, range(1), method, surrogate=TINY).answers.tobytes()

    assert answers(60, 0) != answers(60, 5)
    assert answers(25, 0) == answers(25, 5)


@pytest.mark.parametrize("budget", [0, 1, 10])
def test_small_budgets_hold_and_count(budget: int) -> None:
    teacher = brightest(SHAPE)
    images, recording = pool(teacher, 12), Recording(teacher)
    found = search_distances(recording, images, range(4), SearchSettings("auto", budget=budget), surrogate=TINY)
    assert found.asked.max() <= budget
    synthetic_queries = 18 if budget else 0
    assert recording.asked == found.asked.sum() + synthetic_queries == len(found.answers)
    nearest = search_distances(teacher, images, range(4), SearchSettings("sd")).distances
    assert (found.distances <= nearest * (1 + 1e-6)).all()
    assert (found.distances >= truth(teacher, images)[:4] * (1 - 1e-6)).all()
    again = replay_distances(teacher.spec, images, range(4), SearchSettings("auto", budget=budget), found.answers, TINY)
    assert again.distances.tobytes() == found.distances.tobytes()


def test_a_journal_of_another_search_is_refused() -> None:
    teacher = brightest(SHAPE)
    images = pool(teacher, 12)
    found = search_distances(teacher, images, range(3), SearchSettings("guided", budget=4), surrogate=TINY)
    longer = np.append(found.answers, 0)
    with pytest.raises(ValueError, match="1 answers more"):
        replay_distances(teacher.spec, images, range(3), SearchSettings("guided", budget=4), longer, TINY)


@pytest.mark.parametrize(("shape", "classes"), [((1, 8, 8), 2), ((1, 28, 28), 3), ((1, 32, 32), 300), ((3, 72, 72), 2)])
def test_any_shape_and_any_number_of_classes(shape: ImageShape, classes: int) -> None:
    teacher = brightest(shape, classes) if classes > 2 else half_space(shape)
    images, budget = pool(teacher, 6), 2
    architecture = "lenet5_fifth" if classes == 300 else fitting(shape)  # 299 pairs: a quick one
    settings = replace(TINY, architecture=architecture, networks=1, steps=1, retrain=1)
    found = search_distances(teacher, images, range(1), SearchSettings("auto", budget=budget), surrogate=settings)
    assert found.distances.shape == (1, classes)
    assert found.asked.max() <= budget
    assert np.isfinite(found.distances[0, images.decisions]).all()


def test_a_class_that_is_never_reached_is_marked_and_ends() -> None:
    teacher = Constant(1, SHAPE)
    images = TransferImages(np.zeros((5, *SHAPE), np.uint8), np.ones(5, np.int64))
    found = search_distances(teacher, images, range(5), SearchSettings("auto", budget=9), surrogate=TINY)
    assert np.isinf(found.distances[:, [0, 2]]).all()
    assert found.asked.max() <= 9
    assert len(found.points) == 0


def test_a_teacher_that_changes_its_mind_breaks_nothing() -> None:
    steady = brightest(SHAPE)
    images, method = pool(steady, 12), SearchSettings("auto", budget=12, points=3)
    found = search_distances(Unsteady(steady, 0.3), images, range(4), method, surrogate=TINY)
    assert found.asked.max() <= 12
    again = replay_distances(steady.spec, images, range(4), method, found.answers, TINY)
    assert again.distances.tobytes() == found.distances.tobytes()


def test_a_teacher_of_uint8_sees_levels_only() -> None:
    plain = brightest(SHAPE)
    plain.__dict__["spec"] = replace(plain.spec, levels=256)
    images, teacher = pool(plain, 12), Recording(plain)
    search_distances(teacher, images, range(3), SearchSettings("auto", budget=10), surrogate=TINY)
    asked = torch.cat(teacher.calls)
    assert torch.equal(asked, (asked * 255).round() / 255)


@pytest.mark.parametrize("name", ["bd", "hopskipjump", "semicircle", "auto"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_everything_asked_lies_on_the_device_named(name: MethodName, device: str) -> None:
    """No image leaves the device between search and teacher; budgets hold there as well."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    here = brightest(SHAPE)

    class There(Recording):
        def decide(self, images: torch.Tensor) -> torch.Tensor:
            assert images.device.type == device
            return super().decide(images.cpu()).to(images.device)

    images = pool(here, 12)
    method = SearchSettings(name, budget=40, checkpoints=(3,), points=2, queried_images=20)
    found = search_distances(There(here), images, range(4), method, surrogate=TINY, device=device)
    assert (found.asked <= 40).all()
    assert found.asked.sum() > 0
    assert np.isfinite(found.distances).all()
    again = replay_distances(here.spec, images, range(4), method, found.answers, TINY, device)
    assert all(getattr(again, field).tobytes() == getattr(found, field).tobytes() for field in FIELDS)

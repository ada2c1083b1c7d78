"""Start images: balanced, counted in full, and a clear end where a class is never decided."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from db3.errors import ConfigError, DataError
from db3.images.noise import noise_images
from db3.teachers.base import TeacherSpec
from db3.testing.analytic import HalfSpace
from db3.zero_shot.start_images import check_starts, find_starts
from tests.search.problems import GREY, Constant, Recording, brightest

Array = np.ndarray  # type: ignore[type-arg]


def flat(numbers: Sequence[int]) -> Array:
    """Images of one grey level each, from black to white."""
    return np.stack([np.full(GREY, (number * 16) % 256, np.uint8) for number in numbers])


def dim() -> HalfSpace:
    """Class 1 only where the mean is above 0.9: noise never gets there."""
    return HalfSpace(torch.ones(GREY), 0.9 * 64)


def test_each_class_gets_its_share_of_noise_exactly_as_asked() -> None:
    teacher = Recording(brightest())
    starts = find_starts(teacher, 22, {"noise": 2000, "source": 0}, seed=1)
    assert np.bincount(starts.decisions).tolist() == [6, 6, 5, 5]
    assert starts.wanted.tolist() == [6, 6, 5, 5]
    assert starts.queries == {"noise": teacher.asked}
    assert starts.missing == ()
    assert np.array_equal(starts.decisions[:8], [0, 1, 2, 3, 0, 1, 2, 3])
    asked = {(image * 255).round().to(torch.uint8).numpy().tobytes() for call in teacher.calls for image in call}
    assert all(image.tobytes() in asked for image in starts.images)
    pixels = torch.from_numpy(starts.images).float() / 255
    assert np.array_equal(teacher.decide(pixels).numpy(), starts.decisions)


def test_they_are_the_first_of_each_class() -> None:
    starts = find_starts(brightest(), 8, {"noise": 512}, seed=4)
    noise = noise_images(GREY, range(512), 4)
    decisions = brightest().decide(torch.from_numpy(noise).float() / 255).numpy()
    for k in range(4):
        assert np.array_equal(starts.images[starts.decisions == k], noise[np.flatnonzero(decisions == k)[:2]])


def test_the_source_is_tried_before_giving_up_and_counted() -> None:
    teacher = Recording(dim())
    starts = find_starts(teacher, 10, {"noise": 100, "source": 300}, seed=0, source=flat)
    assert np.bincount(starts.decisions).tolist() == [5, 5]
    assert starts.queries == {"noise": 100, "source": 300}
    assert sum(starts.queries.values()) == teacher.asked
    assert starts.answers["noise"].tolist() == [100, 0]
    assert starts.answers["source"][1] > 0


def test_the_source_is_not_asked_where_noise_suffices() -> None:
    def source(numbers: Sequence[int]) -> Array:
        raise AssertionError(f"asked for {numbers}")

    assert find_starts(brightest(), 8, {"noise": 512, "source": 512}, 0, source).missing == ()


def test_a_class_never_hit_is_named_with_what_was_tried() -> None:
    starts = find_starts(dim(), 10, {"noise": 1200, "source": 40}, 0, lambda numbers: flat(numbers) // 2)
    assert starts.missing == (1,)
    assert len(starts.images) == 5
    with pytest.raises(DataError, match=r"answered class night to all .*1,200 of noise and 40 of the fallback source"):
        check_starts(starts, "allow", ["night", "day"])


def test_a_missing_class_is_an_error_unless_allowed() -> None:
    class Never:
        """Three classes, the last of which is never answered."""

        spec = TeacherSpec(GREY, (0.0, 1.0), 3, 64, "never 2")

        def decide(self, images: torch.Tensor) -> torch.Tensor:
            return (images.mean(dim=(1, 2, 3)) > 0.5).long()

    starts = find_starts(Never(), 9, {"noise": 600}, 0)
    with pytest.raises(DataError, match=r"decided none of the images asked \(600 of noise\) as: 2; give another"):
        check_starts(starts, "error")
    check_starts(starts, "allow")
    assert starts.missing == (2,)
    assert np.bincount(starts.decisions).tolist() == [3, 3]


def test_a_constant_teacher_is_refused() -> None:
    starts = find_starts(Constant(2), 9, {"noise": 600}, 0)
    assert len(starts.images) == 3
    for missing in ("error", "allow"):
        with pytest.raises(DataError, match="answered class 2 to all images asked"):
            check_starts(starts, missing)


@pytest.mark.parametrize("limit", [4, 511, 512, 513, 1030])
def test_limits_are_kept_to_the_image(limit: int) -> None:
    teacher = Recording(Constant(0))
    starts = find_starts(teacher, 9, {"noise": limit, "source": 7}, 0, flat)
    assert teacher.asked == limit + 7
    assert starts.queries == {"noise": limit, "source": 7}


def test_fewer_images_or_queries_than_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 images for 4 classes"):
        find_starts(brightest(), 3, {"noise": 100}, 0)
    with pytest.raises(ConfigError, match="3 queries for start images for 4 classes"):
        find_starts(brightest(), 8, {"noise": 3}, 0)


def test_a_source_of_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match=r"made images of shape \[40, 1, 8, 4\]; expected \[40, 1, 8, 8\]"):
        find_starts(dim(), 4, {"noise": 10, "source": 40}, 0, lambda numbers: flat(numbers)[..., :4])


def test_other_bounds_are_refused() -> None:
    class Signed(Constant):
        def __init__(self) -> None:
            super().__init__(0)
            self.spec = TeacherSpec(GREY, (-1.0, 1.0), 3, 16, "signed")

    with pytest.raises(DataError, match=r"bounds are \[-1, 1\]"):
        find_starts(Signed(), 9, {"noise": 100}, 0)

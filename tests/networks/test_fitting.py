"""What nobody named: architectures by images, classes and the teacher's size."""

import pytest

from db3.networks import choose_student
from db3.networks.fitting import assistant_architecture, surrogate_architectures


@pytest.mark.parametrize(
    ("shape", "classes", "teacher", "architecture"),
    [
        ((1, 28, 28), 10, None, "lenet5_half"),
        ((1, 28, 28), 10, 187_780, "lenet5_half"),
        ((1, 28, 28), 10, 20_000, "lenet5_fifth"),
        ((1, 8, 8), 10, None, "compact"),
        ((3, 32, 32), 10, 23_300_000, "compact"),
        ((3, 48, 192), 2, 134_000, "compact"),
        ((3, 48, 192), 2, 90_000, "compact_half"),
        ((3, 48, 192), 2, 1_000, "compact_half"),
        ((3, 224, 224), 1000, None, "compact_double"),
        ((3, 224, 224), 1000, 400_000, "compact"),
        ((1, 1, 1), 2, None, "compact"),
    ],
)
def test_the_student_fits_and_is_smaller_where_one_is(
    shape: tuple[int, int, int], classes: int, teacher: int | None, architecture: str
) -> None:
    choice = choose_student(shape, classes, teacher)
    assert choice.architecture == architecture
    assert choice.why
    assert teacher is None or choice.parameters < teacher or teacher == 1_000


def test_a_students_size_does_not_follow_that_of_the_image() -> None:
    sizes = {choose_student((3, height, 4 * height), 2).parameters for height in (12, 48, 96)}
    assert len(sizes) == 1


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 16, 40), (1, 8, 8), (3, 32, 32)])
def test_surrogates_that_nobody_named_are_no_teacher_of_the_papers(shape: tuple[int, int, int]) -> None:
    names = surrogate_architectures("auto", shape)
    assert not {"lenet5", "alexnet", "resnet18", "resnet34"} & set(names)
    assert len(set(names)) == (3 if shape[0] == 1 and shape[1] >= 16 else 1)


def test_surrogates_that_are_named_are_taken() -> None:
    assert surrogate_architectures("lenet5", (1, 28, 28)) == ("lenet5",)
    assert surrogate_architectures(("lenet5", "auto"), (3, 32, 32)) == ("lenet5", "compact")


@pytest.mark.parametrize(
    ("shape", "decided", "exact", "architecture"),
    [
        ((3, 32, 32), 9_999, False, "compact"),
        ((3, 32, 32), 10_000, False, "resnet9_half_mirrored"),
        ((3, 32, 32), 39_999, True, "compact"),
        ((3, 32, 32), 40_000, True, "resnet9_half_mirrored"),
        ((3, 8, 8), 40_000, False, "compact"),
        ((3, 224, 224), 40_000, False, "compact"),
        ((1, 28, 28), 40_000, False, "lenet5"),
    ],
)
def test_many_decisions_on_colour_images_are_given_to_a_deep_assistant(
    shape: tuple[int, int, int], decided: int, exact: bool, architecture: str
) -> None:
    assert assistant_architecture("auto", shape, decided, exact=exact) == architecture
    assert assistant_architecture("compact_half", shape, decided, exact=exact) == "compact_half"

"""What nobody named: architectures by images, classes and the teacher's size."""

import pytest

from db3.networks import choose_student


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

"""Which architecture suits images and classes, where none is named: of a surrogate, a teacher assistant, a student."""

from dataclasses import dataclass

from db3.networks.catalogue import build
from db3.networks.count import count_parameters

_MANY = 100  # classes from which the 128 features of `compact` are fewer than two for each

_DEEP, _DEEP_EXACTLY = 10_000, 40_000
"""Decided images: of as many, changed as `changes_of` says, a deep network knows more than `compact`. In exact
arithmetic a step takes it five times as long, which fewer images are not worth."""


_GREY = ("plain", "lenet5_half", "shallow")
"""Surrogates for grey images of about 28×28: three views of an image, none of them the paper's teacher."""


@dataclass(frozen=True)
class StudentChoice:
    """The architecture of a student, and why it is that one.

    Attributes:
        architecture: a name that `build` knows.
        parameters: its weights.
        why: in a few words.
    """

    architecture: str
    parameters: int
    why: str


def fitting(shape: tuple[int, int, int]) -> str:
    """LeNet5 where images (C, H, W) are such as it was made for, else a network that fits any shape."""
    channels, height, width = shape
    return "lenet5" if channels == 1 and min(height, width) >= 16 and max(height, width) <= 40 else "compact"


def fitted(architecture: str, shape: tuple[int, int, int], *, small: bool = False) -> str:
    """The architecture itself, or for `auto` the one that fits images of this shape.

    Args:
        architecture: a name that `build` knows, or `auto`.
        shape: (C, H, W).
        small: half of LeNet5, for a network that is trained again and again.
    """
    if architecture != "auto":
        return architecture
    return "lenet5_half" if small and fitting(shape) == "lenet5" else fitting(shape)


def assistant_architecture(architecture: str, shape: tuple[int, int, int], decided: int, *, exact: bool) -> str:
    """The architecture itself, or for `auto` the one that makes most of so many decisions on images of this shape.

    Of 10,000 decided colour images of about 32×32 and more, which it sees changed (`changes_of`), ResNet-9 half learns
    what a small network has no room for, and passes it on to one (docs/benchmarks/zero-shot.md). It answers with the
    mean over an image and its mirror image, since it learnt both. Otherwise as `fitted`.

    Args:
        architecture: a name that `build` knows, or `auto`.
        shape: (C, H, W).
        decided: images that it learns from.
        exact: whether it is trained in exact arithmetic.
    """
    channels, height, width = shape
    about_32 = channels == 3 and min(height, width) >= 24 and max(height, width) <= 48
    many = architecture == "auto" and about_32 and decided >= (_DEEP_EXACTLY if exact else _DEEP)
    return "resnet9_half_mirrored" if many else fitted(architecture, shape)


def surrogate_architectures(architecture: str | tuple[str, ...], shape: tuple[int, int, int]) -> tuple[str, ...]:
    """The architectures that an ensemble's networks take in turn.

    Args:
        architecture: a name that `build` knows, or several; `auto`: several that fit images of this shape. Networks of
            different architectures err differently, and none of them may be a teacher's own by luck.
        shape: (C, H, W).
    """
    names = (architecture,) if isinstance(architecture, str) else architecture
    auto = _GREY if fitting(shape) == "lenet5" else ("compact",)
    return tuple(name for given in names for name in (auto if given == "auto" else (given,)))


def choose_student(shape: tuple[int, int, int], classes: int, teacher_parameters: int | None = None) -> StudentChoice:
    """The architecture of a student that is not named: the first of these that is smaller than the teacher.

    Grey images of about 28×28, as MNIST's: LeNet5-Half. All others: Compact, whose convolutions end in the mean of each
    map, so that its size does not follow the image's; beyond 100 classes its Double. Where they are no smaller than
    the teacher, the next smaller form, and where none is, the smallest.

    Args:
        shape: (C, H, W) of an image.
        classes: K, 2 or more.
        teacher_parameters: weights of the teacher; None: unknown.

    Raises:
        ConfigError: fewer than 2 classes, or images of no size.
    """
    if fitting(shape) == "lenet5":
        names, why = ["lenet5_half", "lenet5_fifth"], "for grey images of about 28x28"
    else:
        names, why = ["compact", "compact_half"], "fits any image, and its size does not follow the image's"
        if classes > _MANY:
            names, why = ["compact_double", *names], f"{why}; double for more than {_MANY} classes"
    sizes = {name: count_parameters(build(name, shape, classes, seed=None)) for name in names}
    smaller = [name for name in names if teacher_parameters is None or sizes[name] < teacher_parameters]
    if smaller[:1] != names[:1]:
        why = f"{why}; smaller than {names[0]}, since the teacher has {teacher_parameters:,} parameters"
    chosen = smaller[0] if smaller else min(names, key=lambda name: sizes[name])
    return StudentChoice(chosen, sizes[chosen], why)

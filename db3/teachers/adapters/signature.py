"""What a model says of its inputs and outputs, held against the images and classes before it is asked anything."""

from collections.abc import Sequence
from typing import Any

from db3.errors import ConfigError


def pick_tensor(names: Sequence[str], wanted: str | None, what: str, who: str) -> int:
    """Place of a model's input or output: the one that is wanted, or the only one.

    Raises:
        ConfigError: it is missing, not the only one, or an input beside others.
    """
    if wanted is None and len(names) == 1:
        return 0
    if wanted not in names:
        found = f"has no {what} {wanted!r}" if wanted else f"has {len(names)} {what}s"
        raise ConfigError(f"{who} {found}; expected one of {', '.join(names)}: set teacher.{what}")
    if what == "input" and len(names) > 1:
        raise ConfigError(f"{who} needs the inputs {', '.join(names)}; expected one of images: export it with one")
    return names.index(wanted)


def check_classes(shape: Sequence[Any], classes: int, who: str) -> None:
    """Refuse an output whose declared shape tells another number of classes; sizes below 1 or no number are open.

    Raises:
        ConfigError: it does.
    """
    wide = [size for size in shape[1:] if size != 1]
    if len(wide) == 1 and isinstance(wide[0], int) and wide[0] not in (-1, classes):
        raise ConfigError(f"{who} tells {wide[0]} classes apart, the dataset {classes}: set teacher.classes={wide[0]}")


def check_images_fit(shape: Sequence[Any], shown: tuple[int, int, int], who: str) -> int | None:
    """Hold a model's declared input against one image as it is shown; sizes below 1 or no number are open.

    Returns:
        The fixed number of rows, if any.

    Raises:
        ConfigError: the images do not fit.
    """
    sizes = [size if isinstance(size, int) and size > 0 else None for size in shape]
    if len(sizes) != 4 or any(have not in (None, want) for have, want in zip(sizes[1:], shown, strict=True)):
        takes, would = ", ".join(str(size) if size else "n" for size in shape), ", ".join(map(str, shown))
        raise ConfigError(
            f"{who} takes images of shape [{takes}], but would be shown [n, {would}]: set teacher.layout, "
            "teacher.resize or the dataset's size and channels"
        )
    return sizes[0]

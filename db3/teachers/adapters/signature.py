"""What a model says of its inputs and outputs, held against the images and classes before it is asked anything."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

from db3.errors import ConfigError
from db3.settings.declare import hints
from db3.settings.teacher import PixelSettings
from db3.teachers.adapters.preprocessing import Preprocessing
from db3.teachers.base import ImageShape


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
        raise ConfigError(
            f"{who} tells {wide[0]} classes apart, not {classes}: set teacher.classes={wide[0]}, or list in "
            "teacher.classes_map which of ours each of its own is"
        )


def check_images_fit(shape: Sequence[Any], see: Preprocessing, input_shape: ImageShape, who: str) -> int | None:
    """Hold a model's declared input against one image as it is shown; sizes below 1 or no number are open.

    Args:
        shape: of the input, rows first.
        see: what the model is to see of an image.
        input_shape: (C, H, W).
        who: names the model in errors.

    Returns:
        The fixed number of rows, if any.

    Raises:
        ConfigError: the images do not fit; it names the settings with which they would.
    """
    sizes = [size if isinstance(size, int) and size > 0 else None for size in shape]
    shown = see.shape(input_shape)
    if not _fits(sizes[1:], shown):
        takes, would = ", ".join(str(size) if size else "n" for size in shape), ", ".join(map(str, shown))
        raise ConfigError(
            f"{who} takes images of shape [{takes}], but would be shown [n, {would}]: "
            f"{_remedy(sizes[1:], see, input_shape)}"
        )
    return sizes[0]


def _fits(sizes: Sequence[int | None], shown: Sequence[int]) -> bool:
    return len(sizes) == len(shown) and all(have in (None, want) for have, want in zip(sizes, shown, strict=True))


def _remedy(sizes: Sequence[int | None], see: Preprocessing, input_shape: ImageShape) -> str:
    """What would make the images fit: a layout, else another size, else other channels."""
    layouts = get_args(hints(PixelSettings)["layout"])[0]
    fitting = [name for name in get_args(layouts) if _fits(sizes, replace(see, layout=name).shape(input_shape))]
    if fitting:
        more = f" (or {fitting[1]}, where its channels come last)" if fitting[1:] and input_shape[0] > 1 else ""
        return f"set teacher.layout={fitting[0]}{more}"
    if len(sizes) == 3:
        for name, (channels, *size) in (("NCHW", sizes), ("NHWC", (sizes[2], *sizes[:2]))):
            if channels in (None, input_shape[0]) and None not in size:
                layout = "" if name == see.layout else f"teacher.layout={name} and "
                return f"set {layout}teacher.resize=[{size[0]},{size[1]}]"
    if len(sizes) == 1:
        return f"set teacher.layout=flat, and teacher.resize or dataset.channels so that an image has {sizes[0]} pixels"
    return "set dataset.channels, teacher.resize or teacher.layout"

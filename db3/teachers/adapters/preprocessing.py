"""What a model of one's own wants to see: made of images in [0, 1] inside its adapter, declared on its card."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from db3.errors import ConfigError
from db3.settings.declare import settings
from db3.settings.teacher import PixelSettings
from db3.teachers.base import ImageShape

_BLACK_AND_WHITE = (0.0, 1.0)
_CHANNELS_LAST, _FLAT = ("NHWC", "flat_NHWC"), ("flat", "flat_NHWC")


@settings
class Preprocessing(PixelSettings):
    """Resize, then (x − mean) / std · scale, then the order of channels, the type and the axes. The default changes
    nothing.
    """

    def __call__(self, images: Float[Tensor, "n c h w"]) -> Tensor:
        """What the model sees of images in [0, 1]; a tensor of its own, never a view of `images`."""
        seen = images.to(torch.float32)
        if self.resize and tuple(seen.shape[2:]) != self.resize:
            seen = torch.nn.functional.interpolate(seen, self.resize, mode="bilinear", antialias=True)
            seen = seen.clamp(*_BLACK_AND_WHITE)
        if self.mean:
            seen = seen - _by_channel(self.mean, seen)
        if self.std:
            seen = seen / _by_channel(self.std, seen)
        if self.scale != 1.0:
            seen = seen * self.scale
        if self.channels_order == "bgr":
            seen = seen.flip(1)
        seen = (seen.round() if self.dtype == "uint8" else seen).to(getattr(torch, self.dtype))
        seen = seen.permute(0, 2, 3, 1) if self.layout in _CHANNELS_LAST else seen
        seen = seen.flatten(1) if self.layout in _FLAT else seen
        return seen.clone(memory_format=torch.contiguous_format)

    def array(self, images: Float[Tensor, "n c h w"]) -> npt.NDArray[Any]:
        """The same as a numpy array, on the CPU."""
        return self(images.cpu()).numpy()

    def shape(self, input_shape: ImageShape) -> tuple[int, ...]:
        """One image as the model sees it."""
        channels, (height, width) = input_shape[0], self.resize or input_shape[1:]
        if self.layout in _FLAT:
            return (channels * height * width,)
        return (height, width, channels) if self.layout in _CHANNELS_LAST else (channels, height, width)

    def check(self, input_shape: ImageShape) -> None:
        """Refuse a mean or a standard deviation of another number of channels, and an order of other than three.

        Raises:
            ConfigError: one line.
        """
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != input_shape[0]:
                raise ConfigError(
                    f"teacher.{name} has {len(values)} values for images of {input_shape[0]} channels: one each"
                )
        if self.channels_order == "bgr" and input_shape[0] != 3:
            raise ConfigError(f"teacher.channels_order is bgr, but images have {input_shape[0]} channels: leave it out")

    def to_json(self) -> dict[str, Any]:
        """What differs from the default, as JSON values."""
        special = {name: value for name, value in asdict(self).items() if value != getattr(Preprocessing, name)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in special.items()}


def from_json(values: Mapping[str, Any]) -> Preprocessing:
    """Read what `Preprocessing.to_json` wrote, or parameters."""
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list | tuple) else value for name, value in values.items()
    }
    return Preprocessing(**given)


def _by_channel(values: tuple[float, ...], images: Tensor) -> Tensor:
    return torch.tensor(values, dtype=images.dtype, device=images.device).view(1, -1, 1, 1)

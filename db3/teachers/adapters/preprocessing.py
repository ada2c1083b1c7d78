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


@settings
class Preprocessing(PixelSettings):
    """Resize, then (x − mean) / std · scale, then the type and the order of axes. The default changes nothing."""

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
        seen = (seen.round() if self.dtype == "uint8" else seen).to(getattr(torch, self.dtype))
        seen = seen.permute(0, 2, 3, 1) if self.layout == "NHWC" else seen
        return seen.clone(memory_format=torch.contiguous_format)

    def array(self, images: Float[Tensor, "n c h w"]) -> npt.NDArray[Any]:
        """The same as a numpy array, on the CPU."""
        return self(images.cpu()).numpy()

    def shape(self, input_shape: ImageShape) -> tuple[int, int, int]:
        """One image as the model sees it."""
        channels, (height, width) = input_shape[0], self.resize or input_shape[1:]
        return (height, width, channels) if self.layout == "NHWC" else (channels, height, width)

    def check(self, input_shape: ImageShape) -> None:
        """Refuse a mean or a standard deviation of another number of channels.

        Raises:
            ConfigError: one line.
        """
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != input_shape[0]:
                raise ConfigError(
                    f"teacher.{name} has {len(values)} values for images of {input_shape[0]} channels: one each"
                )

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

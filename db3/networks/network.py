"""The frame around every architecture: normalise the pixels, then classify."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from db3.errors import ConfigError


class Normalise(nn.Module):
    """(x − mean) / std per channel, held as buffers so that a weights file says how its network saw the pixels.

    Args:
        channels: C.
        mean: C values in units of [0, 1] pixels; None: 0.
        std: C values likewise; None: 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> None:
        super().__init__()
        for what, values in (("mean", mean), ("std", std)):
            if values is not None and len(values) != channels:
                raise ConfigError(f"{what} has {len(values)} values for images of {channels} channels; give one each")
        if std is not None and min(std) <= 0:
            raise ConfigError(f"std is {list(std)}; expected positive values: look for a constant channel")
        self.register_buffer("mean", torch.tensor(mean or [0.0] * channels, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std or [1.0] * channels, dtype=torch.float32))

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return (images - self.mean[:, None, None]) / self.std[:, None, None]


class Network(nn.Module):
    """Pixels in [0, 1] to logits."""

    def __init__(self, normalise: Normalise, body: nn.Module) -> None:
        super().__init__()
        self.normalise = normalise
        self.body = body

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        logits: Tensor = self.body(self.normalise(images))
        return logits

"""A PyTorch network behind the teacher contract: the argmax is taken inside."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from db3.arithmetic import to_exact
from db3.settings.training import Arithmetic
from db3.teachers.adapters.call_shape import FORMATS, arrange
from db3.teachers.base import TeacherSpec


class NetworkTeacher:
    """A local network that tells its decision and hides its scores.

    Args:
        network: maps float32 [n, C, H, W] in `spec.bounds` to logits [n, K]; put in evaluation mode here.
        spec: its declared shape, bounds, classes, call shape and identity.
        device: where it runs; answers come back on the device of the images.
        memory_format: `channels_last` or `contiguous`, of weights and images (`db3.teachers.adapters.call_shape`); it
            decides nothing in exact arithmetic.
        arithmetic: `exact`: the network's twin decides, each image by itself, the same on every machine.

    Raises:
        ConfigError: exact arithmetic of a layer that has no twin; names it.
    """

    def __init__(
        self,
        network: nn.Module,
        spec: TeacherSpec,
        device: str | torch.device = "cpu",
        memory_format: str = "channels_last",
        arithmetic: Arithmetic = "float32",
    ) -> None:
        self._device = torch.device(device)
        network = to_exact(network) if arithmetic == "exact" else network
        self._network = arrange(network.eval().requires_grad_(False).to(self._device), memory_format)
        self._format = FORMATS[memory_format]
        self.spec = spec

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        with torch.no_grad():
            batch = self._arranged(images.to(self._device))
            decisions: Tensor = self._network(batch).argmax(dim=1)
        return decisions.to(images.device)

    def _arranged(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        if self._format == torch.channels_last and images.shape[1] == 1 and images.is_contiguous():
            # One channel lies in memory alike either way: the strides of a copy, without the copy.
            _, _, height, width = images.shape
            return images.as_strided(images.shape, (height * width, 1, width, 1))
        return images.to(memory_format=self._format)

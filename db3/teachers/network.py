"""A PyTorch network behind the teacher contract: the argmax is taken inside."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from db3.teachers.base import TeacherSpec


class NetworkTeacher:
    """A local network that tells its decision and hides its scores.

    Args:
        network: maps float32 [n, C, H, W] in `spec.bounds` to logits [n, K]; put in evaluation mode here.
        spec: its declared shape, bounds, classes, call shape and identity.
        device: where it runs; answers come back on the device of the images.
    """

    def __init__(self, network: nn.Module, spec: TeacherSpec, device: str | torch.device = "cpu") -> None:
        self._device = torch.device(device)
        # Channels last in memory: a small network's convolutions run more than twice as fast on a CPU.
        self._network = network.eval().requires_grad_(False).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._spec = spec

    @property
    def spec(self) -> TeacherSpec:
        return self._spec

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        with torch.inference_mode():
            batch = images.to(self._device, memory_format=torch.channels_last)
            decisions: Tensor = self._network(batch).argmax(dim=1)
        return decisions.to(images.device).clone()

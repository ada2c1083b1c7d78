"""First weights with the same bits on every machine.

torch's `uniform_(a, b)` computes u · (b − a) + a, fused into one rounding where a kernel has FMA, and `normal_` takes
its logarithm and cosine from a vector library: both differ between processors. Here each layer draws 53-bit integers
from a generator keyed by (seed, layer), whose integers are the same everywhere, and the rest is exact.
"""

import math

import torch
from torch import Tensor, nn

from db3.arithmetic.functions import cos, log, sqrt
from db3.rng import Purpose, generator

_PIECE = 1 << 14  # numbers that stay in a cache through all steps of log and cos
_NORMAL = {"torchvision.models.resnet.ResNet", "torchvision.models.vgg.VGG"}


def initialise(network: nn.Module, seed: int) -> None:
    """Draw the weights of all convolutions and linear layers anew, in place, from (seed, name of the layer).

    Convolutions and linear layers: uniform within ±1/√fan-in, biases too (torch's default). In torchvision's ResNet
    and VGG: normal convolutions of variance 2/fan-out (He et al., ICCV 2015), biases 0, and VGG's linear layers of
    deviation 0.01. Batch normalisation keeps 1 and 0.
    """
    with torch.no_grad():
        for prefix, root in _roots(network):
            for name, module in root.named_modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    _draw(module, _full_name(root), generator(seed, Purpose.WEIGHTS, f"{prefix}{name}"))


def uniform(shape: torch.Size, bound: float, draw: torch.Generator) -> Tensor:
    """Float64 numbers in −bound … bound."""
    numbers = torch.rand(shape, dtype=torch.float64, generator=draw)
    return (numbers * 2 - 1) * bound


def normal(shape: torch.Size, deviation: float, draw: torch.Generator) -> Tensor:
    """Float64 normal numbers (Box and Muller, 1958)."""
    radius = 1 - torch.rand(shape, dtype=torch.float64, generator=draw)  # in (0, 1]
    angle = torch.rand(shape, dtype=torch.float64, generator=draw) * (2 * math.pi)
    made = torch.empty_like(radius)
    for rows, r, a in zip(*(torch.split(part.flatten(), _PIECE) for part in (made, radius, angle)), strict=True):
        rows.copy_(sqrt(log(r) * -2) * cos(a) * deviation)
    return made


def _draw(module: nn.Conv2d | nn.Linear, architecture: str, draw: torch.Generator) -> None:
    weight, bias = module.weight, module.bias
    fan_in = weight[0].numel()
    if architecture in _NORMAL and isinstance(module, nn.Conv2d):
        fan_out = weight.shape[0] * weight[0, 0].numel()
        weight.copy_(normal(weight.shape, math.sqrt(2 / fan_out), draw))
        values = None
    elif architecture.endswith("vgg.VGG"):
        weight.copy_(normal(weight.shape, 0.01, draw))
        values = None
    else:
        weight.copy_(uniform(weight.shape, 1 / math.sqrt(fan_in), draw))
        values = uniform(torch.Size([len(weight)]), 1 / math.sqrt(fan_in), draw)
    if bias is not None:
        bias.copy_(torch.zeros_like(bias) if values is None else values)


def _roots(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The network's body, by whose class torchvision initialises."""
    body = getattr(network, "body", None)
    return [("body.", body)] if isinstance(body, nn.Module) else [("", network)]


def _full_name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"

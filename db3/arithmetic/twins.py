"""From a network to its exact twin, and from the twin's weights back to float32."""

import copy
import functools
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from db3.arithmetic import activations
from db3.arithmetic.layers import (
    ExactActivation,
    ExactAdaptiveAvgPool2d,
    ExactAvgPool2d,
    ExactBatchNorm,
    ExactConv2d,
    ExactDropout,
    ExactLinear,
    ExactMaxPool2d,
)
from db3.errors import ConfigError

_LAYERS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Conv2d: ExactConv2d,
    nn.Linear: ExactLinear,
    nn.BatchNorm1d: ExactBatchNorm,
    nn.BatchNorm2d: ExactBatchNorm,
    nn.MaxPool2d: ExactMaxPool2d,
    nn.AvgPool2d: ExactAvgPool2d,
    nn.AdaptiveAvgPool2d: ExactAdaptiveAvgPool2d,
}
_ACTIVATIONS: dict[type[nn.Module], activations.Activation] = {
    nn.ReLU: activations.relu,
    nn.ReLU6: activations.relu6,
    nn.Hardsigmoid: activations.hardsigmoid,
    nn.Hardswish: activations.hardswish,
    nn.Sigmoid: activations.sigmoid,
    nn.SiLU: activations.silu,
    nn.Tanh: activations.tanh,
}
_UNCHANGED = (nn.Identity, nn.Flatten, nn.Unflatten)
# Modules whose own `forward` only calls their children, adds, concatenates, flattens, or works value by value.
_FRAMES = {
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.container.ModuleList",
    "db3.networks.network.Network",
    "db3.networks.network.Normalise",
    "db3.networks.resnet9.ResNet9",
    "db3.networks.resnet9.Scale",
    "torchvision.ops.misc.Conv2dNormActivation",
    "torchvision.models.resnet.ResNet",
    "torchvision.models.resnet.BasicBlock",
    "torchvision.models.resnet.Bottleneck",
    "torchvision.models.vgg.VGG",
    "torchvision.models.alexnet.AlexNet",
    "torchvision.models.squeezenet.SqueezeNet",
    "torchvision.models.squeezenet.Fire",
}


def to_exact(network: nn.Module, frames: Collection[type[nn.Module]] = ()) -> nn.Module:
    """The exact twin of a network: the same modules, names, shapes and weights, whose bits are the same everywhere.

    Args:
        network: of layers that have a twin; not changed. Its training mode is kept, and what requires gradients.
        frames: further classes of which the caller knows that their own `forward` adds, concatenates or moves values
            and nothing else (`exact_only` finds out).

    Returns:
        A network on float64 weights: images (float32 or float64) to float64 logits.

    Raises:
        ConfigError: a layer without an exact twin; names it.
    """
    allowed = {_full_name(frame) for frame in frames} | _FRAMES
    numbers = {id(module): number for number, (_, module) in enumerate(network.named_modules())}
    return _twin(network, "", allowed, numbers).train(network.training)


def has_twin(network: nn.Module, frames: Collection[type[nn.Module]] = ()) -> bool:
    """Whether `to_exact` knows every layer."""
    try:
        to_exact(network, frames)
    except ConfigError:
        return False
    return True


def is_exact(network: nn.Module) -> bool:
    """Whether the weights are a twin's."""
    return any(module.__module__ == ExactLinear.__module__ for module in network.modules())


def float32_weights(network: nn.Module) -> dict[str, Tensor]:
    """The twin's state as the plain network holds it: float64 rounded to the nearest float32, ties to even."""
    return {
        name: tensor.detach().to(torch.float32, copy=True) if tensor.is_floating_point() else tensor.detach().clone()
        for name, tensor in network.state_dict().items()
    }


def round_weights(network: nn.Module) -> None:
    """Round a twin's weights and statistics to float32 in place: what it decides is then what its file decides."""
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.to(torch.float32))


def _twin(module: nn.Module, name: str, allowed: Collection[str], numbers: dict[int, int]) -> nn.Module:
    kind = type(module)
    if kind in _LAYERS:
        return _like(_LAYERS[kind](module, name), module)
    if kind is nn.Dropout:
        return ExactDropout(module, name, numbers[id(module)])  # type: ignore[arg-type]
    if kind in _ACTIVATIONS:
        return ExactActivation(_ACTIVATIONS[kind])
    if isinstance(module, nn.LeakyReLU):
        return ExactActivation(functools.partial(activations.leaky_relu, slope=module.negative_slope))
    if kind in _UNCHANGED:
        return copy.deepcopy(module)
    if _full_name(kind) not in allowed:
        raise ConfigError(
            f"layer {name or 'itself'} ({kind.__name__}) has no exact twin; expected convolutions, linear layers, "
            "batch normalisation, pooling, dropout or activations made of such: exchange it, or take arithmetic float32"
        )
    own = [parameter for _, parameter in module.named_parameters(recurse=False)]
    if own:
        raise ConfigError(
            f"layer {name or 'itself'} ({kind.__name__}) has weights of its own, which no exact layer uses: put them "
            "into layers, or take arithmetic float32"
        )
    return _frame(module, name, allowed, numbers)


def _frame(module: nn.Module, name: str, allowed: Collection[str], numbers: dict[int, int]) -> nn.Module:
    """A copy with twins for children."""
    frame = copy.copy(module)
    frame._modules = {}
    frame._buffers = {
        key: None if value is None else (value.double() if value.is_floating_point() else value.clone())
        for key, value in module._buffers.items()
    }
    for child, inner in module._modules.items():
        place = f"{name}.{child}" if name else child
        frame._modules[child] = None if inner is None else _twin(inner, place, allowed, numbers)
    return frame


def _like(twin: nn.Module, plain: nn.Module) -> nn.Module:
    for name, parameter in plain.named_parameters():
        twin.get_parameter(name).requires_grad_(parameter.requires_grad)
    return twin


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"

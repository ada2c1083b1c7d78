"""Layers of networks, exactly: each has the names and shapes of the torch layer that it stands for, in float64.

A layer in training rounds its tensors on one grid over the whole batch; in evaluation on one per image, so that an
image's outputs and input gradients do not depend on its neighbours.
"""

from typing import cast

import torch
from torch import Tensor, nn

from db3.arithmetic.activations import Activation
from db3.arithmetic.dropout import dropout
from db3.arithmetic.norms import normalise_batch, normalise_running
from db3.arithmetic.patches import Window
from db3.arithmetic.pooling import Pair, Pool, adaptive_avg_pool2d, avg_pool2d, max_pool2d
from db3.arithmetic.products import conv2d, linear
from db3.errors import ConfigError


class ExactConv2d(nn.Module):
    """Stands for `torch.nn.Conv2d`."""

    def __init__(self, plain: nn.Conv2d, name: str) -> None:
        super().__init__()
        if plain.padding_mode != "zeros" or isinstance(plain.padding, str):
            raise ConfigError(
                f"layer {name} pads with {plain.padding_mode} by {plain.padding}; exact arithmetic expects zeros, and "
                "numbers of pixels: change the padding, or take arithmetic float32"
            )
        self.name = name
        self.window = Window(
            cast(Pair, plain.kernel_size),
            cast(Pair, plain.stride),
            cast(Pair, plain.padding),
            cast(Pair, plain.dilation),
            plain.groups,
        )
        self.weight = _double(plain.weight)
        self.register_parameter("bias", None if plain.bias is None else _double(plain.bias))

    def forward(self, images: Tensor) -> Tensor:
        bias = cast("Tensor | None", self.bias)
        images = images.to(torch.float64)
        return conv2d(images, self.weight, bias, self.window, per_image=not self.training, name=self.name)

    def extra_repr(self) -> str:
        return f"{self.name}, {tuple(self.weight.shape)}, {self.window}"


class ExactLinear(nn.Module):
    """Stands for `torch.nn.Linear`."""

    def __init__(self, plain: nn.Linear, name: str) -> None:
        super().__init__()
        self.name = name
        self.weight = _double(plain.weight)
        self.register_parameter("bias", None if plain.bias is None else _double(plain.bias))

    def forward(self, values: Tensor) -> Tensor:
        bias = cast("Tensor | None", self.bias)
        return linear(values.to(torch.float64), self.weight, bias, per_image=not self.training, name=self.name)

    def extra_repr(self) -> str:
        return f"{self.name}, {tuple(self.weight.shape)}"


class ExactBatchNorm(nn.Module):
    """Stands for `torch.nn.BatchNorm1d` and `BatchNorm2d`."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, plain: nn.BatchNorm1d | nn.BatchNorm2d, name: str) -> None:
        super().__init__()
        if not plain.track_running_stats or plain.momentum is None:
            raise ConfigError(
                f"layer {name} keeps no running mean with a momentum; exact arithmetic expects track_running_stats "
                "and a momentum: set both, or take arithmetic float32"
            )
        self.name, self.eps, self.momentum = name, plain.eps, plain.momentum
        self.register_parameter("weight", _double(plain.weight) if plain.affine else None)
        self.register_parameter("bias", _double(plain.bias) if plain.affine else None)
        for buffer in ("running_mean", "running_var", "num_batches_tracked"):
            values = cast(Tensor, getattr(plain, buffer)).detach().clone()
            self.register_buffer(buffer, values.double() if values.is_floating_point() else values)

    def forward(self, values: Tensor) -> Tensor:
        values = values.to(torch.float64)
        weight, bias = cast("Tensor | None", self.weight), cast("Tensor | None", self.bias)
        if not self.training:
            return normalise_running(
                values, self.running_mean, self.running_var, weight, bias, eps=self.eps, name=self.name
            )
        out, (mean, variance, count) = normalise_batch(values, weight, bias, eps=self.eps, name=self.name)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            for running, fresh in ((self.running_mean, mean), (self.running_var, variance * (count / (count - 1)))):
                running.mul_(1 - self.momentum).add_(fresh * self.momentum)
        return out

    def extra_repr(self) -> str:
        return f"{self.name}, {len(self.running_mean)}"


class ExactMaxPool2d(nn.Module):
    """Stands for `torch.nn.MaxPool2d`."""

    def __init__(self, plain: nn.MaxPool2d, name: str) -> None:
        super().__init__()
        if _pair(plain.dilation) != (1, 1) or plain.return_indices:
            raise ConfigError(
                f"layer {name} is a max pooling with dilation or indices, which has no exact twin: "
                "use a plain one, or take arithmetic float32"
            )
        self.pool = Pool(_pair(plain.kernel_size), _pair(plain.stride), _pair(plain.padding), plain.ceil_mode)

    def forward(self, images: Tensor) -> Tensor:
        return max_pool2d(images, self.pool)


class ExactAvgPool2d(nn.Module):
    """Stands for `torch.nn.AvgPool2d`."""

    def __init__(self, plain: nn.AvgPool2d, name: str) -> None:
        super().__init__()
        if plain.ceil_mode or not plain.count_include_pad or plain.divisor_override is not None:
            raise ConfigError(
                f"layer {name} is an average pooling with ceil_mode, a divisor of its own or uncounted padding, which "
                "has no exact twin: use a plain one, or take arithmetic float32"
            )
        self.pool = Pool(_pair(plain.kernel_size), _pair(plain.stride), _pair(plain.padding))

    def forward(self, images: Tensor) -> Tensor:
        return avg_pool2d(images.to(torch.float64), self.pool)


class ExactAdaptiveAvgPool2d(nn.Module):
    """Stands for `torch.nn.AdaptiveAvgPool2d`."""

    def __init__(self, plain: nn.AdaptiveAvgPool2d, name: str) -> None:
        super().__init__()
        if None in _pair(plain.output_size):
            raise ConfigError(f"layer {name} pools to {plain.output_size}; exact arithmetic expects numbers: set both")
        self.size = _pair(plain.output_size)

    def forward(self, images: Tensor) -> Tensor:
        return adaptive_avg_pool2d(images.to(torch.float64), self.size)


class ExactDropout(nn.Module):
    """Stands for `torch.nn.Dropout`; in training it draws inside `db3.arithmetic.drawing`."""

    def __init__(self, plain: nn.Dropout, name: str, number: int) -> None:
        super().__init__()
        self.name, self.p, self.number = name, plain.p, number

    def forward(self, values: Tensor) -> Tensor:
        return dropout(values, self.p, self.number, self.name) if self.training and self.p else values


class ExactActivation(nn.Module):
    """Stands for an activation without weights; never in place."""

    def __init__(self, function: Activation) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Tensor) -> Tensor:
        return self.function(values)

    def extra_repr(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))


def _double(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().to(torch.float64, memory_format=torch.contiguous_format, copy=True))


def _pair(value: object) -> Pair:
    return cast(Pair, tuple(value)) if isinstance(value, tuple | list) else (cast(int, value), cast(int, value))

"""From a name to a network with repeatable initial weights."""

import threading
from collections.abc import Sequence

import torch
from torch import nn

from db3.arithmetic import has_twin, initialise
from db3.errors import ConfigError, one_line, unknown_name
from db3.extras import needs
from db3.networks.alexnet import DIVISORS, alexnet
from db3.networks.compact import COMPACT, compact
from db3.networks.lenet import WIDTHS, lenet
from db3.networks.network import Network, Normalise
from db3.networks.plain import PLAIN, plain
from db3.networks.resnet9 import RESNET9, ResNet9, resnet9, start_as_identity
from db3.networks.shapes import ImageShape, trial
from db3.networks.timm_models import PREFIX, timm_network
from db3.rng import Purpose, derived_seed

# The paper's networks; `build` knows torchvision's and timm's classifiers too (importing them takes a second).
NAMES = (
    *WIDTHS,
    *DIVISORS,
    *COMPACT,
    *PLAIN,
    *RESNET9,
    "resnet18",
    "resnet34",
    "resnet18_small",
    "resnet34_small",
    "resnet18_small_half",
)

_TURN = threading.Lock()  # layers draw their first weights from torch's one global generator


def build(
    name: str,
    input_shape: ImageShape,
    classes: int,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int | None = 0,
) -> nn.Module:
    """Build a network that maps float32 [n, C, H, W] in [0, 1] to logits [n, K].

    Its first layer normalises the pixels; its initial weights depend on the arguments alone (the seed in place of the
    global generator, which is left as it was). They have the same bits on every machine where the network has an exact
    twin (`db3.arithmetic`); other architectures of torchvision, and timm's, keep their own first weights.

    Args:
        name: one of `NAMES`, a torchvision classifier by torchvision's name (`alexnet` is the paper's for 32×32), or
            one of timm as `timm/NAME`.
        input_shape: (C, H, W).
        classes: K.
        mean: of the training pixels, C values; None: 0.
        std: of the training pixels, C values; None: 1.
        seed: of the initial weights; None: they are about to be replaced, so any will do.

    Raises:
        ConfigError: unknown name, or images of a shape the architecture cannot take.
    """
    if classes < 2:
        raise ConfigError(f"a network for {classes} class was asked for; expected 2 classes or more: check the labels")
    if min(input_shape) < 1:
        raise ConfigError(f"the input shape is {list(input_shape)}; expected positive channels, height and width")
    normalise = Normalise(input_shape[0], mean, std)
    with _TURN, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(seed or 0, Purpose.NETWORK))
        body = _body(name, input_shape, classes)
    network = Network(normalise, body)
    if seed is not None and has_twin(network):
        initialise(network, seed)
    if isinstance(body, ResNet9):
        start_as_identity(body)
    logits = trial(network.eval(), input_shape, name)
    if logits.shape != (1, classes):
        raise ConfigError(f"{name} answers in shape {list(logits.shape)}; expected [1, {classes}]: choose a classifier")
    return network.train()


def _body(name: str, input_shape: ImageShape, classes: int) -> nn.Module:
    if name in WIDTHS:
        return lenet(name, input_shape, classes)
    if name in DIVISORS:
        return alexnet(name, input_shape, classes)
    if name in COMPACT:
        return compact(name, input_shape, classes)
    if name in PLAIN:
        return plain(name, input_shape, classes)
    if name in RESNET9:
        return resnet9(name, input_shape, classes)
    try:
        return (
            timm_network(name, input_shape, classes) if name.startswith(PREFIX) else _vision(name, input_shape, classes)
        )
    except (ValueError, RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(
            f"{name} cannot be built for images of shape {list(input_shape)} ({one_line(error)}); set another "
            "dataset.size"
        ) from error


def _vision(name: str, input_shape: ImageShape, classes: int) -> nn.Module:
    """One of torchvision."""
    with needs("vision", f"architecture {name}"):
        from db3.networks.vision import names, vision  # noqa: PLC0415  (torchvision takes a second to import)

    known = {*NAMES, *names()}
    if name not in known:
        raise unknown_name("architecture", name, known)
    return vision(name, input_shape, classes)

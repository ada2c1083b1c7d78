"""ResNets for small images, and every torchvision classifier by its own name.

Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016. `resnet18` is torchvision's,
made for 224×224: a 7×7 convolution of stride 2 and a max-pooling leave 1/4 of the height and width to the first block.
`resnet18_small` and `resnet34_small` begin as section 4.2 does for CIFAR-10, with a 3×3 convolution of stride 1 and no
pooling, and keep the rest; `resnet18_small_half` has half as many maps in every layer.
"""

from typing import Any

from torch import nn
from torchvision import models

from db3.networks.shapes import ImageShape

SMALL = {"resnet18_small": 64, "resnet34_small": 64, "resnet18_small_half": 32}  # maps of the first layer
_AUXILIARY = {"aux_logits": False, "init_weights": True}  # one output, as for the others


def names() -> list[str]:
    """Names of torchvision's classifiers."""
    listed: list[str] = models.list_models(module=models)
    return listed


def vision(name: str, input_shape: ImageShape, classes: int) -> nn.Module:
    """Build one of `SMALL`, or any of `names()`, without pretrained weights.

    The first convolution takes the images' own channels: with grey images it has a third of the weights, and copying
    the grey channel three times would add arithmetic but no information.
    """
    plain = name.partition("_small")[0] if name in SMALL else name
    network: nn.Module = models.get_model(plain, weights=None, num_classes=classes, **_options(plain, input_shape))
    if isinstance(network, models.ResNet) and name in SMALL:
        _narrow(network, SMALL[name], classes)
    if input_shape[0] != 3:
        _take_channels(network, input_shape[0])
    return network


def _narrow(network: models.ResNet, width: int, classes: int) -> None:
    """Begin for small images, with `width` maps: in place, of a ResNet of basic blocks."""
    network.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    if width == network.bn1.num_features:
        return
    network.bn1, network.inplanes = nn.BatchNorm2d(width), width
    for place, stride in enumerate((1, 2, 2, 2)):
        layer = network.get_submodule(f"layer{place + 1}")
        narrow = network._make_layer(models.resnet.BasicBlock, width << place, len(list(layer.children())), stride)
        setattr(network, f"layer{place + 1}", narrow)
    network.fc = nn.Linear(width << 3, classes)


def _options(name: str, input_shape: ImageShape) -> dict[str, Any]:
    """Arguments that some architectures want beside the number of classes."""
    if name in ("googlenet", "inception_v3"):
        return _AUXILIARY
    if name.startswith("vit_"):
        return {"image_size": input_shape[1]}
    if name.startswith("maxvit_"):
        return {"input_size": input_shape[1:]}
    return {}


def _take_channels(network: nn.Module, channels: int) -> None:
    """Replace the first convolution by one of the same form for `channels` input channels."""
    name, conv = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    replacement = nn.Conv2d(
        channels,
        conv.out_channels,
        kernel_size=conv.kernel_size,  # type: ignore[arg-type]  # torch stores 2-tuples, typed as of any length
        stride=conv.stride,  # type: ignore[arg-type]
        padding=conv.padding,  # type: ignore[arg-type]
        bias=conv.bias is not None,
    )
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, replacement)

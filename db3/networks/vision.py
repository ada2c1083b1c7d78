"""ResNets for small images, and every torchvision classifier by its own name.

Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016. `resnet18` is torchvision's,
made for 224×224: a 7×7 convolution of stride 2 and a max-pooling leave 1/4 of the height and width to the first block.
`resnet18_small` and `resnet34_small` begin as section 4.2 does for CIFAR-10, with a 3×3 convolution of stride 1 and no
pooling, and keep the rest.
"""

from typing import Any

from torch import nn
from torchvision import models

from db3.networks.shapes import ImageShape

SMALL = ("resnet18_small", "resnet34_small")
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
    plain = name.removesuffix("_small") if name in SMALL else name
    network: nn.Module = models.get_model(plain, weights=None, num_classes=classes, **_options(plain, input_shape))
    if name in SMALL:
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    if input_shape[0] != 3:
        _take_channels(network, input_shape[0])
    return network


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

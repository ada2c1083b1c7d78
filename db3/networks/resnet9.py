"""Plain convolutional networks for 32×32 images in the manner of the CIFAR-10 speed records, at several widths.

Sources: Page, "How to train your ResNet" (2018–2019): whitened first layer, few wide layers, averaged mirror images.
Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (2024): a 2×2 whitening, three blocks of two convolutions that
begin as the identity, batch normalisation without scales, logits made small. "ResNet-9" is what the records call their
family of about nine layers; like Jordan's, these have no shortcuts, for which the identity at the start stands.

Notes:
    ReLU where Jordan has GELU, which has no exact twin; logits times 1/8, where he has 1/9: exact in every arithmetic.
"""

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from db3.networks.shapes import ImageShape, features

_WIDTHS = {"resnet9": (64, 256, 256), "resnet9_half": (32, 128, 128), "resnet9_quarter": (16, 64, 64)}
_MIRRORED = "_mirrored"
RESNET9 = {f"{name}{tail}": widths for name, widths in _WIDTHS.items() for tail in ("", _MIRRORED)}
_PATCH = 2  # side of the patches that the first layer whitens
_NEW = 0.2  # a batch's share of the running statistics: few steps are to be trained


class ResNet9(nn.Sequential):
    """Normalised pixels to logits; the first layer, `stem`, is not trained (see `db3.networks.whitening`).

    Args:
        layers: by name.
        mirrored: whether in evaluation the logits are the mean of the image's and of its mirror image's.
    """

    def __init__(self, layers: "OrderedDict[str, nn.Module]", mirrored: bool) -> None:
        super().__init__(layers)
        self.mirrored = mirrored

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        logits: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        if self.training or not self.mirrored:
            return logits
        mirrored: Tensor = super().forward(images.flip(3))  # type: ignore[no-untyped-call]
        return (logits + mirrored) * 0.5


class Scale(nn.Module):
    """Values times 1/8."""

    def forward(self, values: Tensor) -> Tensor:
        return values * 0.125


def resnet9(name: str, input_shape: ImageShape, classes: int) -> nn.Module:
    """A whitening of 2×2 patches, six 3×3 convolutions, the largest value of each map, a linear layer.

    With 3×32×32 images and 10 classes: 1,972,768 parameters, Half 498,080 and Quarter 127,072, the fixed 288 of the
    first layer included; height and width of 17 or more. `_mirrored` behind a name: the mean over both mirror images.

    Args:
        name: one of `RESNET9`.
        input_shape: (C, H, W).
        classes: K.
    """
    before = 2 * _PATCH**2 * input_shape[0]  # each direction of a patch, with both signs
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = nn.Conv2d(input_shape[0], before, _PATCH, bias=False).requires_grad_(False)
    layers["relu"] = nn.ReLU()
    for block, width in enumerate(RESNET9[name], 1):
        layers[f"conv{block}a"] = nn.Conv2d(before, width, 3, padding=1, bias=False)
        layers[f"pool{block}"] = nn.MaxPool2d(2)
        layers |= {f"norm{block}a": _norm(width), f"relu{block}a": nn.ReLU()}
        layers[f"conv{block}b"] = nn.Conv2d(width, width, 3, padding=1, bias=False)
        layers |= {f"norm{block}b": _norm(width), f"relu{block}b": nn.ReLU()}
        before = width
    height, width = ((side - _PATCH + 1) // 8 for side in input_shape[1:])
    layers["largest"] = nn.MaxPool2d((max(1, height), max(1, width)))
    layers["flatten"] = nn.Flatten()
    inner = features(nn.Sequential(layers), input_shape, name)
    layers |= {"fc": nn.Linear(inner, classes, bias=False), "scale": Scale()}
    return ResNet9(layers, name.endswith(_MIRRORED))


def start_as_identity(network: ResNet9) -> None:
    """Let the first filters of each 3×3 convolution pass their inputs on unchanged; the others stay random."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            with torch.no_grad():
                nn.init.dirac_(module.weight[: module.in_channels])


def _norm(width: int) -> nn.BatchNorm2d:
    """Shifts are learnt, scales are not."""
    norm = nn.BatchNorm2d(width, momentum=_NEW)
    norm.weight.requires_grad_(False)
    return norm

"""Small convolutional networks for images of any shape: surrogates and students need one that always fits."""

from collections import OrderedDict

from torch import nn

from db3.networks.shapes import ImageShape

COMPACT = {"compact": (32, 64, 128), "compact_half": (16, 32, 64), "compact_double": (64, 128, 256)}
_STEM = 64  # images higher or wider than this are reduced first
_POOLED = 4  # maps smaller than this are not pooled any more


def compact(name: str, input_shape: ImageShape, classes: int) -> nn.Module:
    """Three 3×3 convolutions with batch normalisation, pooled while there is room, then the mean of each map.

    Their size does not follow the image's. With 1×28×28 images and 10 classes: 94,186 parameters, Half 24,058 and
    Double 372,682; from 1×1 pixels on.
    """
    side = min(input_shape[1:])
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = input_shape[0]
    factor = -(-max(input_shape[1:]) // _STEM)
    if 1 < factor <= side:
        layers["stem"] = nn.AvgPool2d(factor)
        side //= factor
    for place, width in enumerate(COMPACT[name], 1):
        layers[f"conv{place}"] = nn.Conv2d(before, width, 3, padding=1, bias=False)
        layers[f"norm{place}"] = nn.BatchNorm2d(width)
        layers[f"relu{place}"] = nn.ReLU()
        if side >= _POOLED:
            layers[f"pool{place}"] = nn.MaxPool2d(2)
            side //= 2
        before = width
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(before, classes)
    return nn.Sequential(layers)

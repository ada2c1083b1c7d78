"""AlexNet for 32×32 images and its compact forms, as in the paper's CIFAR-10 experiments.

Source: Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", NeurIPS 2012,
in the form for small images: 3×3 kernels, and batch normalisation instead of dropout after every layer but the last,
the linear ones included (only with those do the parameters come to the 5.84 and 1.47 million of Wang, ICML 2021).
"""

from collections import OrderedDict

from torch import nn

from db3.networks.shapes import ImageShape, features

DIVISORS = {"alexnet": 1, "alexnet_half": 2, "alexnet_quarter": 4}
_MAPS = (64, 192, 384, 256, 256)
_HIDDEN = 4096
_POOLED = (1, 2, 5)  # convolutions that a 2×2 max-pooling follows


def alexnet(name: str, input_shape: ImageShape, classes: int) -> nn.Module:
    """Five convolutions (64-192-384-256-256), three linear layers (4096-4096-K); Half and Quarter divide all widths.

    With 3×32×32 images and 10 classes: 23.3, 5.84 and 1.47 million parameters. Height and width of 16 or more.
    """
    divisor = DIVISORS[name]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = input_shape[0]
    for place, width in enumerate((maps // divisor for maps in _MAPS), 1):
        layers[f"conv{place}"] = nn.Conv2d(before, width, 3, stride=2 if place == 1 else 1, padding=1, bias=False)
        layers[f"norm{place}"] = nn.BatchNorm2d(width)
        layers[f"relu{place}"] = nn.ReLU()
        if place in _POOLED:
            layers[f"pool{place}"] = nn.MaxPool2d(2)
        before = width
    layers["flatten"] = nn.Flatten()
    hidden = _HIDDEN // divisor
    layers["fc1"] = nn.Linear(features(nn.Sequential(layers), input_shape, name), hidden, bias=False)
    layers["norm6"] = nn.BatchNorm1d(hidden)
    layers["relu6"] = nn.ReLU()
    layers["fc2"] = nn.Linear(hidden, hidden, bias=False)
    layers["norm7"] = nn.BatchNorm1d(hidden)
    layers["relu7"] = nn.ReLU()
    layers["fc3"] = nn.Linear(hidden, classes)
    return nn.Sequential(layers)

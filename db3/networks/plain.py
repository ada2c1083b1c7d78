"""Plain convolutional networks whose linear layers see every place of the image: surrogates that are no LeNet5.

What a surrogate's gradient is worth depends on how alike two networks' views of the image are: batch normalisation and
the mean of each map (`compact`) take the places away, which a teacher with linear layers uses.
"""

from collections import OrderedDict

from torch import nn

from db3.networks.shapes import ImageShape, features

PLAIN = {
    "plain": (3, ((16,), (32,)), 128),
    "plain_deep": (3, ((16, 16), (32, 32)), 128),
    "shallow": (7, ((24,),), 128),
}
"""Side of the kernels, maps of the convolutions before each pooling, hidden units."""


def plain(name: str, input_shape: ImageShape, classes: int) -> nn.Module:
    """Padded convolutions, max-pooled one by one or two by two, then two linear layers; height and width of 4 or more.

    With 1×28×28 images and 10 classes `plain` (3×3, one before each pooling) has 206,922 weights, `plain_deep` (3×3,
    two) 218,490, `shallow` (a single one of 7×7) 604,730.

    Args:
        name: one of `PLAIN`.
        input_shape: (C, H, W).
        classes: K.
    """
    side, blocks, hidden = PLAIN[name]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = input_shape[0]
    for block, widths in enumerate(blocks, 1):
        for place, width in enumerate(widths):
            number = f"{block}{'ab'[place]}" if widths[1:] else f"{block}"
            layers[f"conv{number}"] = nn.Conv2d(before, width, side, padding=side // 2)
            if place + 1 == len(widths):  # pooling before the ReLU: the same function, a quarter of the comparisons
                layers[f"pool{block}"] = nn.MaxPool2d(2)
            layers[f"relu{number}"] = nn.ReLU()
            before = width
    layers["flatten"] = nn.Flatten()
    layers["fc1"] = nn.Linear(features(nn.Sequential(layers), input_shape, name), hidden)
    layers["relu"] = nn.ReLU()
    layers["fc2"] = nn.Linear(hidden, classes)
    return nn.Sequential(layers)

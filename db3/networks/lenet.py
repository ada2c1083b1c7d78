"""LeNet5 and its compact forms, as in the paper's MNIST experiments.

Source: LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 1998, in the widths of Wang
(ICML 2021): 1-20-50 maps of 5×5 and 200 hidden units; Half and Fifth divide all three.
"""

from collections import OrderedDict

from torch import nn

from db3.networks.shapes import ImageShape, features

WIDTHS = {"lenet5": (20, 50, 200), "lenet5_half": (10, 25, 100), "lenet5_fifth": (4, 10, 40)}


def lenet(name: str, input_shape: ImageShape, classes: int) -> nn.Module:
    """Two 5×5 convolutions with max-pooling, then two linear layers; height and width of 16 or more.

    With 1×28×28 images and 10 classes: 187,780, 47,645 and 7,964 parameters.
    """
    first, second, hidden = WIDTHS[name]
    maps = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(input_shape[0], first, 5),
            pool1=nn.MaxPool2d(2),  # before the ReLU: the same function, a quarter of the comparisons
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(first, second, 5),
            pool2=nn.MaxPool2d(2),
            relu2=nn.ReLU(),
            flatten=nn.Flatten(),
        )
    )
    head = OrderedDict(
        fc1=nn.Linear(features(maps, input_shape, name), hidden), relu3=nn.ReLU(), fc2=nn.Linear(hidden, classes)
    )
    return nn.Sequential(OrderedDict(**dict(maps.named_children()), **head))

"""What an architecture makes of an input shape, found by calling it once.

On one black image rather than on torch's meta device: that would import torch's compiler, which costs every stage two
seconds, while the call takes milliseconds.
"""

import torch
from torch import Tensor, nn

from db3.errors import ConfigError

ImageShape = tuple[int, int, int]


def trial(network: nn.Module, input_shape: ImageShape, name: str) -> Tensor:
    """What a black image of this shape becomes (the network's mode is used: call `eval` before).

    Args:
        network: any, on the CPU; not changed in evaluation mode.
        input_shape: (C, H, W).
        name: of the architecture, for the error.

    Raises:
        ConfigError: the image is too small (or of a size the architecture cannot take).
    """
    try:
        with torch.no_grad():
            result: Tensor = network(torch.zeros(1, *input_shape))
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"images of shape {list(input_shape)} (C, H, W) do not fit {name} ({reason}): "
            "set a larger dataset.size, or choose another architecture"
        ) from error
    return result


def features(maps: nn.Module, input_shape: ImageShape, name: str) -> int:
    """Values per image after flattened feature maps: the width of the first linear layer."""
    training = maps.training
    count = trial(maps.eval(), input_shape, name).shape[1]
    maps.train(training)
    return count

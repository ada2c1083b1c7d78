"""What an architecture makes of an input shape, found on torch's meta device: no arithmetic, no memory."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from db3.errors import ConfigError

ImageShape = tuple[int, int, int]


def trial(network: nn.Module, input_shape: ImageShape, name: str) -> Tensor:
    """What one image of this shape becomes, without values (the network's mode is used: call `eval` before).

    Args:
        network: any; its weights are neither used nor changed.
        input_shape: (C, H, W).
        name: of the architecture, for the error.

    Raises:
        ConfigError: the image is too small (or of a size the architecture cannot take).
    """
    state = network.state_dict(keep_vars=True)
    try:
        result: Tensor = functional_call(
            network,
            {key: tensor.detach().to("meta") for key, tensor in state.items()},
            (torch.empty(1, *input_shape, device="meta"),),
        )
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

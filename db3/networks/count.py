"""How large and how busy a network is."""

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from db3.networks.shapes import ImageShape, trial


def count_parameters(network: nn.Module) -> int:
    """Number of weights that training changes; buffers (normalisation, running statistics) are none."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, input_shape: ImageShape) -> int:
    """Multiply-adds of convolutions, linear layers and attention for one image of shape (C, H, W)."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with FlopCounterMode(display=False) as counter:
            trial(network, input_shape, "this network")
    finally:
        for module, mode in training.items():
            module.training = mode
    return int(counter.get_total_flops()) // 2

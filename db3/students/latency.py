"""How long a single image takes."""

import statistics
import time

import torch
from torch import nn


def latency_ms(network: nn.Module, input_shape: tuple[int, int, int], runs: int) -> float:
    """Median time of one call with one image, in milliseconds, on one CPU thread after a tenth as many warm-up calls.

    A measurement of this machine at this moment: it belongs into no versioned file. The number of torch threads is
    process-wide and set back afterwards.

    Args:
        network: put in evaluation mode; on the CPU.
        input_shape: (C, H, W).
        runs: timed calls, at least 1.
    """
    image = torch.full((1, *input_shape), 0.5)
    network.eval()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(max(3, runs // 10)):
                network(image)
            return 1000 * statistics.median(_timed(network, image) for _ in range(runs))
    finally:
        torch.set_num_threads(threads)


def _timed(network: nn.Module, image: torch.Tensor) -> float:
    start = time.perf_counter()
    network(image)
    return time.perf_counter() - start

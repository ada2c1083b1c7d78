"""How long a single image takes."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
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
            return _median_ms(lambda: network(image), runs)
    finally:
        torch.set_num_threads(threads)


def session_latency_ms(session: Any, input_shape: tuple[int, int, int], runs: int) -> float:
    """The same of an ONNX file, as `onnx_session` opens it."""
    image = {"images": np.full((1, *input_shape), 0.5, np.float32)}
    return _median_ms(lambda: session.run(["logits"], image), runs)


def _median_ms(call: Callable[[], object], runs: int) -> float:
    for _ in range(max(3, runs // 10)):
        call()
    return 1000 * statistics.median(_timed(call) for _ in range(runs))


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start

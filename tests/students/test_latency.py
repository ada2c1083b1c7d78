from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from db3.students.latency import latency_ms

Network = Callable[..., nn.Module]


def test_a_call_takes_some_time_on_one_thread_and_the_setting_returns() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    seen: set[int] = set()

    class Spy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.add(torch.get_num_threads())
            assert images.shape == (1, 1, 8, 8)
            return images

    try:
        assert latency_ms(Spy(), (1, 8, 8), 5) > 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert seen == {1}


def test_the_calls_are_warmed_up_and_timed(small_network: Network) -> None:
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    network = small_network(dropout=0.5)
    network.register_forward_hook(count)
    assert latency_ms(network, (1, 8, 8), 40) == pytest.approx(0, abs=1000)
    assert calls == 44
    assert not network.training

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import nn

from db3.training.ranks import Rank, Rows


@given(some.lists(some.integers(0, 9), min_size=1, max_size=4).filter(any), some.integers(1, 8))
def test_every_image_of_a_batch_is_one_process_s_in_its_order(counts: list[int], processes: int) -> None:
    parts = [np.arange(count) + 100 * number for number, count in enumerate(counts)]
    shares = [Rank(number, processes).share(parts) for number in range(processes)]
    rejoined = [np.concatenate([share[part] for share in shares]) for part in range(len(parts))]
    assert [rows.tolist() for rows in rejoined] == [part.tolist() for part in parts]
    together = np.concatenate([np.concatenate(share) for share in shares])
    assert together.tolist() == np.concatenate(parts).tolist()
    sizes = [sum(map(len, share)) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    owned = [Rank(number, processes).rows(sum(counts)) for number in range(processes)]
    assert [rows.stop - rows.start for rows in owned] == sizes


def test_a_tensor_may_have_several_rows_an_image() -> None:
    rows = Rows(3, 6, 8)
    assert (rows.each(3), rows.each(12), rows.each(4)) == (1, 4, 0)
    assert not rows.all
    assert Rows(0, 8, 8).all


def test_alone_nothing_is_wrapped_or_summed() -> None:
    network, values = nn.Linear(2, 2), torch.ones(3)
    assert Rank().joined(network) is network
    assert Rank().sum(values) is values
    assert not torch.distributed.is_initialized()

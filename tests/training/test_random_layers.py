from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from db3.errors import ConfigError
from db3.training.random_layers import KeyedRandomness
from db3.training.ranks import Rows


def _drawn(layer: Callable[[Tensor], Tensor], seed: int, calls: int = 1) -> Tensor:
    with KeyedRandomness(seed):
        return torch.stack([layer(torch.ones(4, 50, 4, 4)) for _ in range(calls)])


@pytest.mark.parametrize("layer", [nn.Dropout(0.3), nn.Dropout(0.3, inplace=True), StochasticDepth(0.3, "row")])
def test_the_key_alone_decides_what_is_dropped(layer: nn.Module) -> None:
    first = _drawn(layer, 1, 20)
    torch.rand(7)  # moves the shared generator
    assert torch.equal(first, _drawn(layer, 1, 20))
    assert not torch.equal(first, _drawn(layer, 2, 20))
    # Each call draws anew: the calls repeat at no distance (four rows alike by chance: 0.11 a call, 4e-10 for ten).
    assert not any(torch.equal(first[lag:], first[:-lag]) for lag in range(1, 11))


# The last has several rows an image.
SHARED = [nn.Dropout(0.3), StochasticDepth(0.3, "row"), nn.Sequential(nn.Flatten(0, 1), nn.Dropout(0.3))]


@pytest.mark.parametrize("layer", SHARED)
def test_processes_that_share_a_batch_drop_what_one_would(layer: nn.Module) -> None:
    images, parts = torch.ones(5, 6, 4, 4), list[Tensor]()
    with KeyedRandomness(1):
        whole = [layer(images) for _ in range(3)]
    for rows in (Rows(0, 2, 5), Rows(2, 3, 5), Rows(3, 5, 5)):
        with KeyedRandomness(1, rows=rows):
            parts.append(torch.stack([layer(images[rows.start : rows.stop]) for _ in range(3)]))
    assert torch.equal(torch.cat(parts, dim=1), torch.stack(whole))


def test_numbers_that_belong_to_no_image_are_refused_where_a_batch_is_shared() -> None:
    with (
        pytest.raises(ConfigError, match=r"for 1 rows of 2 images.*in one process"),
        KeyedRandomness(1, rows=Rows(0, 2, 5)),
    ):
        StochasticDepth(0.3, "batch")(torch.ones(2, 3))


def test_the_shared_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    _drawn(nn.Dropout(0.5), 1)
    assert torch.equal(before, torch.get_rng_state())


def test_dropout_keeps_the_share_and_the_mean() -> None:
    values = _drawn(nn.Dropout(0.3), 1, 30)
    assert values.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert float((values == 0).float().mean()) == pytest.approx(0.3, abs=0.01)


def test_dropped_values_have_no_gradient() -> None:
    values = torch.ones(1000, requires_grad=True)
    with KeyedRandomness(1):
        kept = F.dropout(values, 0.5)
    kept.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, kept.detach())


@pytest.mark.parametrize(("layer", "factor"), [(nn.Dropout(0.0), 1), (nn.Dropout(1.0), 0), (nn.Dropout(0.5).eval(), 1)])
def test_the_ends_of_the_range_are_exact(layer: nn.Module, factor: int) -> None:
    assert torch.equal(_drawn(layer, 1), factor * torch.ones(1, 4, 50, 4, 4))


def test_threads_do_not_share_a_stream() -> None:
    alone = [_drawn(nn.Dropout(0.5), seed, 50) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda seed: _drawn(nn.Dropout(0.5), seed, 50), (1, 2)))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("layer", [nn.Dropout2d(0.5), nn.AlphaDropout(0.5), nn.RReLU()])
def test_other_random_layers_are_refused(layer: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"exchange the layer for torch\.nn\.Dropout"):
        _drawn(layer, 1)

"""Row sums and norms: the same bits in any company, and right."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from db3.arithmetic.sums import row_norm, row_sum

WIDTHS = (0, 1, 2, 3, 5, 64, 783, 784, 785, 3 * 32 * 32)


def _drawn(rows: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(width), dtype=dtype) * 100


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("function", [row_sum, row_norm])
def test_a_row_has_the_same_bits_alone_and_among_others(width: int, function: object) -> None:
    values = _drawn(33, width)
    together = function(values)  # type: ignore[operator]
    assert torch.equal(torch.stack([function(row) for row in values]), together)  # type: ignore[operator]
    assert torch.equal(function(values[None].expand(2, -1, -1)), together.expand(2, -1))  # type: ignore[operator]
    for spread in (torch.stack([values, -values], dim=-1)[..., 0], values.T.contiguous().T):
        assert torch.equal(function(spread), together)  # type: ignore[operator]


@pytest.mark.parametrize("width", [784, 785])
def test_the_number_of_threads_changes_no_bit(width: int) -> None:
    values, threads = _drawn(3000, width), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = row_norm(values)
        torch.set_num_threads(2)
        assert torch.equal(row_norm(values), alone)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("width", WIDTHS)
def test_sums_are_those_of_exact_arithmetic(width: int) -> None:
    """Pairwise summation: the error grows with log2 of the width only."""
    values = _drawn(5, width)
    exact = [math.fsum(row) for row in values.double().tolist()]
    bound = [2**-24 * (math.log2(max(width, 1)) + 1) * math.fsum(map(abs, row)) for row in values.double().tolist()]
    for found, wanted, maximum in zip(row_sum(values).tolist(), exact, bound, strict=True):
        assert abs(found - wanted) <= maximum


@given(st.lists(st.integers(-(2**15), 2**15), max_size=200))
def test_sums_of_small_integers_are_exact(numbers: list[int]) -> None:
    assert float(row_sum(torch.tensor(numbers, dtype=torch.float32))) == sum(numbers)


def test_the_order_is_the_documented_one() -> None:
    """Halves folded: (a + c) + (b + d), the odd one last. Other orders round differently here."""
    a, b, c, d, e = 1.0, 2.0**-24, 2.0**-24, 2.0**-23, 3.0
    values = torch.tensor([a, b, c, d, e])
    expected = (values[0] + values[2]) + (values[1] + values[3])
    assert row_sum(values[:4]) == expected
    # Of five, the fifth waits: [a + c, b + d, e] -> [(a + c) + (b + d), e].
    assert row_sum(values) == expected + values[4]
    assert expected != ((values[0] + values[1]) + values[2]) + values[3]


def test_norms_of_known_triangles() -> None:
    assert row_norm(torch.tensor([[3.0, 4.0], [5.0, 12.0], [0.0, 0.0]])).tolist() == [5, 13, 0]


def test_the_type_is_kept() -> None:
    assert row_norm(_drawn(2, 9, torch.float64)).dtype == torch.float64
    assert row_sum(_drawn(2, 0, torch.float64)).dtype == torch.float64


def test_not_a_number_is_not_hidden() -> None:
    assert torch.isnan(row_sum(torch.tensor([1.0, torch.nan, 2.0])))

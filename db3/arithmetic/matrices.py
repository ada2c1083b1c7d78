"""Products of matrices, and equations of positive definite ones, with the same bits on every machine.

Factors are rounded to grids, row by row, to two numbers of so few bits that sums of their products are exact. So every
result depends on its own rows alone: neither the size of a call nor zeros at the end of the rows change a bit. Errors
are some 2⁻³⁸ of what the largest elements could add up to.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from db3.arithmetic.functions import power_of_two, sqrt
from db3.arithmetic.grid import room, round_images
from db3.arithmetic.guard import integer_sums
from db3.errors import ConfigError

_BITS, _LEAST = 20, 11  # of each of the two numbers, for up to 8192 terms; for longer sums fewer
_BLOCK = 16


@dataclass(frozen=True)
class Factor:
    """Rows on their grids, for many products with the same ones; see `factor`."""

    _coarse: Float[Tensor, "*n i k"]
    _fine: Float[Tensor, "*n i k"]


def factor(rows: Float[Tensor, "*n i k"], name: str = "a product") -> Factor:
    """Round rows to their grids once; `row_products` takes the result in their place, and gives the same bits.

    Args:
        rows: float64.
        name: of the product, for errors.

    Raises:
        ConfigError: rows of more than 2³¹ elements.
        Db3Error: NaN, infinity or values of 2⁵⁰⁰ and more.
    """
    bits = min(_BITS, room(rows.shape[-1]) // 2)
    if bits < _LEAST:
        raise ConfigError(f"{name} has rows of {rows.shape[-1]} elements; expected 2³¹ at most: cut them")
    return Factor(*_in_two(rows, bits, name))


def row_products(
    a: Float[Tensor, "*n i k"] | Factor, b: Float[Tensor, "*m j k"] | Factor, name: str = "a product"
) -> Tensor:
    """a·bᵀ in float64: the products of all rows of `a` with all rows of `b`, batch by batch.

    Args:
        a: float64, or rows that lie on their grids already.
        b: likewise, of the same batches, or a matrix for all of them.
        name: of the product, for errors.

    Raises:
        ConfigError: rows of more than 2³¹ elements.
        Db3Error: NaN, infinity or values of 2⁵⁰⁰ and more.
    """
    one = a if isinstance(a, Factor) else factor(a, name)
    other = one if b is a else b if isinstance(b, Factor) else factor(b, name)
    return _products((one._coarse, one._fine), (other._coarse, other._fine))


@dataclass(frozen=True)
class Cholesky:
    """The factor L of A = L·Lᵀ, batch by batch, in blocks; see `cholesky`."""

    _blocks: list[Tensor]  # of the factor: rows from each block on, its columns
    _inverses: list[Tensor]  # of the factor's square blocks

    def forward(self, rows: Float[Tensor, "*n t q"]) -> Float[Tensor, "*n t q"]:
        """L⁻¹·x for every row x."""
        done: list[Tensor] = []
        rest = rows
        for block, inverse in zip(self._blocks, self._inverses, strict=True):
            size = inverse.shape[-1]
            done.append(row_products(rest[..., :size], inverse))
            rest = rest[..., size:]
            if rest.shape[-1]:
                rest = rest - row_products(done[-1], block[..., size:, :])
        return torch.cat(done, dim=-1)

    def backward(self, rows: Float[Tensor, "*n t q"]) -> Float[Tensor, "*n t q"]:
        """L⁻ᵀ·x for every row x."""
        after = rows[..., :0]
        end = rows.shape[-1]
        for block, inverse in zip(reversed(self._blocks), reversed(self._inverses), strict=True):
            size = inverse.shape[-1]
            own = rows[..., end - size : end]
            if after.shape[-1]:
                own = own - row_products(after, block[..., size:, :].mT)
            after = torch.cat([row_products(own, inverse.mT), after], dim=-1)
            end -= size
        return after

    def solve(self, rows: Float[Tensor, "*n t q"]) -> Float[Tensor, "*n t q"]:
        """A⁻¹·x for every row x."""
        return self.backward(self.forward(rows))


def cholesky(matrix: Float[Tensor, "*n q q"], smallest: float = 0.0) -> Cholesky:
    """Factorise in blocks of columns, each less the products of those before it.

    More rows and columns of the unit matrix at the end of A change nothing before them.

    Args:
        matrix: A, float64, symmetric and positive definite, of up to 8192 rows.
        smallest: a pivot that is not above it makes a row of zeros in L⁻¹, as where A is singular.
    """
    size = matrix.shape[-1]
    # No element of a row of L exceeds the root of A's diagonal: so one grid serves all blocks of the row.
    largest = sqrt(matrix.diagonal(dim1=-2, dim2=-1).clamp(min=0))[..., None]
    coarse, fine = torch.zeros_like(matrix), torch.zeros_like(matrix)
    blocks, inverses = [], []
    for start in range(0, size, _BLOCK):
        end = min(start + _BLOCK, size)
        panel = matrix[..., start:, start:end]
        if start:
            left = (coarse[..., start:, :start], fine[..., start:, :start])
            panel = panel - _products(left, (coarse[..., start:end, :start], fine[..., start:end, :start]))
        inverses.append(_inverse_root(panel[..., : end - start, :], smallest))
        blocks.append(row_products(panel, inverses[-1]))
        step = _below(largest[..., start:, :], _BITS)
        coarse[..., start:, start:end] = _to_grid(blocks[-1], step)
        fine[..., start:, start:end] = _to_grid(blocks[-1] - coarse[..., start:, start:end], step * 2.0**-_BITS)
    return Cholesky(blocks, inverses)


def _inverse_root(matrix: Float[Tensor, "*n b b"], smallest: float) -> Float[Tensor, "*n b b"]:
    """The inverse of a small matrix's factor: Gauss's elimination on [A, 1], column by column."""
    size = matrix.shape[-1]
    work = torch.cat([matrix, torch.eye(size, dtype=matrix.dtype, device=matrix.device).expand_as(matrix)], dim=-1)
    for column in range(size):
        pivot = work[..., column, column, None]
        row = work[..., column, :] / sqrt(torch.where(pivot > smallest, pivot, torch.inf))
        work[..., column, :] = row
        work[..., column + 1 :, :] -= row[..., column + 1 : size, None] * row[..., None, :]
    return work[..., size:].tril()


def _products(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    with integer_sums():
        coarse, fine, finer = a[0] @ b[0].mT, a[0] @ b[1].mT, a[1] @ b[0].mT
    return (coarse + (fine + finer)).add_(0.0)  # a zero's sign depends on the kernel: + 0 makes all of them +0


def _in_two(values: Float[Tensor, "*n i k"], bits: int, name: str) -> tuple[Tensor, Tensor]:
    """Each row as a number of so many bits, and another for what that leaves."""
    flat = values.reshape(-1, values.shape[-1])
    coarse = round_images(flat, bits, name, "its factors")
    fine = round_images(flat - coarse, bits, name, "its factors")
    return coarse.view(values.shape), fine.view(values.shape)


def _below(largest: Tensor, bits: int) -> Tensor:
    """The step of a grid `bits` below the power of two that exceeds these."""
    exponent = torch.frexp(largest)[1].to(torch.int64).clamp(min=-400)
    return power_of_two(exponent + (1 - bits))  # one bit more: rounding may carry an element above the root


def _to_grid(values: Tensor, step: Tensor) -> Tensor:
    far = step * (1.5 * 2.0**52)
    return (values + far).sub_(far)

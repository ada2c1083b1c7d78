"""Elementary functions: a few units in the last place, and the same bits everywhere."""

import hashlib
import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from db3.arithmetic import cos, exact_only, exp, log, power, sigmoid, sin, sqrt, tanh
from db3.arithmetic.functions import corrected_sqrt, power_of_two

mpmath.mp.prec = 200


def _numbers(low: float, high: float, count: int = 4000, seed: int = 3) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(count, dtype=torch.float64, generator=draw) * (high - low) + low


def _ulps(got: torch.Tensor, wanted: list[mpmath.mpf]) -> float:
    worst = 0.0
    for value, true in zip(got.tolist(), wanted, strict=True):
        worst = max(worst, abs(float((mpmath.mpf(value) - true) / mpmath.mpf(math.ulp(float(true))))))
    return worst


@pytest.mark.parametrize(
    ("function", "reference", "low", "high", "ulps"),
    [
        (exp, mpmath.exp, -700.0, 700.0, 1.5),
        (exp, mpmath.exp, -1.0, 1.0, 1.5),
        (log, mpmath.log, 1e-300, 1e300, 1.5),
        (log, mpmath.log, 0.5, 2.0, 1.5),
        (sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)), -40.0, 40.0, 4.0),
        (tanh, mpmath.tanh, -5.0, 5.0, 5.0),
        (tanh, mpmath.tanh, -1e-3, 1e-3, 5.0),
        (cos, mpmath.cos, -10.0, 10.0, 2.0),
        (sin, mpmath.sin, -10.0, 10.0, 2.0),
    ],
)
def test_elementary_functions_are_accurate(
    function: Callable[[Tensor], Tensor], reference: Callable[[Any], Any], low: float, high: float, ulps: float
) -> None:
    values = _numbers(low, high)
    with exact_only():
        got = function(values)

    assert _ulps(got, [reference(mpmath.mpf(value)) for value in values.tolist()]) <= ulps


def test_exact_values() -> None:
    inf = math.inf

    assert exp(torch.tensor([0.0, -709.0, -inf, 710.0, inf], dtype=torch.float64)).tolist() == [1, 0, 0, inf, inf]
    assert log(torch.tensor([1.0, 0.0, inf], dtype=torch.float64)).tolist() == [0, -inf, inf]
    assert math.isnan(log(torch.tensor([-1.0], dtype=torch.float64)).item())
    assert math.isnan(exp(torch.tensor([math.nan], dtype=torch.float64)).item())
    assert cos(torch.zeros(1, dtype=torch.float64)).item() == 1
    assert sigmoid(torch.tensor([-inf, 0.0, inf], dtype=torch.float64)).tolist() == [0, 0.5, 1]
    assert tanh(torch.tensor([-inf, 0.0, inf], dtype=torch.float64)).tolist() == [-1, 0, 1]
    assert power(torch.tensor([3.0], dtype=torch.float64), 4).item() == 81
    assert power(torch.tensor([2.0], dtype=torch.float64), -2).item() == 0.25


def test_power_is_close() -> None:
    values = _numbers(0.01, 50.0, 500)
    got = power(values, -0.37)
    wanted = [mpmath.mpf(value) ** mpmath.mpf(-0.37) for value in values.tolist()]

    assert all(abs(mpmath.mpf(g) / w - 1) < 4 * 2**-52 for g, w in zip(got.tolist(), wanted, strict=True))


def test_power_of_two() -> None:
    exponents = torch.arange(-1022, 1024)

    assert power_of_two(exponents).tolist() == [math.ldexp(1.0, e) for e in exponents.tolist()]


@pytest.mark.parametrize("function", [sqrt, corrected_sqrt])
def test_sqrt_is_correctly_rounded(function: Callable[[Tensor], Tensor]) -> None:
    values = torch.cat(
        [
            _numbers(0.0, 4.0, 120_000),
            _numbers(0.0, 1e300, 20_000),
            power_of_two(torch.arange(-1022, 1024)),
            torch.tensor([0.0, 5e-324, 1.5e-310, 2.2250738585072014e-308, math.inf], dtype=torch.float64),
            torch.nextafter(power_of_two(torch.arange(-1000, 1000, 2)), torch.tensor(0.0, dtype=torch.float64)),
            torch.nextafter(power_of_two(torch.arange(-1000, 1000, 2)), torch.tensor(math.inf, dtype=torch.float64)),
        ]
    )

    assert function(values).tolist() == [math.sqrt(value) for value in values.tolist()]


def test_correction_has_something_to_correct() -> None:
    """The correction's test would pass on a machine whose torch is right; so it is held against wrong roots too."""
    values = _numbers(0.5, 8.0, 20_000)
    wanted = torch.tensor([math.sqrt(value) for value in values.tolist()], dtype=torch.float64)
    off = [torch.nextafter(wanted, torch.tensor(to, dtype=torch.float64).expand_as(wanted)) for to in (0.0, 100.0)]

    for wrong in off:

        class Wrong(torch.utils._python_dispatch.TorchDispatchMode):
            def __torch_dispatch__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None, wrong: Tensor = wrong
            ) -> Any:
                result = func(*args, **(kwargs or {}))
                if func is torch.ops.aten.sqrt.default and args[0].min() >= 1:
                    _, exponent = np.frexp(values.numpy())
                    odd = exponent % 2
                    return torch.from_numpy(np.ldexp(wrong.numpy(), -((exponent - np.where(odd == 1, 1, 2)) // 2)))
                return result

        with Wrong():
            got = corrected_sqrt(values)
        assert torch.equal(got, wanted)


def test_float32_roots() -> None:
    values = _numbers(0.0, 4.0, 100_000).float()

    assert torch.equal(sqrt(values), torch.from_numpy(np.sqrt(values.numpy())))


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=0))
@settings(max_examples=300, deadline=None)
def test_any_root(value: float) -> None:
    assert corrected_sqrt(torch.tensor([value], dtype=torch.float64)).item() == math.sqrt(value)


def test_bits_are_pinned() -> None:
    """The same on every machine: a change here changes every digest that rests on exact arithmetic."""
    values = _numbers(-20.0, 20.0, 2000, seed=9)
    hashed = hashlib.sha256()
    for result in (exp(values), log(values.abs()), tanh(values), sigmoid(values), cos(values), sin(values)):
        hashed.update(result.numpy().tobytes())

    assert hashed.hexdigest()[:16] == "753539bc8b3cd775"

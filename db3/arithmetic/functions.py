"""exp, log, tanh, sigmoid, sine, cosine, square root and powers with the same bits on every machine.

IEEE 754 defines +, −, ×, ÷ and comparisons to the last bit, but neither a C library's nor a vector library's exp; and
torch's square root on x86 is not correctly rounded (1.4 % of float64 roots are off by one bit). Here each function is
a fixed sequence of single operations on float64 tensors, product and sum never fused. Errors are a few units in the
last place; tests hold them against 200-bit arithmetic.

Source of the reductions: Cody and Waite, "Software Manual for the Elementary Functions", 1980.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

_LOG2E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693145751953125, 1.42860682030941723212e-6  # the first has 20 bits: its multiples are exact
_EXP_TERMS, _LOG_TERMS, _TRIG_TERMS, _SMALL_TERMS = 13, 12, 8, 20
_LOWEST, _HIGHEST = -708.0, 709.7  # below, results would lose bits to denormals: they are 0
_HALF_PI = (1.570796325802803, 9.920935739593517e-10, 5.721188726109832e-18)  # 27 bits, 27 bits, the rest
_FURTHEST = 2.0**25  # quarter turns whose multiples of the first part are exact
_SQRT_HALF = 0.7071067811865476


def power_of_two(exponent: Int64[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """2^k in float64 from its bits, for −1022 ≤ k ≤ 1023 (torch's ldexp goes through a float32 power)."""
    return ((exponent + 1023) << 52).view(torch.float64)


def divide(values: Float[Tensor, "*n"], number: int | float) -> Float[Tensor, "*n"]:
    """Quotient x ÷ number, correctly rounded: by a Python number, CUDA would multiply with its reciprocal."""
    return values / torch.full((), number, dtype=values.dtype, device=values.device)


def exp(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """e^x; 0 below −708, +inf above 709.7."""
    x = values.clamp(_LOWEST - 1, _HIGHEST + 1)
    k = torch.round(x * _LOG2E)
    r = x - k * _LN2_HIGH
    r = r - k * _LN2_LOW
    p = _horner(r, [1 / math.factorial(n) for n in range(_EXP_TERMS + 1)])
    half = (k.to(torch.int64)) >> 1  # in two steps, each within the range of normal numbers
    p = p * power_of_two(half)
    p = p * power_of_two(k.to(torch.int64) - half)
    p = torch.where(values < _LOWEST, 0.0, p)
    return torch.where(values > _HIGHEST, torch.inf, p)


def log(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Natural logarithm; −inf at 0, NaN below."""
    fraction, exponent = torch.frexp(values)
    low = fraction < _SQRT_HALF
    f = torch.where(low, fraction * 2, fraction)
    e = (exponent.to(torch.int64) - low.to(torch.int64)).to(torch.float64)
    d = f - 1
    s = d / (d + 2)  # log f = 2 atanh s
    z = s * s
    p = _horner(z, [2 / (2 * n + 3) for n in range(_LOG_TERMS)])
    # d − s·(d²/2 … ) would be longer: s·(2 + z·p) as d's own value and a small correction keeps its last bits.
    correction = s * (d - z * p)
    result = e * _LN2_LOW - correction
    result = result + d
    result = result + e * _LN2_HIGH
    result = torch.where(values == 0, -torch.inf, result)
    result = torch.where(values < 0, torch.nan, result)
    return torch.where(values == torch.inf, torch.inf, result)


def sigmoid(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """1 / (1 + e^−x)."""
    e = exp(-values.abs())
    return torch.where(values >= 0, 1.0, e) / (1 + e)


def tanh(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """(e^2x − 1) / (e^2x + 1), without cancellation near 0."""
    y = values.abs() * 2
    small = y.clamp(max=1)
    less = small * _horner(small, [1 / math.factorial(n + 1) for n in range(_SMALL_TERMS)])  # e^y − 1
    near = less / (less + 2)
    far = 1 - 2 / (exp(y.clamp(max=50)) + 1)
    result = torch.where(y < 1, near, far)
    return torch.where(values < 0, -result, result)


def cos(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Cosine of angles up to 2²⁵ quarter turns; NaN beyond."""
    return _trigonometric(values, 1)


def sin(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Sine of angles up to 2²⁵ quarter turns; NaN beyond."""
    return _trigonometric(values, 0)


def power(values: Float[Tensor, "*n"], exponent: int | float) -> Float[Tensor, "*n"]:
    """x^y for x ≥ 0: by squaring where y is a whole number up to 1024, else e^(y · log x).

    The latter's relative error is up to (2 + |y · log x|) · 2⁻⁵².
    """
    if exponent == int(exponent) and abs(exponent) <= 1024:
        whole = _whole_power(values, abs(int(exponent)))
        return 1 / whole if exponent < 0 else whole
    return exp(log(values) * exponent)


def sqrt(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The correctly rounded square root, of float32 or float64 tensors; NaN below 0.

    On the CPU NumPy's, which is the processor's own instruction. Elsewhere torch's, corrected.
    """
    if values.device.type == "cpu":
        with np.errstate(invalid="ignore"):
            return torch.from_numpy(np.asarray(np.sqrt(values.detach().numpy())))  # an array of no axes too
    if values.dtype == torch.float32:  # rounding a float64 root once more is innocuous: 53 ≥ 2 · 24 + 2 bits
        return corrected_sqrt(values.double()).float()
    return corrected_sqrt(values)


def corrected_sqrt(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Torch's square root of float64, moved by one bit where an exact comparison says so.

    y is right where (y − u/2)² < x < (y + u/2)², u its last bit. x − y² is computed without error (Dekker, "A
    floating-point technique for extending the available precision", 1971), as a whole multiple of u².
    """
    fraction, exponent = torch.frexp(values)
    odd = exponent.to(torch.int64) & 1
    x = torch.where(odd == 1, fraction * 2, fraction * 4)  # in 1 … 4, and the rest a power of four
    y = x.sqrt()
    above = torch.nextafter(y, torch.full_like(y, torch.inf)) - y
    below = y - torch.nextafter(y, torch.zeros_like(y))
    square = y * y
    rest = (x - square) - _product_error(y, square)
    y = torch.where(rest > y * above, y + above, y)
    y = torch.where(rest <= -(y * below), y - below, y)
    half = (exponent.to(torch.int64) - torch.where(odd == 1, 1, 2)) >> 1
    plain = torch.isfinite(values) & (values > 0)
    return torch.where(plain, y * power_of_two(half), values.sqrt())


def _product_error(y: Tensor, square: Tensor) -> Tensor:
    """y² − square, exactly."""
    split = y * 134217729.0  # 2²⁷ + 1
    high = split - (split - y)
    low = y - high
    error = high * high - square
    cross = high * low
    error = error + cross
    error = error + cross
    return error + low * low


def _horner(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    result = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result * x
        result = result + coefficient
    return result


def _trigonometric(values: Tensor, shift: int) -> Tensor:
    k = torch.round(values * (2 / math.pi))
    r = values
    for part in _HALF_PI:
        r = r - k * part
    z = r * r
    sine = r + r * z * _horner(z, [(-1) ** (n + 1) / math.factorial(2 * n + 3) for n in range(_TRIG_TERMS)])
    cosine = 1 - (z * 0.5 - z * z * _horner(z, [(-1) ** n / math.factorial(2 * n + 4) for n in range(_TRIG_TERMS)]))
    quarter = (k.clamp(-_FURTHEST, _FURTHEST).to(torch.int64) + shift) & 3
    result = torch.where((quarter & 1) == 1, cosine, sine)
    result = torch.where(quarter >= 2, -result, result)
    return torch.where(k.abs() <= _FURTHEST, result, torch.nan)


def _whole_power(values: Tensor, exponent: int) -> Tensor:
    result, square = torch.ones_like(values), values
    while exponent:
        if exponent & 1:
            result = result * square
        square = square * square
        exponent >>= 1
    return result

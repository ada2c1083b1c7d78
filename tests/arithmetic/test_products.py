"""Convolutions, linear layers and their gradients against rational arithmetic; order, packing and scale."""

from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from db3.arithmetic.grid import choose_bits, round_images, round_tensor
from db3.arithmetic.norms import normalise_batch, normalise_running
from db3.arithmetic.patches import Window
from db3.arithmetic.pooling import Pool, adaptive_avg_pool2d, avg_pool2d, max_pool2d
from db3.arithmetic.products import conv2d, linear
from db3.errors import ConfigError, Db3Error
from tests.arithmetic.helpers import draw, exact_equal, on_grid

SCALES = [0.0, 5e-324, 1e-310, 1e-160, 1e-9, 1.0, 3e7, 1e140]


def _dot(left: list[Fraction], right: list[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(left, right, strict=True)), Fraction(0))


@given(st.sampled_from(SCALES), st.sampled_from(SCALES), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_linear_is_rational_arithmetic(scale: float, weight_scale: float, width: int, seed: int) -> None:
    x, w = draw(3, width, seed=seed) * scale, draw(2, width, seed=seed + 1) * weight_scale
    x[0, 0] = x[0, 0] * 1000  # one value far above the others
    bits = choose_bits("layer", width, 2, 3)
    a, b = on_grid(x, bits.inputs), on_grid(w, bits.weights)

    got = linear(x, w, None, per_image=False)

    for row in range(3):
        for out in range(2):
            assert Fraction(got[row, out].item()) == _dot(
                a[row * width : (row + 1) * width], b[out * width : (out + 1) * width]
            )


@given(st.sampled_from(SCALES), st.integers(0, 99), st.integers(1, 2), st.integers(0, 1), st.sampled_from([1, 2]))
@settings(max_examples=40, deadline=None)
def test_convolution_and_its_gradients_are_rational_arithmetic(
    scale: float, seed: int, stride: int, padding: int, groups: int
) -> None:
    x, w = draw(2, 2, 4, 4, seed=seed) * scale, draw(2, 2 // groups, 3, 3, seed=seed + 1)
    window = Window((3, 3), (stride, stride), (padding, padding), (1, 1), groups)
    x.requires_grad_()
    w.requires_grad_()
    got = conv2d(x, w, None, window, per_image=False)
    g = draw(*got.shape, seed=seed + 2)
    got.backward(g)

    side = got.shape[2]
    bits = choose_bits("layer", 18 // groups, 18 // groups, 2 * side * side)
    a, b, c = (on_grid(v.detach(), n) for v, n in ((x, bits.inputs), (w, bits.weights), (g, bits.gradients)))
    outputs, by_x, by_w = {}, [Fraction(0)] * len(a), [Fraction(0)] * len(b)
    for n, o, y, z in ((n, o, y, z) for n in range(2) for o in range(2) for y in range(side) for z in range(side)):
        place = ((n * 2 + o) * side + y) * side + z
        outputs[place] = Fraction(0)
        for i, ky, kx in ((i, p, q) for i in range(2 // groups) for p in range(3) for q in range(3)):
            channel = i + (o if groups == 2 else 0)
            row, column = y * stride + ky - padding, z * stride + kx - padding
            if not (0 <= row < 4 and 0 <= column < 4):
                continue
            at_x, at_w = ((n * 2 + channel) * 4 + row) * 4 + column, ((o * (2 // groups) + i) * 3 + ky) * 3 + kx
            outputs[place] += a[at_x] * b[at_w]
            by_x[at_x] += c[place] * b[at_w]
            by_w[at_w] += c[place] * a[at_x]

    assert [Fraction(v) for v in got.flatten().tolist()] == list(outputs.values())
    assert [Fraction(v) for v in x.grad.flatten().tolist()] == by_x
    assert [Fraction(v) for v in w.grad.flatten().tolist()] == by_w


@given(st.integers(0, 99), st.sampled_from([1e-200, 1.0, 1e100]))
@settings(max_examples=20, deadline=None)
def test_the_order_of_terms_changes_no_bit(seed: int, scale: float) -> None:
    x, w = draw(5, 300, seed=seed) * scale, draw(4, 300, seed=seed + 1)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(seed))

    assert exact_equal(linear(x, w, None, per_image=False), linear(x[:, order], w[:, order], None, per_image=False))


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e120])
def test_an_image_alone_and_among_others(scale: float) -> None:
    x, w, b = draw(64, 2, 9, 9) * scale, draw(3, 2, 3, 3, seed=1), draw(3, seed=2)
    x[7] *= 1e6
    x.requires_grad_()
    window = Window((3, 3), padding=(1, 1))
    g = draw(64, 3, 9, 9, seed=4)
    whole = conv2d(x, w, b, window, per_image=True)
    (gradient,) = torch.autograd.grad(whole, x, g)

    for row in (0, 7, 63):
        one = x[row : row + 1].detach().requires_grad_()
        alone = conv2d(one, w, b, window, per_image=True)
        (own,) = torch.autograd.grad(alone, one, g[row : row + 1])
        assert exact_equal(alone[0], whole[row])
        assert exact_equal(own[0], gradient[row])


def test_weights_gradient_in_evaluation_is_close_to_torchs() -> None:
    x, w = draw(6, 2, 7, 7), draw(3, 2, 3, 3, seed=1).requires_grad_()
    g = draw(6, 3, 5, 5, seed=2)
    (got,) = torch.autograd.grad(conv2d(x, w, None, Window((3, 3)), per_image=True), w, g)
    (wanted,) = torch.autograd.grad(F.conv2d(x, w), w, g)

    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def _run(images: int, window: Window, seed: int = 0) -> tuple[Tensor, ...]:
    """A convolution and both its gradients."""
    x = draw(images, 3, 12, 12, seed=seed).requires_grad_()
    w = draw(5, 3, *window.kernel, seed=seed + 1).requires_grad_()
    out = conv2d(x, w, None, window, per_image=False)
    return out, *torch.autograd.grad(out, (x, w), draw(*out.shape, seed=seed + 3))


@pytest.mark.parametrize("size", [2**8, 2**13, 2**30])
@pytest.mark.parametrize("stride", [(2, 1), (1, 1)])
def test_pieces_change_no_bit(monkeypatch: pytest.MonkeyPatch, size: Any, stride: Any) -> None:
    window = Window((5, 5), stride, (2, 1))
    before = _run(20, window)
    monkeypatch.setattr("db3.arithmetic.patches._PIECE", size)
    monkeypatch.setattr("db3.arithmetic.patches._BAND", size)
    assert all(exact_equal(*pair) for pair in zip(before, _run(20, window), strict=True))


@pytest.mark.parametrize("kernel", [(5, 5), (3, 1), (1, 4), (2, 3), (12, 12)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 0), (0, 2), (5, 3)])
def test_rows_and_patches_have_the_same_bits(monkeypatch: pytest.MonkeyPatch, kernel: Any, padding: Any) -> None:
    window = Window(kernel, padding=padding)
    monkeypatch.setattr("db3.arithmetic.convolutions._LONG", 0)
    rows = _run(4, window)
    monkeypatch.setattr("db3.arithmetic.convolutions._LONG", 2**40)

    assert all(exact_equal(*pair) for pair in zip(rows, _run(4, window), strict=True))


def test_results_do_not_lie_in_scratch_memory() -> None:
    window = Window((5, 5), padding=(2, 2))
    first = _run(16, window)
    kept = [tensor.clone() for tensor in first]
    with torch.inference_mode():
        conv2d(draw(40, 3, 12, 12, seed=9), draw(5, 3, 5, 5), None, window, per_image=False)
    _run(16, window, seed=5)

    assert all(exact_equal(*pair) for pair in zip(first, kept, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e200])
def test_unfit_values_are_refused_by_name(bad: float) -> None:
    x = draw(2, 3)
    x[1, 2] = bad
    for per_image in (True, False):
        with pytest.raises(Db3Error, match=r"body\.fc1: its inputs hold .*finite values below 2\^500"):
            linear(x, draw(2, 3), None, per_image=per_image, name="body.fc1")
        with pytest.raises(Db3Error, match=r"body\.fc1: its weights"):
            linear(draw(2, 3), x, None, per_image=per_image, name="body.fc1")


def test_sums_that_are_too_long_are_refused() -> None:
    assert choose_bits("layer", 500, 1250, 4096).inputs >= 17
    with pytest.raises(ConfigError, match="conv1 sums 4294967296 products"):
        choose_bits("conv1", 25, 25, 2**32)


@given(st.integers(1, 2**20), st.integers(1, 2**20), st.integers(1, 2**20))
def test_bits_keep_sums_below_two_to_53(fan_in: int, fan_out: int, positions: int) -> None:
    bits = choose_bits("layer", fan_in, fan_out, positions)

    assert fan_in * 2 ** (bits.inputs + bits.weights) <= 2**53
    assert fan_out * 2 ** (bits.gradients + bits.weights) <= 2**53
    assert positions * 2 ** (bits.gradients + bits.inputs) <= 2**53


@given(st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=20), st.integers(11, 46))
def test_rounding_is_rational_rounding(values: Any, bits: int) -> None:
    x = torch.tensor(values, dtype=torch.float64)

    assert [Fraction(v) for v in round_tensor(x, bits, "", "").tolist()] == on_grid(x, bits)
    assert torch.equal(round_images(x[None], bits, "", ""), round_tensor(x, bits, "", "")[None])


@given(st.sampled_from([1e-150, 1.0, 1e60]), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_batch_norm_is_rational_arithmetic(scale: float, seed: int) -> None:
    x = draw(6, 2, 2, 2, seed=seed) * scale
    x[:, 1] *= 1e-3
    out, (mean, variance, count) = normalise_batch(x, None, None, eps=0.0 if scale < 1 else 1e-5)

    assert count == 24
    for channel in range(2):
        values = on_grid(x[:, channel], 46)
        assert Fraction(mean[channel].item()) == Fraction(float(sum(values)) / 24)
        centred = x[:, channel] - mean[channel]
        assert variance[channel].item() == float(sum(on_grid(centred * centred, 46))) / 24
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    shuffled, _ = normalise_batch(x[order], None, None, eps=0.0 if scale < 1 else 1e-5)
    assert exact_equal(shuffled, out[order])


def test_batch_norm_is_close_to_torchs() -> None:
    x, w, b = draw(8, 3, 4, 4), draw(3, seed=1) + 2, draw(3, seed=2)
    for tensor in (x, w, b):
        tensor.requires_grad_()
    g, mean, variance = draw(8, 3, 4, 4, seed=3), draw(3, seed=4), draw(3, seed=5).abs() + 1
    pairs = [
        (normalise_batch(x, w, b, eps=1e-5)[0], F.batch_norm(x, None, None, w, b, True)),
        (normalise_running(x, mean, variance, w, b, eps=1e-5), F.batch_norm(x, mean, variance, w, b)),
    ]
    for got, wanted in pairs:
        torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-12)
        gradients = (torch.autograd.grad(value, (x, w, b), g) for value in (got, wanted))
        torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-9)
    with pytest.raises(ConfigError, match="1 value a channel"):
        normalise_batch(x[:1, :, :1, :1], None, None, eps=1e-5)


@pytest.mark.parametrize(
    "pool",
    [Pool((2, 2), (2, 2)), Pool((3, 3), (2, 2), (1, 1)), Pool((3, 3), (2, 2), (0, 0), True), Pool((2, 2), (3, 3))],
)
def test_pooling_is_torchs(pool: Pool) -> None:
    x = torch.round(draw(3, 4, 9, 8) * 4)  # many equal values
    x.requires_grad_()
    got = max_pool2d(x, pool)
    wanted = F.max_pool2d(x, pool.kernel, pool.stride, pool.padding, ceil_mode=pool.ceil)
    g = draw(*wanted.shape, seed=3)
    assert torch.equal(got, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(value, x, g)[0] for value in (got, wanted)), rtol=0, atol=1e-15)
    if not pool.ceil:
        got, wanted = avg_pool2d(x, pool), F.avg_pool2d(x, pool.kernel, pool.stride, pool.padding)
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-14)
        torch.testing.assert_close(*(torch.autograd.grad(value, x, g)[0] for value in (got, wanted)))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 7), (9, 8)])
def test_adaptive_pooling_is_torchs(size: Any) -> None:
    x = draw(2, 3, 9, 8).requires_grad_()
    got, wanted = adaptive_avg_pool2d(x, size), F.adaptive_avg_pool2d(x, size)
    g = draw(*wanted.shape, seed=3)

    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-14)
    torch.testing.assert_close(*(torch.autograd.grad(value, x, g)[0] for value in (got, wanted)))

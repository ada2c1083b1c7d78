"""Counter-based random numbers against the published vectors, and what keys promise."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from db3 import rng

# Random123's kat_vectors for philox4x32-10: counter, key, words.
VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
_M = (0xD2511F53, 0xCD9E8D57)
_W = (0x9E3779B9, 0xBB67AE85)


def _numbers(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def _python_philox(counter: list[int], key: list[int]) -> list[int]:
    """The generator in Python's unbounded integers, as the paper writes it."""
    (a, b, c, d), (k, j) = counter, key
    for _ in range(10):
        p, q = _M[0] * a, _M[1] * c
        a, b, c, d = (q >> 32) ^ b ^ k, q & 0xFFFFFFFF, (p >> 32) ^ d ^ j, p & 0xFFFFFFFF
        k, j = (k + _W[0]) % 2**32, (j + _W[1]) % 2**32
    return [a, b, c, d]


def _words(seed: int, step: int, klass: int, sample: int, count: int) -> list[int]:
    who = (torch.tensor(number) for number in (step, klass, sample))
    drawn: list[int] = rng.words(seed, *who, count).tolist()
    return drawn


def _keys(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    number = torch.arange(int(torch.tensor(shape).prod())).view(shape)
    return number, number % 7, number // 3


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS, ids=["zeros", "ones", "pi"])
def test_philox_gives_the_published_words(counter: str, key: str, expected: str) -> None:
    c0, c1, c2, c3 = map(torch.tensor, _numbers(counter))
    k0, k1 = _numbers(key)
    assert [int(word) for word in rng.philox((c0, c1, c2, c3), (k0, k1))] == _numbers(expected)


@given(
    seed=st.integers(0, 2**64 - 1),
    step=st.integers(0, 2**32 - 1),
    klass=st.integers(0, 2**32 - 1),
    sample=st.integers(0, 2**32 - 1),
)
def test_words_are_philox_of_block_step_class_and_sample(seed: int, step: int, klass: int, sample: int) -> None:
    key = [seed % 2**32, seed >> 32]
    expected = [word for block in range(3) for word in _python_philox([block, step, klass, sample], key)]
    assert _words(seed, step, klass, sample, 10) == expected[:10]


@pytest.mark.parametrize("changed", ["seed", "seed's upper half", "step", "klass", "sample"])
def test_every_part_of_the_key_counts(changed: str) -> None:
    key = {"seed": 5, "step": 1, "klass": 1, "sample": 1}
    name, by = ("seed", 2**32) if changed == "seed's upper half" else (changed, 1)
    assert _words(**key, count=8) != _words(**{**key, name: key[name] + by}, count=8)


def test_a_draw_does_not_depend_on_the_batch() -> None:
    step, klass, sample = _keys(4, 5)
    signs, numbers = rng.signs(3, step, klass, sample, 77), rng.uniform(3, step, klass, sample, 11)
    assert signs.shape == (4, 5, 77)
    for row in range(4):
        for column in range(5):
            one = (step[row, column], klass[row, column], sample[row, column])
            assert torch.equal(rng.signs(3, *one, 77), signs[row, column])
            assert torch.equal(rng.uniform(3, *one, 11), numbers[row, column])


def test_a_longer_draw_begins_with_the_shorter() -> None:
    assert torch.equal(rng.signs(0, *_keys(2), 784)[:, :31], rng.signs(0, *_keys(2), 31))
    assert torch.equal(rng.uniform(0, *_keys(2), 9)[:, :5], rng.uniform(0, *_keys(2), 5))


def test_signs_are_the_bits_of_the_words() -> None:
    (word,) = _words(9, 2, 3, 4, 1)
    signs = rng.signs(9, torch.tensor(2), torch.tensor(3), torch.tensor(4), 32).tolist()
    assert signs == [1.0 if word >> bit & 1 else -1.0 for bit in range(32)]


def test_no_row_has_no_signs() -> None:
    assert rng.signs(9, *_keys(0), 9).shape == (0, 9)


def test_signs_are_balanced_and_unrelated() -> None:
    """784,000 coins: every column and row near its mean, neighbours and rows without correlation (5 sigma)."""
    signs = rng.signs(1, *_keys(1000), 784)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 5 / 784_000**0.5
    assert float(signs.mean(dim=0).abs().max()) < 5 / 1000**0.5
    assert float(signs.mean(dim=1).abs().max()) < 5 / 784**0.5
    assert abs(float((signs[:, 1:] * signs[:, :-1]).mean())) < 5 / 783_000**0.5
    assert abs(float((signs[1:] * signs[:-1]).mean())) < 5 / 783_000**0.5


def test_uniform_numbers_are_uniform() -> None:
    numbers = rng.uniform(2, *_keys(500), 400).flatten().double()
    assert 0 <= float(numbers.min()) < 1e-4
    assert 1 - 1e-4 < float(numbers.max()) < 1
    assert float(numbers.mean()) == pytest.approx(1 / 2, abs=5 * (1 / 12 / 200_000) ** 0.5)
    assert float(numbers.var()) == pytest.approx(1 / 12, abs=2e-3)
    counts = torch.histc(numbers, bins=50, min=0, max=1)
    chi_squared = float(((counts - 4000) ** 2 / 4000).sum())
    assert 15 < chi_squared < 110  # 49 degrees of freedom


def test_uniform_numbers_have_24_bits() -> None:
    numbers = rng.uniform(0, *_keys(50), 50)
    assert numbers.dtype == torch.float32
    assert torch.equal(numbers * 2**24, (numbers * 2**24).round())


def test_nothing_drawn_is_empty() -> None:
    assert rng.signs(0, *_keys(3), 0).shape == (3, 0)
    assert rng.uniform(0, *_keys(0), 4).shape == (0, 4)


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_a_permutation_holds_everything_once(count: int) -> None:
    assert sorted(rng.permutation(count, 1, "test")) == list(range(count))


def test_permutations_are_keyed() -> None:
    first = rng.permutation(100, 1, "train", 0)
    torch.rand(5)
    assert rng.permutation(100, 1, "train", 0) == first
    others = [
        rng.permutation(100, 2, "train", 0),
        rng.permutation(100, 1, "test", 0),
        rng.permutation(100, 1, "train", 1),
        rng.permutation(100, 1, "train"),
    ]
    assert all(other != first for other in others)


def test_permutations_stay_what_they_were() -> None:
    """Splits and samples are drawn by them: another order would silently change every transfer set."""
    assert rng.permutation(10, 0, "samples") == [6, 1, 4, 5, 8, 3, 0, 7, 9, 2]


def test_the_global_generator_is_not_touched() -> None:
    before = torch.get_rng_state()
    rng.permutation(50, 3, "x")
    rng.signs(3, *_keys(2), 50)
    rng.generator(3, "x")
    assert torch.equal(torch.get_rng_state(), before)

"""Counter-based random numbers against the published vectors, and what keys promise."""

import ast
from itertools import combinations
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from db3 import rng
from db3.rng import Purpose

# Random123's kat_vectors for philox4x32-10: counter, key, words.
VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
_M = (0xD2511F53, 0xCD9E8D57)
_W = (0x9E3779B9, 0xBB67AE85)
_ANY = Purpose.DIRECTION


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


def _words(seed: int, step: int, target: int, sample: int, count: int, purpose: Purpose = _ANY) -> list[int]:
    who = (torch.tensor(number) for number in (step, target, sample))
    drawn: list[int] = rng.words(seed, purpose, *who, count).tolist()
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
    purpose=st.sampled_from(Purpose),
    step=st.integers(0, 2**32 - 1),
    target=st.integers(0, 2**32 - 1),
    sample=st.integers(0, 2**32 - 1),
)
def test_words_are_philox_of_purpose_block_step_class_and_sample(
    seed: int, purpose: Purpose, step: int, target: int, sample: int
) -> None:
    key, first = [seed % 2**32, seed >> 32], purpose * 2**24
    expected = [word for block in range(3) for word in _python_philox([first + block, step, target, sample], key)]
    assert _words(seed, step, target, sample, 10, purpose) == expected[:10]


@pytest.mark.parametrize("changed", ["seed", "seed's upper half", "step", "target", "sample"])
def test_every_part_of_the_key_counts(changed: str) -> None:
    key = {"seed": 5, "step": 1, "target": 1, "sample": 1}
    name, by = ("seed", 2**32) if changed == "seed's upper half" else (changed, 1)
    assert _words(**key, count=8) != _words(**{**key, name: key[name] + by}, count=8)


def test_a_draw_does_not_depend_on_the_batch() -> None:
    step, target, sample = _keys(4, 5)
    signs, numbers = rng.signs(3, _ANY, step, target, sample, 77), rng.uniform(3, _ANY, step, target, sample, 11)
    assert signs.shape == (4, 5, 77)
    for row in range(4):
        for column in range(5):
            one = (step[row, column], target[row, column], sample[row, column])
            assert torch.equal(rng.signs(3, _ANY, *one, 77), signs[row, column])
            assert torch.equal(rng.uniform(3, _ANY, *one, 11), numbers[row, column])


def test_a_longer_draw_begins_with_the_shorter() -> None:
    assert torch.equal(rng.signs(0, _ANY, *_keys(2), 784)[:, :31], rng.signs(0, _ANY, *_keys(2), 31))
    assert torch.equal(rng.uniform(0, _ANY, *_keys(2), 9)[:, :5], rng.uniform(0, _ANY, *_keys(2), 5))


def test_signs_are_the_bits_of_the_words() -> None:
    (word,) = _words(9, 2, 3, 4, 1)
    signs = rng.signs(9, _ANY, torch.tensor(2), torch.tensor(3), torch.tensor(4), 32).tolist()
    assert signs == [1.0 if word >> bit & 1 else -1.0 for bit in range(32)]


def test_no_row_has_no_signs() -> None:
    assert rng.signs(9, _ANY, *_keys(0), 9).shape == (0, 9)


def test_signs_are_balanced_and_unrelated() -> None:
    """784,000 coins: every column and row near its mean, neighbours and rows without correlation (5 sigma)."""
    signs = rng.signs(1, _ANY, *_keys(1000), 784)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 5 / 784_000**0.5
    assert float(signs.mean(dim=0).abs().max()) < 5 / 1000**0.5
    assert float(signs.mean(dim=1).abs().max()) < 5 / 784**0.5
    assert abs(float((signs[:, 1:] * signs[:, :-1]).mean())) < 5 / 783_000**0.5
    assert abs(float((signs[1:] * signs[:-1]).mean())) < 5 / 783_000**0.5


def test_uniform_numbers_are_uniform() -> None:
    numbers = rng.uniform(2, _ANY, *_keys(500), 400).flatten().double()
    assert 0 <= float(numbers.min()) < 1e-4
    assert 1 - 1e-4 < float(numbers.max()) < 1
    assert float(numbers.mean()) == pytest.approx(1 / 2, abs=5 * (1 / 12 / 200_000) ** 0.5)
    assert float(numbers.var()) == pytest.approx(1 / 12, abs=2e-3)
    counts = torch.histc(numbers, bins=50, min=0, max=1)
    chi_squared = float(((counts - 4000) ** 2 / 4000).sum())
    assert 15 < chi_squared < 110  # 49 degrees of freedom


def test_uniform_numbers_have_24_bits() -> None:
    numbers = rng.uniform(0, _ANY, *_keys(50), 50)
    assert numbers.dtype == torch.float32
    assert torch.equal(numbers * 2**24, (numbers * 2**24).round())


def test_nothing_drawn_is_empty() -> None:
    assert rng.signs(0, _ANY, *_keys(3), 0).shape == (3, 0)
    assert rng.uniform(0, _ANY, *_keys(0), 4).shape == (0, 4)


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_a_permutation_holds_everything_once(count: int) -> None:
    assert sorted(rng.permutation(count, 1, Purpose.EPOCH)) == list(range(count))


def test_permutations_are_keyed() -> None:
    first = rng.permutation(100, 1, Purpose.EPOCH, "ties", 0)
    torch.rand(5)
    assert rng.permutation(100, 1, Purpose.EPOCH, "ties", 0) == first
    others = [
        rng.permutation(100, 2, Purpose.EPOCH, "ties", 0),
        rng.permutation(100, 1, Purpose.OFFSET, "ties", 0),
        rng.permutation(100, 1, Purpose.EPOCH, "others", 0),
        rng.permutation(100, 1, Purpose.EPOCH, "ties", 1),
        rng.permutation(100, 1, Purpose.EPOCH, "ties"),
    ]
    assert all(other != first for other in others)


def test_permutations_stay_what_they_were() -> None:
    """Splits and samples are drawn by them: another order would silently change every transfer set."""
    assert rng.permutation(10, 0, Purpose.SAMPLES) == [6, 1, 4, 5, 8, 3, 0, 7, 9, 2]


def test_the_global_generator_is_not_touched() -> None:
    before = torch.get_rng_state()
    rng.permutation(50, 3, Purpose.SPLIT)
    rng.signs(3, _ANY, *_keys(2), 50)
    rng.generator(3, Purpose.SPLIT)
    assert torch.equal(torch.get_rng_state(), before)


def test_purposes_fit_into_their_part_of_the_counter() -> None:
    assert len({purpose.value for purpose in Purpose}) == len(Purpose.__members__)  # an equal number would be an alias
    assert all(0 < purpose < 2**8 for purpose in Purpose)
    assert rng.LARGEST_COUNT == 4 * 2**24  # four words a block, 24 bits of blocks: never another purpose's


def test_no_two_purposes_share_a_stream() -> None:
    """At equal seed and identity: no word of any block in common, no generator, no permutation."""
    words = {purpose: set(_words(5, 1, 2, 3, 64, purpose)) for purpose in Purpose}
    drawn = {purpose: torch.rand(64, generator=rng.generator(5, purpose, 1)).tolist() for purpose in Purpose}
    orders = {purpose: rng.permutation(64, 5, purpose, 1) for purpose in Purpose}
    seeds = {rng.derived_seed(5, purpose, 1) for purpose in Purpose}
    assert len(seeds) == len(Purpose)
    for one, other in combinations(Purpose, 2):
        assert not words[one] & words[other]
        assert drawn[one] != drawn[other]
        assert orders[one] != orders[other]


def test_a_draw_that_would_reach_another_purpose_is_refused() -> None:
    with pytest.raises(ValueError, match="67108865 words are drawn at once; expected 67108864 or fewer"):
        _words(0, 0, 0, 0, rng.LARGEST_COUNT + 1)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=f"the seed is {seed}"):
        _words(seed, 0, 0, 0, 1)


PACKAGE = Path(rng.__file__).parent
# Where the purpose stands among each function's arguments.
DRAWS = {"words": 1, "signs": 1, "uniform": 1, "generator": 1, "derived_seed": 1, "permutation": 2}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "rng.py")


def _calls(path: Path) -> list[tuple[ast.Call, str, set[str]]]:
    """Calls of the functions of `rng`, the function's name, and the caller's parameters of type Purpose."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "db3.rng"
        for alias in node.names
    }
    found: list[tuple[ast.Call, str, set[str]]] = []

    def visit(node: ast.AST, parameters: set[str]) -> None:
        if isinstance(node, ast.FunctionDef):
            every = [*node.args.args, *node.args.kwonlyargs]
            parameters = {a.arg for a in every if isinstance(a.annotation, ast.Name) and a.annotation.id == "Purpose"}
        if isinstance(node, ast.Call):
            called = node.func
            name = imported.get(called.id) if isinstance(called, ast.Name) else None
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "rng":
                name = called.attr
            if name in DRAWS:
                found.append((node, name, parameters))
        for child in ast.iter_child_nodes(node):
            visit(child, parameters)

    visit(tree, set())
    return found


def _is_member(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Purpose"


def test_every_draw_names_its_purpose() -> None:
    calls = [(path, *call) for path in FILES for call in _calls(path)]
    assert len(calls) > 20  # the search itself finds something
    for path, call, name, parameters in calls:
        purpose = call.args[DRAWS[name]]
        handed_on = isinstance(purpose, ast.Name) and purpose.id in parameters
        assert _is_member(purpose) or handed_on, f"{path}:{call.lineno} draws for no purpose"


def test_a_purpose_belongs_to_one_module() -> None:
    """Two modules that drew for one purpose could share a stream."""
    named: dict[str, set[str]] = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if _is_member(node):
                assert isinstance(node, ast.Attribute)
                named.setdefault(node.attr, set()).add(path.relative_to(PACKAGE).as_posix())
    assert {name: paths for name, paths in named.items() if len(paths) > 1} == {}
    assert set(Purpose.__members__) - set(named) == {"BENCHMARK"}  # no purpose that nothing draws for


def test_no_generator_is_made_elsewhere() -> None:
    """`torch.Generator`, `manual_seed` and numpy's own would be draws that no purpose keys."""
    for path in FILES:
        called = {node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
        names = {function.attr for function in called if isinstance(function, ast.Attribute)}
        allowed = {"manual_seed"} if path.name == "catalogue.py" else set()  # layers draw from the global generator
        assert not (names & {"Generator", "manual_seed", "default_rng", "RandomState"}) - allowed, path

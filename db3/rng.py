"""Counter-based random numbers: a draw is a function of who asks, never of when or beside whom.

Philox4x32-10 turns (key, counter) into four 32-bit words (Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As
Easy as 1, 2, 3", SC 2011). The key is the seed; the counter names the draw: (purpose and block, step, class, sample).
For one key Philox is a bijection of counters, so two purposes never share a block of words, whatever else is equal.
Only integer operations are used, so every device gives the same words; tests hold them against the published Random123
vectors.
"""

import functools
from collections.abc import Sequence
from enum import IntEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.digest import digest_json

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF

_BLOCK_BITS = 24  # of the counter's first word; the 8 above them hold the purpose
LARGEST_COUNT = 4 << _BLOCK_BITS
"""Words of one draw at most."""


class Purpose(IntEnum):
    """What a draw is for: a part of every key.

    Numbers key the words of Philox, names key the generators. Both are fixed: to change one is to change bytes. A new
    purpose takes a new number, at most 255.
    """

    # Data
    SPLIT = 1
    LIMIT = 2
    SAMPLES = 3
    HELD_OUT = 4
    # Training
    NETWORK = 10
    EPOCH = 11
    OFFSET = 12
    HOLDOUT = 13
    DROPOUT = 14
    AUGMENTATION = 15
    WEIGHTS = 16
    EXACT_DROPOUT = 17
    MIXTURE = 18
    # Boundary searches
    DIRECTION = 20
    PROBE = 21
    QUERIED_IMAGE = 22
    # Surrogates
    SURROGATE = 30
    SURROGATE_BATCH = 31
    BASIS = 32
    SYNTHETIC_QUERIES = 33
    RETRAINING = 34
    SKETCH = 35
    # Students
    ASSISTANT = 40
    NOISE_LABEL = 41
    STUDENT_CHOICE = 42
    # Images made of decided ones
    AUGMENTED_PARTNER = 50
    AUGMENTED_WARP = 51
    PARENT = 52
    VARIATION_KIND = 53
    VARIATION_WARP = 54
    VARIATION_MASK = 55
    # Images made of nothing
    NOISE_IMAGE = 60
    PRIOR_FAMILY = 61
    PRIOR_FIELD = 62
    PRIOR_CONTRAST = 63
    PRIOR_WINDOW = 64
    SCENE = 65
    SCENE_TEXTURE = 66
    SCENE_PART = 67
    SCENE_LEGS = 68
    SCENE_MARKS = 69
    PROGRAM_NOISE = 70
    PROGRAM_MOVE = 71
    PROGRAM_FIND = 72
    PROGRAM_COLOUR = 73
    PROGRAM_FIGURE = 74
    PROGRAM_LEGS = 75
    # Zero-shot rounds
    ROUND = 80
    CHOICE = 81
    # A student in use
    DRIFT = 85
    QUESTIONS = 86
    AUDIT = 87
    # Measurements, which decide no byte of a result
    TIMING = 90
    BENCHMARK = 91

    @property
    def word(self) -> str:
        return self.name.lower()


Counter = tuple[Int[Tensor, "..."], Int[Tensor, "..."], Int[Tensor, "..."], Int[Tensor, "..."]]


def philox(counter: Counter, key: tuple[int, int]) -> Counter:
    """Ten Philox4x32 rounds on int64 tensors that hold unsigned 32-bit words (broadcast together)."""
    c0, c1, c2, c3 = torch.broadcast_tensors(*counter)  # type: ignore[no-untyped-call]
    device = c0.device
    even, odd = torch.stack([c0, c2]), torch.stack([c1, c3])
    shape = (2, *[1] * c0.dim())
    factors, keys = _factors(device).view(shape), _keys(key, device).view(10, *shape)
    for number in range(10):
        # A 64-bit product of two 32-bit words may wrap into the sign bit; its bits stay right.
        products = (even * factors).flip(0)
        # Masked after the exclusive or: a sign that the shift has drawn in is cut off there as well.
        even = (products >> 32).bitwise_xor_(odd).bitwise_xor_(keys[number]).bitwise_and_(_MASK)
        odd = products.bitwise_and_(_MASK)
    return even[0], odd[0], even[1], odd[1]


@functools.cache
def _factors(device: torch.device) -> Int[Tensor, " 2"]:
    return torch.tensor(_MULTIPLIERS, device=device)


@functools.lru_cache(64)
def _keys(key: tuple[int, int], device: torch.device) -> Int[Tensor, "10 2"]:
    """The key of each round: the Weyl sequence from the first."""
    rounds = torch.arange(10)[:, None]
    return ((torch.tensor(key) + rounds * torch.tensor(_WEYL)) & _MASK).to(device)


def words(
    seed: int,
    purpose: Purpose,
    step: Int[Tensor, "*n"],
    target: Int[Tensor, "*n"],
    sample: Int[Tensor, "*n"],
    count: int,
) -> Int[Tensor, "*n count"]:
    """`count` random 32-bit words for each (seed, purpose, step, class, sample).

    Args:
        seed: 0 … 2⁶⁴ − 1.
        purpose: what they are for.
        step: int64 tensor, each value in 0 … 2³² − 1; so for class and sample, of the same shape.
        target: the class that the draw is for.
        sample: the sample that the draw is for.
        count: words per draw, 2²⁶ at most.

    Returns:
        int64 tensor holding unsigned 32-bit words.

    Raises:
        ValueError: more words than a purpose has, or a seed out of range.
    """
    if count > LARGEST_COUNT:
        raise ValueError(f"{count} words are drawn at once; expected {LARGEST_COUNT} or fewer: draw them in parts")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"the seed is {seed}; expected 0 … 2⁶⁴ − 1")
    first = purpose << _BLOCK_BITS
    blocks = torch.arange(first, first + (count + 3) // 4, device=step.device)
    mixed = philox(
        (blocks, step[..., None], target[..., None], sample[..., None]), (seed & _MASK, (seed >> 32) & _MASK)
    )
    return torch.stack(mixed, dim=-1).flatten(-2)[..., :count]


def signs(
    seed: int,
    purpose: Purpose,
    step: Int[Tensor, "*n"],
    target: Int[Tensor, "*n"],
    sample: Int[Tensor, "*n"],
    width: int,
) -> Float[Tensor, "*n width"]:
    """Directions of ±1 (float32), one random bit a component: exact on every device, and so are their sums."""
    drawn = words(seed, purpose, step, target, sample, (width + 31) // 32)
    # The words' bytes in the order of their weight (all of torch's devices are little-endian); eight signs a look-up.
    octets = drawn.to(torch.int32).view(torch.uint8).to(torch.int32)
    packed = _sign_table(drawn.device).index_select(0, octets.flatten())
    return packed.view(torch.int8).view(*drawn.shape[:-1], 32 * drawn.shape[-1])[..., :width].to(torch.float32)


def uniform(
    seed: int,
    purpose: Purpose,
    step: Int[Tensor, "*n"],
    target: Int[Tensor, "*n"],
    sample: Int[Tensor, "*n"],
    count: int,
) -> Float[Tensor, "*n count"]:
    """Uniform float32 numbers in [0, 1) with 24 random bits each."""
    return (words(seed, purpose, step, target, sample, count) >> 8).to(torch.float32) * 2.0**-24


def derived_seed(seed: int, purpose: Purpose, *identity: int | str) -> int:
    """A seed (below 2⁶⁰) for what takes one of its own, a function of (seed, purpose, identity)."""
    return int(digest_json([seed, purpose.word, *identity])[:15], 16)


def generator(seed: int, purpose: Purpose, *identity: int | str) -> torch.Generator:
    """A CPU generator seeded by (seed, purpose, identity): for training loops and permutations.

    Its stream is torch's own Mersenne Twister; what it yields depends on these three alone.
    """
    return torch.Generator().manual_seed(derived_seed(seed, purpose, *identity))


def permutation(count: int, seed: int, purpose: Purpose, *identity: int | str) -> Sequence[int]:
    """A random order of range(count), a function of (count, seed, purpose, identity)."""
    order: list[int] = torch.randperm(count, generator=generator(seed, purpose, *identity)).tolist()
    return order


@functools.cache
def _sign_table(device: torch.device) -> Int[Tensor, " 256"]:
    """The eight signs of every byte, lowest bit first, packed into an int64 each."""
    bits = (torch.arange(256)[:, None] >> torch.arange(8)) & 1
    return (bits * 2 - 1).to(torch.int8).view(torch.int64)[:, 0].to(device)

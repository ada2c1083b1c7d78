"""Counter-based random numbers: a draw is a function of who asks, never of when or beside whom.

Philox4x32-10 turns (key, counter) into four 32-bit words (Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As
Easy as 1, 2, 3", SC 2011). The key is the seed; the counter names the draw: (block, step, class, sample). Only integer
operations are used, so every device gives the same words; tests hold them against the published Random123 vectors.
"""

import functools
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF

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
    seed: int, step: Int[Tensor, "*n"], klass: Int[Tensor, "*n"], sample: Int[Tensor, "*n"], count: int
) -> Int[Tensor, "*n count"]:
    """`count` random 32-bit words for each (seed, step, class, sample).

    Args:
        seed: 0 … 2⁶⁴ − 1.
        step: int64 tensor, each value in 0 … 2³² − 1; so for class and sample, of the same shape.
        klass: the class that the draw is for.
        sample: the sample that the draw is for.
        count: words per draw.

    Returns:
        int64 tensor holding unsigned 32-bit words.
    """
    blocks = torch.arange((count + 3) // 4, device=step.device)
    mixed = philox((blocks, step[..., None], klass[..., None], sample[..., None]), (seed & _MASK, (seed >> 32) & _MASK))
    return torch.stack(mixed, dim=-1).flatten(-2)[..., :count]


def signs(
    seed: int, step: Int[Tensor, "*n"], klass: Int[Tensor, "*n"], sample: Int[Tensor, "*n"], width: int
) -> Float[Tensor, "*n width"]:
    """Directions of ±1 (float32), one random bit a component: exact on every device, and so are their sums."""
    drawn = words(seed, step, klass, sample, (width + 31) // 32)
    # The words' bytes in the order of their weight (all of torch's devices are little-endian); eight signs a look-up.
    octets = drawn.to(torch.int32).view(torch.uint8).to(torch.int32)
    packed = _sign_table(drawn.device).index_select(0, octets.flatten())
    return packed.view(torch.int8).view(*drawn.shape[:-1], 32 * drawn.shape[-1])[..., :width].to(torch.float32)


def uniform(
    seed: int, step: Int[Tensor, "*n"], klass: Int[Tensor, "*n"], sample: Int[Tensor, "*n"], count: int
) -> Float[Tensor, "*n count"]:
    """Uniform float32 numbers in [0, 1) with 24 random bits each."""
    return (words(seed, step, klass, sample, count) >> 8).to(torch.float32) * 2.0**-24


def generator(seed: int, *identity: int | str) -> torch.Generator:
    """A CPU generator seeded by (seed, identity): for training loops and permutations, one a purpose.

    Its stream is torch's own Mersenne Twister; what it yields depends on the identity alone.
    """
    from db3.digest import digest_json

    return torch.Generator().manual_seed(int(digest_json([seed, *identity])[:15], 16))


def permutation(count: int, seed: int, *identity: int | str) -> Sequence[int]:
    """A random order of range(count), a function of (count, seed, identity)."""
    order: list[int] = torch.randperm(count, generator=generator(seed, *identity)).tolist()
    return order


@functools.cache
def _sign_table(device: torch.device) -> Int[Tensor, " 256"]:
    """The eight signs of every byte, lowest bit first, packed into an int64 each."""
    bits = (torch.arange(256)[:, None] >> torch.arange(8)) & 1
    return (bits * 2 - 1).to(torch.int8).view(torch.int64)[:, 0].to(device)

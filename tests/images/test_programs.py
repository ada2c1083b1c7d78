"""Pictures that small random programs compute."""

import numpy as np
import pytest
import torch

from db3.arithmetic.fields import centres
from db3.images.priors import prior_families, prior_images
from db3.images.program_steps import FIND_DRAWS, MOVE_DRAWS, Place, found, looked_up, moved, smoothstep, turned, wave
from db3.images.programs import programs
from tests.kernels import on_every_kernel, printed_with

SIZE = 32
# What changes this digest changes every transfer set made of such images: say so in CHANGELOG.md.
DIGEST = ["f17b51799e04d3dd"]
MAKE = """
import torch
from db3.digest import digest_array
from db3.images.programs import programs

print(digest_array(programs((3, 32, 32), torch.arange(150), 3).numpy())[:16])
"""


def _grid(count: int = 1) -> Place:
    size = (count, SIZE, SIZE)
    return Place(centres(SIZE).expand(size), centres(SIZE)[:, None].expand(size))


def _moves(kind: int, **given: float) -> torch.Tensor:
    """Numbers of one move that neither turns, scales nor shifts."""
    drawn = torch.full((1, MOVE_DRAWS), 0.5)
    drawn[0, 0], drawn[0, 2], drawn[0, 3] = (kind + 0.5) / 8, 1 / 3, 1.0
    for name, value in given.items():
        drawn[0, 6 + int(name[1:])] = value
    return drawn


def _noise(count: int = 1) -> torch.Tensor:
    return torch.randn(count, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@on_every_kernel
def test_programs_have_the_same_bits_on_every_processor(instructions: str) -> None:
    assert printed_with(instructions, MAKE) == DIGEST


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 9, 16), (4, 6, 6), (1, 12, 12)])
def test_a_picture_depends_on_its_number_and_the_seed_alone(shape: tuple[int, int, int]) -> None:
    numbers = torch.tensor([7, 0, 3, 2**32 - 1])
    together = programs(shape, numbers, 5)
    assert together.shape == (4, *shape)
    assert ((together >= 0) & (together <= 1)).all()
    for place, number in enumerate(numbers):
        assert torch.equal(programs(shape, number[None], 5)[0], together[place])
    assert (programs(shape, numbers, 6) != together).flatten(1).any(dim=1).all()


def test_colour_priors_are_scenes_and_programs() -> None:
    kinds = prior_families((3, 32, 32), range(40), 0)
    assert set(kinds.tolist()) == {0, 1}
    numbers = np.flatnonzero(kinds == 1)
    made = programs((3, 32, 32), torch.from_numpy(numbers), 0)
    assert np.array_equal(prior_images((3, 32, 32), numbers.tolist(), 0), made.mul(255).round().byte().numpy())


def test_programs_vary_and_have_contrast() -> None:
    images = programs((3, 32, 32), torch.arange(200), 1)
    assert len(np.unique(images.flatten(1).numpy(), axis=0)) == 200
    assert images.flatten(1).std(dim=1).median() > 0.1
    across = (images[..., 1:] - images[..., :-1]).abs().mean()
    apart = (images[..., torch.randperm(32, generator=torch.Generator().manual_seed(1))] - images).abs().mean()
    assert across < 0.6 * apart  # neighbours are more alike than other pixels


def test_a_wave_has_a_cosines_extremes_and_zeros() -> None:
    x = torch.arange(-4, 5) / 4
    assert torch.allclose(wave(x), torch.cos(2 * torch.pi * x), atol=1e-6)
    fine = torch.linspace(-2, 2, 4001)
    assert (wave(fine) - torch.cos(2 * torch.pi * fine)).abs().max() < 0.03
    assert smoothstep(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0, 0, 0.5, 1, 1]


def test_turning_keeps_distances() -> None:
    place = _grid()
    there = turned(place, torch.tensor([0.37]))
    assert torch.allclose(there.distance(), place.distance(), atol=1e-6)
    quarter = turned(place, torch.tensor([1.0]))
    assert torch.allclose(quarter.u, place.v, atol=1e-6)
    assert torch.allclose(quarter.v, -place.u, atol=1e-6)


def test_a_move_of_no_kind_leaves_the_place() -> None:
    there = moved(_grid(), _noise(), _moves(7))
    assert torch.allclose(there.u, _grid().u, atol=1e-6)
    assert torch.allclose(there.v, _grid().v, atol=1e-6)


def test_folds_mirror_and_tiles_repeat() -> None:
    folded = moved(_grid(), _noise(), _moves(1)).u
    assert torch.allclose(folded, folded.flip(2), atol=1e-6)
    tiled = moved(_grid(), _noise(), _moves(2, _0=0.05 / 0.6, _1=0.9, _2=0.9))  # half a tile is a quarter: 8 pixels
    for plane in tiled:
        assert torch.allclose(plane[:, :, 8:], plane[:, :, :-8], atol=1e-5)
        assert torch.allclose(plane[:, 8:], plane[:, :-8], atol=1e-5)
        assert plane.abs().max() <= 1


def test_rings_are_round_and_meet_themselves() -> None:
    ring = moved(_grid(), _noise(), _moves(5, _0=0.0, _1=0.0))
    assert torch.allclose(ring.u + 1, _grid().distance(), atol=1e-6)
    assert torch.allclose(ring.v[:, 16, 16:], ring.v[:, 15, 16:], atol=0.05)  # either side of the ray to the right
    assert (ring.v[:, 15, :15] - ring.v[:, 16, :15]).abs().max() < 0.05  # and to the left


def test_an_inversion_turns_inside_out_and_stays_finite() -> None:
    there = moved(_grid(), _noise(), _moves(4, _0=1.0)).distance()[0]
    assert there.isfinite().all()
    assert there[0, 0] < there[8, 8]


def test_noise_bends_and_is_found() -> None:
    noise = _noise()
    bent = moved(_grid(), noise, _moves(0, _0=1.0))
    assert torch.allclose(bent.u, _grid().u + 0.4 * noise[:, 0], atol=1e-5)
    assert torch.allclose(looked_up(noise, _grid()), noise, atol=1e-5)
    drawn = torch.zeros(1, FIND_DRAWS)
    drawn[0, 0], drawn[0, 12] = 0.99, 0.99  # noise, and all of the first
    assert torch.allclose(found(_grid(), noise, drawn), 0.6 * noise[:, 2], atol=1e-5)

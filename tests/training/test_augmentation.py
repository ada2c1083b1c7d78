import numpy as np
import pytest
import torch

from db3.errors import ConfigError
from db3.settings.training import CropSettings
from db3.training.augmentation import augmentation, crop_flip, warp

_IMAGES = torch.rand(6, 2, 16, 12, generator=torch.Generator().manual_seed(0))
_EXAMPLES = np.array([4, 0, 9, 7, 1, 2])
_SEEN = np.array([0, 1, 1, 0, 2, 3])


@pytest.mark.parametrize("name", ["warp", "crop_flip"])
def test_a_change_is_a_function_of_seed_step_and_example(name: str) -> None:
    augment = augmentation(name, seed=3)
    assert augment is not None
    changed = augment(_IMAGES, 5, _EXAMPLES, _SEEN)
    order = np.array([2, 5, 1])
    assert torch.equal(augment(_IMAGES[order], 5, _EXAMPLES[order], _SEEN[order]), changed[order])
    assert changed.shape == _IMAGES.shape
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
    assert not torch.equal(augment(_IMAGES, 6, _EXAMPLES, _SEEN), changed)
    assert not torch.equal(augment(_IMAGES, 5, _EXAMPLES + 1, _SEEN), changed)
    other = augmentation(name, seed=4)
    assert other is not None
    assert not torch.equal(other(_IMAGES, 5, _EXAMPLES, _SEEN), changed)


def test_none_is_no_augmentation_and_others_are_refused() -> None:
    assert augmentation("none", 0) is None
    with pytest.raises(ConfigError, match="unknown augmentation 'blur'; known here: crop_flip, none, warp"):
        augmentation("blur", 0)


def test_the_middle_draw_of_a_warp_changes_nothing() -> None:
    assert torch.allclose(warp(_IMAGES, torch.full((6, 4), 0.5)), _IMAGES, atol=1e-5)


def test_a_warp_shifts_by_a_share_of_the_side() -> None:
    image = torch.zeros(1, 1, 100, 100)
    image[..., 50, 50] = 1
    drawn = torch.tensor([[0.5, 0.5, 1.0, 0.0]])  # across to the right of the source, up
    row, column = divmod(int(warp(image, drawn).flatten().argmax()), 100)
    assert (row, column) == (57, 43)


@pytest.mark.parametrize(("mirror", "mirrored"), [(0.1, False), (0.9, True)])
def test_a_crop_from_the_middle_is_the_image_or_its_mirror(mirror: float, mirrored: bool) -> None:
    drawn = torch.tensor([[0.5, 0.5, mirror, 0.0]]).expand(6, 4)
    assert torch.equal(crop_flip(_IMAGES, drawn), _IMAGES.flip(3) if mirrored else _IMAGES)


def test_a_crop_from_the_corner_brings_zeros_in() -> None:
    drawn = torch.tensor([[0.0, 0.999, 0.1, 0.0]]).expand(6, 4)
    moved = crop_flip(_IMAGES, drawn)
    assert torch.equal(moved[:, :, 2:, :-1], _IMAGES[:, :, :-2, 1:])
    assert not moved[:, :, :2].any()
    assert not moved[:, :, :, -1].any()


def test_alternating_mirrors_each_image_in_every_other_epoch() -> None:
    augment = augmentation("crop_flip", 3, CropSettings(pixels=0, flip="alternating"))
    assert augment is not None
    images, examples = _IMAGES[:1].repeat(40, 1, 1, 1), np.arange(40)

    def mirrored(step: int, epoch: int) -> torch.Tensor:
        return (augment(images, step, examples, np.full(40, epoch)) != images).flatten(1).any(dim=1)

    first, second, third = mirrored(0, 0), mirrored(7, 1), mirrored(9, 2)
    assert 8 < int(first.sum()) < 32
    assert torch.equal(second, ~first)
    assert torch.equal(third, first)


def test_a_reflected_border_holds_pixels_of_the_image() -> None:
    drawn = torch.tensor([[0.0, 0.5, 0.1, 0.0]]).expand(6, 4)
    moved = crop_flip(_IMAGES, drawn, margin=3, reflect=True)
    assert torch.equal(moved[:, :, 3:], _IMAGES[:, :, :-3])
    assert torch.equal(moved[:, :, :3], _IMAGES[:, :, 1:4].flip(2))

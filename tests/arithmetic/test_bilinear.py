"""Bilinear look-up, and that made images have the same bits on every processor."""

import pytest
import torch
from torch.nn.functional import grid_sample

from db3.arithmetic.bilinear import Padding, bilinear
from db3.arithmetic.fields import centres
from tests.kernels import on_every_kernel, printed_with

# What changes these digests changes every transfer set made of such images: say so in CHANGELOG.md.
DIGESTS = "50c441656d5a 1b8cb75bf372 90101b965cf1 128c95d7a09a 519380063a87 c2b8dddb4a5e"
MAKE = """
import numpy as np
from db3.digest import digest_array
from db3.images.augmented import augmented_images
from db3.images.priors import prior_images
from db3.images.variations import variations

for shape in ((1, 28, 28), (3, 32, 32)):
    images, own = prior_images(shape, range(200), 3), np.arange(200)
    children = variations(images, np.stack([own, own * 7 % 200], axis=1), own, 3)
    augmented = augmented_images(images, range(400), 3)
    print(*(digest_array(made)[:12] for made in (images, children, augmented)))
"""


@pytest.mark.parametrize("padding", ["border", "reflection"])
def test_bilinear_is_the_librarys_but_for_rounding(padding: Padding) -> None:
    draw = torch.Generator().manual_seed(0)
    for height, width in ((28, 28), (9, 16), (5, 4)):
        images = torch.rand(6, 3, height, width, generator=draw)
        x, y = (torch.rand(6, 11, 7, generator=draw) * 5 - 2.5 for _ in range(2))
        grid = torch.stack([x, y], dim=-1)
        theirs = grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)
        assert torch.allclose(bilinear(images, x, y, padding), theirs, atol=1e-5)


def test_an_image_looked_up_at_its_own_pixels_is_itself() -> None:
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x, y = centres(8).expand(2, 8, 8), centres(8)[:, None].expand(2, 8, 8)
    assert torch.equal(bilinear(images, x, y, "border"), images)


@on_every_kernel
def test_made_images_have_the_same_bits_on_every_processor(instructions: str) -> None:
    """`default` neither fuses products with sums nor takes eight numbers at once."""
    assert printed_with(instructions, MAKE) == DIGESTS.split()

"""What a model sees of an image in [0, 1]."""

import numpy as np
import pytest
import torch
from PIL import Image

from db3.errors import ConfigError
from db3.teachers.adapters.preprocessing import Preprocessing, from_json

IMAGES = torch.rand(3, 2, 5, 4, generator=torch.Generator().manual_seed(0))


def test_the_default_changes_nothing_and_copies() -> None:
    seen = Preprocessing()(IMAGES)
    assert torch.equal(seen, IMAGES)
    assert seen.data_ptr() != IMAGES.data_ptr()
    assert Preprocessing().to_json() == {}


def test_mean_std_and_scale_by_hand() -> None:
    seen = Preprocessing(mean=(0.5, 0.25), std=(0.1, 0.2), scale=2.0)(IMAGES).numpy()
    by_hand = (IMAGES.numpy() - np.float32([[[[0.5]], [[0.25]]]])) / np.float32([[[[0.1]], [[0.2]]]]) * 2
    assert np.allclose(seen, by_hand, rtol=1e-6)


def test_axes_and_type() -> None:
    seen = Preprocessing(layout="NHWC", dtype="float64").array(IMAGES)
    assert seen.dtype == np.float64
    assert seen.flags["C_CONTIGUOUS"]
    assert np.array_equal(seen, IMAGES.numpy().transpose(0, 2, 3, 1))


def test_bytes_are_those_on_the_disk() -> None:
    stored = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(Preprocessing(scale=255.0, dtype="uint8")(stored.float() / 255), stored)


def test_resizing_is_that_of_an_independent_library() -> None:
    picture = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(3))
    seen = Preprocessing(resize=(5, 7))(picture)
    pillow = Image.fromarray(picture[0, 0].numpy(), mode="F").resize((7, 5), Image.Resampling.BILINEAR)
    assert np.allclose(seen[0, 0].numpy(), np.asarray(pillow), atol=1e-5)


def test_the_shape_is_what_comes_out() -> None:
    for see in (Preprocessing(), Preprocessing(layout="NHWC"), Preprocessing(resize=(3, 6), layout="NHWC")):
        assert tuple(see(IMAGES).shape[1:]) == see.shape((2, 5, 4))


def test_it_is_read_back_from_the_card() -> None:
    see = Preprocessing(mean=(0.5, 0.25), scale=255.0, resize=(3, 6), layout="NHWC", dtype="float16")
    assert from_json(see.to_json()) == see
    assert see.to_json()["mean"] == [0.5, 0.25]


def test_one_mean_for_two_channels_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"teacher\.std has 1 values for images of 2 channels"):
        Preprocessing(std=(0.5,)).check((2, 5, 4))


@pytest.mark.parametrize(("name", "value"), [("layout", "NHCW"), ("dtype", "float23")])
def test_an_unknown_layout_or_type_is_one_line(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} is '{value}'; expected .*; did you mean"):
        from_json({name: value})

"""The measured call shape: a candidate, recorded once, and part of what a teacher is."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from db3.digest import digest_file
from db3.errors import ConfigError, DataError
from db3.files import read_json, write_json
from db3.networks import build
from db3.teachers.adapters.call_shape import CallShape, arrange, best_call_shape, images_per_second, recorded
from db3.teachers.folder import CARD, WEIGHTS, identity, open_teacher, read_spec
from tests.teachers.test_folder import write_folder

SHAPE = (1, 16, 16)


class _Paying(nn.Module):
    """A network whose every call costs the same, whatever its rows, up to `room` of them; each row more costs twice."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room, self._work = room, torch.randn(192, 192)

    def forward(self, images: Tensor) -> Tensor:
        for _ in range(self._room + 4 * max(0, len(images) - self._room)):
            self._work @ self._work
        return images.flatten(1)[:, :2]


def test_the_batch_that_pays_is_found() -> None:
    found = best_call_shape(_Paying(16), SHAPE, batches=(4, 16, 64), turns=3)
    assert found.batch == 16
    assert found.rate > 0


def test_a_real_network_gets_one_of_the_candidates() -> None:
    network = build("lenet5_fifth", SHAPE, 10)
    found = best_call_shape(network, SHAPE, batches=(8, 16), turns=1)
    assert found.batch in (8, 16)
    assert found.memory_format in ("channels_last", "contiguous")
    assert images_per_second(network, torch.rand(8, *SHAPE), found.memory_format, 0.001) > 0


def test_an_unknown_memory_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown memory format 'blocked'; known here: channels_last, contiguous"):
        arrange(nn.Conv2d(1, 1, 1), "blocked")


def test_the_first_measurement_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "shapes" / "lenet5.json"
    first = recorded(file, lambda: CallShape(128, "contiguous", 1000.0))
    again = recorded(file, lambda: CallShape(64, "channels_last", 2000.0))
    assert (again.batch, again.memory_format) == (first.batch, first.memory_format) == (128, "contiguous")


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"call_batch": 0, "memory_format": "contiguous"})
    with pytest.raises(DataError, match=r"x.json holds .*delete it to measure again"):
        recorded(tmp_path / "x.json", lambda: CallShape(64, "contiguous"))


def test_the_memory_format_belongs_to_the_identity(tmp_path: Path) -> None:
    """A card without it is one of channels last, as all cards were before: its identity stays."""
    plain, same, other = (write_folder(tmp_path / name) for name in ("plain", "same", "other"))
    for folder, memory_format in ((same, "channels_last"), (other, "contiguous")):
        card = {**read_json(folder / CARD), "memory_format": memory_format}
        write_json(folder / CARD, {**card, "identity": identity(card, digest_file(folder / WEIGHTS))})
    assert read_spec(same).identity == read_spec(plain).identity != read_spec(other).identity
    images = torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(0))
    assert torch.equal(open_teacher(other).decide(images), open_teacher(plain).decide(images))

"""A training that ended somewhere goes on, and no byte is another."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from db3.shard_store import ShardStore
from db3.training.checkpoint import Checkpoint
from db3.training.examples import Examples, Group
from db3.training.train import HistoryRow, TrainSettings, train

Network = Callable[..., nn.Module]
Bars = Callable[..., Examples]
Weights = Callable[[nn.Module], bytes]

KEY = "0123456789abcdef"
_PLAN = TrainSettings(steps=40, batch=7, lr=1e-2, warmup=3, select="best", balance=0.5)
_RECORD = {"optimiser": "sgd", "lookahead": 4, "schedule": "linear", "momentum": 0.8}
_SGD = TrainSettings(steps=40, batch=7, lr=1e-2, arithmetic="float32", **_RECORD)  # type: ignore[arg-type]
_PLANS = {
    "exact": _PLAN,
    "float32": TrainSettings(steps=40, batch=7, lr=1e-2, arithmetic="float32"),
    "sgd": _SGD,
    "bfloat16": replace(_SGD, arithmetic="bfloat16"),
}


class _EndedError(Exception):
    pass


def _train(network: nn.Module, bars: Bars, plan: TrainSettings, store: Path, end: int | None) -> list[HistoryRow]:
    """Train with all there is, and stop after `end` steps as a kill would."""
    checkpoint, done = Checkpoint(ShardStore(store), KEY), iter(range(1, 1000))

    def count() -> None:
        if next(done) == end:
            raise _EndedError

    groups = [Group("more", bars(9, seed=5), 0.3)]
    plan = replace(plan, augment="crop_flip", mix=0.5)
    return train(network, bars(30), plan, 1, groups=groups, on_step=count, checkpoint=checkpoint)


@pytest.mark.parametrize("name", _PLANS)
def test_it_goes_on_where_it_ended(
    name: str, small_network: Network, bars: Bars, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoint, "pause", 0.0)
    whole, pieces = small_network(dropout=0.2), small_network(dropout=0.2)
    rows = _train(whole, bars, _PLANS[name], tmp_path / "whole", None)
    for end in (1, 17, 5):
        with pytest.raises(_EndedError):
            _train(pieces, bars, _PLANS[name], tmp_path / "pieces", end)
        pieces = small_network(dropout=0.2)
    assert Checkpoint(ShardStore(tmp_path / "pieces"), KEY).begun() == 23
    assert _train(pieces, bars, _PLANS[name], tmp_path / "pieces", None) == rows
    assert weights(pieces) == weights(whole)


def test_a_damaged_file_is_as_good_as_none(
    small_network: Network, bars: Bars, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoint, "pause", 0.0)
    first, again = small_network(), small_network()
    rows = _train(first, bars, _PLAN, tmp_path, None)
    path = ShardStore(tmp_path).path(KEY)
    path.write_bytes(path.read_bytes()[:-100])
    assert Checkpoint(ShardStore(tmp_path), KEY).begun() == 0
    assert _train(again, bars, _PLAN, tmp_path, None) == rows
    assert weights(again) == weights(first)


def test_short_trainings_write_nothing(small_network: Network, bars: Bars, tmp_path: Path) -> None:
    _train(small_network(), bars, _PLAN, tmp_path, None)
    assert not list(tmp_path.rglob("*.npz"))


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import numpy as np, torch
    from db3.digest import digest_arrays
    from db3.settings.training import CropSettings
    from db3.shard_store import ShardStore
    from db3.teachers.train import train_teacher
    from db3.training.checkpoint import Checkpoint
    from db3.training.train import TrainSettings

    torch.set_num_threads(1)
    Checkpoint.pause = 0.0
    end, drawn = int(sys.argv[2]), np.random.default_rng(0)
    images, labels = drawn.integers(0, 256, (60, 3, 17, 17), dtype=np.uint8), drawn.integers(0, 4, 60)
    plan = TrainSettings(
        steps=12, batch=20, lr=0.1, schedule="stages", optimiser="sgd", shift_rate=8.0, lookahead=3,
        arithmetic="float32", augment="crop_flip", mix=0.5,
        crop=CropSettings(pixels=2, padding="reflection", flip="alternating"),
    )
    count = iter(range(1, 100))
    network, _ = train_teacher(
        "resnet9_quarter", images, labels, 4, plan, seed=0, label_smoothing=0.2,
        on_step=lambda: next(count) == end and os.kill(os.getpid(), signal.SIGKILL),
        checkpoint=Checkpoint(ShardStore(Path(sys.argv[1])), "0123456789abcdef"),
    )
    print(digest_arrays({name: each.numpy() for name, each in network.state_dict().items()}))
"""


def _run(store: Path, end: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(store), str(end)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def test_a_teacher_that_was_killed_has_the_bytes_of_one_that_was_not(tmp_path: Path) -> None:
    assert _run(tmp_path / "killed", 5).returncode == -signal.SIGKILL
    assert Checkpoint(ShardStore(tmp_path / "killed"), KEY).begun() == 5
    digests = [_run(tmp_path / name, 0) for name in ("killed", "whole")]
    assert [found.stderr for found in digests] == ["", ""]
    assert digests[0].stdout == digests[1].stdout != ""

"""Two and three real gloo processes on the CPU: the student of one process, and no process left behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import nn
from torch.multiprocessing.spawn import ProcessExitedException

from db3.errors import ConfigError, Db3Error
from db3.files import write_json
from db3.networks import build
from db3.settings.training import Arithmetic
from db3.training.examples import Examples, Group
from db3.training.processes import _cause, check_processes, train_together
from db3.training.train import HistoryRow, TrainSettings

Network = Callable[..., nn.Module]
Bars = Callable[..., Examples]
Weights = Callable[[nn.Module], bytes]

ROOT = Path(__file__).resolve().parents[2]
_SHORT = TrainSettings(steps=40, batch=17, lr=1e-2, warmup=5, ce=0.4, kl=0.6, temperature=3.0)


def soft(examples: Examples, seed: int = 0) -> Examples:
    labels = np.random.default_rng(seed).dirichlet(np.ones(3), len(examples)).astype(np.float32)
    return replace(examples, soft_labels=labels)


def difference(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def _normalised(seed: int) -> nn.Module:
    """Batch normalisation, a stride, an average pooling."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2),
            nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )  # fmt: skip


def ranks_of(process: psutil.Process, others: Collection[psutil.Process] = ()) -> list[psutil.Process]:
    """Processes that train for it: forked from a helper of multiprocessing's, which is none.

    `others` were there before: what earlier tests started in this process may still end.
    """
    return [rank for helper in process.children() for rank in helper.children() if rank not in others]


@dataclass(frozen=True)
class Trained:
    network: nn.Module
    history: list[HistoryRow]
    steps: int


@pytest.fixture(scope="module")
def mixture(small_network: Network, bars: Bars, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trained]:
    """Everything at once: mapped images, soft labels, two groups, augmentation, dropout, a part held out, 17 images."""
    originals = soft(bars(60))
    np.save(path := tmp_path_factory.mktemp("mapped") / "images.npy", originals.images)
    originals = replace(originals, images=np.load(path, mmap_mode="r"))
    groups = [
        Group("boundary_points", soft(bars(20, seed=1)), 0.3, ce=0.0, kl=0.7, temperature=2.0),
        Group("queried_images", bars(30, seed=2), 0.2, parents=np.arange(30)),
    ]
    plan = replace(_SHORT, select="best", holdout=0.2, balance=0.5, augment="warp", mix=0.5)

    def trained(processes: int, arithmetic: Arithmetic = "float32") -> Trained:
        network, steps = small_network(dropout=0.3), list[int]()
        history = train_together(
            network, originals, replace(plan, arithmetic=arithmetic), 3, processes=processes, groups=groups,
            on_step=lambda: steps.append(1),
        )  # fmt: skip
        return Trained(network, history, len(steps))

    return trained


def test_two_processes_make_the_student_of_one_and_the_same_bytes_again(
    mixture: Callable[..., Trained], small_network: Network, weights: Weights
) -> None:
    one, two, again = mixture(1), mixture(2), mixture(2)
    assert difference(one.network, small_network(dropout=0.3)) > 0.02
    assert difference(one.network, two.network) < 1e-5
    assert not two.network.training
    assert (one.steps, two.steps) == (40, 40)
    assert [row.step for row in one.history] == [row.step for row in two.history]
    losses = [row.loss for row in two.history]
    assert losses == pytest.approx([row.loss for row in one.history], rel=1e-5)
    assert weights(two.network) == weights(again.network)
    assert two.history == again.history


def test_in_exact_arithmetic_two_and_three_processes_have_the_bytes_of_one(
    mixture: Callable[..., Trained], weights: Weights
) -> None:
    one, *others = (mixture(processes, "exact") for processes in (1, 2, 3))
    for other in others:
        assert weights(other.network) == weights(one.network)
        assert other.history == one.history


def test_in_exact_arithmetic_batch_norm_keeps_the_bytes_of_one_process(weights: Weights) -> None:
    drawn = np.random.default_rng(0)
    examples = Examples(drawn.integers(0, 256, (20, 3, 8, 8), dtype=np.uint8), drawn.integers(0, 4, 20))
    networks = [_normalised(seed=1) for _ in range(2)]
    for network, processes in zip(networks, (1, 2), strict=True):
        train_together(network, examples, TrainSettings(steps=4, batch=9, lr=1e-2, warmup=0), 0, processes=processes)
    assert weights(networks[0]) == weights(networks[1])


def test_a_batch_that_no_number_divides_has_every_image_once(small_network: Network, bars: Bars) -> None:
    """Five images, one of them a group's, on three processes: one of these has two parts, the others one."""
    groups = [Group("boundary_points", soft(bars(9, seed=1)), 0.2, ce=0.0, kl=1.0)]
    plan = replace(_SHORT, batch=5, steps=30, arithmetic="float32")
    networks = [small_network(dropout=0.2) for _ in range(2)]
    for network, processes in zip(networks, (1, 3), strict=True):
        train_together(network, soft(bars(11)), plan, 1, processes=processes, groups=groups)
    assert difference(*networks) < 1e-5


def _one_step(arithmetic: Arithmetic, batch: int) -> tuple[list[float], list[dict[str, torch.Tensor]]]:
    """Loss and state after a step of a network with batch normalisation and residuals, in one process and in two."""
    drawn = np.random.default_rng(0)
    examples = Examples(drawn.integers(0, 256, (20, 3, 16, 16), dtype=np.uint8), drawn.integers(0, 4, 20))
    plan = TrainSettings(steps=1, batch=batch, lr=1e-2, warmup=0, arithmetic=arithmetic)
    networks = [build("resnet18_small", (3, 16, 16), 4, seed=1) for _ in range(2)]
    losses = [
        train_together(network, examples, plan, 0, processes=processes)[0].loss
        for network, processes in zip(networks, (1, 2), strict=True)
    ]
    return losses, [network.state_dict() for network in networks]


def test_a_network_with_batch_norm_and_residuals_takes_the_same_step() -> None:
    """One step: rounding grows fast in such networks, between one and two threads of one process as well."""
    losses, states = _one_step("float32", batch=9)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for name, one in states[0].items():
        other = states[1][name]
        if "running" in name:
            torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
        else:  # AdamW's first step is the gradient's sign times the rate; where it is all but 0, rounding decides
            assert float(((one - other).abs() > 1e-4).double().mean()) < 1e-3, name


def test_processes_with_short_products_take_the_same_step_but_for_their_rounding() -> None:
    losses, (first, second) = _one_step("bfloat16", batch=8)
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    for name in (name for name in first if "running" in name):
        torch.testing.assert_close(second[name], first[name], rtol=0.05, atol=0.01)


def test_a_killed_process_ends_the_others_and_is_named(small_network: Network, bars: Bars) -> None:
    me, seen = psutil.Process(), list[tuple[str, str]]()
    others = ranks_of(me)

    def kill() -> None:
        if not seen:
            ranks = ranks_of(me, others)
            assert len(ranks) == 2
            for rank in ranks:
                seen.extend((c.laddr.ip, c.status) for c in rank.net_connections("inet"))
            ranks[-1].kill()

    with pytest.raises(Db3Error, match=r"process \d of the 2 that train a network was ended by SIGKILL") as info:
        train_together(small_network(), bars(20), replace(_SHORT, kl=0.0, steps=100_000), 0, processes=2, on_step=kill)
    assert "\n" not in str(info.value)
    assert ranks_of(me, others) == []
    assert seen  # the sums go through sockets, of this machine alone
    assert {address.removeprefix("::ffff:") for address, _ in seen} == {"127.0.0.1"}


LONG = """
import numpy as np
from torch import nn
from db3.training.examples import Examples
from db3.training.processes import train_together
from db3.training.train import TrainSettings

if __name__ == "__main__":
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    examples = Examples(np.zeros((8, 1, 2, 2), np.uint8), np.zeros(8, np.int64))
    step = lambda: print("step", flush=True)
    train_together(network, examples, TrainSettings(steps=10**7, batch=4), 0, processes=2, on_step=step)
"""


_SLOWLY = [pytest.param(how, marks=pytest.mark.slow) for how in (signal.SIGINT, signal.SIGTERM)]


@pytest.fixture
def short() -> Iterator[Path]:
    """A temporary folder of a short name: the address of a socket in it may have 107 characters."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("how", [*_SLOWLY, signal.SIGKILL], ids=lambda how: how.name)
def test_whatever_ends_the_run_ends_its_processes(how: signal.Signals, tmp_path: Path, short: Path) -> None:
    (tmp_path / "long.py").write_text(LONG)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "long.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TMPDIR": str(short)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process, process.stdout as lines:
        assert lines.readline() == "step\n"
        ranks = ranks_of(psutil.Process(process.pid))
        assert len(ranks) == 2
        # As a terminal does it: Ctrl-C goes to all of them, a kill to one.
        (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)
        _, alive = psutil.wait_procs(ranks, timeout=30)
        assert alive == []
        lines.read()
    assert process.returncode != 0
    # multiprocessing's own, an empty folder with a dead socket, is left by SIGKILL.
    until = time.monotonic() + 30
    while (left := list(short.glob("db3-*"))) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []


def test_an_error_of_the_training_is_told_as_in_one_process(small_network: Network, bars: Bars) -> None:
    me = psutil.Process()
    others = ranks_of(me)
    with pytest.raises(Db3Error, match="lower lr"):
        train_together(small_network(), bars(20), replace(_SHORT, kl=0.0, lr=1e30), 0, processes=2)
    assert ranks_of(me, others) == []


def test_the_first_cause_is_told(tmp_path: Path) -> None:
    raised = ProcessExitedException("exit code 1", 1, 0, 1)
    assert "could not begin" in str(_cause(raised, [-signal.SIGTERM, 1], tmp_path))
    write_json(tmp_path / "error-1.json", {"at": 2.0, "kind": "", "message": "Connection closed by peer"})
    told = _cause(raised, [-signal.SIGTERM, 1], tmp_path)
    assert (type(told), str(told)) == (RuntimeError, "Connection closed by peer")
    # A process that was killed may be seen after one that missed it.
    assert "process 0 of the 2" in str(_cause(raised, [-signal.SIGKILL, 1], tmp_path))
    write_json(tmp_path / "error-0.json", {"at": 1.0, "kind": "ConfigError", "message": "no soft labels"})
    told = _cause(raised, [1, 1], tmp_path)
    assert (type(told), str(told)) == (ConfigError, "no soft labels")
    ended = ProcessExitedException("terminated", 1, 0, -signal.SIGTERM, "SIGTERM")
    assert "process 1 of the 2 that train a network was ended by SIGTERM" in str(_cause(ended, [1, -15], tmp_path))


@pytest.mark.parametrize(
    ("processes", "device", "told"),
    [
        (0, "cpu", "processes is 0; expected 1 or more"),
        (18, "cpu", "processes is 18, but a batch holds 17 images; .*lower processes or raise batch"),
        (2, "cuda:0", "processes is 2, but the device is cuda:0; expected cpu, or cuda"),
        (2, "mps", "processes is 2, but the device is mps"),
        (17, "cuda", r"processes is 17, but \d+ GPUs are visible"),
    ],
)
def test_a_number_that_cannot_be_served_is_refused(
    processes: int, device: str, told: str, small_network: Network, bars: Bars
) -> None:
    with pytest.raises(ConfigError, match=told) as info:
        train_together(small_network(), bars(20), _SHORT, 0, processes=processes, device=device)
    assert "\n" not in str(info.value)


def test_one_process_needs_nothing_of_the_machine() -> None:
    check_processes(1, 1, "mps")

"""Training and deciding in exact arithmetic: the same bytes under every kernel setting and number of threads."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from db3.arithmetic import InexactOperationError, exact_only, to_exact
from db3.errors import ConfigError
from db3.networks import build
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.base import TeacherSpec
from db3.teachers.decide import decide_all
from db3.training.augmentation import augmentation
from db3.training.exact_learner import ExactLearner
from db3.training.examples import Examples, pixels
from db3.training.learner import Targets
from db3.training.ranks import ALONE
from db3.training.train import TrainSettings, train

Network = Callable[..., nn.Module]
Bars = Callable[..., Examples]

ROOT = Path(__file__).resolve().parents[2]
_SHORT = TrainSettings(steps=40, batch=16, lr=1e-2, warmup=3)

# Everything at once: dropout, soft labels, a group, balance, a warp, a part held out; then decisions and logits.
TRAINING = """
import sys
import numpy as np, torch
from db3.digest import digest_arrays
from db3.networks import build
from db3.settings.training import AssistantSettings
from db3.students.assistants import assisted
from db3.students.baselines import noise_labels
from db3.students.teacher_logits import teacher_logits
from db3.training.examples import Examples, Group, channel_statistics
from db3.training.train import TrainSettings, train

torch.set_num_threads(int(sys.argv[1]))
drawn = np.random.default_rng(0)
images, decisions = drawn.integers(0, 256, (60, 3, 32, 32), dtype=np.uint8), drawn.integers(0, 4, 60)
soft = drawn.dirichlet(np.ones(4), 60).astype(np.float32)
mean, std = channel_statistics(images)
network = build("alexnet_quarter", (3, 32, 32), 4, mean=mean, std=std, seed=5)
plan = TrainSettings(steps=6, batch=17, lr=3e-3, warmup=2, ce=0.3, kl=0.7, temperature=3.0, balance=0.5, select="best",
                     augment="warp", mix=0.5)
group = Group("boundary_points", Examples(images[:20], decisions[:20], soft[:20]), 0.3, 0.0, 1.0, 2.0)
history = train(network, Examples(images, decisions, soft), plan, 1, groups=[group])
told = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
told["history"] = np.array([[row.step, row.loss, row.lr] for row in history])
told["logits"] = teacher_logits(network, images, 7, "exact")
told["noise"] = noise_labels(decisions, 4, 1.0, 3)
own = AssistantSettings(networks=2, architecture="lenet5_fifth", steps=3, images=40)
grey = np.ascontiguousarray(images[:, :1])
told["assistants"] = assisted(grey, decisions, 4, own, TrainSettings(batch=16), 0).soft_labels
print(digest_arrays(told))
"""
PORTABLE = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
NUMPY = {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3"}


def _digest(threads: int, settings: dict[str, str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    command = [sys.executable, "-c", TRAINING, str(threads)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=ROOT).stdout


@pytest.mark.slow
def test_a_training_has_the_same_bytes_under_every_kernel_setting_and_with_two_threads() -> None:
    digests = [_digest(1, {}), _digest(2, {}), _digest(1, PORTABLE), _digest(2, {**PORTABLE, **NUMPY})]
    assert len(digests[0].strip()) == 64
    assert len(set(digests)) == 1


def test_no_step_and_no_decision_runs_an_inexact_operation(small_network: Network, bars: Bars) -> None:
    examples, network = bars(16), small_network(dropout=0.3)
    soft = torch.full((10, 3), 1 / 3)
    decisions = torch.from_numpy(examples.decisions)
    parts = [Targets(decisions[:6], None, 6, 1.0, 0.0, 1.0), Targets(decisions[6:], soft, 10, 0.2, 0.8, 4.0)]
    learner = ExactLearner(network, 1, TrainSettings(batch=16), "cpu", ALONE)
    with exact_only():
        images = augmentation("warp", 3)(pixels(examples.images), 0, np.arange(16), np.zeros(16, np.int64))  # type: ignore[misc]
        for step in range(2):
            learner.step(images, [(1.0, parts)], step, 1e-2)
        learner.decide(images)
    learner.finish(None)
    spec = TeacherSpec((1, 8, 8), (0.0, 1.0), 3, 16, "bars")
    exact, plain = (NetworkTeacher(network, spec, arithmetic=kind) for kind in ("exact", "float32"))  # type: ignore[arg-type]
    with exact_only():
        exact.decide(pixels(examples.images))
    with pytest.raises(InexactOperationError), exact_only():
        plain.decide(pixels(examples.images))


def test_an_image_is_decided_by_itself(small_network: Network, bars: Bars) -> None:
    images, twin = bars(40).images, to_exact(small_network())
    whole = decide_all(twin, images, 40)
    assert np.array_equal(whole, decide_all(twin, images, 1))
    assert np.array_equal(whole[::-1], decide_all(twin, images[::-1], 7))


def test_the_network_gets_float32_weights_that_decide_as_the_twin_did(small_network: Network, bars: Bars) -> None:
    network, clean = small_network(dropout=0.2), bars(300, seed=9)
    train(network, bars(200), replace(_SHORT, steps=150), seed=1)
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}
    assert not network.training
    exact, plain = decide_all(to_exact(network), clean.images, 100), decide_all(network, clean.images, 100)
    assert (exact == plain).mean() > 0.99
    assert (exact == clean.decisions).mean() > 0.95


def test_both_arithmetics_learn_alike(small_network: Network, bars: Bars) -> None:
    """Without dropout, whose zeros are others: the same batches, first weights and rates."""
    networks = [small_network(), small_network()]
    histories = [
        train(network, bars(200), replace(_SHORT, arithmetic=kind), seed=1)  # type: ignore[arg-type]
        for network, kind in zip(networks, ("exact", "float32"), strict=True)
    ]
    losses = [[row.loss for row in history] for history in histories]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-4)


def test_a_layer_without_a_twin_is_refused_by_name(bars: Bars) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.GELU())
    with pytest.raises(ConfigError, match=r"layer 2 \(GELU\) has no exact twin.*take arithmetic float32"):
        train(network, bars(8), _SHORT, seed=0)
    train(network, bars(8), replace(_SHORT, arithmetic="float32"), seed=0)


def test_first_weights_are_those_of_every_machine() -> None:
    """Pinned where torch's own are not: its uniform numbers are fused into one rounding where a kernel has FMA."""
    one, other = (build("lenet5_fifth", (1, 28, 28), 10, seed=seed) for seed in (0, 0))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(build("lenet5_fifth", (1, 28, 28), 10, seed=1).parameters()))


@pytest.mark.parametrize("device", ["mps"])
def test_a_device_without_float64_is_refused(small_network: Network, bars: Bars, device: str) -> None:
    with pytest.raises(ConfigError, match="exact needs float64"):
        train(small_network(), bars(8), _SHORT, seed=0, device=device)

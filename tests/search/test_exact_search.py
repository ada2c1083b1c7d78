"""Surrogates and their posterior run no inexact operation, and searches have the same bytes everywhere."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from db3.arithmetic import exact_only
from db3.search.surrogate.posterior import posterior
from db3.search.surrogate.surrogate import Answers, Surrogate
from tests.search.exact_search import SETTINGS, SHAPE
from tests.search.problems import drawn

ROOT = Path(__file__).resolve().parents[2]
PINNED = ["253182ff5e295bf1", "a8b8dac908b45c9f", "8e9420be7cd3379e", "b7e9937be69b5511", "64520a203556cdf5"]


def test_surrogates_run_no_inexact_operation() -> None:
    levels = (drawn(30, 144) * 255).to(torch.uint8)
    known = Answers(levels, torch.arange(30) % 4)
    surrogate = Surrogate(SHAPE, 4, SETTINGS)

    with exact_only():
        surrogate.learn(known, known)
        images = surrogate.pixels(known.images)
        value, gradient = surrogate.margin(images, known.decisions)
        assert torch.equal(value, surrogate.value(images, known.decisions))
        assert torch.isfinite(surrogate.directions(surrogate.coordinates(images + gradient))).all()


def test_the_posterior_runs_no_inexact_operation_and_knows_no_neighbours() -> None:
    steps, expected = drawn(5, 40, 6, seed=1) - 0.5, (drawn(5, 40, seed=2) - 0.5) * 0.2
    answers, noise = torch.where(drawn(5, 40, seed=3) < 0.4, 0.0, expected.sign()), torch.full((5, 40), 0.02)
    answers[3, 5:] = 0  # fewer than the others have
    prior = drawn(5, 3, 6, seed=4)

    with exact_only():
        together = posterior(steps, expected, answers, noise, 0.05)
        draws = together.draw(prior)
    alone = posterior(steps[3:4], expected[3:4], answers[3:4], noise[3:4], 0.05)

    assert torch.equal(alone.weights[0], together.weights[3])
    assert torch.equal(alone.offset[0], together.offset[3])
    assert torch.equal(alone.draw(prior[3:4])[0], draws[3])


def test_a_search_has_the_same_bytes_under_other_kernels() -> None:
    """Distances, images asked, soft labels and scenes, pinned: the same on every machine."""
    other = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
    for environment in ({}, {**other, "THREADS": "2"}):
        ran = subprocess.run(
            [sys.executable, "-m", "tests.search.exact_search"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.split() == PINNED

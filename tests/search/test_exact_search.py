"""Surrogates and their posterior run no inexact operation; the bytes of searches: tests/test_elsewhere.py."""

import torch

from db3.arithmetic import exact_only
from db3.search.surrogate.posterior import posterior
from db3.search.surrogate.surrogate import Answers, Surrogate, SurrogateSettings
from tests.search.problems import drawn

SHAPE = (1, 12, 12)
SETTINGS = SurrogateSettings(networks=2, steps=6, retrain=4, maximum=4, batch=24, basis=8)


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

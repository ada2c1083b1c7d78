"""The posterior against a direct minimisation, and on a plane whose tilt is known."""

import torch
from torch import Tensor

from db3.search.surrogate.posterior import Posterior, posterior
from tests.search.problems import drawn

OFFSET = 0.05


def problem(rows: int = 3, answers: int = 40, dims: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Answers of planes tilted by known weights, and what the posterior is told."""
    steps = (drawn(rows, answers, dims, seed=1) - 0.5) * 0.4
    weights = drawn(rows, dims, seed=2) * 2 - 1
    expected = (drawn(rows, answers, seed=3) - 0.5) * 0.2
    height = expected + torch.einsum("nqp,np->nq", steps, weights)
    return steps, expected, height.sign(), torch.full_like(expected, 0.02), weights


def test_it_is_the_minimum_of_the_penalised_loss() -> None:
    steps, expected, answers, noise, _ = problem()
    found = posterior(steps, expected, answers, noise, OFFSET)

    weights = torch.zeros(3, 6, requires_grad=True)
    offset = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, offset], max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-12)

    def loss() -> Tensor:
        optimiser.zero_grad()
        height = expected + torch.einsum("nqp,np->nq", steps, weights) + offset[:, None]
        misfit = torch.nn.functional.softplus(-answers * height / noise).sum()
        value = misfit + 0.5 * (weights**2).sum() + 0.5 * (offset**2).sum() / OFFSET**2
        value.backward()
        return value

    optimiser.step(loss)
    assert torch.allclose(found.weights, weights.detach(), atol=0.05)
    assert torch.allclose(found.offset, offset.detach(), atol=0.01)


def test_answers_turn_the_normal_towards_the_truth() -> None:
    steps, expected, answers, noise, weights = problem(rows=20, answers=200)
    found = posterior(steps, expected, answers, noise, OFFSET).weights
    assert (torch.cosine_similarity(found, weights) > 0.95).all()


def without(fit: Posterior) -> Tensor:
    return fit.draw(torch.eye(6).expand(3, 6, 6))


def test_draws_keep_to_what_the_answers_leave_open() -> None:
    steps, expected, answers, noise, _ = problem(answers=30)
    steps[..., 3:] = 0  # three dimensions that no answer speaks of
    left = without(posterior(steps, expected, answers, noise, OFFSET))
    assert torch.allclose(left[:, 3:], torch.eye(6)[3:].expand(3, 3, 6), atol=1e-5)
    assert (left[:, :3, :3].diagonal(dim1=1, dim2=2) < 0.5).all()


def test_answers_that_were_not_given_count_for_nothing() -> None:
    steps, expected, answers, noise, _ = problem()
    padded = [torch.cat([part, part.flip(1)], dim=1) for part in (steps, expected, answers, noise)]
    padded[2][:, 40:] = 0
    one = posterior(steps, expected, answers, noise, OFFSET)
    other = posterior(*padded, OFFSET)
    assert torch.allclose(one.weights, other.weights, atol=1e-4)

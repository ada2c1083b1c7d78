import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, rel_entr

from db3.errors import ConfigError
from db3.training.losses import student_loss


def _problem(seed: int, count: int = 5, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, classes, generator=drawn)
    soft = torch.softmax(2 * torch.randn(count, classes, generator=drawn), dim=1)
    return logits, torch.randint(classes, (count,), generator=drawn), soft


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.floats(0, 2), st.floats(0, 2), st.floats(0.5, 20))
def test_the_loss_is_the_formula(seed: int, ce: float, kl: float, temperature: float) -> None:
    logits, decisions, soft = _problem(seed)
    wide, p = logits.double().numpy(), soft.double().numpy()
    cross_entropy = -log_softmax(wide, axis=1)[np.arange(5), decisions.numpy()].mean()
    divergence = rel_entr(p, np.exp(log_softmax(wide / temperature, axis=1))).sum(axis=1).mean()
    loss = student_loss(logits, decisions, soft, ce=ce, kl=kl, temperature=temperature)
    assert float(loss) == pytest.approx(ce * cross_entropy + kl * temperature**2 * divergence, rel=1e-4, abs=1e-5)


def test_the_divergence_is_torchs_own() -> None:
    logits, decisions, soft = _problem(1)
    p, q = torch.distributions.Categorical(probs=soft), torch.distributions.Categorical(logits=logits / 3)
    expected = 9 * torch.distributions.kl_divergence(p, q).mean()
    loss = student_loss(logits, decisions, soft, ce=0.0, kl=1.0, temperature=3.0)
    assert loss.item() == pytest.approx(expected.item())


def test_a_soft_label_with_zeros_is_exact_in_value_and_gradient() -> None:
    logits, decisions, _ = _problem(2)
    onehot = torch.nn.functional.one_hot(decisions, 4).float()
    extreme = (logits * 100).requires_grad_()
    loss = student_loss(extreme, decisions, onehot, ce=0.0, kl=1.0, temperature=1.0)
    loss.backward()
    expected = torch.nn.functional.cross_entropy(extreme, decisions)
    assert loss.item() == pytest.approx(expected.item())
    assert extreme.grad is not None
    assert bool(extreme.grad.isfinite().all())


def test_the_gradient_pulls_the_student_towards_the_soft_label() -> None:
    logits, decisions, soft = _problem(3)
    logits.requires_grad_()
    student_loss(logits, decisions, soft, ce=0.0, kl=1.0, temperature=1.0).backward()
    assert logits.grad is not None
    assert torch.allclose(logits.grad, (logits.softmax(1) - soft) / len(logits), atol=1e-6)


def test_a_matching_student_is_at_the_minimum() -> None:
    _, decisions, soft = _problem(4)
    logits = (5 * soft.log()).requires_grad_()
    loss = student_loss(logits, decisions, soft, ce=0.0, kl=1.0, temperature=5.0)
    loss.backward()
    assert logits.grad is not None
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)
    assert float(logits.grad.abs().max()) < 1e-5


def test_gradients_keep_their_size_at_every_temperature() -> None:
    logits, decisions, soft = _problem(5)
    flat = torch.full_like(soft, 0.25)
    sizes = []
    for temperature in (20.0, 40.0):
        student = (0.1 * logits).detach().requires_grad_()
        student_loss(student, decisions, flat, ce=0.0, kl=1.0, temperature=temperature).backward()
        assert student.grad is not None
        sizes.append(float(student.grad.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def test_a_divergence_without_soft_labels_is_refused() -> None:
    logits, decisions, _ = _problem(6)
    assert student_loss(logits, decisions, None, ce=1.0, kl=0.0, temperature=1.0).isfinite()
    with pytest.raises(ConfigError, match=r"KL is 0\.5 .* no soft labels"):
        student_loss(logits, decisions, None, ce=1.0, kl=0.5, temperature=1.0)

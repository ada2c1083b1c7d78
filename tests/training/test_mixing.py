import pytest
import torch

from db3.training.mixing import draw_share, mixup


def _drawn(often: float, seed: int = 0) -> list[float]:
    return [draw_share(often, seed, step) for step in range(400)]


def test_a_share_of_the_batches_is_mixed_and_weights_are_even() -> None:
    assert set(_drawn(0.0)) == {0.0}
    assert sum(each > 0 for each in _drawn(0.6)) == pytest.approx(240, abs=40)
    shares = torch.tensor(_drawn(1.0))
    assert shares.min() > 0
    assert shares.mean().item() == pytest.approx(0.5, abs=0.05)
    assert shares.std().item() == pytest.approx(12**-0.5, abs=0.03)


def test_mixup_is_the_weighted_mean() -> None:
    images, partners = torch.rand(2, 5, 3, 4, 4)
    before = images.clone()
    assert torch.allclose(mixup(images, partners, 0.25), 0.75 * images + 0.25 * partners)
    assert torch.equal(images, before)
    assert torch.equal(mixup(images, partners, 0.0), images)


def test_the_seed_and_the_step_decide() -> None:
    assert _drawn(0.5) == _drawn(0.5)
    assert _drawn(0.5) != _drawn(0.5, seed=1)
    assert len(set(_drawn(1.0))) > 390

import pytest
import torch

from db3.training.mixing import Mixture, draw_mixture


def _drawn(often: float, seed: int = 0) -> list[Mixture | None]:
    return [draw_mixture(often, 24, 32, seed, step) for step in range(400)]


def test_a_share_of_the_batches_is_mixed_half_of_them_by_boxes() -> None:
    assert set(_drawn(0.0)) == {None}
    mixed = [each for each in _drawn(0.6) if each]
    assert len(mixed) == pytest.approx(240, abs=40)
    assert sum(each.box is not None for each in mixed) == pytest.approx(120, abs=30)
    assert None not in _drawn(1.0)


def test_shares_are_even_and_a_box_has_its_share_of_the_pixels() -> None:
    shares = torch.tensor([each.share for each in _drawn(1.0) if each])
    assert shares.mean().item() == pytest.approx(0.5, abs=0.05)
    assert shares.std().item() == pytest.approx(12**-0.5, abs=0.03)
    for each in filter(None, _drawn(1.0)):
        if each.box:
            pixels = torch.zeros(1, 1, 24, 32)
            mixed = each.mix(pixels, pixels + 1)
            assert mixed.mean().item() == pytest.approx(each.share)
            assert pixels.sum() == 0


def test_mixup_is_the_weighted_mean() -> None:
    images, partners = torch.rand(2, 5, 3, 4, 4)
    mixed = Mixture(0.25).mix(images, partners)
    assert torch.allclose(mixed, 0.75 * images + 0.25 * partners)
    assert torch.equal(Mixture(0.0).mix(images, partners), images)


def test_the_seed_and_the_step_decide() -> None:
    assert _drawn(0.5) == _drawn(0.5)
    assert _drawn(0.5) != _drawn(0.5, seed=1)
    assert len({each.share for each in _drawn(1.0) if each}) > 100

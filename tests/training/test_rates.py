"""The learning rate over the steps."""

import pytest

from db3.training.train import TrainSettings


def test_a_line_falls_from_the_warm_up_to_zero() -> None:
    rates = TrainSettings(steps=100, lr=0.5, warmup=20, schedule="linear").rates()
    assert rates[:20] == pytest.approx([0.5 * (step + 1) / 21 for step in range(20)])
    assert rates[20:] == pytest.approx([0.5 * (80 - step) / 80 for step in range(80)])


def test_stages_multiply_the_rate_at_each_milestone() -> None:
    plan = TrainSettings(steps=10, lr=0.8, warmup=2, schedule="stages", milestones=(0.5, 0.75), decay=0.5)
    assert plan.rates() == pytest.approx([0.8 / 3, 1.6 / 3, 0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2])


@pytest.mark.parametrize("schedule", ["cosine", "linear", "stages"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_every_schedule_reaches_its_rate_however_short(schedule: str, steps: int) -> None:
    plan = TrainSettings(steps=steps, lr=0.5, warmup=50, schedule=schedule, milestones=(0.9,))  # type: ignore[arg-type]
    assert len(plan.rates()) == steps
    assert max(plan.rates()) == 0.5

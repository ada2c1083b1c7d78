"""The learning rate of every step, by single IEEE operations."""

import math

from db3.arithmetic import warmup_cosine
from db3.settings.training import Schedule


def learning_rates(settings: Schedule) -> list[float]:
    """Linear to `lr` within the warm-up; then half a cosine or a straight line, both of which would reach 0 at `steps`,
    or stages: times `decay` from each milestone on, a share of all steps.
    """
    steps, lr, warmup = settings.steps, settings.lr, min(settings.warmup, settings.steps // 2)
    rates = warmup_cosine(steps, lr, warmup)
    if settings.schedule == "linear":
        rates[warmup:] = [lr * (1 - step / (steps - warmup)) for step in range(steps - warmup)]
    elif settings.schedule == "stages":
        for step in range(warmup, steps):
            passed = sum(step >= milestone * steps for milestone in settings.milestones)
            rates[step] = math.prod([settings.decay] * passed, start=lr)
    return rates

"""Real samples: images drawn from the training part of a dataset."""

import numpy as np
from jaxtyping import Int64

from db3 import rng
from db3.errors import ConfigError
from db3.rng import Purpose


def draw_samples(available: int, count: int | None, seed: int) -> Int64[np.ndarray, " n"]:
    """Sorted places of `count` images among `available`, drawn at random without a look at any label.

    A smaller draw of the same seed is part of a larger one, so a growing transfer set keeps what it has paid for.

    Raises:
        ConfigError: more are wanted than there are.
    """
    if count is None:
        return np.arange(available)
    if count > available:
        raise ConfigError(
            f"samples.count is {count}, but the training part has {available} images: lower it, or null for all"
        )
    return np.sort(np.array(rng.permutation(available, seed, Purpose.SAMPLES)[:count], dtype=np.int64))

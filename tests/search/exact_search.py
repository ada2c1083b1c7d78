"""A small search with surrogates and probing, as a function and as a script that prints digests of what it finds.

THREADS=2 python -m tests.search.exact_search
"""

import os
import sys

import numpy as np
import torch

from db3.digest import digest_array
from db3.images.priors import prior_images
from db3.search.catalogue import SearchSettings
from db3.search.methods.phases import plan
from db3.search.pairs import search_distances
from db3.search.surrogate import surrogate
from db3.search.surrogate.surrogate import SurrogateSettings
from db3.soft_labels import inverse, margin, margin_beta
from db3.testing.analytic import Brightest
from db3.types import TransferImages

SHAPE, SAMPLES, BUDGET = (1, 12, 12), 12, 36
SETTINGS = SurrogateSettings(networks=3, steps=12, retrain=4, maximum=4, batch=24, basis=30, synthetic_queries=2)


def found() -> list[str]:
    """Digests of the distances, the images asked, labels made of them, and scenes."""
    assert plan(BUDGET)[-1].search == "local"
    surrogate._BASIS_SAMPLES = 24  # the same code, much sooner
    teacher = Brightest((torch.arange(144) % 4).view(SHAPE))
    levels = torch.randint(256, (SAMPLES, *SHAPE), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    pool = TransferImages(levels.numpy(), teacher.decide(levels.float() / 255).numpy())
    distances = search_distances(teacher, pool, range(6), SearchSettings(budget=BUDGET), surrogate=SETTINGS)
    assert np.isfinite(distances.distances).all()
    decisions = pool.decisions[:6]
    scale = margin_beta(distances.distances, decisions, 2.0)
    labels = [margin(distances.distances, decisions, scale), inverse(distances.distances, decisions, 20.0)]
    made = [distances.distances, distances.queried_images, *labels, prior_images((3, 32, 32), range(64), 0)]
    return [digest_array(array)[:16] for array in made]


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    sys.stdout.write(" ".join(found()) + "\n")

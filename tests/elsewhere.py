"""What has to have the same bytes on every machine, small enough for an emulated processor; prints digests.

python -m tests.elsewhere 64 images,labels,surrogate,student,search
"""

import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch

from db3.digest import digest_array
from db3.images.augmented import augmented_images
from db3.images.priors import prior_images
from db3.search.catalogue import SearchSettings
from db3.search.pairs import search_distances
from db3.search.surrogate import surrogate
from db3.search.surrogate.surrogate import Answers, Surrogate, SurrogateSettings
from db3.soft_labels import inverse, margin, margin_beta
from db3.testing.analytic import Brightest
from db3.types import TransferImages
from tests.arithmetic.trainings import train

SHAPE = (1, 16, 16)
SETTINGS = SurrogateSettings("lenet5_fifth", networks=2, steps=3, retrain=2, batch=24, basis=8, synthetic_queries=2)


def _pool(shape: tuple[int, int, int], count: int) -> TransferImages:
    levels = torch.randint(256, (count, *shape), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    size = levels[0].numel()
    teacher = Brightest((torch.arange(size) % 4).view(shape))
    return TransferImages(levels.numpy(), teacher.decide(levels.float() / 255).numpy())


def images(count: int) -> Iterator[np.ndarray]:
    """Grey priors, scenes and programs, and augmented images of noise."""
    yield prior_images((1, 28, 28), range(count), 0)
    yield prior_images((3, 32, 32), range(count), 0)
    yield augmented_images(_pool((3, 32, 32), 16).images, range(count), 0)


def labels(count: int) -> Iterator[np.ndarray]:
    """Soft labels of distances, some of them infinite, by both mappings."""
    random = np.random.default_rng(7)  # PCG64 and its doubles are the same on every machine
    distances = (random.random((count, 10)) * 8 + 0.1).astype(np.float32)
    decisions = np.arange(count) % 10
    distances[np.arange(count), decisions] = 0
    distances[:4, (decisions[:4] + 3) % 10] = np.inf
    yield margin(distances, decisions, margin_beta(distances, decisions, 2.0))
    yield inverse(distances, decisions, 20.0)


def trained_surrogate(count: int) -> Iterator[np.ndarray]:
    """Margins and gradients of a surrogate after three steps."""
    pool = _pool(SHAPE, count)
    known = Answers(torch.from_numpy(pool.images).flatten(1), torch.from_numpy(pool.decisions))
    trained = Surrogate(SHAPE, 4, SETTINGS)
    trained.learn(known, known)
    pixels, targets = trained.pixels(known.images[:4]), (known.decisions[:4] + 1) % 4
    for values in trained.margin(pixels, targets):
        yield values.numpy()


def found(_: int) -> Iterator[np.ndarray]:
    """The points and distances of a search to the end of its phases, and every image it asked about."""
    surrogate._BASIS_SAMPLES = 12  # the same code, much sooner
    pool, teacher = _pool(SHAPE, 12), Brightest((torch.arange(256) % 4).view(SHAPE))
    distances = search_distances(teacher, pool, range(1), SearchSettings(budget=36), surrogate=SETTINGS)
    yield from (distances.distances, distances.points, distances.queried_images)


def student(_: int) -> Iterator[str]:
    """Weights, logits, gradient and loss after two steps with batch norm and soft labels."""
    yield from train("compact", 2)


PARTS: dict[str, Callable[[int], Iterator[np.ndarray | str]]] = {
    "images": images,
    "labels": labels,
    "surrogate": trained_surrogate,
    "student": student,
    "search": found,
}


def digests(part: str, count: int) -> list[str]:
    """Of everything that a part gives, of `count` images where it makes any."""
    return [item if isinstance(item, str) else digest_array(item)[:16] for item in PARTS[part](count)]


if __name__ == "__main__":
    for name in sys.argv[2].split(","):
        sys.stdout.write(f"{name}: {' '.join(digests(name, int(sys.argv[1])))}\n")
        sys.stdout.flush()

"""A run of the front door with boundary points and queried images."""

import numpy as np
import pytest

import db3


def brightest(images: np.ndarray) -> np.ndarray:
    quarters = images.reshape(len(images), 2, 8, 2, 8).mean(axis=(2, 4))
    return np.asarray(quarters.reshape(len(images), 4).argmax(axis=1))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> "db3.Result":
    """A student of what a function decides, after searches."""
    teacher = db3.teacher(brightest, shape=(1, 16, 16), labels=["a", "b|c", "d", "é"], name="vendor-7")
    settings = {
        **{"samples.method": "real", "samples.count": 30, "query.method": "mbd", "query.budget": 12},
        **{"query.variations": 0.1, "query.points": 3, "query.queried_images": 4},
        **{"distill.steps": 20, "distill.warmup": 2, "distill.int8": True},
        **{"soft_labels.boundary_points": 0.3, "soft_labels.queried_images": 0.3},
    }
    return db3.distill(
        teacher,
        db3.prior_images((1, 16, 16), range(60), seed=3),
        queries=2000,
        folder=tmp_path_factory.mktemp("publish") / "run",
        student="lenet5_fifth",
        settings=settings,
        progress=False,
    )

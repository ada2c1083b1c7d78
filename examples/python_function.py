"""A Python function and some images: a student of it, and how often the two agree.

python examples/python_function.py
"""

import tempfile

import numpy as np

import db3

SHAPE, CLASSES = (1, 16, 16), 4


def brightest_quarter(images: np.ndarray) -> np.ndarray:
    """Stand in for your model: float32 [n, 1, 16, 16] in [0, 1] to one class an image, and nothing else."""
    quarters = images.reshape(len(images), 2, 8, 2, 8).mean(axis=(2, 4))
    return quarters.reshape(len(images), CLASSES).argmax(axis=1)


def main() -> None:
    teacher = db3.teacher(brightest_quarter, shape=SHAPE, classes=CLASSES)
    images = db3.load_images(db3.prior_images(SHAPE, range(300), seed=1))  # yours: a folder, an array, …
    with tempfile.TemporaryDirectory() as folder:  # yours: a folder that stays, so that nothing is asked twice
        quick = {"distill.steps": 500, "samples.rounds.count": 3, "samples.rounds.steps": 50}
        result = db3.distill(teacher, images, queries=1_500, student="lenet5_fifth", folder=folder, settings=quick)
        print(result)

    fresh = db3.prior_images(SHAPE, range(1000, 1300), seed=1)  # images that neither has met
    wanted = brightest_quarter(fresh.astype(np.float32) / 255)
    agreement = db3.agreement(result.student.predict(fresh), wanted)
    asked = result.queries.asked
    print(f"{asked:,} queries asked; the student agrees with the teacher on {agreement:.1%} of fresh images")


if __name__ == "__main__":
    main()

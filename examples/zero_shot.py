"""No image at all: db3 makes the images, asks the teacher about those that teach most, and trains a student on them.

python examples/zero_shot.py
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
    # Prior images first; then rounds, in each of which a surrogate chooses among fresh images and variations.
    quick = {"distill.steps": 500, "distill.assistants.networks": 0}
    quick |= {"samples.rounds.count": 4, "samples.rounds.steps": 60, "samples.rounds.architecture": "lenet5_fifth"}
    with tempfile.TemporaryDirectory() as folder:
        result = db3.distill(teacher, None, queries=1_000, student="lenet5_fifth", folder=folder, settings=quick)
    decided = result.transfer.decisions
    print("images per class:", np.bincount(decided, minlength=CLASSES).tolist(), "missing:", result.missing)

    fresh = db3.prior_images(SHAPE, range(300), seed=7)  # another seed: images that neither has met
    wanted = brightest_quarter(fresh.astype(np.float32) / 255)
    agreement = db3.agreement(result.student.predict(fresh), wanted)
    asked = result.queries.asked
    print(f"{asked:,} queries asked; the student agrees with the teacher on {agreement:.1%} of fresh images")


if __name__ == "__main__":
    main()

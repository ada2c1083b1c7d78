"""A student that knows when to ask: what it is sure of it answers, with a promise; the teacher answers the rest.

python examples/cascade.py
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
    images = db3.prior_images(SHAPE, range(900), seed=1)  # yours: such as the student will meet
    quick = {"distill.steps": 800, "samples.rounds.count": 3, "samples.rounds.steps": 50}
    with tempfile.TemporaryDirectory() as folder:
        result = db3.distill(
            teacher, images, queries=2_500, held_out=600, student="lenet5_half", folder=folder, settings=quick
        )
    gate = result.gate(agreement=0.95, confidence=0.95)
    print(f"the student alone: {result.certify()}")
    print(f"the gate: {gate}")

    cascade = db3.Cascade(result.student, teacher, gate)
    fresh = db3.prior_images(SHAPE, range(1000, 1500), seed=1)  # images that neither has met
    decided, wanted = cascade.decide(fresh), brightest_quarter(fresh.astype(np.float32) / 255)
    print(f"student and teacher together agree with the teacher on {db3.agreement(decided, wanted):.1%}")
    print(cascade.bill(price_per_1000=1.5))


if __name__ == "__main__":
    main()

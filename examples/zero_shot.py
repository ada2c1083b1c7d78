"""No image at all: db3 makes the images, asks the teacher about those that teach most, and trains a student on them.

python examples/zero_shot.py
"""

import numpy as np

import db3

SHAPE, CLASSES, BUDGET = (1, 16, 16), 4, 1_000


def brightest_quarter(images: np.ndarray) -> np.ndarray:
    """Stand in for your model: float32 [n, 1, 16, 16] in [0, 1] to one class an image, and nothing else."""
    quarters = images.reshape(len(images), 2, 8, 2, 8).mean(axis=(2, 4))
    return quarters.reshape(len(images), CLASSES).argmax(axis=1)


def main() -> None:
    spec = db3.TeacherSpec(
        input_shape=SHAPE, bounds=(0.0, 1.0), classes=CLASSES, max_batch=64, identity="brightest-quarter-1"
    )
    teacher = db3.Budget(db3.Batching(db3.CallableTeacher(brightest_quarter, spec), pad=False))

    # Prior images first; then rounds, in each of which a surrogate chooses among fresh images and variations.
    settings = db3.RoundSettings(count=4, steps=60, architecture="lenet5_fifth")
    found = db3.gather(teacher, BUDGET, settings, seed=0)
    print("images per class:", np.bincount(found.decisions, minlength=CLASSES).tolist(), "missing:", found.missing)

    student = db3.build_network("lenet5_fifth", SHAPE, CLASSES, seed=0)
    examples = db3.Examples(found.images, found.decisions)
    db3.train(student, examples, db3.TrainSettings(steps=400, batch=64, balance=0.5), seed=0)

    fresh = db3.prior_images(SHAPE, range(300), seed=7)  # another seed: images that neither has met
    wanted = brightest_quarter(fresh.astype(np.float32) / 255)
    agreement = db3.agreement(db3.decide_all(student, fresh, batch=64), wanted)
    asked = teacher.costs.asked
    print(f"{asked:,} queries asked; the student agrees with the teacher on {agreement:.1%} of fresh images")


if __name__ == "__main__":
    main()

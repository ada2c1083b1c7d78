"""The parts by hand: search the decision boundaries of a function, then train a student on what they tell.

python examples/boundary_search.py
"""

import numpy as np

import db3

SHAPE, CLASSES, SAMPLES = (1, 16, 16), 4, 200


def brightest_quarter(images: np.ndarray) -> np.ndarray:
    """Stand in for your model: float32 [n, 1, 16, 16] in [0, 1] to one class an image, and nothing else."""
    quarters = images.reshape(len(images), 2, 8, 2, 8).mean(axis=(2, 4))
    return quarters.reshape(len(images), CLASSES).argmax(axis=1)


def main() -> None:
    spec = db3.TeacherSpec(
        input_shape=SHAPE, bounds=(0.0, 1.0), classes=CLASSES, max_batch=64, identity="brightest-quarter-1"
    )
    # Batching cuts calls to max_batch images (pad=False: never sends an image that nobody asked about), Budget counts.
    teacher = db3.Budget(db3.Batching(db3.CallableTeacher(brightest_quarter, spec), pad=False))

    images = db3.prior_images(SHAPE, range(SAMPLES), seed=0)  # yours here: uint8 [n, C, H, W]
    decisions = db3.decide_all(teacher, images, batch=64)

    # At most 8 queries for each pair of a sample and another class; 20 of the images asked for each sample are kept.
    method = db3.SearchSettings("bd", budget=8, queried_images=20)
    found = db3.search_distances(teacher, db3.TransferImages(images, decisions), range(SAMPLES), method)
    nearest = np.where(np.isfinite(found.distances) & (found.distances > 0), found.distances, np.inf).min(axis=1)
    print(f"median distance to the nearest boundary: {np.median(nearest):.2f}")

    labels = db3.margin(found.distances, decisions, db3.margin_beta(found.distances, decisions, gap=2.0))
    queried = db3.Examples(found.queried_images, found.queried_decisions)
    student = db3.build_network("lenet5_fifth", SHAPE, CLASSES, seed=0)
    db3.train(
        student,
        db3.Examples(images, decisions, labels),
        db3.TrainSettings(steps=600, batch=64),
        seed=0,
        groups=[db3.Group("queried_images", queried, share=0.7)],  # of each batch
    )

    fresh = db3.prior_images(SHAPE, range(SAMPLES, 2 * SAMPLES), seed=0)  # images that neither has met
    wanted = brightest_quarter(fresh.astype(np.float32) / 255)
    agreement = db3.agreement(db3.decide_all(student, fresh, batch=64), wanted)
    asked = teacher.costs.asked
    print(f"{asked:,} queries asked; the student agrees with the teacher on {agreement:.1%} of fresh images")


if __name__ == "__main__":
    main()

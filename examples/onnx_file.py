"""An ONNX file as the teacher: open it, search it, and see that its answers are those of the network it came from.

python examples/onnx_file.py            (needs the extra `onnx`: pip install 'db3[onnx]')
"""

import tempfile
from pathlib import Path

import numpy as np

import db3

SHAPE, CLASSES, SAMPLES = (1, 16, 16), 4, 60


def vendor_file(path: Path) -> None:
    """Stand in for the vendor: a small trained network, exported."""
    images = db3.prior_images(SHAPE, range(400), seed=1)
    quarters = images.reshape(-1, 2, 8, 2, 8).mean(axis=(2, 4))
    network = db3.build_network("lenet5_fifth", SHAPE, CLASSES, seed=1)
    examples = db3.Examples(images, quarters.reshape(-1, CLASSES).argmax(axis=1))
    db3.train(network, examples, db3.TrainSettings(steps=200, batch=64), seed=1)
    model = db3.export_onnx(network, SHAPE)
    parity = db3.check_parity(model, network, images[:SAMPLES])
    print(f"exported: logits differ by at most {parity.max_difference:.1e} on {parity.checked} images")
    path.write_bytes(model)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vendor.onnx"
        vendor_file(file)

        spec = db3.TeacherSpec(
            input_shape=SHAPE, bounds=(0.0, 1.0), classes=CLASSES, max_batch=32, identity="vendor-onnx-1"
        )
        # The file sees pixels in [0, 1]; another model's mean, scale, layout or type go into db3.Preprocessing.
        model = db3.OnnxTeacher(file, spec, db3.Preprocessing())
        # Batching pads every call to max_batch images: an answer then never depends on its neighbours.
        teacher = db3.Budget(db3.Batching(model))

        images = db3.prior_images(SHAPE, range(SAMPLES), seed=2)
        decisions = db3.decide_all(teacher, images, batch=32)
        print("decisions per class:", np.bincount(decisions, minlength=CLASSES).tolist())

        pool = db3.TransferImages(images, decisions)
        found = db3.search_distances(teacher, pool, range(SAMPLES), db3.SearchSettings("hopskipjump", budget=30))
        reached = np.isfinite(found.distances).mean()
        print(f"{teacher.costs.asked:,} queries asked; a boundary was found for {reached:.0%} of the pairs")


if __name__ == "__main__":
    main()

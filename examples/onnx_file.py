"""An ONNX file as the teacher: a student of it, exported to ONNX again.

python examples/onnx_file.py            (needs the extra `onnx`: pip install 'db3[onnx]')
"""

import tempfile
from pathlib import Path

import numpy as np

import db3

SHAPE, CLASSES = (1, 16, 16), 4


def vendor_file(path: Path) -> None:
    """Stand in for the vendor: a small trained network, exported."""
    images = db3.prior_images(SHAPE, range(400), seed=1)
    quarters = images.reshape(-1, 2, 8, 2, 8).mean(axis=(2, 4))
    network = db3.build_network("lenet5_half", SHAPE, CLASSES, seed=1)
    examples = db3.Examples(images, quarters.reshape(-1, CLASSES).argmax(axis=1))
    db3.train(network, examples, db3.TrainSettings(steps=200, batch=64), seed=1)
    path.write_bytes(db3.export_onnx(network, SHAPE))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vendor_file(folder / "vendor.onnx")
        # A model that wants another mean, scale, layout or type says so here: mean=[0.5], layout="NHWC", …
        teacher = db3.teacher(folder / "vendor.onnx", shape=SHAPE, classes=CLASSES)
        images = db3.prior_images(SHAPE, range(200), seed=2)
        quick = {"distill.steps": 500, "samples.rounds.count": 3, "samples.rounds.steps": 50}
        result = db3.distill(
            teacher, images, queries=1_200, student="lenet5_fifth", folder=folder / "run", settings=quick
        )
        print("decisions per class:", np.bincount(result.transfer.decisions, minlength=CLASSES).tolist())
        print(f"{teacher.parameters:,} parameters became {result.student.parameters:,}")
        print(f"{result.queries.asked:,} queries asked; the student agrees with the teacher on {result.agreement:.1%}")
        file = result.student.export(folder / "student.onnx")
        print(f"{file.name}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

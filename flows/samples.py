"""Stage samples: the images of the transfer set, and the teacher's decision on each."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.config import Config
from flows.stage import stage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from db3.teachers.meter import Meter


@stage("samples")
def samples(config: Config, data: Path) -> str:
    """Draw samples from the training part and ask the teacher's decision on each: one query a sample."""
    import numpy as np

    from db3.decisions.starts import check_classes
    from db3.digest import digest_arrays
    from db3.evaluation.decide import decide_all
    from db3.files import write_array, write_json
    from db3.samples.real import draw_samples
    from db3.teachers.local import open_teacher, read_card
    from flows.inputs import dataset_of, device_of, link_of

    card = read_card(data / "teacher")
    dataset = dataset_of(config, card)
    index = draw_samples(len(dataset.train_index), config.samples.count, config.samples.seed)
    images = dataset.source.read(dataset.train_index[index]).images
    teacher = open_teacher(data / "teacher", device_of(config), link=link_of(config))
    decisions = decide_all(teacher, images, teacher.spec.max_batch)
    flips = _rechecked(teacher, images, decisions, config.samples.recheck)
    check_classes(decisions, card["class_names"], config.samples.missing_classes == "allow")

    folder, arrays = data / "samples", {"images": images, "decisions": decisions}
    for name, array in {**arrays, "index": index}.items():
        write_array(folder / f"{name}.npy", array)
    decided = np.bincount(decisions, minlength=card["classes"]).tolist()
    write_json(
        folder / "manifest.json",
        {
            "method": config.samples.method,
            "count": len(images),
            "decided": dict(zip(card["class_names"], decided, strict=True)),
            "queries": {"asked": teacher.asked, "paid": teacher.paid},
            "flips": flips,
            "teacher": card["identity"],
            "digest": digest_arrays(arrays),
        },
    )
    return f"{len(images):,} samples, {teacher.asked:,} queries asked"


def _rechecked(
    teacher: "Meter", images: "npt.NDArray[np.uint8]", decisions: "npt.NDArray[np.int64]", count: int
) -> dict[str, Any]:
    """How often the teacher decides otherwise when asked again: of samples spread evenly over all, and of its votes."""
    import numpy as np

    from db3.evaluation.decide import decide_all
    from flows.inputs import flips_of

    rows = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(np.int64))
    again = decide_all(teacher, images[rows], teacher.spec.max_batch)
    votes = teacher.flips
    return flips_of(votes.compared + len(rows), votes.changed + int((again != decisions[rows]).sum()))


if __name__ == "__main__":
    samples.cli()

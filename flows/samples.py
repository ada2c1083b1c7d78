"""Stage samples: the images of the transfer set, real or made, and the teacher's decision on each."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.config import Config
from flows.stage import stage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from db3.teachers.meter import Meter

_Arrays = dict[str, Any]


@stage("samples")
def samples(config: Config, data: Path) -> str:
    """Draw or make the samples and ask the teacher's decision on each."""
    import numpy as np

    from db3.decisions.starts import check_classes
    from db3.digest import digest_arrays
    from db3.files import write_array, write_json
    from db3.teachers.local import open_teacher, read_card
    from flows.inputs import device_of, link_of

    card = read_card(data / "teacher")
    teacher = open_teacher(data / "teacher", device_of(config), link=link_of(config))
    arrays, further = (_real if config.samples.method == "real" else _made)(config, card, teacher)
    images, decisions = arrays["images"], arrays["decisions"]
    flips = _rechecked(teacher, images, decisions, config.samples.recheck)
    check_classes(decisions, card["class_names"], config.samples.missing_classes == "allow")

    folder = data / "samples"
    for name, array in arrays.items():
        write_array(folder / f"{name}.npy", array)
    decided = np.bincount(decisions, minlength=card["classes"]).tolist()
    write_json(
        folder / "manifest.json",
        {
            "method": config.samples.method,
            "count": len(images),
            "decided": dict(zip(card["class_names"], decided, strict=True)),
            **further,
            "queries": {"asked": teacher.asked, "paid": teacher.paid},
            "flips": flips,
            "teacher": card["identity"],
            "digest": digest_arrays({"images": images, "decisions": decisions}),
        },
    )
    return f"{len(images):,} samples, {teacher.asked:,} queries asked"


def _real(config: Config, card: dict[str, Any], teacher: "Meter") -> tuple[_Arrays, dict[str, Any]]:
    """Images of the training split, as they are."""
    from db3.evaluation.decide import decide_all

    images, index = _drawn(config, card)
    decisions = decide_all(teacher, images, teacher.spec.max_batch)
    return {"images": images, "decisions": decisions, "index": index}, {}


def _made(config: Config, card: dict[str, Any], teacher: "Meter") -> tuple[_Arrays, dict[str, Any]]:
    """Images made and chosen round by round; `augmented` begins with images of the training split."""
    from db3.evaluation.decide import decide_all
    from db3.progress import Progress
    from db3.samples.rounds import SOURCES, gather
    from flows.inputs import rounds_of

    spec, group = teacher.spec, config.samples
    real, index = _drawn(config, card) if group.method == "augmented" else (None, None)
    with Progress("samples", group.budget, "query") as progress:
        found = gather(
            lambda images: decide_all(teacher, images, spec.max_batch),
            spec.input_shape,
            spec.classes,
            group.budget or 0,
            rounds_of(config, spec.input_shape),
            seed=group.seed,
            real=real,
            on_asked=progress.advance,
        )
    arrays = {"images": found.images, "decisions": found.decisions, "rounds": found.rounds, "sources": found.sources}
    sources = {name: int((found.sources == number).sum()) for number, name in enumerate(SOURCES)}
    further = {"sources": sources, "proposed": found.proposed}
    return arrays if index is None else {**arrays, "index": index}, further


def _drawn(config: Config, card: dict[str, Any]) -> tuple[Any, Any]:
    """Images of the training split, and their places in it."""
    from db3.samples.real import draw_samples
    from flows.inputs import dataset_of

    dataset = dataset_of(config, card)
    index = draw_samples(len(dataset.train_index), config.samples.count, config.samples.seed)
    return dataset.source.read(dataset.train_index[index]).images, index


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

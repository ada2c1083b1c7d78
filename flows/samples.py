"""Stage samples: the images of the transfer set, and the teacher's decision on each."""

from pathlib import Path

from db3.config import Config
from flows.stage import stage


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
    from flows.inputs import dataset_of, device_of

    card = read_card(data / "teacher")
    dataset = dataset_of(config, card)
    index = draw_samples(len(dataset.train_index), config.samples.count, config.samples.seed)
    images = dataset.source.read(dataset.train_index[index]).images
    teacher = open_teacher(data / "teacher", device_of(config))
    decisions = decide_all(teacher, images, teacher.spec.max_batch)
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
            "queries": {"asked": teacher.asked},
            "teacher": card["identity"],
            "digest": digest_arrays(arrays),
        },
    )
    return f"{len(images):,} samples, {teacher.asked:,} queries asked"


if __name__ == "__main__":
    samples.cli()

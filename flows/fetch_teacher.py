"""Stage fetch_teacher: train the teacher or load the one given; split the dataset once and for all."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.errors import ConfigError, DataError
from db3.settings.declare import shared
from db3.settings.teacher import PixelSettings
from db3.settings.training import Schedule
from flows.config import Config
from flows.engine.shards import STORE
from flows.engine.stage import stage

if TYPE_CHECKING:
    from torch import nn

    from db3.datasets import Dataset


CALL_SHAPES = STORE.parent / "call_shapes"
_MODEST = 64  # images a call of a model from elsewhere, whose calls are not measured: they may cost money


@stage("fetch_teacher")
def fetch_teacher(config: Config, data: Path) -> str:
    """Train the teacher on the dataset, or take the one given; write its card, what is local of it and the split."""
    from db3.files import write_array, write_json
    from db3.teachers.folder import CARD, digest_weights, identity
    from flows.config import device_of
    from flows.environment import environment
    from flows.inputs import dataset_of

    dataset, folder, device = dataset_of(config), data / "teacher", device_of(config)
    dataset.check()
    names = _class_names(config, dataset)
    make = _network if config.teacher.kind in ("train", "checkpoint") else _foreign
    card: dict[str, Any] = {
        "kind": config.teacher.kind,
        "architecture": config.teacher.architecture,
        "input_shape": list(dataset.image_shape),
        "bounds": [0.0, 1.0],
        "classes": len(names),
        "class_names": names,
        "quantise": config.teacher.quantise,
        "votes": config.teacher.votes,
        "dataset": {
            "name": dataset.name,
            "digest": dataset.digest,
            "train": len(dataset.train_index),
            "test": len(dataset.test_index),
        },
        "environment": environment(device, config.runtime.threads),
        **make(config, dataset, folder, device),
    }
    write_json(folder / CARD, {**card, "identity": identity(card, digest_weights(folder, card))})
    write_array(folder / "splits" / "train.npy", dataset.train_index)
    write_array(folder / "splits" / "test.npy", dataset.test_index)
    size = f"{card['parameters']:,} parameters" if card["parameters"] else "of unknown size"
    return f"{config.teacher.architecture or config.teacher.kind}, {size}, {len(names)} classes"


def _network(config: Config, dataset: "Dataset", folder: Path, device: str) -> dict[str, Any]:
    """A network of db3, trained here or loaded: its weights on the disk, its size for the card."""
    from db3.files import write_text
    from db3.networks import count_parameters, multiply_adds, save_weights
    from db3.teachers.folder import WEIGHTS

    network, history = _train(config, dataset, device) if config.teacher.kind == "train" else _load(config, dataset)
    classes = len(_class_names(config, dataset))
    save_weights(network, folder / WEIGHTS, {"architecture": config.teacher.architecture, "classes": classes})
    if history:
        write_text(folder / "history.csv", "\n".join(["step,loss,lr", *history]) + "\n")
    return {
        **_call_shape(config, network, dataset, device),
        "parameters": count_parameters(network),
        "bytes": (folder / WEIGHTS).stat().st_size,
        "multiply_adds": multiply_adds(network, dataset.image_shape),
    }


def _call_shape(config: Config, network: "nn.Module", dataset: "Dataset", device: str) -> dict[str, Any]:
    """Rows of a call, and for `auto` the memory format too: measured once on this machine, then kept."""
    from copy import deepcopy

    from db3.digest import digest_json
    from db3.teachers.adapters.call_shape import best_call_shape, recorded

    teacher, shape = config.teacher, dataset.image_shape
    if teacher.call_batch != "auto":
        return {"call_batch": teacher.call_batch}
    key = digest_json([teacher.architecture, list(shape), device, config.runtime.threads])
    found = recorded(CALL_SHAPES / f"{key}.json", lambda: best_call_shape(deepcopy(network), shape, device))
    return {"call_batch": found.batch, "memory_format": found.memory_format}


def _foreign(config: Config, dataset: "Dataset", folder: Path, device: str) -> dict[str, Any]:  # noqa: ARG001
    """A model from elsewhere: what is local of it on the disk, what is known of it for the card."""
    from db3.teachers.adapters.catalogue import fetch_foreign
    from db3.teachers.adapters.declared import FOLDER, Declared
    from db3.teachers.adapters.preprocessing import Preprocessing

    teacher, names = config.teacher, _class_names(config, dataset)
    labels = names if teacher.labels is None else teacher.labels
    if len(labels) != len(names):
        raise ConfigError(f"teacher.labels names {len(labels)} classes, but there are {len(names)}: name each of them")
    declared = Declared(
        kind=teacher.kind,
        input_shape=dataset.image_shape,
        classes=len(names),
        labels=tuple(labels),
        call_batch=_MODEST if teacher.call_batch == "auto" else teacher.call_batch,
        preprocessing=Preprocessing(**shared(PixelSettings, teacher)),
        checkpoint=Path(teacher.checkpoint) if teacher.checkpoint else None,
        function=teacher.function,
        version=teacher.version,
        input=teacher.input,
        output=teacher.output,
        http=vars(teacher.http),
    )
    fetched = fetch_foreign(declared, folder, config.runtime.link)
    files = [path for path in (folder / FOLDER).rglob("*") if path.is_file()]
    return {
        "architecture": None,
        "call_batch": fetched.call_batch,
        "model": fetched.model,
        **({"access": fetched.access} if fetched.access else {}),
        "parameters": fetched.parameters,
        "bytes": sum(path.stat().st_size for path in files) or None,
        "multiply_adds": None,
    }


def _class_names(config: Config, dataset: "Dataset") -> list[str]:
    names = list(dataset.class_names)
    count = config.teacher.classes or len(names)
    if not count:
        raise ConfigError("the images have no labels, so the number of classes is unknown: set teacher.classes")
    return names if count == len(names) else [str(k) for k in range(count)]


def _train(config: Config, dataset: "Dataset", device: str) -> "tuple[nn.Module, list[str]]":
    from db3.progress import Progress
    from db3.teachers.train import train_teacher
    from db3.training.train import TrainSettings

    part = dataset.train()
    if part.labels is None:
        raise DataError(
            f"the images of {dataset.name} have no labels, so no teacher can be trained on them: sort them into class "
            "folders, or give a teacher with teacher=checkpoint"
        )
    teacher = config.teacher
    settings = TrainSettings(**shared(Schedule, teacher))
    with Progress("fetch_teacher", teacher.steps, "step") as progress:
        network, history = train_teacher(
            str(teacher.architecture),
            part.images,
            part.labels,
            len(_class_names(config, dataset)),
            settings,
            seed=teacher.seed,
            augment=teacher.augment,
            on_step=progress.advance,
            device=device,
        )
    return network, [f"{row.step},{row.loss:.6f},{row.lr:.8f}" for row in history]


def _load(config: Config, dataset: "Dataset") -> "tuple[nn.Module, list[str]]":
    from db3.networks import build, load_weights

    teacher = config.teacher
    classes = len(_class_names(config, dataset))
    network = build(str(teacher.architecture), dataset.image_shape, classes, mean=teacher.mean, std=teacher.std)
    load_weights(network, Path(str(teacher.checkpoint)).expanduser())
    return network.eval(), []


if __name__ == "__main__":
    fetch_teacher.cli()

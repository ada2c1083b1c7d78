"""Stage fetch_teacher: train the teacher or load the one given; split the dataset once and for all."""

from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

from torch import nn

from db3.datasets import Dataset
from db3.digest import digest_code, digest_json
from db3.errors import ConfigError, DataError
from db3.files import write_array, write_text
from db3.networks import build, load_weights
from db3.progress import Progress
from db3.settings.declare import shared
from db3.settings.declare import to_json as to_settings
from db3.settings.training import Schedule
from db3.shard_store import ShardStore
from db3.teachers.adapters.call_shape import CallShape, best_call_shape, recorded
from db3.teachers.adapters.outputs import full_map, never_meant
from db3.teachers.fetch import FetchedTeacher, describe_model, fetch_model, fetch_network, with_rejected
from db3.teachers.folder import CARD, digest_weights, identity
from db3.teachers.train import train_teacher
from db3.training.checkpoint import Checkpoint
from db3.training.train import HistoryRow, TrainSettings
from flows.config import Config, device_of
from flows.engine.shards import STORE
from flows.engine.stage import stage
from flows.environment import environment, write_environment
from flows.inputs import dataset_of
from flows.manifests import DatasetFacts, TeacherCard, to_json, write_manifest

CALL_SHAPES = STORE.parent / "call_shapes"
TRAININGS = STORE.parent / "trainings"
_CODE = ("arithmetic", "datasets", "networks", "pixels", "rng", "teachers/train", "training")  # that trains a teacher
_MODEST = 64  # images a call in exact arithmetic, where none has to be measured


@stage("fetch_teacher")
def fetch_teacher(config: Config, data: Path) -> str:
    """Train the teacher on the dataset, or take the one given; write its card, what is local of it and the split."""
    dataset, folder, teacher = dataset_of(config), data / "teacher", config.teacher
    dataset.check()
    names = with_rejected(_class_names(config, dataset), teacher)
    ours = teacher.kind in ("train", "checkpoint")
    found = _network(config, dataset, folder) if ours else _foreign(config, dataset, folder)
    card = _card(config, dataset, names, found)
    weights = digest_weights(folder, to_json(card))
    write_manifest(folder / CARD, replace(card, identity=identity(to_json(card), weights)))
    write_environment(data, "fetch_teacher", environment(device_of(config), config.runtime.threads))
    write_array(folder / "splits" / "train.npy", dataset.train_index)
    write_array(folder / "splits" / "test.npy", dataset.test_index)
    size = f"{found.parameters:,} parameters" if found.parameters else "of unknown size"
    own = len(names) - (teacher.unclear != "error")
    never = [names[k] for k in never_meant(own, full_map(teacher.classes_map, own))]
    more = ", …" if never[5:] else ""
    unused = f"; no class of the model's is {', '.join(never[:5])}{more}: see teacher.classes_map" if never else ""
    what = teacher.architecture if ours else teacher.kind
    return f"{what}, {size}, {len(names)} classes{unused}"


def _card(config: Config, dataset: Dataset, names: list[str], found: FetchedTeacher) -> TeacherCard:
    """The card, its identity still to come."""
    teacher = config.teacher
    return TeacherCard(
        kind=teacher.kind,
        architecture=None if found.model else teacher.architecture,
        input_shape=dataset.image_shape,
        bounds=(0.0, 1.0),
        classes=len(names),
        class_names=tuple(names),
        quantise=teacher.quantise,
        votes=teacher.votes,
        dataset=DatasetFacts(dataset.name, dataset.digest, len(dataset.train_index), len(dataset.test_index)),
        identity="",
        unclear=None if teacher.unclear == "error" else teacher.unclear,
        **asdict(found),
    )


def _class_names(config: Config, dataset: Dataset) -> list[str]:
    names = list(dataset.class_names)
    count = config.teacher.classes or len(names)
    if not count:
        raise ConfigError("the images have no labels, so the number of classes is unknown: set teacher.classes")
    return names if count == len(names) else [str(k) for k in range(count)]


def _network(config: Config, dataset: Dataset, folder: Path) -> FetchedTeacher:
    """A network of db3, trained here or loaded."""
    shape, classes = dataset.image_shape, len(_class_names(config, dataset))
    trained = config.teacher.kind == "train"
    network = _train(config, dataset, classes, folder) if trained else _load(config, dataset, classes)
    architecture, calls = str(config.teacher.architecture), _call_shape(config, network, dataset)
    return fetch_network(
        network,
        folder,
        architecture=architecture,
        input_shape=shape,
        classes=classes,
        calls=calls,
        arithmetic=config.teacher.arithmetic,
    )


def _call_shape(config: Config, network: nn.Module, dataset: Dataset) -> CallShape:
    """Rows of a call, and for `auto` the memory format too: measured once on this machine, then kept."""
    teacher, shape, device = config.teacher, dataset.image_shape, device_of(config)
    if teacher.call_batch != "auto":
        return CallShape(teacher.call_batch, "")
    if teacher.arithmetic == "exact":  # what was measured here would stand in the card, and it decides nothing
        return CallShape(_MODEST, "")
    key = digest_json([teacher.architecture, list(shape), device, config.runtime.threads])
    return recorded(CALL_SHAPES / f"{key}.json", lambda: best_call_shape(deepcopy(network), shape, device))


def _train(config: Config, dataset: Dataset, classes: int, folder: Path) -> nn.Module:
    part, teacher = dataset.train(), config.teacher
    if part.labels is None:
        raise DataError(
            f"the images of {dataset.name} have no labels, so no teacher can be trained on them: sort them into class "
            "folders, or give a teacher with teacher=checkpoint"
        )
    settings = TrainSettings(**shared(Schedule, teacher))
    checkpoint = Checkpoint(ShardStore(TRAININGS), _training_key(config, dataset))
    begun = checkpoint.begun()
    what = f"fetch_teacher from step {begun} on" if begun else "fetch_teacher"
    with Progress(what, teacher.steps - begun, "step") as progress:
        network, history = train_teacher(
            str(teacher.architecture),
            part.images,
            part.labels,
            classes,
            settings,
            seed=teacher.seed,
            label_smoothing=teacher.label_smoothing,
            on_step=progress.advance,
            device=device_of(config),
            checkpoint=checkpoint,
        )
    write_text(folder / "history.csv", _history(history))
    checkpoint.remove()
    return network


def _training_key(config: Config, dataset: Dataset) -> str:
    """Digest of all that decides a training, the machine included: to the last bit it goes on as it began."""
    known = [to_settings(config.teacher), dataset.digest, len(dataset.train_index)]
    machine = [device_of(config), config.runtime.threads]
    return digest_json([*known, *machine, digest_code(*_CODE)])


def _history(rows: list[HistoryRow]) -> str:
    return "\n".join(["step,loss,lr", *(f"{row.step},{row.loss:.6f},{row.lr:.8f}" for row in rows)]) + "\n"


def _load(config: Config, dataset: Dataset, classes: int) -> nn.Module:
    teacher = config.teacher
    shape, name = dataset.image_shape, str(teacher.architecture)
    network = build(name, shape, classes, mean=teacher.mean, std=teacher.std, seed=None)
    load_weights(network, Path(str(teacher.checkpoint)).expanduser())
    return network.eval()


def _foreign(config: Config, dataset: Dataset, folder: Path) -> FetchedTeacher:
    """A model from elsewhere."""
    description = describe_model(config.teacher, dataset.image_shape, _class_names(config, dataset))
    return fetch_model(description, folder, config.runtime.link)


if __name__ == "__main__":
    fetch_teacher.cli()

"""What several stages open: the dataset, the samples, a search's method, from parameters and the data folder."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.errors import DataError
from db3.files import read_array, read_json
from flows.config import Config

if TYPE_CHECKING:
    from db3.datasets import Dataset
    from db3.search import Method
    from db3.search.method import MethodName
    from db3.search.surrogate.surrogate import SurrogateSettings
    from db3.types import TransferImages
    from db3.zero_shot.rounds import RoundSettings
    from db3.zero_shot.zsdb3 import Zsdb3

_logger = logging.getLogger(__name__)


def dataset_of(config: Config, card: dict[str, Any] | None = None) -> "Dataset":
    """The dataset; with a teacher's card, checked to be the one that the teacher stage saw.

    Raises:
        DataError: the files under the root changed since.
    """
    from db3.datasets import open_dataset

    dataset = open_dataset(**config.dataset.model_dump())
    if card is not None and dataset.digest != card["dataset"]["digest"]:
        raise DataError(
            f"the dataset {dataset.name} has the digest {dataset.digest[:12]}, but the teacher stage saw "
            f"{card['dataset']['digest'][:12]}: its files changed; run the stage fetch_teacher again"
        )
    return dataset


def search_name(config: Config) -> "MethodName":
    """The search by name: after samples made by rounds `auto` is none, since more rounds teach more for the same
    queries (docs/zero-shot.md).
    """
    chosen, made = config.query.method, config.samples.method in ("priors", "augmented")
    return "none" if chosen == "auto" and made else chosen


def method_of(config: Config) -> "Method":
    """The search that the group `query` describes."""
    from db3.search import Method

    query, name = config.query, search_name(config)
    return Method(
        name=name,
        budget=0 if name == "none" else query.budget,
        starts=query.starts,
        tolerance=query.tolerance,
        absolute=query.absolute,
        directions=query.directions,
        smoothing=query.smoothing,
        step=query.step,
        cell=query.cell,
        checkpoints=() if name == "none" else tuple(query.checkpoints),
        points=query.points,
        queried_images=query.queried_images,
        seed=query.seed,
    )


def surrogate_of(config: Config, shape: tuple[int, int, int]) -> "SurrogateSettings":
    """The surrogates that the group `query.surrogate` describes, for images of this shape."""
    from db3.networks.fitting import fitting
    from db3.search.surrogate.surrogate import SurrogateSettings

    surrogate = config.query.surrogate
    return SurrogateSettings(
        architecture=fitting(shape) if surrogate.architecture == "auto" else surrogate.architecture,
        networks=surrogate.networks,
        steps=surrogate.steps,
        retrain=surrogate.retrain,
        seed=config.query.seed,
    )


def drawn_images(config: Config, card: dict[str, Any] | None) -> tuple[Any, Any]:
    """Images of the training split, uint8 [n, C, H, W], and their places in it."""
    from db3.datasets.subset import draw_samples

    dataset = dataset_of(config, card)
    index = draw_samples(len(dataset.train_index), config.samples.count, config.samples.seed)
    return dataset.source.read(dataset.train_index[index]).images, index


def zsdb3_of(config: Config) -> "Zsdb3":
    """How pseudo samples are made, as the group `samples` says."""
    from db3.zero_shot.moves import Moves
    from db3.zero_shot.zsdb3 import Zsdb3

    group, own = config.samples, config.samples.zsdb3
    return Zsdb3(
        count=group.count or 0,
        budget=group.budget or 0,
        missing=group.missing_classes,
        moves=Moves(iterations=own.iterations, queries=own.queries, step=own.step),
        every=own.every,
        seed=group.seed,
    )


def rounds_of(config: Config, shape: tuple[int, int, int]) -> "RoundSettings":
    """How made samples are chosen, as the group `samples.rounds` says, for images of this shape."""
    from db3.networks.fitting import fitting
    from db3.zero_shot.rounds import RoundSettings

    group = config.samples.rounds
    own = "lenet5_half" if fitting(shape) == "lenet5" else "compact"
    return RoundSettings(
        first=group.first,
        rounds=group.count,
        pool=group.pool,
        fresh=None if group.fresh == "auto" else group.fresh,
        architecture=own if group.architecture == "auto" else group.architecture,
        steps=group.steps,
    )


def flips_of(compared: int, changed: int) -> dict[str, Any]:
    """What a manifest says of a teacher's constancy; of one that changes its mind a warning is logged."""
    if changed:
        _logger.warning(
            "the teacher changed its mind on %s of %s images asked twice (%.1f%%): distances may be too small; "
            "raise teacher.votes",
            f"{changed:,}",
            f"{compared:,}",
            100 * changed / compared,
        )
    return {"compared": compared, "changed": changed, "rate": changed / compared if compared else None}


def transfer_images(data: Path) -> "TransferImages":
    """Samples and decisions, the images memory-mapped; checked against their manifest."""
    from db3.types import TransferImages

    images = read_array(data / "samples" / "images.npy")
    decisions = read_array(data / "samples" / "decisions.npy", mapped=False)
    if len(images) != len(decisions):
        raise DataError(f"data/samples holds {len(images)} images but {len(decisions)} decisions; run samples again")
    return TransferImages(images, decisions)


def manifest_of(data: Path, folder: str) -> dict[str, Any]:
    manifest: dict[str, Any] = read_json(data / folder / "manifest.json")
    return manifest

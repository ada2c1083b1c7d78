"""What several stages open: the dataset, the samples, a search's method, from parameters and the data folder."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.errors import DataError
from db3.files import read_array
from flows.config import Config
from flows.manifests import FlipRate

if TYPE_CHECKING:
    from db3.datasets import Dataset
    from db3.search.plan import QueryPlan
    from db3.types import TransferImages

_logger = logging.getLogger(__name__)


def dataset_of(config: Config, digest: str | None = None) -> "Dataset":
    """The dataset; with the digest that the teacher stage saw, checked to be the same.

    Raises:
        DataError: the files under the root changed since.
    """
    from db3.datasets import open_dataset

    dataset = open_dataset(config.dataset, config.runtime.data_root, download=config.runtime.download)
    if digest is not None and dataset.digest != digest:
        raise DataError(
            f"the dataset {dataset.name} has the digest {dataset.digest[:12]}, but the teacher stage saw "
            f"{digest[:12]}: its files changed; run the stage fetch_teacher again"
        )
    return dataset


def plan_of(config: Config, count: int, classes: int) -> "QueryPlan":
    """What the group `query` may ask for, of `count` samples of `classes` classes."""
    from db3.search.catalogue import resolve_search
    from db3.search.plan import plan_queries
    from db3.search.surrogate.surrogate import surrogates_of

    settings = resolve_search(config.query, config.samples.method)
    query = config.query
    return plan_queries(settings, count, classes, surrogates_of(query), query.augmented, query.variations)


def drawn_images(config: Config, digest: str | None) -> tuple[Any, Any]:
    """Images of the training split, uint8 [n, C, H, W], and their places in it; `digest`: of the teacher's dataset."""
    from db3.datasets.subset import draw_samples

    dataset = dataset_of(config, digest)
    index = draw_samples(len(dataset.train_index), config.samples.count, config.samples.seed)
    return dataset.source.read(dataset.train_index[index]).images, index


def flips_of(compared: int, changed: int) -> FlipRate:
    """What a manifest says of a teacher's constancy; one that changes its mind is warned of on stderr."""
    if changed:
        _logger.warning(
            "the teacher changed its mind on %s of %s images asked twice (%.1f%%): distances may be too small; "
            "raise teacher.votes",
            f"{changed:,}",
            f"{compared:,}",
            100 * changed / compared,
        )
    return FlipRate(compared, changed, changed / compared if compared else None)


def transfer_images(data: Path) -> "TransferImages":
    """Samples and decisions, the images memory-mapped; checked against their manifest."""
    from db3.types import TransferImages

    images = read_array(data / "samples" / "images.npy")
    decisions = read_array(data / "samples" / "decisions.npy", mapped=False)
    if len(images) != len(decisions):
        raise DataError(f"data/samples holds {len(images)} images but {len(decisions)} decisions; run samples again")
    return TransferImages(images, decisions)

"""What a teacher decides about prior images: how evenly its decisions fall on the classes, and how steady they are.

    python -m benchmarks.priors --dataset cifar10 --teacher DIR --json FILE

Priors are drawn without a look at any image; a teacher's own decisions on them are all that may tell good ones from
bad. `entropy` is that of the decisions' distribution over the classes, in nats, at most ln K: the higher, the more
images each class gets to be learnt from. `steady` is the share of images whose decision three small warps leave as it
is, averaged over the classes. Each family of priors is asked by itself as well, and so are the dataset's test images,
to read the figures by.
"""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from benchmarks.generator import Decide
from db3.datasets import Dataset, open_dataset
from db3.datasets.subset import draw_samples
from db3.files import write_json
from db3.images.priors import families, prior_families, prior_images
from db3.images.variations import Strength, variations
from db3.teachers.decide import decide_all
from db3.teachers.folder import open_teacher

_WARPS = 3
_WARPED_ALONE = Strength(cut=0, blend=0, brighter=0)


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    dataset, teacher = open_dataset(options.dataset, options.root), open_teacher(options.teacher)
    decide = partial(decide_all, teacher, batch=256)
    shape, numbers = teacher.spec.input_shape, range(options.images)
    made, family = prior_images(shape, numbers, options.seed), prior_families(shape, numbers, options.seed)
    apart = {name: made[family == place] for place, name in enumerate(families(shape[0]))}
    figures = {"priors": made, **apart, "test images": _tested(dataset, options.images)}
    results: dict[str, Any] = {"dataset": options.dataset, "classes": list(dataset.class_names)}
    print(f"{'':17}  entropy of {np.log(teacher.spec.classes):.2f}  steady  decided")
    for name, images in figures.items():
        results[name] = answers = _answers(decide, images, teacher.spec.classes, options.seed)
        counts = " ".join(map(str, answers["decided"]))
        print(f"{name:17}  {answers['entropy']:15.2f}  {100 * answers['steady']:6.1f}  {counts}", flush=True)
    write_json(options.json, results)


def _answers(decide: Decide, images: UInt8[np.ndarray, "n c h w"], classes: int, seed: int) -> dict[str, Any]:
    decisions = decide(images)
    counts = np.bincount(decisions, minlength=classes)
    kept = _kept(decide, images, decisions, seed)
    steady = [float(kept[decisions == k].mean()) for k in np.flatnonzero(counts)]
    shares = counts[counts > 0] / len(decisions)
    return {
        "images": len(images),
        "decided": counts.tolist(),
        "entropy": float(-(shares * np.log(shares)).sum()),
        "steady": float(np.mean(steady)),
        "asked": len(images) * (1 + _WARPS),
    }


def _kept(
    decide: Decide, images: UInt8[np.ndarray, "n c h w"], decisions: Int64[np.ndarray, " n"], seed: int
) -> np.ndarray[Any, Any]:
    """Share of an image's warps that are decided as it is."""
    own = np.arange(len(images))
    warped = (
        variations(images, np.stack([own, own], axis=1), own + len(images) * number, seed, _WARPED_ALONE)
        for number in range(_WARPS)
    )
    return np.mean([decide(some) == decisions for some in warped], axis=0)


def _tested(dataset: Dataset, count: int) -> UInt8[np.ndarray, "n c h w"]:
    images = dataset.test().images
    return np.array(images[draw_samples(len(images), min(count, len(images)), 0)])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.priors", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--root", help="folder of the dataset's files; default: DB3_DATA_ROOT")
    parser.add_argument("--teacher", type=Path, required=True, help="folder of a local teacher")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")))
    parser.add_argument("--json", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()

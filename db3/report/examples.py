"""A dozen samples with their soft labels, chosen by rule."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from db3.report.run import FrontDoorRun, Run

Labelled = Run | FrontDoorRun

_BLOCK = 1 << 22
_SIDE = 96  # pixels; larger images are scaled down to it, smaller ones are enlarged by the browser


@dataclass(frozen=True)
class Bar:
    name: str
    share: float
    decided: bool


@dataclass(frozen=True)
class Example:
    """One sample: its picture as a data URI, the decision, its most probable classes and what is left."""

    index: int
    picture: str
    decision: str
    bars: list[Bar]
    rest_classes: int
    rest_share: float


def typical(run: Labelled, count: int = 6) -> list[Example]:
    """For classes spread evenly over those decided, the sample of median margin."""
    margins, decisions = _margins(run), np.asarray(run.decisions)
    present = np.unique(decisions)
    chosen = []
    for label in present[_evenly(len(present), count)]:
        members = np.flatnonzero(decisions == label)
        chosen.append(int(members[np.argsort(margins[members], kind="stable")[len(members) // 2]]))
    return [_example(run, index) for index in chosen]


def ambiguous(run: Labelled, count: int = 6) -> list[Example]:
    """The samples of smallest margin (p of the decision − the largest other p), at most two of one decision."""
    taken: dict[int, int] = {}
    chosen: list[int] = []
    for index in np.argsort(_margins(run), kind="stable"):
        decision = int(run.decisions[index])
        if taken.get(decision, 0) < 2:
            taken[decision] = taken.get(decision, 0) + 1
            chosen.append(int(index))
        if len(chosen) == count:
            break
    return [_example(run, index) for index in chosen]


def _margins(run: Labelled) -> Float[np.ndarray, " n"]:
    margins, step = np.empty(len(run.decisions), dtype=np.float32), max(1, _BLOCK // run.classes)
    for start in range(0, len(margins), step):
        labels = np.array(run.soft_labels[start : start + step])
        rows, decided = np.arange(len(labels)), np.asarray(run.decisions[start : start + step])
        own = labels[rows, decided]
        labels[rows, decided] = -1
        margins[start : start + step] = own - labels.max(axis=1)
    return margins


def _evenly(total: int, count: int) -> list[int]:
    return list(range(total)) if total <= count else [round(i * (total - 1) / (count - 1)) for i in range(count)]


def _example(run: Labelled, index: int, shown: int = 5) -> Example:
    label, decision, names = np.asarray(run.soft_labels[index]), int(run.decisions[index]), run.names
    order = [int(k) for k in np.argsort(-label, kind="stable")[:shown]]
    bars = [Bar(names[k], float(label[k]), k == decision) for k in order]
    rest = max(0.0, 1.0 - sum(bar.share for bar in bars))
    picture = png(np.asarray(run.images[index]))
    return Example(index, picture, names[decision], bars, run.classes - len(bars), rest)


def png(image: UInt8[np.ndarray, "c h w"]) -> str:
    """An image as a data URI; two channels show their first, more than three their first three."""
    channels = np.moveaxis(image, 0, -1)
    picture = Image.fromarray(np.ascontiguousarray(channels[..., :3] if len(image) >= 3 else channels[..., 0]))
    if max(picture.size) > _SIDE:
        picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return data_uri(picture)


def data_uri(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"

"""Training of the students: every variant with every seed, a piece of work for each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from db3.digest import digest_arrays
from db3.networks import build
from db3.students.variants import Variant
from db3.training.examples import Examples, network_for
from db3.training.processes import check_processes, processes_of, train_together
from db3.training.train import HistoryRow, TrainSettings
from db3.work import Arrays, Run, Work, run_here

_CODE = ("students", "training", "networks", "arithmetic", "images", "rng")


@dataclass(frozen=True)
class StudentSettings:
    """What all variants share.

    Attributes:
        architecture: a name that `db3.networks.build` knows.
        training: how each student is trained, but for its variant's own loss.
        seeds: one student of every variant for each.
        initial: weights that all of them begin with, in place of those drawn by their seeds; empty: none.
    """

    architecture: str
    training: TrainSettings
    seeds: Sequence[int] = (0,)
    initial: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedStudent:
    """A student.

    Attributes:
        variant: what it learnt from.
        seed: of its weights and of the order of its examples.
        network: on the CPU, in evaluation mode: float32 images [n, C, H, W] in [0, 1] to logits [n, K].
        history: its training curve.
    """

    variant: Variant
    seed: int
    network: nn.Module
    history: tuple[HistoryRow, ...]


def train_variants(
    variants: Sequence[Variant],
    classes: int,
    settings: StudentSettings,
    run: Run = run_here,
    *,
    device: str = "cpu",
    processes: int = 1,
) -> Iterator[TrainedStudent]:
    """Train every variant with every seed for the same number of steps.

    Args:
        variants: what students learn from.
        classes: K.
        settings: how.
        run: who trains them, see `db3.work`.
        device: where each is trained.
        processes: that share each batch, see `train_together`; in float32 another number gives other last bits.

    Returns:
        The students, variant after variant; all are trained when this function returns, and each is read when its turn
        comes.

    Raises:
        ConfigError: weights, a selection or processes that the examples cannot serve.
        Db3Error: a loss became NaN or infinite.
    """
    check_processes(processes, settings.training.batch, device)
    jobs = [(variant, seed) for variant in variants for seed in settings.seeds]

    def compute(index: int) -> Arrays:
        return _train(*jobs[index], classes, settings, device, processes)

    def decided_by(index: int) -> list[object]:
        variant, seed = jobs[index]
        groups = [
            [group.name, group.share, group.ce, group.kl, group.temperature, group.parents, *_content(group.examples)]
            for group in variant.groups
        ]
        own = asdict(variant.settings(settings.training))
        bound = processes_of(settings.training, processes)
        begun = [digest_arrays(settings.initial)] if settings.initial else []
        return [settings.architecture, classes, own, seed, *_content(variant.examples), groups, *bound, *begun]

    steps = [settings.training.steps] * len(jobs)
    bound = settings.training.arithmetic != "exact"
    pieces = run(Work("distill", compute, decided_by, steps, _CODE, machine_bound=bound))
    return (
        _trained(variant, seed, classes, settings.architecture, arrays)
        for (variant, seed), arrays in zip(jobs, pieces, strict=True)
    )


def _content(examples: Examples) -> list[object]:
    return [examples.images, examples.decisions, examples.soft_labels]


def _train(variant: Variant, seed: int, classes: int, settings: StudentSettings, device: str, processes: int) -> Arrays:
    network = network_for(settings.architecture, variant.examples.images, classes, seed)
    initial = {name: torch.tensor(array) for name, array in settings.initial.items()}
    network.load_state_dict({**network.state_dict(), **initial})
    rows = train_together(
        network,
        variant.examples,
        variant.settings(settings.training),
        seed,
        processes=processes,
        groups=variant.groups,
        device=device,
    )
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return {**weights, "history": np.array([[row.step, row.loss, row.lr] for row in rows])}


def _trained(variant: Variant, seed: int, classes: int, architecture: str, arrays: Arrays) -> TrainedStudent:
    weights = {name: torch.from_numpy(array) for name, array in arrays.items() if name != "history"}
    network = build(architecture, _shape(variant), classes, seed=None)
    network.load_state_dict(weights)
    history = tuple(HistoryRow(int(step), float(loss), float(lr)) for step, loss, lr in arrays["history"])
    return TrainedStudent(variant, seed, network.eval(), history)


def _shape(variant: Variant) -> tuple[int, int, int]:
    channels, height, width = variant.examples.images.shape[1:]
    return channels, height, width

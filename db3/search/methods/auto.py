"""Searches whose pairs share surrogates: shards run apart within a phase, and teach the surrogates between phases.

    surrogate ─► phases of shard 0 ─┐
              phases of shard 1 ─┼─► surrogate, retrained ─► phases of shard 0 …
              …                 ─┘

Every box is a `Unit`: arrays named by a digest of all that decides them. Who runs the boxes, in which order and where
the arrays lie is the caller's business (`Run`): a plain loop for the library, the shard store for the pipeline.

A pair's result depends on all pairs that teach its surrogates, but not on how they are cut into shards.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from db3.digest import digest_json
from db3.errors import BudgetSpent
from db3.rng import Purpose, uniform
from db3.search.blocks import Blocks, Distances
from db3.search.driver import replay
from db3.search.ledger import Asks, Log, Search
from db3.search.method import Method
from db3.search.methods.phases import Phase, phase_asks, plan
from db3.search.methods.sd import sample_distance
from db3.search.surrogate.surrogate import Answers, Surrogate, SurrogateSettings, ask_synthetic
from db3.teachers.base import TeacherSpec
from db3.types import TransferImages

Arrays = dict[str, npt.NDArray[Any]]

_LEARNT = 200_000  # answers that a retraining holds in memory at most
_STATE = ("best", "distance", "given", "asked", "curve")


@dataclass(frozen=True)
class Unit:
    """Pieces of work that do not depend on each other.

    Attributes:
        name: for people.
        keys: digest of all that decides a piece's arrays.
        compute: arrays of piece i; may be called from several threads at once.
        maximum: queries of each piece, about (progress).
    """

    name: str
    keys: tuple[str, ...]
    compute: Callable[[int], Arrays]
    maximum: tuple[int, ...]


IN_FLIGHT = 3
"""Blocks that a driver should run at once: the history of a local phase holds 280 MB a block."""


@runtime_checkable
class Pieces(Protocol):
    """The arrays of a unit's pieces; may be read anew whenever they are looked at."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Arrays]: ...

    def __getitem__(self, index: int, /) -> Arrays: ...


Run = Callable[[Unit], Pieces]
"""Brings every piece of a unit about."""

Answer = Callable[[int | None, Iterable[Asks]], list[torch.Tensor]]
"""Runs the searches of a shard (None: the synthetic queries) and gives the answers of each, e.g. `drive` with a
teacher."""


def run_here(unit: Unit) -> list[Arrays]:
    """One piece after the other, all kept in memory."""
    return [unit.compute(index) for index in range(len(unit.keys))]


class SurrogateSearch:
    """A search in phases.

    Args:
        answer: runs searches; called from the threads that `run` computes pieces in.
        spec: of the teacher.
        pool: all samples.
        parts: the samples of each shard.
        method: how distances are searched.
        settings: how surrogates are built and trained.
        synthetic queries: queries spent on images made by the first surrogates, before the search begins.
        base: digest of what else decides a result: teacher, samples, code, and the device (a surrogate's last bits).
        device: where searches and surrogates compute.
        workers: networks of a surrogate that are trained at the same time.
    """

    def __init__(
        self,
        answer: Answer,
        spec: TeacherSpec,
        pool: TransferImages,
        parts: Sequence[range],
        method: Method,
        settings: SurrogateSettings,
        synthetic_queries: int,
        base: str = "",
        device: str | torch.device = "cpu",
        workers: int = 1,
    ) -> None:
        self._answer, self._spec, self._pool, self._parts = answer, spec, pool, parts
        self._method, self._settings, self._synthetic_queries, self._device = (
            method,
            settings,
            synthetic_queries,
            torch.device(device),
        )
        self._workers = workers
        self._base = digest_json([base, asdict(method), asdict(settings), synthetic_queries])

    def distances(self, run: Run) -> "SurrogateDistances":
        """Run all phases."""
        phases = _groups(plan(self._method.budget, probing=self._method.name == "auto"))
        surrogate_key = self._key("surrogate")
        first = (
            run(Unit("surrogate", (surrogate_key,), self._first_surrogate, (self._synthetic_queries,)))
            if phases
            else []
        )
        surrogate = first
        done: list[tuple[Unit, Pieces]] = []
        for group in phases:
            if group[0].retrain and done:
                keys = (self._key("retrained", surrogate_key, *done[-1][0].keys),)
                logs = [shards for _, shards in done]
                surrogate = run(Unit("retrain", keys, self._retrained(first, surrogate, logs), (0,)))
                surrogate_key = keys[0]
            done.append(self._phases(run, group, surrogate_key, surrogate, done))
        synthetic_answers = first[0]["answers"] if first else np.empty(0, np.int64)
        return SurrogateDistances(self._collected, len(self._parts), [shards for _, shards in done], synthetic_answers)

    def _phases(
        self,
        run: Run,
        group: Sequence[Phase],
        surrogate_key: str,
        surrogate: Pieces,
        done: Sequence[tuple[Unit, Pieces]],
    ) -> tuple[Unit, Pieces]:
        described = [asdict(phase) for phase in group]
        before = done[-1][0].keys if done else [""] * len(self._parts)
        keys = tuple(
            self._key("phases", described, part.start, part.stop, surrogate_key, key)
            for part, key in zip(self._parts, before, strict=True)
        )
        maximum = tuple(self._maximum(part, group) for part in self._parts)

        def compute(index: int) -> Arrays:
            return self._shard(index, group, self._load(surrogate[0]), [shards[index] for _, shards in done])

        unit = Unit(f"phase {group[0].number}", keys, compute, maximum)
        return unit, run(unit)

    def _maximum(self, part: range, group: Sequence[Phase]) -> int:
        """Queries of a shard in these phases, about: what earlier ones leave unspent may be asked here."""
        begun = group[0].until - group[0].round.queries
        return len(part) * (self._spec.classes - 1) * (min(group[-1].until, self._method.budget) - begun)

    def _key(self, *parts: object) -> str:
        return digest_json([self._base, *parts])

    def _natural(self) -> Answers:
        """The samples and their decisions, paid for already."""
        images, decisions = np.array(self._pool.images[:_LEARNT]), np.array(self._pool.decisions[:_LEARNT])
        return Answers(torch.from_numpy(images).flatten(1), torch.from_numpy(decisions))

    def _first_surrogate(self, _: int) -> Arrays:
        surrogate, natural = self._new(), self._natural()
        known: list[Answers] = []

        def asks() -> Asks:
            budget = len(natural) + self._synthetic_queries
            share = self._synthetic_queries / budget
            known.append((yield from ask_synthetic(surrogate, natural, budget, share=share)))

        (answers,) = self._answer(None, [asks()])
        made = known[0].images[len(natural) :].cpu().numpy()
        return {**_named("weights.", surrogate.arrays()), "made": made, "answers": answers.numpy()}

    def _retrained(self, first: Pieces, surrogate: Pieces, phases: Sequence[Pieces]) -> Callable[[int], Arrays]:
        def compute(_: int) -> Arrays:
            retrained, made = self._load(surrogate[0]), first[0]
            synthetic_answers = Answers(
                torch.from_numpy(made["made"]), torch.from_numpy(made["answers"].astype(np.int64))
            )
            paid = _learnable(phases, self._settings.seed)
            if len(paid):
                retrained.learn(self._natural().joined(synthetic_answers), paid)
            return _named("weights.", retrained.arrays())

        return compute

    def _new(self) -> Surrogate:
        spec = self._spec
        return Surrogate(spec.input_shape, spec.classes, self._settings, spec.bounds, self._device, self._workers)

    def _load(self, arrays: Arrays) -> Surrogate:
        surrogate = self._new()
        surrogate.load({name.removeprefix("weights."): a for name, a in arrays.items() if name.startswith("weights.")})
        return surrogate

    def _shard(self, index: int, group: Sequence[Phase], surrogate: Surrogate, before: Sequence[Arrays]) -> Arrays:
        """Some phases of one shard: its pairs' state after them, what they asked, and the answers."""
        blocks = Blocks(self._spec, self._pool, self._parts[index], self._method, self._device)
        after = [_Part(blocks, part, before) for part in blocks.parts()]
        answers = self._answer(index, (part.asks(group, surrogate, self._method.seed) for part in after))
        return {
            **{name: np.concatenate([part.state[name] for part in after]) for name in (*_STATE, *_LOG, _CUT)},
            "answers": torch.cat(answers).numpy() if answers else np.empty(0, np.int64),
        }

    def _collected(self, index: int, phases: Sequence[Pieces]) -> Distances:
        blocks = Blocks(self._spec, self._pool, self._parts[index], self._method, self._device)
        state = phases[-1][index] if phases else None
        for part in blocks.parts():
            search = blocks.search(part)
            if state is None:
                sample_distance(search, blocks.starts(part))
            else:
                _restore(search, state, part)
            blocks.keep(search, part, finished=state is None or not state[_CUT][part].any())
        answers = [np.empty(0, np.int64)]
        for shards in phases:
            arrays = shards[index]
            blocks.queried_images.offer(*(arrays[name] for name in _LOG))
            answers.append(arrays["answers"])
        return blocks.collect(np.concatenate(answers))


_LOG = ("log.keys", "log.images", "log.decisions")
_CUT = "cut"  # the teacher refused to go on before the phases were through


class _Part:
    """One block of a shard, restored from the phases before."""

    def __init__(self, blocks: Blocks, part: slice, before: Sequence[Arrays]) -> None:
        self._blocks, self._part, self._before = blocks, part, before
        self.state: Arrays = {}

    def asks(self, group: Sequence[Phase], surrogate: Surrogate, seed: int) -> Asks:
        search = self._blocks.search(self._part)
        log = search.log = Log(search.pairs)
        starts = torch.full_like(search.pairs.images, torch.nan)
        if not self._before:
            starts = self._blocks.starts(self._part)[:, 0]
        else:
            _restore(search, self._before[-1], self._part)
        known = self._remember(search, log) if any(phase.search == "local" for phase in group) else 0
        cut = False
        try:
            for phase in group:
                yield from phase_asks(phase, search, starts, surrogate, seed)
        except BudgetSpent:
            cut = True
        self.state = {name: getattr(search, name).cpu().numpy() for name in _STATE}
        self.state |= dict(zip(_LOG, (tensor[known:].cpu().numpy() for tensor in log.read()), strict=True))
        self.state[_CUT] = np.full(len(search.pairs), cut)

    def _remember(self, search: Search, log: Log) -> int:
        """Put the block's answers of the phases before into its log; how many they are."""
        classes = int(search.pairs.targets.max()) + 1 if len(search.pairs) else 1
        mine = (search.pairs.samples * classes + search.pairs.targets).cpu().numpy()
        for arrays in self._before:
            keys = arrays["log.keys"]
            kept = np.isin(keys[:, 0] * classes + keys[:, 1], mine) & (keys[:, 1] < classes)
            log.extend(*(torch.from_numpy(arrays[name][kept]).to(search.device) for name in _LOG))
        return len(log.read()[0])


class SurrogateDistances:
    """Distances of the shards, collected from their last phase when looked at.

    Attributes:
        synthetic_answers: answers to the synthetic queries, in the order asked; the pairs' own are in each shard's
            `answers`, phase after phase.
    """

    def __init__(
        self,
        collect: Callable[[int, Sequence[Pieces]], Distances],
        count: int,
        phases: Sequence[Pieces],
        synthetic_answers: npt.NDArray[np.int64],
    ) -> None:
        self._collect, self._count, self._phases, self.synthetic_answers = collect, count, phases, synthetic_answers

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Distances]:
        return (self[index] for index in range(self._count))

    def __getitem__(self, index: int) -> Distances:
        return self._collect(index, self._phases)


def replayed(
    synthetic_answers: npt.NDArray[np.int64], shards: Sequence[npt.NDArray[np.int64]]
) -> tuple[Answer, Callable[[], int]]:
    """Answers from journals instead of a teacher, and how many are left; run the pieces in their order (`run_here`).

    Args:
        synthetic_answers: as in `SurrogateDistances`.
        shards: `Distances.answers` of each shard.
    """
    journals: dict[int | None, torch.Tensor] = {None: torch.from_numpy(synthetic_answers.astype(np.int64))}
    journals |= {index: torch.from_numpy(answers.astype(np.int64)) for index, answers in enumerate(shards)}

    def answer(shard: int | None, searches: Iterable[Asks]) -> list[torch.Tensor]:
        told = []
        for asks in searches:
            used = replay(asks, journals[shard])
            told.append(journals[shard][:used])
            journals[shard] = journals[shard][used:]
        return told

    return answer, lambda: sum(map(len, journals.values()))


def _groups(phases: Iterable[Phase]) -> list[list[Phase]]:
    """Phases that one surrogate serves, so that a shard runs them in one go."""
    turns = 0
    numbered = []
    for phase in phases:
        turns += phase.retrain
        numbered.append((turns, phase))
    return [[phase for _, phase in group] for _, group in groupby(numbered, key=lambda pair: pair[0])]


def _restore(search: Search, state: Arrays, part: slice) -> None:
    for name in _STATE:
        setattr(search, name, torch.from_numpy(np.array(state[name][part])).to(search.device))


def _named(prefix: str, arrays: Arrays) -> Arrays:
    return {prefix + name: array for name, array in arrays.items()}


def _learnable(phases: Sequence[Pieces], seed: int) -> Answers:
    """Answers that a retraining learns, in the order of (sample, class, place).

    All, or a share of them: chosen by each answer's identity, so that it does not depend on the shards either.
    """
    total = sum(int(arrays["asked"].sum(dtype=np.int64)) for arrays in phases[-1])
    share = min(1.0, _LEARNT / max(1, total))
    keys, images, decisions = [], [], []
    for shards in phases:
        for arrays in shards:
            kept = _chosen(arrays["log.keys"], share, seed)
            keys.append(arrays["log.keys"][kept])
            images.append(arrays["log.images"][kept])
            decisions.append(arrays["log.decisions"][kept])
    joined = np.concatenate(keys)
    order = np.lexsort((joined[:, 2], joined[:, 1], joined[:, 0]))
    return Answers(torch.from_numpy(np.concatenate(images)[order]), torch.from_numpy(np.concatenate(decisions)[order]))


def _chosen(keys: npt.NDArray[np.generic], share: float, seed: int) -> npt.NDArray[np.bool_]:
    if share >= 1:
        return np.ones(len(keys), np.bool_)
    sample, klass, place = torch.from_numpy(keys).unbind(dim=1)
    chosen: npt.NDArray[np.bool_] = (uniform(seed, Purpose.RETRAINING, place, klass, sample, 1)[:, 0] < share).numpy()
    return chosen

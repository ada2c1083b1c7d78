"""Searches whose pairs share surrogates: shards run apart within a phase, and teach the surrogates between phases.

    surrogate ─► phases of shard 0 ─┐
              phases of shard 1 ─┼─► surrogate, retrained ─► phases of shard 0 …
              …                 ─┘

Every box is `Work` in pieces (`db3.work`): run in a plain loop by the library, through the shard store by the pipeline.

A pair's result depends on all pairs that teach its surrogates, but not on how they are cut into shards.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from db3.errors import BudgetSpent
from db3.rng import Purpose, uniform
from db3.search.blocks import Blocks
from db3.search.catalogue import SearchSettings
from db3.search.distances import DistanceParts, Distances
from db3.search.driver import replay
from db3.search.ledger import Asks, Log, Search
from db3.search.methods.phases import Phase, phase_asks, plan
from db3.search.methods.sd import sample_distance
from db3.search.surrogate.surrogate import Answers, Surrogate, SurrogateSettings, ask_synthetic
from db3.teachers.base import TeacherSpec
from db3.types import TransferImages
from db3.work import Arrays, Pieces, Run, Work

CODE = ("search", "teachers", "networks", "training", "arithmetic", "rng", "types", "pixels")
"""What decides a search, beside its parameters and the answers."""

_LEARNT = 200_000  # answers that a retraining holds in memory at most
_STATE = ("best", "distance", "given", "asked", "curve")

IN_FLIGHT = 3
"""Blocks that a driver should run at once: the history of a local phase holds 280 MB a block."""

Answer = Callable[[int | None, Iterable[Asks]], list[torch.Tensor]]
"""Runs the searches of a shard (None: the synthetic queries) and gives the answers of each, e.g. `drive` with a
teacher."""


class _Step(NamedTuple):
    """Work that is done, and what it has brought."""

    work: Work
    pieces: Pieces


class SurrogateSearch:
    """A search in phases.

    Args:
        answer: runs searches; called from the threads that `run` computes pieces in.
        spec: of the teacher.
        pool: all samples.
        parts: the samples of each shard.
        search: how distances are searched.
        settings: how surrogates are built and trained, and how many images they make and ask before the search begins.
        device: where searches and surrogates compute.
        workers: networks of a surrogate that are trained at the same time.
    """

    def __init__(
        self,
        answer: Answer,
        spec: TeacherSpec,
        pool: TransferImages,
        parts: Sequence[range],
        search: SearchSettings,
        settings: SurrogateSettings,
        device: str | torch.device = "cpu",
        workers: int = 1,
    ) -> None:
        self._answer, self._spec, self._pool, self._parts = answer, spec, pool, parts
        self._search, self._settings, self._device = search, settings, torch.device(device)
        self._synthetic_queries = settings.synthetic(len(pool.decisions))
        self._workers = workers

    def distances(self, run: Run) -> DistanceParts:
        """Run all phases."""
        groups = _groups(plan(self._search.budget, probing=self._search.method == "auto"))
        if not groups:
            return DistanceParts(len(self._parts), lambda index: self._collected(index, []))
        first = surrogate = self._step(run, "surrogate", self._first_surrogate, [self._synthetic_queries], lambda _: [])
        done: list[_Step] = []
        for group in groups:
            if group[0].retrain and done:
                surrogate = self._retrain(run, first, surrogate, done, probing=_probing(group))
            done.append(self._phases(run, group, surrogate, done))
        phases = [step.pieces for step in done]
        answers = first.pieces[0]["answers"].astype(np.int64)
        return DistanceParts(len(self._parts), lambda index: self._collected(index, phases), answers)

    def _step(
        self,
        run: Run,
        name: str,
        compute: Callable[[int], Arrays],
        maximum: Sequence[int],
        decided_by: Callable[[int], Sequence[object]],
    ) -> _Step:
        always = [self._spec.identity, self._search, self._settings]

        def decides(index: int) -> list[object]:
            return [*always, self._pool.digest, *decided_by(index)]

        bound = self._settings.arithmetic != "exact"
        work = Work(name, compute, decides, maximum, CODE, machine_bound=bound, follows=True)
        return _Step(work, run(work))

    def _retrain(self, run: Run, first: _Step, surrogate: _Step, done: Sequence[_Step], probing: bool) -> _Step:
        logs, last = [step.pieces for step in done], done[-1].work
        compute = self._retrained(first.pieces, surrogate.pieces, logs, probing)
        return self._step(run, "retrain", compute, [0], lambda _: [surrogate.work.keys, last.keys, probing])

    def _phases(self, run: Run, group: Sequence[Phase], surrogate: _Step, done: Sequence[_Step]) -> _Step:
        before, trained = [step.pieces for step in done], surrogate.pieces
        last = done[-1].work if done else None

        def compute(index: int) -> Arrays:
            return self._shard(index, group, self._load(trained[0]), [shards[index] for shards in before])

        def decided_by(index: int) -> list[object]:
            key = last.keys[index] if last else ""
            return [[asdict(phase) for phase in group], self._parts[index], surrogate.work.keys, key]

        maximum = [self._maximum(part, group) for part in self._parts]
        return self._step(run, f"phase {group[0].number}", compute, maximum, decided_by)

    def _maximum(self, part: range, group: Sequence[Phase]) -> int:
        """Queries of a shard in these phases, about: what earlier ones leave unspent may be asked here."""
        begun = group[0].until - group[0].round.queries
        return len(part) * (self._spec.classes - 1) * (min(group[-1].until, self._search.budget) - begun)

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

    def _retrained(
        self, first: Pieces, surrogate: Pieces, phases: Sequence[Pieces], probing: bool
    ) -> Callable[[int], Arrays]:
        def compute(_: int) -> Arrays:
            retrained, made = self._load(surrogate[0]), first[0]
            synthetic_answers = Answers(
                torch.from_numpy(made["made"]), torch.from_numpy(made["answers"].astype(np.int64))
            )
            paid = _learnable(phases, self._settings.seed)
            known = self._natural().joined(synthetic_answers)
            if len(paid):
                retrained.fit(known, paid)
            if probing:
                retrained.orient(known)
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
        blocks = Blocks(self._spec, self._pool, self._parts[index], self._search, self._device)
        after = [_Part(blocks, part, before) for part in blocks.parts()]
        answers = self._answer(index, (part.asks(group, surrogate, self._search.seed) for part in after))
        return {
            **({} if before else dict(zip(_STARTS, blocks.nearest, strict=True))),
            **{name: np.concatenate([part.state[name] for part in after]) for name in (*_STATE, *_LOG, _CUT)},
            "answers": torch.cat(answers).numpy() if answers else np.empty(0, np.int64),
        }

    def _collected(self, index: int, phases: Sequence[Pieces]) -> Distances:
        blocks = Blocks(self._spec, self._pool, self._parts[index], self._search, self._device)
        state = phases[-1][index] if phases else None
        if phases:
            blocks.nearest = phases[0][index][_STARTS[0]], phases[0][index][_STARTS[1]]
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
_STARTS = ("starts", "start_distances")  # which the first phase has found
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
        known = self._remember(search, log) if _probing(group) else 0
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


def replayed(
    synthetic_answers: npt.NDArray[np.int64], shards: Sequence[npt.NDArray[np.int64]]
) -> tuple[Answer, Callable[[], int]]:
    """Answers from journals instead of a teacher, and how many are left; run the pieces in their order (`run_here`).

    Args:
        synthetic_answers: as in `DistanceParts`.
        shards: `Distances.answers` of each shard.
    """
    journals: dict[int | None, torch.Tensor] = {None: torch.from_numpy(synthetic_answers.astype(np.int64))}
    journals |= {index: torch.from_numpy(answers.astype(np.int64)) for index, answers in enumerate(shards)}

    def answer(shard: int | None, searches: Iterable[Asks]) -> list[torch.Tensor]:
        answers = []
        for asks in searches:
            used = replay(asks, journals[shard])
            answers.append(journals[shard][:used])
            journals[shard] = journals[shard][used:]
        return answers

    return answer, lambda: sum(map(len, journals.values()))


def _groups(phases: Iterable[Phase]) -> list[list[Phase]]:
    """Phases that one surrogate serves, so that a shard runs them in one go."""
    turns = 0
    numbered = []
    for phase in phases:
        turns += phase.retrain
        numbered.append((turns, phase))
    return [[phase for _, phase in group] for _, group in groupby(numbered, key=lambda pair: pair[0])]


def _probing(group: Sequence[Phase]) -> bool:
    """Whether a phase needs the surrogates' basis and the answers so far."""
    return any(phase.search == "local" for phase in group)


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
    sample, target, place = torch.from_numpy(keys).unbind(dim=1)
    chosen: npt.NDArray[np.bool_] = (uniform(seed, Purpose.RETRAINING, place, target, sample, 1)[:, 0] < share).numpy()
    return chosen

"""What a search will ask, how long that takes and what it costs, before anything is sent."""

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from db3.errors import BudgetSpent
from db3.evaluation.certified import draw_questions
from db3.files import read_json
from db3.images.augmented import decide_augmented
from db3.search import search_pairs
from db3.search.catalogue import WITH_SURROGATES, resolve_search
from db3.search.surrogate.surrogate import surrogates_of
from db3.settings.samples import ROUNDED
from db3.settings.teacher import Price
from db3.teachers.answers.answers import Answers
from db3.teachers.answers.place import open_answers
from db3.teachers.base import TeacherSpec
from db3.teachers.budget import Costs
from db3.teachers.decide import decide_all
from db3.teachers.folder import account_of, open_teacher, read_card, read_spec, votes_of
from db3.teachers.votes import Votes
from db3.work import cut
from flows.bill import tokens_per_image
from flows.config import Config, answers_of, device_of
from flows.inputs import dataset_of, drawn_images, plan_of, transfer_images
from flows.manifests import SamplesManifest, read_manifest

_LOCAL = ("train", "checkpoint", "exported", "onnx")  # asking these costs nothing but time
_ASSUMED = 100.0  # queries a second of a remote teacher, which is not asked to find out
_PROBE = 1.0  # seconds
_LOOK = 30.0  # seconds that are spent on looking up what is known


def estimate(config: Config, data: Path) -> str:
    """The lines that `python -m flows.query_decisions --estimate` prints.

    From the samples, where they are drawn already, else from the parameters.
    """
    count, classes, tested = _sizes(config, data)
    plan = plan_of(config, count, classes)
    made = config.samples.method != "real"
    samples = (config.samples.budget or 0 if made else count) + min(config.samples.recheck, count)
    variations, augmented = plan.expected_variations, plan.expected_augmented
    expected = plan.synthetic_queries + plan.expected + variations + augmented
    done = (data / "samples" / "manifest.json").is_file()
    beside = tested + (0 if done else samples)
    whole, maximum, votes = expected + beside, plan.maximum + beside, config.teacher.votes
    known = min(whole, _count_known(config, data, variations + augmented))
    total = config.budget.total
    rate, source = _rate(config, data)
    lines = [
        "estimate: nothing is asked of a teacher that costs money",
        f"  samples        {samples:>14,}{' (already asked)' if done else ''}",
        f"  synthetic queries         {plan.synthetic_queries:>14,}",
        f"  searches       {plan.expected:>14,} expected, {plan.pairs:,} at most",
        f"  variations     {variations:>14,} expected, {plan.variations:,} at most",
        f"  augmented      {augmented:>14,} expected, {plan.augmented:,} at most",
        f"  test images    {tested:>14,} to measure agreement by",
        f"  queries        {whole:>14,} expected, {maximum:,} at most",
    ]
    if votes > 1:
        lines.append(
            f"  sent           {maximum * votes:>14,} at most, {votes} votes each; a steady teacher needs fewer"
        )
    if known:
        lines.append(f"  known          {known:>14,} of these at least: answered already, nothing is sent for them")
    if total is not None:
        lines.append(f"  budget.total   {total:>14,} sent at most, samples and test images included")
    lines.append(f"  time           {_duration((whole - known) / rate):>14} at {rate:,.0f} queries/s ({source})")
    ends = [value if total is None else min(value, total) for value in (whole - known, (maximum - known) * votes)]
    lines.append(f"  cost           {_cost(config.runtime.price, ends, tokens_per_image(data))}")
    return "\n".join(lines)


def _cost(price: Price, images: Sequence[int], tokens: tuple[float, float] | None) -> str:
    """Of the images expected and of the most there may be; where tokens are billed, at those of an image so far."""
    if price.by_token and tokens is None:
        return "unknown: runtime.price bills tokens, and none were counted yet: run samples first"
    each = tokens if price.by_token and tokens else (0.0, 0.0)
    costs = [price.cost(count, count * each[0], count * each[1]) for count in images]
    if costs[0] is None or costs[1] is None:
        return "unknown: set runtime.price.queries, or its prices of tokens"
    taken = f" ({each[0]:,.0f} and {each[1]:,.0f} tokens an image so far)" if price.by_token else ""
    return f"{costs[0]:>14,.2f} expected, {costs[1]:,.2f} at most, at {price}{taken}"


class _Unasked:
    """The end of what is known: a search ends here as it does where a budget is spent."""

    def __init__(self, spec: TeacherSpec) -> None:
        self.spec, self.ends = spec, time.monotonic() + _LOOK

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        raise BudgetSpent(f"{len(images)} images are not known, and nothing is sent for an estimate")


class _Known:
    """A teacher that tells what the store knows, until there has been enough time for that."""

    def __init__(self, folder: Path, place: str) -> None:
        self.spec, self.costs, unasked = read_spec(folder), Costs(), _Unasked(read_spec(folder))
        answers = Answers(unasked, open_answers(place), account_of(folder), self.costs)
        self._votes, self._unasked = Votes(answers, votes_of(folder), self.costs), unasked

    def decide(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        return (self._unasked if time.monotonic() > self._unasked.ends else self._votes).decide(images)


def _count_known(config: Config, data: Path, augmented: int) -> int:
    """Images that are known of those to come: every stage asks until something is not, and nothing is sent."""
    folder, place = data / "teacher", answers_of(config)
    if place is None or not (folder / "teacher.json").is_file() or ("://" not in place and not Path(place).is_file()):
        return 0
    teacher, card = _Known(folder, place), read_card(folder)
    torch.set_num_threads(config.runtime.threads)
    if (data / "samples" / "manifest.json").is_file():
        pool, settings = transfer_images(data), resolve_search(config.query, config.samples.method)
        surrogate = surrogates_of(config.query) if settings.method in WITH_SURROGATES else None
        with suppress(BudgetSpent):
            search_pairs(teacher, pool, settings, cut(len(pool.decisions), config.runtime.shard), surrogate)
        decide_augmented(teacher, pool, range(augmented), config.query.seed)
    elif config.samples.method == "real":
        with suppress(BudgetSpent):
            decide_all(teacher, drawn_images(config, card["dataset"]["digest"])[0], 1)
    with suppress(BudgetSpent):
        tested = dataset_of(config, card["dataset"]["digest"]).test().images
        decide_all(teacher, tested[draw_questions(len(tested), config.evaluate.questions)], 1)
    return teacher.costs.known


def _sizes(config: Config, data: Path) -> tuple[int, int, int]:
    """Samples, classes and test images to ask about."""
    count, classes, tested = _known_sizes(config, data)
    return count, classes, min(tested, config.evaluate.questions or tested)


def _known_sizes(config: Config, data: Path) -> tuple[int, int, int]:
    """Samples, classes and test images, from the files that are there, else from the parameters and the dataset."""
    path = data / "teacher" / "teacher.json"
    card = read_json(path) if path.is_file() else None
    path = data / "samples" / "manifest.json"
    if path.is_file() and card:
        manifest = read_manifest(path, SamplesManifest)
        return manifest.count, len(manifest.decided), card["dataset"]["test"]
    group = config.samples
    given = group.budget if group.method in ROUNDED else group.count
    dataset = None if given and card else dataset_of(config)
    count = given or (len(dataset.train_index) if dataset else 0)
    if card:
        return count, card["classes"], card["dataset"]["test"]
    classes = config.teacher.classes or (len(dataset.class_names) if dataset else 0)
    return count, classes, len(dataset.test_index) if dataset else 0


def _rate(config: Config, data: Path) -> tuple[float, str]:
    """Queries a second: measured where that is free, else assumed."""
    if config.teacher.kind not in _LOCAL or not (data / "teacher" / "teacher.json").is_file():
        return _ASSUMED, "an assumption: it is not asked to find out"
    torch.set_num_threads(config.runtime.threads)
    teacher = open_teacher(data / "teacher", device_of(config))
    images = torch.rand(teacher.spec.max_batch, *teacher.spec.input_shape)
    teacher.decide(images)  # the first call allocates
    asked, begun = 0, time.perf_counter()
    while (taken := time.perf_counter() - begun) < _PROBE:
        teacher.decide(images)
        asked += len(images)
    workers = config.runtime.workers if config.runtime.runner == "threads" else 1
    return asked / taken, f"measured in {_PROBE:g} s in one thread, the search's own work apart; {workers} workers"


def _duration(seconds: float) -> str:
    if seconds >= timedelta.max.total_seconds():
        return f"{seconds / timedelta(days=365).total_seconds():,.0f} years"
    return str(timedelta(seconds=round(seconds))) if seconds >= 1 else "under 1 s"

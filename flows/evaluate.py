"""Stage evaluate: the one stage that reads the test split."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from db3.errors import ConfigError
from flows.config import Config
from flows.engine.stage import stage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

    from db3.datasets.base import Part
    from db3.evaluation import Variant


@stage("evaluate")
def evaluate(config: Config, data: Path) -> str:
    """Accuracy and agreement of the teacher, the student and every baseline on the test split; latency beside."""
    import numpy as np

    from db3.evaluation import (
        Size,
        build_metrics,
        build_summary,
        confusion,
        write_accuracy,
        write_confusion,
        write_curve,
    )
    from db3.files import read_json, write_json
    from db3.teachers.folder import read_card
    from flows.inputs import dataset_of, manifest_of

    card, transfer = read_card(data / "teacher"), manifest_of(data, "transfer")
    student = read_json(data / "student" / "student.json")
    test = dataset_of(config, card).test()
    teacher, words = _teacher(config, data, test, transfer)
    variants = [_variant(config, data, entry, test.images) for entry in read_json(data / "student" / "variants.json")]
    metrics = build_metrics(
        teacher,
        variants,
        test.labels,
        teacher=Size(card["parameters"], card["bytes"], card["multiply_adds"]),
        student=Size(student["parameters"], student["bytes"], student["multiply_adds"]),
        queries_asked=transfer["queries"]["asked"],
        queries_per_sample=transfer["queries"]["per_sample"],
        budget_spent=transfer["spent"],
        transfer_digest=transfer["digest"],
    )
    folder = data / "evaluation"
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "summary.json", build_summary(metrics))
    own = next(variant for variant in variants if variant.name == "student")
    counts = np.zeros((0, 0), np.int64) if teacher is None else confusion(teacher, own.decisions[0], card["classes"])
    write_confusion(folder / "confusion.csv", counts)
    write_accuracy(folder / "accuracy.csv", teacher, variants, test.labels)
    write_curve(folder / "curve.csv", variants, test.labels)
    return f"{_summary(metrics)}; {words}{_latency(config, data)}"


def _teacher(
    config: Config, data: Path, test: "Part", transfer: dict[str, Any]
) -> tuple["npt.NDArray[np.int64] | None", str]:
    """The teacher's decisions on the test split, each paid once, and what is to be said of them.

    None where the budget cannot pay for all of them: then students are measured against the labels alone.
    """
    from db3.digest import digest_array
    from flows.costs import paid_before, write_costs
    from flows.deciding import decide
    from flows.engine.teacher_work import Asking

    made_by = {"samples": transfer["samples"], "query_decisions": transfer["decisions"]}
    asking = Asking(config, data, "evaluate", 0, paid_before(data, made_by, transfer["queries"]["paid"]))
    count = len(test.images)
    affordable = asking.affordable("test images", count)
    if affordable == count:
        decisions = decide("test images", test.images, asking)
        told = write_costs(data, "evaluate", digest_array(decisions), asking)
        return decisions, f"the teacher was asked about {count:,} test images{told}; "
    few = f"budget.total of {config.budget.total:,} leaves {affordable:,} queries for {count:,} test images"
    if test.labels is None:
        raise ConfigError(f"{few}, which have no labels either: raise it to measure agreement with the teacher")
    return None, f"{few}: agreement with the teacher is not measured; "


def _variant(config: Config, data: Path, entry: dict[str, Any], images: Any) -> "Variant":
    from db3.evaluation import Variant, decide_all

    decisions = {
        seed: decide_all(_student(data, file), images, config.evaluate.batch)
        for seed, file in zip(entry["seeds"], entry["files"], strict=True)
    }
    return Variant(entry["name"], entry["queries_per_sample"], entry["black_box"], decisions)


def _student(data: Path, file: str = "student.safetensors") -> "nn.Module":
    from db3.files import read_json
    from db3.networks import build, load_weights

    card = read_json(data / "student" / "student.json")
    channels, height, width = card["input_shape"]
    network = build(card["architecture"], (channels, height, width), card["classes"])
    load_weights(network, data / "student" / file)
    return network.eval()


def _summary(metrics: dict[str, Any]) -> str:
    """The result in one line: student and hard decisions beside the teacher."""
    from db3.evaluation.measures import measure_of

    kind = measure_of(metrics)

    def show(scores: dict[str, Any]) -> str:
        return f"{100 * scores[kind]['mean']:.2f} ± {100 * scores[kind]['sd']:.2f} % {kind}"

    others = "".join(f", {name} {show(scores)}" for name, scores in metrics["baselines"].items() if name == "hard")
    return f"student {show(metrics['student'])}{others}"


def _latency(config: Config, data: Path) -> str:
    """Measure and write data/latency.json: a fact of this machine and moment, so in no versioned file."""
    import platform

    from db3.files import write_json
    from db3.students.latency import latency_ms
    from db3.teachers.folder import is_open, open_network, read_card

    if not config.runtime.latency_runs:
        return "latency not measured"
    card = read_card(data / "teacher")
    channels, height, width = card["input_shape"]
    networks = {"student": _student(data)} | ({"teacher": open_network(data / "teacher")} if is_open(card) else {})
    measured: dict[str, float | None] = {"teacher": None} | {
        name: latency_ms(network, (channels, height, width), config.runtime.latency_runs)
        for name, network in networks.items()
    }
    write_json(data / "latency.json", {**measured, "machine": platform.processor() or platform.machine()})
    teacher = "is not measured" if measured["teacher"] is None else f"{measured['teacher']:.2f} ms"
    return f"one image takes {measured['student']:.2f} ms, the teacher {teacher}"


if __name__ == "__main__":
    evaluate.cli()

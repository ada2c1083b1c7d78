"""Every stage with a teacher that is a file, and no open network."""

from pathlib import Path

import pytest
import yaml

from db3.files import read_json, write_bytes
from db3.networks import build
from db3.students.export import export_onnx
from flows.compose import compose
from flows.config import Config, parse_config
from flows.distill import distill
from flows.evaluate import evaluate
from flows.fetch_teacher import fetch_teacher
from flows.query_decisions import query_decisions
from flows.report import report
from flows.samples import samples
from flows.soft_labels import soft_labels

ROOT = Path(__file__).resolve().parents[2]
STAGES = (fetch_teacher, samples, query_decisions, soft_labels, distill, evaluate, report)


def configured(*overrides: str) -> Config:
    return parse_config(yaml.safe_load(compose(["experiment=smoke", "runtime.workers=1", *overrides], ROOT / "conf")))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # where the shard store goes
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path


def test_an_onnx_file_through_the_whole_pipeline(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = build("lenet5_half", (1, 28, 28), 10, mean=[0.5], std=[0.1], seed=0)
    write_bytes(folder / "m.onnx", export_onnx(network, (1, 28, 28)))
    quick = ["query=bd", "query.budget=4", "query.checkpoints=[]", "query.augmented=0", "distill.onnx=false"]
    given = ["teacher=onnx", f"teacher.checkpoint={folder / 'm.onnx'}", "distill.baselines=[hard,kd]"]
    config = configured(*given, *quick)
    for stage in STAGES:
        stage.run(config, folder / "data")
    assert caplog.text.count("kd is left out: it needs the teacher's scores, and this teacher tells none") == 1
    card, metrics = read_json(folder / "data/teacher/teacher.json"), read_json(folder / "data/evaluation/metrics.json")
    assert card["model"]["input"] == "images"
    assert str(folder) not in (folder / "data/teacher/teacher.json").read_text()
    assert metrics["teacher"]["parameters"] == card["parameters"] > 0
    assert metrics["teacher"]["multiply_adds"] is None
    assert "kd" not in metrics["baselines"]
    assert read_json(folder / "data/latency.json")["teacher"] is None
    page = (folder / "data/report/index.html").read_text()
    assert "black box, an ONNX file" in page
    assert str(folder) not in page


def test_labels_of_another_number_are_one_line(folder: Path) -> None:
    config = configured("teacher=callable", "teacher.function='math:sqrt'", "teacher.labels=[a,b]")
    with pytest.raises(Exception, match=r"teacher\.labels names 2 classes, but there are 10"):
        fetch_teacher.run(config, folder / "data")


def test_classes_that_the_model_never_means_are_told(folder: Path) -> None:
    mapped = "[null,0,1,2,3,4,5,6,8,8]"  # nothing is a seven, nor a nine
    given = ["teacher=callable", "teacher.function='math:sqrt'", f"teacher.classes_map={mapped}"]
    told = fetch_teacher(configured(*given), folder / "data")
    assert told.startswith("callable, of unknown size, 10 classes")
    assert told.endswith("; no class of the model's is 7, 9: see teacher.classes_map")
    card = read_json(folder / "data/teacher/teacher.json")
    assert card["model"]["classes_map"] == [None, 0, 1, 2, 3, 4, 5, 6, 8, 8]
    assert card["model"]["labels"] == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("teacher.labels=[a,b,c,d,e,f,g,h,i,a]", r"teacher\.labels names 'a' 2 times; expected another name"),
        ("teacher.classes_map=[0,1,12]", r"the model's class 2 is class 12; expected 0 … 9, or null"),
    ],
)
def test_a_wrong_naming_is_refused_before_anything_is_asked(folder: Path, given: str, message: str) -> None:
    config = configured("teacher=callable", "teacher.function='math:sqrt'", given)
    with pytest.raises(Exception, match=message):
        fetch_teacher.run(config, folder / "data")


def test_what_is_not_set_is_no_part_of_the_card(folder: Path) -> None:
    """A teacher that was fetched before there was a setting keeps its identity."""
    fetch_teacher.run(configured("teacher=callable", "teacher.function='math:sqrt'"), folder / "data")
    model = read_json(folder / "data/teacher/teacher.json")["model"]
    assert set(model) == {"kind", "preprocessing", "labels", "function", "version", "source"}
    assert model["preprocessing"] == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ("teacher=http_image", "teacher.channels_order=bgr"),
            "http_image sends pictures: .* leave layout and channels",
        ),
        (("teacher=http_image", "teacher.layout=flat"), "http_image sends pictures"),
        (("teacher.channels_order=bgr",), "kind: train takes mean and std only: .* channels_order"),
        (("teacher.classes_map=from_one",), "classes_map: a network of db3, kind train, has the dataset's classes"),
        (("teacher.classes_map=from_two",), r"classes_map is 'from_two'; expected .*'from_one'"),
    ],
)
def test_settings_that_make_no_sense_for_a_kind_are_one_line(given: tuple[str, ...], message: str) -> None:
    service = ["teacher.http.url=https://h.example.org/c", "teacher.http.answer=best"]
    with pytest.raises(Exception, match=message) as raised:
        configured(*given, *(service if "teacher=http_image" in given else []))
    assert "\n" not in str(raised.value)

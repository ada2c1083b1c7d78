"""The page about a run of `db3.distill`."""

import shutil
from pathlib import Path

import pytest

from db3.api.report import report_main, write_front_door_report
from db3.errors import DataError
from db3.files import read_json, write_json
from tests.api.test_distill import Vendor, distilled


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distilled(Vendor(), tmp_path_factory.mktemp("run"), queries=300, settings=QUICK).folder


QUICK = {
    **{"distill.steps": 10, "distill.warmup": 2, "distill.onnx": False},
    **{"samples.rounds.steps": 2, "samples.rounds.count": 1},
}


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "<run>"))


def test_it_tells_agreement_queries_curve_examples_and_origin(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_main([str(run)]) == 0
    assert capsys.readouterr().out == f"open {run / 'report.html'} in a browser\n"
    told, page = read_json(run / "result.json"), (run / "report.html").read_text(encoding="utf-8")
    for text in (f"{100 * told['agreement']:.1f}", "300", told["transfer"], told["teacher"]["identity"], "&lt;run&gt;"):
        assert text in page
    assert page.count("<svg") == 2  # the curve, for a desktop and for a phone
    assert page.count("data:image/png") >= 4
    assert "<script" not in page
    write_front_door_report(run)
    assert (run / "report.html").read_text(encoding="utf-8") == page


def test_without_held_out_images_it_says_so(run: Path) -> None:
    told = read_json(run / "result.json")
    write_json(run / "result.json", {**told, "agreement": None, "held_out": 0, "coverage": []})
    page = write_front_door_report(run).read_text(encoding="utf-8")
    assert "No image was held out, so nobody knows." in page
    assert "<svg" not in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": 7}, "was not written by this version of db3 distill"),
        ({"transfer": "00"}, "are of two runs"),
        ({"coverage": [{"x": 1}]}, "was not written by this version"),
    ],
)
def test_another_result_is_one_line(run: Path, change: dict[str, object], message: str) -> None:
    write_json(run / "result.json", {**read_json(run / "result.json"), **change})
    with pytest.raises(DataError, match=message):
        write_front_door_report(run)


def test_a_folder_without_a_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_main([str(tmp_path)]) == 1
    assert "holds no result.json; expected the folder of a finished `db3 distill`" in capsys.readouterr().err
    (tmp_path / "result.json").write_text("{}")
    assert report_main([str(tmp_path)]) == 1
    assert "holds no student/student.json; expected the folder of a finished" in capsys.readouterr().err

"""Ten lines from a function to a student; what is finished is neither asked nor computed again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import db3
from db3.api.report import write_front_door_report
from db3.errors import ConfigError, DataError, TeacherError

SHAPE, CLASSES = (1, 16, 16), 4
IMAGES = db3.prior_images(SHAPE, range(80), seed=11)
SMALL: dict[str, Any] = {
    **{"distill.steps": 60, "distill.warmup": 5, "distill.onnx": False, "samples.rounds.steps": 10},
    **{"samples.rounds.count": 2, "distill.assistants.images": 200, "distill.assistants.steps": 10},
}


class Vendor:
    """Which quarter of an image is brightest; it remembers what it was asked, and may fail."""

    def __init__(self, fails_after: int | None = None) -> None:
        self.asked = 0
        self.fails_after = fails_after

    def __call__(self, images: np.ndarray) -> np.ndarray:
        if self.fails_after is not None and self.asked >= self.fails_after:
            raise TeacherError("the vendor is out")
        self.asked += len(images)
        return brightest(images)


def brightest(images: np.ndarray) -> np.ndarray:
    quarters = images.reshape(len(images), 2, 8, 2, 8).mean(axis=(2, 4))
    return np.asarray(quarters.reshape(len(images), CLASSES).argmax(axis=1))


def distilled(vendor: Vendor, folder: Path, images: object = IMAGES, **more: Any) -> "db3.Result":
    teacher = db3.teacher(vendor, shape=SHAPE, classes=CLASSES, name="vendor-7", call_batch=32)
    more = {"queries": 400, "student": "lenet5_fifth", "settings": SMALL, "progress": False, **more}
    return db3.distill(teacher, images, folder=folder, **more)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> "db3.Result":
    return distilled(Vendor(), tmp_path_factory.mktemp("run"))


def test_it_asks_what_it_says_and_measures_on_images_held_out(result: "db3.Result") -> None:
    held = result.held_out
    assert (len(held.decisions), result.queries.asked) == (16, 400)
    assert result.queries.sent <= 400  # an image made twice is sent once
    assert np.array_equal(held.decisions, brightest(held.images.astype(np.float32) / 255))
    rest = {image.tobytes() for image in result.transfer.images}
    assert not any(image.tobytes() in rest for image in held.images)
    assert result.agreement == np.mean(result.student.predict(held.images) == held.decisions)
    assert result.agreement is not None
    assert result.agreement > 0.4  # four classes; sixty steps
    assert "400 queries asked" in str(result)


def test_what_is_written_can_be_read_again(result: "db3.Result") -> None:
    told = json.loads((result.folder / "result.json").read_text())
    assert told["transfer"] == result.digest
    assert told["agreement"] == result.agreement
    opened = db3.open_student(result.folder / "student")
    assert np.array_equal(opened.scores(IMAGES), result.student.scores(IMAGES))
    assert np.allclose(opened.scores(IMAGES).sum(axis=1), 1, atol=1e-5)
    card = (result.folder / "student" / "README.md").read_text()
    assert "images held out" in card
    assert "metrics.json" not in card
    for name, array in result.transfer.arrays().items():
        assert np.array_equal(np.load(result.folder / "transfer" / f"{name}.npy"), array)


def test_a_gate_says_what_it_would_take_or_promises(result: "db3.Result") -> None:
    with pytest.raises(
        db3.Db3Error, match=r"16 decided images cannot promise 0\.99 .*: decide 283 more, or promise less"
    ):
        result.gate(0.99)
    gate = result.gate(0.2, confidence=0.5)
    student = result.student.save(result.folder / "gated", gate)
    told = json.loads((student / "student.json").read_text())
    assert told["gate"]["threshold"] == gate.threshold
    assert gate.to_markdown() in (student / "README.md").read_text()
    teacher = db3.teacher(Vendor(), shape=SHAPE, classes=CLASSES)
    cascade = db3.Cascade(result.student, teacher, gate)
    decided = cascade.decide(IMAGES)
    sure = gate.answers(result.student.scores(IMAGES).max(axis=1))
    assert (cascade.answered, cascade.deferred) == (sure.sum(), (~sure).sum())
    assert np.array_equal(decided[~sure], brightest(IMAGES[~sure].astype(np.float32) / 255))
    assert np.array_equal(decided[sure], result.student.predict(IMAGES[sure]))
    interval = result.certify()
    assert result.agreement is not None
    assert interval.low <= result.agreement <= interval.high


def test_a_damaged_student_is_refused(result: "db3.Result", tmp_path: Path) -> None:
    result.student.save(tmp_path)
    weights = tmp_path / "student.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=r"is not the file that student\.json tells of"):
        db3.open_student(tmp_path)


def test_a_run_that_breaks_off_goes_on_and_sends_nothing_twice(result: "db3.Result", tmp_path: Path) -> None:
    broken = Vendor(fails_after=130)
    with pytest.raises(TeacherError, match="the vendor is out"):
        distilled(broken, tmp_path)
    mended = Vendor()
    found = distilled(mended, tmp_path)
    assert found.digest == result.digest
    assert broken.asked + mended.asked == found.queries.sent - 32 == result.queries.sent  # one call failed
    idle = Vendor(fails_after=0)
    assert distilled(idle, tmp_path).queries == found.queries


def test_no_images_at_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = distilled(Vendor(), tmp_path, None)
    assert found.foretold is not None
    assert 0 <= found.foretold <= 1
    assert json.loads((tmp_path / "result.json").read_text())["foretold"] == found.foretold
    assert ("made images teach little of this teacher" in caplog.text) == (found.foretold < 0.45)
    assert (len(found.held_out.decisions), found.queries.asked) == (40, 400)
    assert found.plan.settings.samples.method == "priors"
    with pytest.raises(DataError, match="the images held out are made ones"):
        found.gate()
    assert found.plan.settings.distill.assistants.networks == 2
    assert len(found.transfer.images) == 360


def test_images_of_their_own_to_measure_by(tmp_path: Path) -> None:
    held = db3.prior_images(SHAPE, range(30), seed=5)
    found = distilled(Vendor(), tmp_path, held_out=held)
    assert np.array_equal(found.held_out.images, held)
    assert found.queries.asked == 400


@pytest.mark.parametrize("method", ["real", "augmented"])
def test_samples_of_no_class_are_left_out_and_counted(method: str, tmp_path: Path) -> None:
    def shy(images: np.ndarray) -> list[int | None]:
        """Says nothing of images whose first quarter is brightest."""
        return [int(k) if k else None for k in brightest(images)]

    teacher = db3.teacher(shy, shape=SHAPE, classes=CLASSES, unclear="skip", call_batch=32)
    settings = SMALL if method == "augmented" else {**SMALL, "samples.method": "real", "samples.count": None}
    more: dict[str, Any] = {"student": "lenet5_fifth", "settings": settings, "progress": False}
    found = db3.distill(teacher, IMAGES, queries=400 if method == "augmented" else 80, folder=tmp_path, **more)
    assert teacher.class_names == ("0", "1", "2", "3", "rejected")
    assert found.skipped > 0
    asked = found.plan.samples if method == "augmented" else 64  # of 80 images 16 are held out
    assert len(found.transfer.images) == asked - found.skipped
    assert np.array_equal(found.transfer.decisions, brightest(found.transfer.images.astype(np.float32) / 255))
    assert 0 not in found.transfer.decisions
    assert found.missing == ("0",)
    assert f"{found.skipped} samples of no class left out" in str(found)
    assert json.loads((tmp_path / "result.json").read_text())["skipped"] == found.skipped
    page = write_front_door_report(tmp_path).read_text()
    assert f"{found.skipped} more left out, which the teacher gave no class" in page


def test_where_no_sample_has_a_class_that_is_told(tmp_path: Path) -> None:
    teacher = db3.teacher(lambda images: [None] * len(images), shape=SHAPE, classes=CLASSES, unclear="skip")
    with pytest.raises(DataError, match=r"the teacher gave none of the \d+ samples a class"):
        db3.distill(teacher, IMAGES, queries=80, folder=tmp_path, settings=SMALL, progress=False)


def test_none_held_out(tmp_path: Path) -> None:
    found = distilled(Vendor(), tmp_path, held_out=0)
    assert found.agreement is None
    assert "agreement" not in str(found)
    with pytest.raises(DataError, match="no image was held out"):
        found.gate()


def test_a_search_in_place_of_rounds(tmp_path: Path) -> None:
    given = {**SMALL, "samples.method": "real", "samples.count": None, "query.method": "bd", "query.budget": 4}
    with pytest.raises(ConfigError, match=r"samples\.count"):
        distilled(Vendor(), tmp_path, queries=900, settings={**given, "samples.count": 1000})
    found = distilled(Vendor(), tmp_path, queries=900, settings=given)
    assert found.transfer.queried_images is not None
    assert len(found.transfer.images) == 64


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES.astype(np.float32), r"real numbers 0 … 255; expected \[0, 1\], or uint8 0 … 255: divide by 255"),
        (IMAGES[:, 0, 0], "expected"),
        (IMAGES[:, :, :8], r"images of shape \[1, 8, 16\] for a teacher of shape \[1, 16, 16\]"),
    ],
)
def test_images_that_do_not_fit_are_refused(images: object, message: str, tmp_path: Path) -> None:
    vendor = Vendor()
    with pytest.raises(DataError, match=message):
        distilled(vendor, tmp_path, images)
    assert vendor.asked == 0


def test_a_student_that_does_not_exist_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    vendor = Vendor()
    with pytest.raises(ConfigError, match=r"unknown architecture 'lenet_half'; did you mean lenet5_half\?"):
        distilled(vendor, tmp_path, student="lenet_half")
    assert vendor.asked == 0


def test_the_limit_ends_it_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    vendor = Vendor()
    with pytest.raises(ConfigError, match=r"limit does not pay for all queries \(.* of 100 that may be\): raise it"):
        distilled(vendor, tmp_path, limit=100)
    assert vendor.asked <= 100
    assert distilled(vendor, tmp_path).queries.sent == vendor.asked

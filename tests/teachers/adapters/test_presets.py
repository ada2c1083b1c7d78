"""The servers that people have, each asked by its preset of conf/teacher/ alone: the same decisions as the network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import db3
from db3.errors import ConfigError, TeacherError
from db3.settings.teacher import Link
from tests.teachers.models import CLASSES, SHAPE, pixels
from tests.teachers.stand_ins import HuggingFace, OpenAi, Predict, StandIn, scores_of, standing_in

CONF = Path(__file__).resolve().parents[3] / "conf/teacher"
LABELS = [f"thing {k}" for k in range(CLASSES)]
IMAGES = (pixels(40) * torch.linspace(0.2, 1, 40).view(-1, 1, 1, 1) * 255).round() / 255
RIGHT = scores_of(IMAGES).argmax(1).tolist()
COMMON = max(set(RIGHT), key=RIGHT.count)


def asked(preset: str, url: str, link: Link | None = None, http: Any = None, **more: Any) -> db3.ModelTeacher:
    """The preset, with an address, as `python -m flows.compose teacher=PRESET` would have it."""
    described = yaml.safe_load((CONF / f"{preset}.yaml").read_text())
    named = {"model": "tiny-vision"} if preset == "openai" else {}
    own = {key: value for key, value in described.pop("http").items() if key != "url"} | named | (http or {})
    described = {key: value for key, value in described.items() if key not in ("kind", "architecture", "labels")}
    given = {"shape": SHAPE, "labels": LABELS, "http": own, **described, **more}
    return db3.teacher(url, link=link or Link(timeout=20.0), **given)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def vision() -> Iterator[Any]:
    with standing_in(OpenAi, "/v1/chat/completions", LABELS) as server:
        yield server


SERVERS: dict[str, tuple[type[StandIn], str]] = {
    "openai": (OpenAi, "/v1/chat/completions"),
    "predict": (Predict, "/v1/models/lenet:predict"),
    "mlflow": (Predict, "/invocations"),
    "huggingface": (HuggingFace, "/"),
}


@pytest.mark.parametrize("preset", SERVERS)
def test_a_preset_decides_as_the_network_behind_it(preset: str) -> None:
    kind, path = SERVERS[preset]
    with standing_in(kind, path, LABELS) as server:
        teacher = asked(preset, server.url)
        assert teacher.decide(IMAGES).tolist() == RIGHT
        assert teacher.costs.sent == len(IMAGES)
        assert len(server.requests) == (3 if kind is Predict else len(IMAGES))  # 16 images a request


def test_pictures_in_a_predict_request() -> None:
    with standing_in(Predict, "/v1/models/lenet:predict", LABELS) as server:
        http = {"each": '{"b64": "$picture"}'}
        assert asked("predict", server.url, http=http, quantise="uint8").decide(IMAGES).tolist() == RIGHT


def test_tokens_are_counted_and_the_key_is_told_to_nobody_else(vision: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vision.token = "s3cr3t"  # noqa: S105 - it opens nothing
    monkeypatch.setenv("OWN_KEY", "s3cr3t")
    teacher = asked("openai", vision.url, http={"model": "m", "token": "OWN_KEY"})
    teacher.decide(IMAGES[:7])
    assert (teacher.costs.input_tokens, teacher.costs.output_tokens) == (630, 70)
    assert "s3cr3t" not in repr(teacher)
    monkeypatch.setenv("OWN_KEY", "wrong")
    with pytest.raises(TeacherError, match=r"answered 401 Unauthorized \(Incorrect API key provided\): check"):
        asked("openai", vision.url, http={"model": "m", "token": "OWN_KEY"}).decide(IMAGES[:1])


def test_a_refusal_stops_the_run_unless_it_is_declared(vision: Any) -> None:
    vision.refuses = {COMMON}
    with pytest.raises(
        TeacherError, match=r"nothing at teacher\.http\.answer: .*declare in teacher\.unclear"
    ) as raised:
        asked("openai", vision.url).decide(IMAGES)
    assert "\n" not in str(raised.value)
    teacher = asked("openai", vision.url, unclear="reject")
    assert teacher.class_names == (*LABELS, "rejected")
    assert teacher.decide(IMAGES).tolist() == [CLASSES if k == COMMON else k for k in RIGHT]
    assert (teacher.costs.nothing, teacher.costs.off_list) == (RIGHT.count(COMMON), 0)


def test_a_label_list_that_changes_in_the_middle_is_off_the_list(vision: Any) -> None:
    vision.labels = [name if k != COMMON else "another thing" for k, name in enumerate(LABELS)]
    with pytest.raises(TeacherError, match="answered 'another thing'; expected one of thing 0, thing 1"):
        asked("openai", vision.url).decide(IMAGES)
    teacher = asked("openai", vision.url, unclear="reject")
    assert teacher.decide(IMAGES).tolist() == [CLASSES if k == COMMON else k for k in RIGHT]
    assert (teacher.costs.nothing, teacher.costs.off_list) == (0, RIGHT.count(COMMON))


def test_another_model_in_the_middle_is_not_mixed_in(vision: Any) -> None:
    teacher = asked("openai", vision.url)
    teacher.decide(IMAGES[:2])
    vision.model = "tiny-vision-2"
    with pytest.raises(TeacherError, match=r"has 'tiny-vision-2' at teacher\.http\.constant, but had 'tiny-vision'"):
        teacher.decide(IMAGES[2:4])
    assert len(asked("openai", vision.url, version="tiny-vision-2").decide(IMAGES[:1])) == 1


def test_a_rate_limit_of_one_a_second_is_kept_to(vision: Any) -> None:
    limited = (429, {"Retry-After": "1"}, {"error": {"message": "Rate limit reached"}})
    vision.faults = [None, limited, None, limited]
    teacher = asked("openai", vision.url, Link(timeout=20.0, concurrency=1, attempts=1))
    assert teacher.decide(IMAGES[:4]).tolist() == RIGHT[:4]
    assert teacher.costs.sent == len(vision.requests) == 6


def test_cut_off_json_and_a_wrong_path_name_the_path(vision: Any) -> None:
    cut = {"model": "tiny-vision", "choices": [{"message": {"content": '{"lab'}}]}
    vision.faults = [(200, {}, cut)]
    with pytest.raises(
        TeacherError, match=r"answered with an object of model, choices, but nothing at teacher\.http\.answer"
    ):
        asked("openai", vision.url).decide(IMAGES[:1])
    with pytest.raises(ConfigError, match=r"teacher\.http\.output_tokens is 'usage\['; expected a JMESPath"):
        asked("openai", vision.url, http={"output_tokens": "usage["})


def test_too_few_answers_to_a_request_of_many_are_refused() -> None:
    with standing_in(Predict, "/invocations", LABELS) as server:
        server.faults = [(200, {}, {"predictions": [1, 2]}), (200, {}, {"outputs": []})]
        teacher = asked("mlflow", server.url, Link(concurrency=1))
        with pytest.raises(TeacherError, match=r"answered 16 images with .* a list of 2; expected a list of 16"):
            teacher.decide(IMAGES)
        with pytest.raises(
            TeacherError, match=r"an object of outputs, and at teacher\.http\.answer null; expected a list of 16"
        ):
            teacher.decide(IMAGES)


def test_several_labels_and_none_as_declared() -> None:
    with standing_in(Predict, "/", LABELS) as server:
        answers = [["thing 3", "thing 1"], [], None, "thing 2", "sky"]
        server.faults = [(200, {}, {"predictions": answers})] * 4
        link = Link(concurrency=1)
        with pytest.raises(TeacherError, match=r"answered with 2 classes; expected one: take the first with .*several"):
            asked("predict", server.url, link).decide(IMAGES[:5])
        with pytest.raises(TeacherError, match="answered with no class"):
            asked("predict", server.url, link, several="first").decide(IMAGES[:5])
        first = asked("predict", server.url, link, several="first", unclear="reject")
        assert first.decide(IMAGES[:5]).tolist() == [3, CLASSES, CLASSES, 2, CLASSES]
        teacher = asked("predict", server.url, link, unclear="reject")
        assert teacher.decide(IMAGES[:5]).tolist() == [CLASSES, CLASSES, CLASSES, 2, CLASSES]
        assert (teacher.costs.nothing, teacher.costs.several, teacher.costs.off_list) == (2, 1, 1)


def test_prompt_labels_and_model_are_part_of_who_it_is(vision: Any) -> None:
    ways: list[Any] = [{}, {"http": {"prompt": "$labels?"}}, {"http": {"model": "m2"}}, {"unclear": "reject"}]
    ways += [{"labels": LABELS[::-1]}]
    assert len({asked("openai", vision.url, **way).spec.identity for way in ways}) == 5
    assert asked("openai", vision.url).spec.identity == asked("openai", vision.url).spec.identity


def test_what_is_known_is_not_asked_again(vision: Any, tmp_path: Path) -> None:
    answers, vision.refuses = db3.open_answers(tmp_path / "answers.sqlite"), {COMMON}
    teacher, other = (asked("openai", vision.url, unclear="reject") for _ in range(2))
    first = teacher.open(answers=answers).decide(IMAGES)
    count, again = len(vision.requests), other.open(answers=answers)
    assert torch.equal(again.decide(IMAGES), first)
    assert (len(vision.requests), again.costs.sent) == (count, 0)

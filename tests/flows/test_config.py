"""Parameters: what is valid passes, what is not is named in one line with the nearest name or the range."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from db3.errors import ConfigError
from db3.settings.declare import to_json
from flows.config import Config, load_config, parse_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def values() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return loaded


def changed(values: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """A copy with one dotted parameter set."""
    result = copy.deepcopy(values)
    *groups, last = name.split(".")
    inner = result
    for group in groups:
        inner = inner[group]
    inner[last] = value
    return result


def message(values: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_committed_parameters_are_valid() -> None:
    assert load_config(ROOT / "params.yaml").distill.architecture == "lenet5_half"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("distill.lrr", "distill.lr"),
        ("query.budgett", "query.budget"),
        ("distill.weights.k1", "distill.weights.kl"),
        ("evaluat", "evaluate"),
        ("runtime.worker", "runtime.workers"),
    ],
)
def test_a_misspelt_name_comes_with_the_nearest(values: dict[str, Any], name: str, nearest: str) -> None:
    text = message(changed(values, name, 1))
    assert f"unknown parameter {name}" in text
    assert f"did you mean {nearest}?" in text


def test_a_renamed_parameter_is_reported_by_its_misspelling_not_by_the_gap_it_leaves(values: dict[str, Any]) -> None:
    values["distill"]["learning_rat"] = values["distill"].pop("lr")
    assert "unknown parameter distill.learning_rat" in message(values)


def test_an_unknown_name_like_no_other_comes_with_the_known_ones(values: dict[str, Any]) -> None:
    text = message(changed(values, "soft_labels.zzz", 1))
    known = "beta, boundary_points, boundary_points_smoothing, gap, mapping, queried_images, temperature"
    assert f"known here: {known}" in text


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("distill.lr", "fast", "a number above 0"),
        ("distill.lr", True, "a number above 0"),
        ("distill.steps", 1.5, "a whole number of 1 or more"),
        ("distill.steps", "10", "a whole number of 1 or more"),
        ("query.checkpoints", 5, "a list"),
        ("dataset.name", 3, "'digits'"),
        ("distill.onnx", "yes", "true or false"),
        ("soft_labels.mapping", "margn", "did you mean margin?"),
        ("distill.weights", 3, "a mapping of parameters: ce, kl"),
    ],
)
def test_a_wrong_type_is_named_with_its_value(values: dict[str, Any], name: str, value: Any, expected: str) -> None:
    text = message(changed(values, name, value))
    assert f"{name} is {value!r}" in text
    assert expected in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("distill.lr", 0),
        ("distill.steps", 0),
        ("dataset.test_fraction", 1.0),
        ("query.budget", -1),
        ("runtime.workers", 0),
        ("runtime.link.attempts", 0),
        ("runtime.device", "gpu"),
        ("distill.baselines", ["hard", "harder"]),
        ("distill.lr", float("nan")),
        ("soft_labels.beta", -1.0),
        ("soft_labels.temperature", 0.0),
        ("query.augmented", -1),
        ("query.checkpoints", [-1]),
    ],
)
def test_a_value_out_of_range_is_refused(values: dict[str, Any], name: str, value: Any) -> None:
    assert name in message(changed(values, name, value))


def test_weights_that_teach_nothing_are_refused(values: dict[str, Any]) -> None:
    assert "nothing would be learnt" in message(changed(values, "distill.weights", {"ce": 0.0, "kl": 0.0}))


@pytest.mark.parametrize(
    "changes",
    [
        {"query.method": "none"},
        {"query.variations": 1.0},
        {"samples.method": "priors", "samples.count": None, "samples.budget": 1000},
    ],
)
def test_labels_of_distances_need_a_search(values: dict[str, Any], changes: dict[str, Any]) -> None:
    found = changed(values, "soft_labels.mapping", "margin")
    parse_config(found)
    for name, value in changes.items():
        found = changed(found, name, value)
    assert "margin, but nothing was searched" in message(found)


def test_a_checkpoint_teacher_needs_its_file(values: dict[str, Any]) -> None:
    assert "teacher" in message(changed(values, "teacher.kind", "checkpoint"))


def test_a_whole_number_is_a_version_and_a_real_one_has_lost_digits(values: dict[str, Any]) -> None:
    values["teacher"]["version"] = 2
    assert parse_config(values).teacher.version == "2"
    values["teacher"]["version"] = 1.1
    with pytest.raises(ConfigError, match=r"teacher.version.*write it in quotes"):
        parse_config(values)


def test_a_missing_parameter_is_named(values: dict[str, Any]) -> None:
    del values["distill"]["architecture"]
    assert "parameter distill.architecture is missing" in message(values)


@pytest.mark.parametrize("wrong", [None, [], "text", 3])
def test_something_else_than_groups_is_refused(wrong: Any) -> None:
    assert "expected a mapping" in message(wrong)


def test_whole_numbers_pass_where_real_ones_are_meant(values: dict[str, Any]) -> None:
    assert parse_config(changed(values, "distill.lr", 1)).distill.lr == 1.0


def test_parameters_cannot_be_changed_after_they_were_checked(values: dict[str, Any]) -> None:
    config = parse_config(values)
    with pytest.raises(AttributeError, match="cannot assign"):
        config.distill.lr = -1.0  # type: ignore[misc]


def test_every_parameter_survives_the_way_through_json(values: dict[str, Any]) -> None:
    config = parse_config(values)
    assert parse_config(json.loads(json.dumps(to_json(config)))) == config
    assert isinstance(config, Config)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml.*root"):
        load_config(tmp_path / "params.yaml")


def test_text_that_is_not_yaml_is_named_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("distill: [1,\n  2")
    with pytest.raises(ConfigError, match="not valid YAML") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": "onnx"}, "teacher.checkpoint has no value; kind onnx needs it"),
        ({"kind": "callable"}, "teacher.function has no value"),
        ({"kind": "http"}, "teacher.http.url has no value"),
        ({"kind": "http_image", "http.url": "http://h"}, "teacher.http.answer has no value"),
        ({"kind": "process", "quantise": "uint8"}, "teacher.command has no value"),
        ({"kind": "process", "command": ["a"]}, "needs quantise: uint8"),
        ({"kind": "process", "command": ["a", ""], "quantise": "uint8"}, "teacher.command is"),
        ({"kind": "process", "command": "a b"}, "teacher.command is 'a b'; expected a list [A, B, …], each text"),
        ({"http.request": "{$picture}"}, "teacher.http.request is no JSON: quote every placeholder"),
        ({"http.request": '{"a": "$picture"}'}, "teacher.http.request: is JSON, but body is raw: set body to json"),
        ({"http.request": '{"a": "picture"}', "http.body": "json"}, "teacher.http.request: holds no image"),
        ({"http.request": '{"a": "$picure"}', "http.body": "json"}, "request: holds $picure; did you mean $picture?"),
        ({"http.prompt": "One of $lables for $5"}, "teacher.http.prompt: holds $lables; did you mean $labels?"),
        (
            {"http.request": '{"a": "$picture", "m": "$model"}', "http.body": "json", "http.url": "http://h"},
            "teacher.http.model has no value, but request holds $model: give it one",
        ),
        ({"http.each": '"$picture"'}, "teacher.http.each: says what $images holds in `request`, which is null"),
        ({"unclear": "reject"}, "unclear: a network of db3, kind train, always answers"),
        ({"unclear": "drop"}, "teacher.unclear is 'drop'; expected 'error', 'reject' or 'skip'"),
        ({"architecture": None}, "teacher.architecture has no value; kind train needs it"),
        ({"kind": "callable", "function": "os.system"}, "teacher.function is 'os.system'"),
        ({"layout": "NHWC"}, "kind: train takes mean and std only"),
        ({"kind": "onnx", "checkpoint": "a", "dtype": "uint8"}, "set scale to 255"),
        ({"kind": "onnx", "checkpoint": "a", "dtype": "uint8", "scale": 255.0}, "needs quantise: uint8"),
        ({"std": [0.0]}, "teacher.std is [0.0]"),
        ({"resize": [28]}, "teacher.resize"),
        ({"http.url": "ftp://host"}, "expected http(s)://HOST"),
    ],
)
def test_a_teacher_lacks_nothing_and_contradicts_nothing(
    values: dict[str, Any], changes: dict[str, Any], expected: str
) -> None:
    for name, value in changes.items():
        values = changed(values, f"teacher.{name}", value)
    assert expected in message(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", "https://user:p4ssw0rd@host/"),
        ("url", "https://host/?key=p4ssw0rd"),
        ("token", "sk-p4ssw0rd"),
        ("token", "p4ssw0rd"),
    ],
)
def test_a_secret_among_the_parameters_is_refused_and_not_told(values: dict[str, Any], name: str, value: str) -> None:
    assert "p4ssw0rd" not in message(changed(values, f"teacher.http.{name}", value))

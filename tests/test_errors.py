"""Hints for misspelt names: the one that was meant, or none where no name is near."""

import pytest

from db3.errors import nearest, nearest_name, unknown_name
from db3.settings.declare import names_of
from flows.config import Config

PARAMETERS = sorted(names_of(Config))
ARCHITECTURES = ["alexnet_half", "compact", "lenet5", "lenet5_half", "resnet18", "resnet9"]
METHODS = ["auto", "bd", "guided", "hopskipjump", "mbd", "none", "sd", "semicircle"]


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("lenet_half", ARCHITECTURES, "lenet5_half"),
        ("resnet_9", ARCHITECTURES, "resnet9"),
        ("mdb", METHODS, "mbd"),
        ("hopskip", METHODS, "hopskipjump"),
        ("query.budgte", PARAMETERS, "query.budget"),
        ("techer.votes", PARAMETERS, "teacher.votes"),
        ("budget.totl", PARAMETERS, "budget.total"),
        ("votes", PARAMETERS, "teacher.votes"),
        ("qery.method", ["distill", "query", "samples"], "query"),
        ("distill.weights.k1", PARAMETERS, "distill.weights.kl"),
        ("distill.optimizer", PARAMETERS, "distill.optimiser"),
    ],
)
def test_the_name_that_was_meant_is_found(name: str, known: list[str], meant: str) -> None:
    assert nearest_name(name, known) == meant
    assert nearest(name, known, "x.") == f"did you mean x.{meant}?"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("mobilenet", ARCHITECTURES),
        ("densenet", ARCHITECTURES),
        ("vgg16", ARCHITECTURES),
        ("surfree", METHODS),
        ("boundary", METHODS),
        ("epochs", PARAMETERS),
        ("foo.bar", PARAMETERS),
        ("runtime.gpu", PARAMETERS),
        ("teacher.http.banana", PARAMETERS),
        ("linear", ["hard", "inverse", "margin"]),
        ("plot", ["distill", "export", "results"]),
        ("x", []),
    ],
)
def test_a_name_for_something_else_gets_no_guess(name: str, known: list[str]) -> None:
    assert nearest_name(name, known) is None
    assert "did you mean" not in str(unknown_name("thing", name, known))


def test_where_none_is_near_the_first_names_are_shown() -> None:
    assert nearest("vgg16", ["b", "a"]) == "known here: a, b"
    many = nearest("vgg", [f"name{k:03}" for k in range(100)])
    assert many.startswith("known here: name000, name001")
    assert many.endswith(" and 60 more")

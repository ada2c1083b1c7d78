"""Numbers and names as the page tells them."""

import pytest

from db3.evaluation.results import Spread
from db3.report import formatting as words


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (751_120, "751 kB"), (999_600, "1.00 MB"),
     (23.3e6, "23.3 MB")],
)  # fmt: skip
def test_sizes_have_three_digits(value: float | None, said: str) -> None:
    assert words.size(value).replace(words.THIN, " ") == said


@pytest.mark.parametrize(("value", "said"), [(591_500, "592 k"), (2_293_000, "2.29 M"), (12, "12")])
def test_compact_counts(value: int, said: str) -> None:
    assert words.compact(value).replace(words.THIN, " ") == said


@pytest.mark.parametrize(("value", "said"), [(1, "1"), (85.72, "85.7"), (1.0, "1"), (760.04, "760"), (8559.2, "8,559")])
def test_queries_have_a_decimal_only_where_it_says_something(value: float, said: str) -> None:
    assert words.queries(value) == said


def test_a_score_of_one_seed_has_no_spread() -> None:
    score = Spread(0.9702, 0.004)
    assert words.spread(score).replace(words.HARD, " ") == "97.0 ± 0.4"
    assert words.spread(score, seeds=1) == "97.0"
    assert words.spread(None) == "–"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lenet5", "LeNet5"), ("lenet5_half", "LeNet5-Half"), ("alexnet_quarter", "AlexNet-Quarter"),
        ("resnet18", "ResNet-18"), ("vit_b_16", "vit_b_16"), (None, "black box"),
    ],
)  # fmt: skip
def test_networks_have_their_usual_names(name: str | None, said: str) -> None:
    assert words.network(name) == said


def test_ratio_needs_both_sides() -> None:
    assert words.ratio(187_780, 47_645) == "3.9×"
    assert words.ratio(1e6, 10) == "100,000×"
    assert words.ratio(30, 100_000) == "0.0003×"  # never 0.0
    assert words.ratio(None, 10) is None
    assert words.ratio(10, 0) is None


def test_long_names_are_cut() -> None:
    assert words.shorten("automobile", 10) == "automobile"
    assert words.shorten("a very long name", 8) == "a very…"

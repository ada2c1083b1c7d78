"""What a search will ask, take and cost, told before anything is paid."""

import re
import shutil
from pathlib import Path

import pytest

from db3.files import write_json
from db3.teachers.adapters.batching import Batching
from db3.teachers.answers.place import close_answers
from flows.estimate import _duration, estimate
from flows.inputs import plan_of
from tests.flows.test_searches import configured, searched


@pytest.mark.usefixtures("few_steps", "unchecked")
@pytest.mark.parametrize("method", ["sd", "bd", "mbd", "auto"])
def test_no_search_asks_more_than_was_told(data: Path, method: str) -> None:
    chosen = (f"query.method={method}", "query.augmented=same")
    plan = plan_of(configured(*chosen), 20, 10)
    asked = searched(data, *chosen)["queries"]
    assert asked["asked"] + asked["augmented"] <= plan.maximum
    assert plan.expected <= plan.pairs
    assert asked["asked"] + asked["augmented"] >= 0.7 * (2 * plan.expected)


def test_bisections_are_expected_to_close(data: Path) -> None:
    chosen = ("query.method=bd", "query.budget=100", "query.starts=1")
    plan = plan_of(configured(*chosen), 20, 10)
    asked = searched(data, *chosen)["queries"]["asked"]
    assert plan.pairs == 20 * 9 * 100
    assert asked == pytest.approx(plan.expected, rel=0.3)


def test_the_lines_give_queries_time_and_cost(data: Path) -> None:
    told = estimate(configured("query.method=mbd", "runtime.price.queries=2.5", "query.augmented=same"), data)
    assert re.search(r"queries +3,290 expected, 3,290 at most", told)
    assert re.search(r"cost +8\.22 expected, 8\.22 at most, at 2\.5 per 1,000 images", told)
    assert re.search(r"time .* queries/s \(measured in 1 s", told)
    limited = estimate(configured("query.method=mbd", "runtime.price.queries=2.5", "budget.total=1000"), data)
    assert re.search(r"cost +2\.50 expected, 2\.50 at most", limited)
    assert "unknown: set runtime.price.queries, or its prices of tokens" in estimate(
        configured("query.method=mbd"), data
    )


def test_few_questions_are_few_test_images(data: Path) -> None:
    told = estimate(configured("query.method=mbd", "evaluate.questions=7"), data)
    assert re.search(r"test images +7 to measure", told)
    assert re.search(r"test images +50 to measure", estimate(configured("evaluate.questions=700"), data))


def test_where_tokens_are_billed_those_of_an_image_so_far_tell(data: Path) -> None:
    chosen = ("query.method=mbd", "runtime.price.input_tokens=3", "runtime.price.output_tokens=15")
    assert "none were counted yet: run samples first" in estimate(configured(*chosen), data)
    counts = {"sent_in_all": 24, "lost": 4, "input_tokens": 20 * 90, "output_tokens": 20 * 10, "cost": 0.01}
    write_json(data / "queries.json", {"samples": counts})
    told = estimate(configured(*chosen, "runtime.price.queries=1"), data)
    images = int(re.search(r"queries +([\d,]+) expected", told)[1].replace(",", ""))
    expected = images * (1 / 1000 + 90 * 3 / 1e6 + 10 * 15 / 1e6)
    assert f"{expected:,.2f} expected" in told
    assert "at 1 per 1,000 images, 3 per million input tokens, 15 per million output tokens (90 and 10 tokens" in told


def test_before_the_samples_the_parameters_tell(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(data / "samples")
    shutil.rmtree(data / "teacher")

    def never(self: Batching, images: object) -> object:
        raise AssertionError("a teacher was asked")

    monkeypatch.setattr(Batching, "decide", never)
    told = estimate(configured("query.method=bd", "samples.recheck=5"), data)
    assert re.search(r"samples +25\n", told)
    assert "an assumption: it is not asked to find out" in told


def test_what_is_known_is_told_and_costs_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = (
        "query.method=bd",
        "query.augmented=30",
        "runtime.answers=.db3/answers.sqlite",
        "runtime.price.queries=10",
    )
    assert " of these at least" not in estimate(configured(*chosen), data)
    asked = searched(data, *chosen)["queries"]
    close_answers()

    def sent(self: Batching, images: object) -> object:
        raise AssertionError("something was sent")

    with monkeypatch.context() as patch:
        patch.setattr(Batching, "_call", sent)
        patch.setattr("flows.estimate._rate", lambda *_: (100.0, "assumed"))
        told = estimate(configured(*chosen), data)
    known = re.search(r"known +([\d,]+) of these at least", told)
    assert known
    assert int(known[1].replace(",", "")) == asked["asked"] + 30  # the test images were not asked yet
    whole = re.search(r"queries +([\d,]+) expected", told)
    cost = re.search(r"cost +([\d.]+) expected", told)
    assert whole
    assert cost
    assert float(cost[1]) == pytest.approx((int(whole[1].replace(",", "")) - asked["asked"] - 30) / 100, abs=0.01)


def test_a_time_beyond_all_calendars_is_told_in_years() -> None:
    assert _duration(3e18) == "95,129,375,951 years"
    assert _duration(90.2) == "0:01:30"

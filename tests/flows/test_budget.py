"""A hard stop on what is sent, over samples and searches together; a larger budget goes on from there."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db3.errors import ConfigError
from flows.query_decisions import query_decisions
from flows.samples import samples
from flows.soft_labels import soft_labels
from flows.verify import verify
from tests.flows.test_searches import configured, manifest, searched

pytestmark = pytest.mark.usefixtures("few_steps", "unchecked")


def costs(data: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((data / "queries.json").read_text())["query_decisions"]
    return told


@pytest.mark.parametrize(("method", "total"), [("bd", 20), ("bd", 400), ("auto", 400)])
def test_never_one_image_more_in_any_order_and_number_of_workers(
    data: Path, arrived: list[int], method: str, total: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = (f"query.method={method}", f"budget.total={total}", "runtime.shard=5", "query.augmented=same")
    first = searched(data, *chosen, "runtime.workers=3")
    assert sum(arrived) == costs(data)["sent"] <= total - 20  # 20 for the samples
    assert first["spent"]
    assert first["unfinished"] > 0
    assert first["queries"]["augmented"] <= first["queries"]["asked"]
    distances = (data / "decisions" / "distances.npy").read_bytes()
    shutil.rmtree(".db3")
    monkeypatch.setenv("DB3_SHARD_ORDER", "reversed")
    assert searched(data, *chosen, "runtime.runner=local") == first
    assert (data / "decisions" / "distances.npy").read_bytes() == distances
    # What was cut short is known as it was.
    (data / "transfer").mkdir()
    soft_labels(configured(*chosen), data)
    assert verify(configured(*chosen), data).digest == manifest(data, "transfer")["digest"]


def test_more_money_goes_on_from_there_and_pays_for_the_rest_alone(data: Path, arrived: list[int]) -> None:
    chosen = ("query.method=mbd", "runtime.shard=10")
    whole = searched(data, *chosen)
    price = sum(arrived)
    shutil.rmtree(".db3")
    arrived.clear()
    sent = []
    for total in (20 + price // 4, 20 + price // 2, 10**6, None):
        found = searched(data, *chosen, f"budget.total={'null' if total is None else total}")
        sent.append(sum(arrived))
    assert sent[0] < sent[1] < sent[2] == sent[3] == price
    assert found == whole
    counts = {"asked": price, "known": price, "sent": 0, "sent_in_all": price, "lost": 0}
    assert costs(data) == {**costs(data), **counts}


def test_a_budget_too_small_for_the_samples_is_refused_before_anything_is_sent(data: Path, arrived: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"budget.total is 19, but the decisions on 20 samples"):
        samples(configured("budget.total=19"), data)
    assert not arrived


def test_the_last_line_says_that_the_budget_is_spent(data: Path) -> None:
    (data / "decisions").mkdir()
    chosen = ("query.method=bd", "budget.total=300")
    line = query_decisions(configured(*chosen), data)
    assert "; budget.total of 300 is spent: " in line
    assert line.endswith(" pairs unfinished")


def test_shares_follow_what_the_pieces_may_ask_and_add_up(data: Path) -> None:
    from flows.engine.teacher_work import Asking

    asking = Asking(configured("budget.total=1000"), data, "search", planned=4000, before=100)
    first = asking._limits([300, 700, 1000])
    assert first == [67, 158, 225]  # 900 left, for half of what is to come
    assert asking._limits([2000]) == [900]  # nothing was spent meanwhile, and nothing else is to come
    assert asking._limits([5]) == [900]
    assert np.array(Asking(configured(), data, "search")._limits([3, 4])).tolist() == [None, None]

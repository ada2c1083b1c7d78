"""Provenance rows: flattened, without folders, without what decides nothing."""

from dataclasses import replace

from db3.report.provenance import digests, facts, flatten, parameters
from flows.report import read_run


def test_nested_values_become_dotted_rows() -> None:
    value = {"a": 1, "b": {"c": None, "d": [1, 2.5], "e": {"f": False}}}
    assert flatten(value) == [("a", "1"), ("b.c", "none"), ("b.d", "1, 2.5"), ("b.e.f", "no")]


def test_paths_lose_their_folders() -> None:
    told = parameters({"teacher": {"a": "/home/me/t.pth", "b": "C:\\models\\t.pth", "c": "~/t.pth", "d": "nets/t.pth"}})
    assert told == [("teacher", [("a", "…/t.pth"), ("b", "…/t.pth"), ("c", "…/t.pth"), ("d", "nets/t.pth")])]


def test_runtime_is_left_out() -> None:
    assert parameters({"runtime": {"workers": 2}, "query": {"budget": 5}}) == [("query", [("budget", "5")])]


def test_facts_and_digests_of_a_run(write_run) -> None:  # noqa: ANN001
    run = read_run(write_run())
    told = dict(facts(run))
    assert told["Dataset"] == "digits, 1,200 training images, 597 test images"
    assert told["Teacher"] == "LeNet5, trained here"
    assert told["Soft labels"] == "margin, beta 0.71"
    assert told["Seeds"] == "0, 1, 2 (3 students a variant)"
    assert dict(digests(run))["Transfer set"] == "c3" * 32
    assert told["Arithmetic"] == "float32 (students): the same bytes on this kind of machine only"


def test_a_search_that_the_budget_ended_says_so(write_run) -> None:  # noqa: ANN001
    run = read_run(write_run())
    assert not dict(facts(run))["Queries"].endswith("finished")
    run = replace(run, search=replace(run.search, spent=True, unfinished=1234))
    assert dict(facts(run))["Queries"].endswith("; the budget was spent before 1,234 pairs were finished")


def test_a_remote_teacher_leaves_gaps_not_errors(write_run) -> None:  # noqa: ANN001
    run = read_run(write_run(local=False))
    assert dict(facts(run))["Teacher"] == "black box, an inference server"

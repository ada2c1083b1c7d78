"""Computations side by side: all of them are made, with the caller's number of torch threads."""

import threading

import pytest
import torch

from db3.search.surrogate.parallel import run_parallel


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_call_is_made_once(workers: int) -> None:
    made: list[int] = []
    run_parallel([lambda k=k: made.append(k) for k in range(7)], workers)  # type: ignore[misc]
    assert sorted(made) == list(range(7))
    run_parallel([], workers)


def test_calls_run_at_the_same_time_with_the_caller_s_torch_threads() -> None:
    meeting, threads = threading.Barrier(2), []

    def call() -> None:
        meeting.wait(60)  # passes only when both are here
        threads.append(torch.get_num_threads())

    run_parallel([call, call], 2)
    assert threads == [torch.get_num_threads()] * 2


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_raised_and_later_calls_are_not_begun(workers: int) -> None:
    made: list[int] = []

    def fail() -> None:
        raise ValueError("no such class")

    with pytest.raises(ValueError, match="no such class"):
        run_parallel([fail, *[lambda k=k: made.append(k) for k in range(200)]], workers)  # type: ignore[misc]
    assert not made or workers > 1  # beside the failing call others may have begun

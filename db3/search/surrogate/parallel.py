"""Independent computations side by side: threads with the caller's number of torch threads, so the same bits."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch


def run_parallel(calls: Sequence[Callable[[], None]], workers: int) -> None:
    """Make all of the calls, up to `workers` at a time; the first one's error is raised.

    On Ctrl-C calls that run are left to themselves and later ones are not begun: nobody waits for a training.
    """
    if workers < 2 or len(calls) < 2:
        for call in calls:
            call()
        return
    # OpenMP, which torch computes with, keeps the number of threads per thread: a new one would take all cores.
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, "run_parallel", initializer=torch.set_num_threads, initargs=(threads,))
    wait = True
    try:
        for future in [pool.submit(call) for call in calls]:
            future.result()
    except KeyboardInterrupt:
        wait = False
        raise
    finally:
        pool.shutdown(wait, cancel_futures=True)

"""Shards like a stage's, for the tests of clusters: they open a teacher, read a mapped file and a large array."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from db3.digest import digest_bytes, digest_json
from db3.errors import DataError, Db3Error
from db3.shard_store import ShardStore
from flows.config import Runtime
from flows.engine import runners
from flows.engine.shards import map_shards

COUNT = 8


class Opening:
    """What a stage keeps of its teacher: one per thread, opened when first asked."""

    def __init__(self) -> None:
        self._local = threading.local()

    def teacher(self) -> int:
        if not hasattr(self._local, "teacher"):
            self._local.teacher = os.getpid()
            with Path("opened.log").open("a") as log:
                log.write(f"{os.getpid()}\n")
        return int(self._local.teacher)


def compute_with(opening: Opening, dies_at: int = -1, fails_at: int = -1) -> Any:
    np.save("mapped.npy", np.arange(100.0))
    mapped, large = np.load("mapped.npy", mmap_mode="r"), np.arange(1 << 18)
    driver = os.getpid()

    def compute(index: int) -> dict[str, Any]:
        if index == dies_at and os.getpid() != driver and not Path("died").exists():
            Path("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if index == fails_at:
            raise DataError(f"shard {index} is wrong; fix it")
        time.sleep(0.1)  # so that no worker does it all before the other is awake
        return {"x": np.random.default_rng(index).normal(size=4) + mapped[index] + large[index] + 0 * opening.teacher()}

    return compute


def main() -> None:
    runtime = Runtime(runner=sys.argv[1], workers=2)
    store, opening, told = ShardStore(Path("store")), Opening(), dict[str, Any]()

    def run(part: str, **what: int) -> list[str]:
        keys = [digest_json([part, index]) for index in range(COUNT)]
        map_shards(part, keys, compute_with(opening, **what), runtime, [1] * COUNT, "shard", store=store)
        return [digest_bytes(store.path(key).read_bytes()) for key in keys]

    try:
        # Two rounds, as a search in phases has: the second finds the teachers of the first.
        told["digests"] = run("first") + run("second")
        told["opened"] = [int(pid) for pid in Path("opened.log").read_text().split()]
        told["lost"] = run("lost", dies_at=3)
        try:
            run("wrong", fails_at=3)
        except Db3Error as error:
            told["error"] = f"{type(error).__name__}: {error}"
        told["kept"] = sum(digest_json(["wrong", index]) in store for index in range(COUNT))
    finally:
        runners.close()
    told |= {"driver": os.getpid(), "died": Path("died").exists()}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()

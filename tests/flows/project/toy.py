"""A stage of six shards that can be told to fail, to wait and to count what it computes."""

import os
import time
from pathlib import Path

import numpy as np

from db3.digest import digest_json
from db3.errors import DataError
from flows.config import Config
from flows.engine.shards import map_shards
from flows.engine.stage import stage


@stage("toy")
def toy(config: Config, data: Path) -> str:
    """Sum up small shards; from seed 100 on without an end, since a run started in the UI has no environment."""
    waits_from = 3 if config.query.seed >= 100 else int(os.environ.get("TOY_WAITS_FROM", "99"))

    def compute(index: int) -> dict[str, np.ndarray]:
        if os.environ.get("TOY_FAILS") == str(index):
            raise DataError(f"shard {index} is wrong;\nfix it")
        if os.environ.get("TOY_FULL"):
            raise OSError(28, "No space left on device", "data/toy/x")
        if os.environ.get("TOY_DEFECT"):
            raise ZeroDivisionError("a defect")
        with Path("computed.log").open("a") as log:
            log.write(f"{index}\n")
        if index >= waits_from:
            Path("waiting").write_text(str(os.getpid()))
            time.sleep(float(os.environ.get("TOY_SECONDS", "300")))
        return {"x": np.full(index + 1, config.query.seed + index)}

    keys = [digest_json(["toy", config.query.seed, index]) for index in range(6)]
    shards = map_shards("toy", keys, compute, config.runtime, [10] * 6, "samples")
    total = sum(int(shard["x"].sum()) for shard in shards)
    (data / "toy" / "sum.txt").write_text(f"{total}\n")
    said = os.environ.get("TOY_SAYS", "")
    return f"{said and said + ' '}{len(shards)} shards, sum {total}, {shards.reused} reused"


if __name__ == "__main__":
    toy.cli()

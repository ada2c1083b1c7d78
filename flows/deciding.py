"""Decisions on images that are there already, shard by shard."""

from typing import TYPE_CHECKING, Any

from db3.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from flows.engine.teacher_work import Asking

_CODE = ("teachers", "networks")
_SHARD = 16384  # images decided in one shard


def decide(work: str, images: "npt.NDArray[np.uint8]", asking: "Asking") -> "npt.NDArray[np.int64]":
    """The teacher's decision on every image, shard by shard."""
    import numpy as np

    from db3.digest import digest_array, digest_code, digest_json
    from db3.errors import BudgetSpent
    from db3.teachers.decide import decide_all

    parts = [images[start : start + _SHARD] for start in range(0, len(images), _SHARD)]
    code = digest_code(*_CODE)
    keys = [digest_json([work, asking.spec.identity, digest_array(part), code]) for part in parts]

    def compute(index: int) -> dict[str, Any]:
        try:
            return {"decisions": decide_all(asking.teacher(), parts[index], 1)}
        except BudgetSpent as error:  # a sample without its decision is of no use
            raise ConfigError(f"budget.total does not pay for the {work}: {error}") from error

    shards = asking.map(work, keys, compute, [len(part) for part in parts])
    return np.concatenate([np.empty(0, np.int64), *(shard["decisions"] for shard in shards)])

"""A guard that refuses operations whose last bits a library is free to choose.

Everything that exact code runs is either one IEEE 754 operation per element (allowed by name below), a movement or a
comparison of values, or a sum of integers inside `integer_sums`, where the caller has made every partial sum exact.
"""

import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

_STATE = threading.local()

_ELEMENTWISE = (
    "add sub rsub mul div neg abs reciprocal sign round floor ceil trunc frexp clamp clamp_min clamp_max "
    "maximum minimum threshold threshold_backward where eq ne lt le gt ge "
    "logical_and logical_or logical_not isfinite isnan isinf "
    "bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_left_shift bitwise_right_shift "
    "__lshift__ __rshift__ "
    "__and__ __or__ __xor__ __ilshift__ __irshift__ __iand__ __ior__ __ixor__ remainder fmod nextafter"
)
_COMPARED = (
    "max min amax amin aminmax argmax argmin sort topk any all equal is_nonzero nonzero max_pool2d_with_indices "
    "max_pool2d_with_indices_backward"
)
_MOVED = (
    "view _unsafe_view reshape _reshape_alias expand permute transpose t squeeze unsqueeze slice slice_backward select "
    "select_backward as_strided unfold split split_with_sizes chunk unbind cat stack index index_select index_put "
    "gather scatter masked_fill flip roll repeat narrow clone copy contiguous detach alias lift_fresh _to_copy to "
    "empty empty_like empty_strided new_empty new_empty_strided zeros zeros_like new_zeros ones ones_like new_ones "
    "full full_like new_full fill zero arange eye constant_pad_nd im2col _local_scalar_dense item resize set "
    "scalar_tensor diagonal tril triu random randperm randint rand view_as_real view_dtype"
)
_ALLOWED = frozenset(f"{_ELEMENTWISE} {_COMPARED} {_MOVED}".split())
_ALPHA = {"add", "sub", "rsub"}  # with alpha they are a product and a sum, which a compiler may fuse


class InexactOperationError(AssertionError):
    """Exact code ran an operation whose bits differ between machines: a defect of db3, not of its input."""


@contextmanager
def integer_sums() -> Iterator[None]:
    """Products and sums in here are of integers (times a power of two), and stay below 2⁵³: any order is exact."""
    _STATE.depth = getattr(_STATE, "depth", 0) + 1
    try:
        yield
    finally:
        _STATE.depth -= 1


class exact_only(TorchDispatchMode):  # type: ignore[no-untyped-call]  # noqa: N801
    """While active, an operation that is not exact raises `InexactOperationError`, in backward passes as well.

    Costs a Python call per operation: for tests and trials, not for long trainings.
    """

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if not getattr(_STATE, "depth", 0):
            name = func.overloadpacket.__name__
            plain = name if name.startswith("__") else name.rstrip("_")
            if plain not in _ALLOWED or (plain in _ALPHA and _alpha(args, kwargs) != 1) or _divides(plain, args):
                raise InexactOperationError(
                    f"{func} ran in exact code; expected single IEEE operations, or sums of integers in integer_sums: "
                    "use db3.arithmetic's function in its place"
                )
        return func(*args, **kwargs)


def _divides(name: str, args: tuple[Any, ...]) -> bool:
    """Whether by a Python number, with whose reciprocal CUDA multiplies: `divide` does not."""
    by = args[1] if name == "div" and len(args) > 1 else None
    return isinstance(by, int | float) and math.frexp(by)[0] not in (0.5, -0.5)  # of a power of two it is exact


def _alpha(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return kwargs.get("alpha", args[2] if len(args) > 2 else 1)

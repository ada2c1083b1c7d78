"""A picture of a benchmark's numbers, drawn with matplotlib (the extra `bench`) and written as PNG."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from db3.files import write_bytes


@contextmanager
def picture(
    path: Path, size: tuple[float, float], *, layout: str | None = "constrained", dpi: int = 150
) -> Iterator[Any]:
    """A figure to draw in; at the end it is written, whole or not at all, without the name of what drew it.

    Args:
        path: of the PNG file.
        size: width and height in inches.
        layout: of matplotlib's; None: the caller's own.
        dpi: pixels an inch.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - most runs draw nothing, and may lack the package

    figure = Figure(figsize=size, layout=layout)
    yield figure
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())

"""The form that images are brought to: one size and one number of channels for all of them."""

from dataclasses import dataclass
from typing import Any

from db3.settings.dataset import Fit

ImageShape = tuple[int, int, int]
Size = tuple[int, int]


@dataclass(frozen=True)
class Form:
    """What images become.

    Attributes:
        size: (height, width); None: as they are.
        channels: 1 or 3; None: as they are.
        fit: how another shape becomes this size: `crop` (the largest centred part of its proportions), `pad` (the whole
            picture, with black beside it) or `stretch`; resized bicubically.
    """

    size: Size | None = None
    channels: int | None = None
    fit: Fit = "crop"

    def shape(self, own: ImageShape) -> ImageShape:
        """What images of shape `own` (C, H, W) become."""
        return self.channels or own[0], *(self.size or own[1:])

    def changes(self, own: ImageShape) -> bool:
        """Whether images of shape `own` become others."""
        return self.shape(own) != own

    def facts(self, shape: ImageShape) -> dict[str, Any]:
        """What a dataset's digest says of its images' form; `crop` was the only way once, and is not said."""
        return {"shape": list(shape), **({"fit": self.fit} if self.size and self.fit != "crop" else {})}


def square(size: int | Size | None) -> Size | None:
    """(height, width) of a size that may be given as one number."""
    return (size, size) if isinstance(size, int) else size

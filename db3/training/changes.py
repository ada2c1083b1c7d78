"""How networks that only help, teacher assistants and surrogates, change the images that they learn."""

import math
from dataclasses import replace

from db3.settings.training import Changes, CropSettings, OwnChanges

_COLOUR = Changes(augment="crop_flip", crop=CropSettings(padding="reflection"), mix=1.0)
_OFTEN = 20


def changes_of(own: OwnChanges, channels: int, seen: float = math.inf) -> Changes:
    """The changes that are named, or for `auto` those that suit images of so many channels.

    Args:
        own: what is named.
        channels: of the images.
        seen: how often each image is seen. Mixed ones are learnt slowly: seen eight times they teach less than unmixed
            ones, forty times more.

    A deep network learns ten thousand decisions by heart. Of colour images that it sees shifted, mirrored and mixed it
    does not, though not every decision survives that (docs/benchmarks/zero-shot.md). Digits do not survive mirrors.
    """
    fitting = _COLOUR if channels == 3 else Changes()
    if seen < _OFTEN:
        fitting = replace(fitting, mix=0.0)
    if own.augment != "auto":
        fitting = replace(fitting, augment=own.augment, crop=CropSettings())
    return fitting if own.mix == "auto" else replace(fitting, mix=own.mix)

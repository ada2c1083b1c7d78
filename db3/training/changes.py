"""How networks that only help, teacher assistants and surrogates, change the images that they learn."""

from dataclasses import replace

from db3.settings.training import Changes, CropSettings, OwnChanges

_COLOUR = Changes(augment="crop_flip", crop=CropSettings(padding="reflection"), mix=1.0)


def changes_of(own: OwnChanges, channels: int) -> Changes:
    """The changes that are named, or for `auto` those that suit images of so many channels.

    A deep network learns ten thousand decisions by heart. Of colour images that it sees shifted, mirrored and mixed it
    does not, though not every decision survives that (docs/benchmarks/zero-shot.md). Digits do not survive mirrors.
    """
    fitting = _COLOUR if channels == 3 else Changes()
    if own.augment != "auto":
        fitting = replace(fitting, augment=own.augment, crop=CropSettings())
    return fitting if own.mix == "auto" else replace(fitting, mix=own.mix)

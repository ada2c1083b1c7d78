"""What to know where decisions on made images are hardly foretold by what was learnt of the others."""

_FORETOLD = 0.45  # digits and MNIST foretell 0.48 to 0.76, CIFAR-10 0.34 to 0.42: docs/guides/zero-shot.md


def made_warning(foretold: float | None, method: str, *, few: str = "samples=augmented", more: str) -> list[str]:
    """A warning, or none.

    Args:
        foretold: share of the last round's decisions that the surrogate had foretold; None: not told.
        method: how samples were made.
        few: how to give a few real images.
        more: what allows more queries.
    """
    if foretold is None or foretold >= _FORETOLD:
        return []
    real = f"Real images help, however few ({few}), then" if method == "priors" else "More real images help, then"
    return [
        f"A network that had learnt all decisions before foretold only {100 * foretold:.0f}\N{NO-BREAK SPACE}% of "
        "those on the last round’s images, so made images teach little of this teacher: expect a student far behind "
        f"it. {real} {more} and a larger student."
    ]


def front_door_warning(foretold: float | None, method: str) -> list[str]:
    """The same in the words of `db3.distill`."""
    return made_warning(foretold, method, few="given as images", more="more queries")

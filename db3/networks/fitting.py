"""Which architecture a network takes that learns decisions on the way: a surrogate, or a teacher assistant."""


def fitting(shape: tuple[int, int, int]) -> str:
    """LeNet5 where images (C, H, W) are such as it was made for, else a network that fits any shape."""
    channels, height, width = shape
    return "lenet5" if channels == 1 and min(height, width) >= 16 and max(height, width) <= 40 else "compact"


def fitted(architecture: str, shape: tuple[int, int, int], *, small: bool = False) -> str:
    """The architecture itself, or for `auto` the one that fits images of this shape.

    Args:
        architecture: a name that `build` knows, or `auto`.
        shape: (C, H, W).
        small: half of LeNet5, for a network that is trained again and again.
    """
    if architecture != "auto":
        return architecture
    return "lenet5_half" if small and fitting(shape) == "lenet5" else fitting(shape)

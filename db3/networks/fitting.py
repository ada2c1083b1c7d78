"""Which architecture a network takes that learns decisions on the way: a surrogate, or a teacher assistant."""


def fitting(shape: tuple[int, int, int]) -> str:
    """LeNet5 where images (C, H, W) are such as it was made for, else a network that fits any shape."""
    channels, height, width = shape
    return "lenet5" if channels == 1 and min(height, width) >= 16 and max(height, width) <= 40 else "compact"

"""Which images, and how they are split."""

from typing import Annotated, Literal, get_args

from db3.settings.declare import Doc, Ge, Gt, Le, Lt, settings

DatasetName = Literal["digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "flowers102", "image_folder"]
NAMES: tuple[str, ...] = get_args(DatasetName)
Side = Annotated[int, Ge(8), Le(1024)]
Fit = Literal["crop", "pad", "stretch"]


@settings
class DatasetSettings:
    """Which images, and how they are split."""

    name: Annotated[DatasetName, Doc("image_folder: your own, see docs/guides/own-images.md")] = "digits"
    size: Annotated[
        Side | tuple[Side, Side] | None, Doc("[height, width], or one number for both; null: the dataset's own")
    ] = None
    channels: Annotated[Literal[1, 3] | None, Doc("null: the dataset's own")] = None
    fit: Annotated[
        Fit, Doc("how an image of other proportions becomes `size`: its centre, all of it on black, or out of shape")
    ] = "crop"
    test_fraction: Annotated[float, Gt(0), Lt(1), Doc("held out where a dataset has no test split of its own")] = 0.2
    train_limit: Annotated[
        Annotated[int, Ge(2)] | None,
        Doc("use this many training images, drawn at random; a smaller draw is part of a larger"),
    ] = None
    test_limit: Annotated[Annotated[int, Ge(1)] | None, Doc("use this many test images, drawn at random")] = None
    seed: Annotated[int, Ge(0), Doc("of the split and of the limits")] = 0

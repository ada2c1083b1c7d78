"""Oxford 102 Flowers through torchvision: training on its train and validation parts, its own test part.

Source: Nilsback, Zisserman, "Automated flower classification over a large number of classes", ICVGIP 2008. db3 never
chooses by a validation part, so its 1,020 images join the 1,020 of training; the test part has 6,149.
"""

from pathlib import Path
from typing import Any

from torchvision.datasets import Flowers102

from db3.datasets.download import patience
from db3.datasets.encoded import EncodedImages, Listing, folder_reader
from db3.datasets.form import Form
from db3.errors import DataError

DEFAULT_SIZE = (224, 224)


def open_flowers(root: Path, download: bool, form: Form, kind: type[Flowers102] = Flowers102) -> EncodedImages:
    """Find (or fetch) ROOT/flowers-102, or ROOT/flowers102/flowers-102.

    Args:
        root: folder of the files.
        download: fetch what is missing.
        form: of the images; of no size: 224×224, since the photographs have none in common.
        kind: torchvision's class.

    Raises:
        DataError: files are missing, damaged or unreachable.
    """
    base = next((folder for folder in (root, root / "flowers102") if (folder / "flowers-102").is_dir()), root)
    parts = [_part(kind, base, split, download) for split in ("train", "val", "test")]
    rows = [(path.relative_to(base).as_posix(), label) for part in parts for path, label in part]
    listing = Listing(
        names=tuple(name for name, _ in rows),
        labels=tuple(label for _, label in rows),
        class_names=tuple(kind.classes),
        train=len(parts[0]) + len(parts[1]),
        split=True,
    )
    form = Form(form.size or DEFAULT_SIZE, form.channels or 3, form.fit)
    return EncodedImages(base, listing, folder_reader(base), form)


def _part(kind: type[Flowers102], base: Path, split: str, download: bool) -> list[tuple[Path, int]]:
    """Paths and classes of a part; torchvision checks the MD5 of the two label files and fetches what is not right."""
    options: dict[str, Any] = {"split": split, "loader": Path}
    try:
        try:
            data = kind(base, download=False, **options)
        except RuntimeError:
            if not download:
                raise DataError(
                    f"{base}/flowers-102 lacks jpg/, imagelabels.mat or setid.mat, or one of them is not the published "
                    "file; put them there, set runtime.data_root, or runtime.download: true"
                ) from None
            with patience():
                data = kind(base, download=True, **options)
    except (OSError, RuntimeError) as error:
        line = " ".join(str(error).split())
        raise DataError(
            f"cannot fetch flowers102 ({line}): check the network, or put the files into {base}/flowers-102 yourself"
        ) from error
    return [data[place] for place in range(len(data))]

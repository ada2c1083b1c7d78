"""A transfer set as Parquet files that `datasets` and pandas read, and back to the arrays whose digest it has.

A file for each kind of image, since their columns differ: `samples`, `boundary_points`, `queried_images`. Images are
PNG files, which lose nothing; all numbers keep their bits.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from db3.errors import ConfigError, DataError, one_line
from db3.extras import needs
from db3.files import growing_array, read_array, whole_file
from db3.soft_labels.transfer_set import pack_keys, unpack_keys

_ROWS = 1000  # of a row group: what is held in memory at once
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}

# Each file, and the arrays of the transfer set that it holds, the images first.
CONFIGS: dict[str, tuple[str, ...]] = {
    "samples": ("images", "decisions", "soft_labels"),
    "boundary_points": ("boundary_points", "boundary_points_pairs", "boundary_points_soft_labels"),
    "queried_images": ("queried_images", "queried_decisions", "queried_keys"),
}
# The columns that an array becomes: one for each of its own, but that a soft label is a list.
_COLUMNS: dict[str, tuple[str, ...]] = {
    "decisions": ("decision",),
    "soft_labels": ("soft_label",),
    "boundary_points_pairs": ("sample", "other_class"),
    "boundary_points_soft_labels": ("soft_label",),
    "queried_decisions": ("decision",),
    "queried_keys": ("sample", "other_class", "other_sample", "place"),  # no class of a variation, else no other sample
}
_CLASSES = ("decision", "other_class")  # columns that hold a class


def write_config(path: Path, name: str, arrays: Mapping[str, npt.NDArray[Any]], class_names: Sequence[str]) -> None:
    """Write one of `CONFIGS`.

    Args:
        path: of the file.
        name: of the config.
        arrays: of the transfer set, by name.
        class_names: of classes 0, 1, …

    Raises:
        ConfigError: images of channels that no PNG holds, or the extra `parquet` is not installed.
    """
    with needs("parquet", "db3 export"):
        import pyarrow as pa  # noqa: PLC0415  (an extra)
        import pyarrow.parquet as pq  # noqa: PLC0415
    images, *others = CONFIGS[name]
    held = {each: arrays[each] for each in others if each in arrays}
    schema = _schema(pa, held, class_names)
    with whole_file(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for start in range(0, len(arrays[images]), _ROWS):
            rows = slice(start, start + _ROWS)
            columns = {"image": [{"bytes": encode(image), "path": None} for image in arrays[images][rows]]}
            for each, array in held.items():
                part, names = array[rows], _COLUMNS[each]
                columns |= dict(zip(names, _split(each, part), strict=True))
            writer.write_table(pa.table(columns, schema=schema))


def columns_of(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> list[str]:
    """The columns of a config, the image first."""
    return ["image", *(column for each in CONFIGS[name][1:] if each in arrays for column in _COLUMNS[each])]


def read_config(path: Path, name: str, folder: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file that `write_config` wrote; images are decoded into a file of `folder` and mapped.

    Raises:
        DataError: it is none of these, or damaged.
    """
    with needs("parquet", "db3 export"):
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415
    images, *others = CONFIGS[name]
    try:
        with pq.ParquetFile(path) as file:
            there = file.schema_arrow.names
            found = _decoded(folder / f"{images}.npy", (row["image"]["bytes"] for row in _rows(file, ["image"])))
            arrays: dict[str, npt.NDArray[Any]] = {images: found}
            for each in others:
                if set(_COLUMNS[each]) <= set(there):
                    arrays[each] = _joined(each, [file.read([column])[column] for column in _COLUMNS[each]])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a whole file of `db3 export` ({one_line(error)}): export it again") from error
    return arrays


def encode(image: UInt8[np.ndarray, "c h w"]) -> bytes:
    """As a PNG file.

    Raises:
        ConfigError: of other than 1, 3 or 4 channels.
    """
    with needs("parquet", "db3 export"):
        from PIL import Image  # noqa: PLC0415
    if len(image) not in _MODES:
        raise ConfigError(f"images have {len(image)} channels; expected 1, 3 or 4, which PNG holds: take data/transfer")
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))).save(buffer, "PNG")
    return buffer.getvalue()


def _decoded(path: Path, files: Iterator[bytes]) -> npt.NDArray[Any]:
    with needs("parquet", "db3 export"):
        from PIL import Image  # noqa: PLC0415
    first = _pixels(Image, next(files, b""))
    with growing_array(path, first.shape, np.uint8) as append:
        append(first[None])
        for data in files:
            append(_pixels(Image, data)[None])
    return read_array(path)


def _pixels(image: Any, data: bytes) -> UInt8[np.ndarray, "c h w"]:
    try:
        array = np.asarray(image.open(io.BytesIO(data), formats=("PNG",)))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"an image is no PNG file: {one_line(error)}") from None
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def _rows(file: Any, columns: list[str]) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches(_ROWS, columns=columns):
        yield from batch.to_pylist()


def _split(name: str, part: npt.NDArray[Any]) -> list[Any]:
    if name == "queried_keys":
        keys, partners = unpack_keys(part)
        sample, other_class, place = keys.T
        other_sample = np.full(len(part), -1) if partners is None else partners
        return [sample, *(np.ma.array(each, mask=each < 0) for each in (other_class, other_sample)), place]
    if len(_COLUMNS[name]) > 1:
        return list(part.T)
    return [list(part)] if part.ndim == 2 else [part]


def _joined(name: str, columns: list[Any]) -> npt.NDArray[Any]:
    """The array that `_split` took apart."""
    parts = [column.combine_chunks() for column in columns]
    if name == "queried_keys":
        sample, other_class, other_sample, place = (part.fill_null(-1).to_numpy() for part in parts)
        return pack_keys(np.stack([sample, other_class, place], axis=1), other_sample)
    if len(parts) > 1:
        return np.stack([part.to_numpy() for part in parts], axis=1)
    (part,) = parts
    array: npt.NDArray[Any] = part.flatten().to_numpy() if part.type.num_fields else part.to_numpy()
    return array.reshape(len(part), -1) if part.type.num_fields else array


def _schema(pa: Any, held: Mapping[str, npt.NDArray[Any]], class_names: Sequence[str]) -> Any:
    """Arrow's types; beside them, under `huggingface`, the features as which `datasets` shows them."""
    types = [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    for each, array in held.items():
        for column in _COLUMNS[each]:
            if column == "soft_label":
                types.append((column, pa.list_(pa.float32(), array.shape[1])))
                inner = {"dtype": "float32", "_type": "Value"}
                features[column] = {"feature": inner, "length": array.shape[1], "_type": "List"}
            else:
                types.append((column, pa.int64()))
                classes = {"names": list(class_names), "_type": "ClassLabel"}
                features[column] = classes if column in _CLASSES else {"dtype": "int64", "_type": "Value"}
    return pa.schema(types, metadata={"huggingface": json.dumps({"info": {"features": features}}, ensure_ascii=False)})

"""The data card of an exported transfer set: for people, and with a header for `datasets` and the hub."""

import json
from collections.abc import Mapping, Sequence

from db3.publish.croissant import meaning

_SHOWN = 20  # names of classes
_CARD = """\
---
{header}
---

# A transfer set: images, and what a model decided of them

{images:,} images that a teacher was asked about, with its decision: the top-1 class, and nothing else of it. db3
distils students from such sets. {asked:,} queries were asked for it.

| | |
|---|---|
| teacher (identity) | `{teacher}` |
| digest of the transfer set | `{digest}` |
{told}

Classes: {classes}.

{configs}

## Read it

```python
from datasets import load_dataset

samples = load_dataset("{folder}", "samples", split="train")
```

`pandas.read_parquet("samples.parquet")` has an image's file in the column `image` under `bytes`. `croissant.json` says
the same for programs that read Croissant. `db3 export --check FOLDER` computes the digest anew from these files: where
it is the one above, this is the transfer set, bit for bit.

## Intended use

For the training of students, and to check what they learnt from. The decisions are one model's and not the truth, and
its mistakes are in them. Publish them only where the terms of the model's owner allow that, and the images only where
their own licence does. {licence}
"""


def data_card(
    digest: str,
    teacher: str,
    asked: int,
    class_names: Sequence[str],
    configs: Mapping[str, tuple[int, Sequence[str]]],
    told: Mapping[str, str],
    licence: str | None,
    folder: str,
) -> str:
    """The card in Markdown.

    Args:
        digest: of the transfer set.
        teacher: identity.
        asked: queries that it cost.
        class_names: of classes 0, 1, …
        configs: of each: how many rows, and its columns.
        told: further rows of the table.
        licence: of the data set; None: none is claimed.
        folder: name of the folder, for the example.
    """
    count = sum(rows for rows, _ in configs.values())
    return _CARD.format(
        header=_header(list(configs), count, licence),
        images=count,
        asked=asked,
        teacher=teacher,
        digest=digest,
        told="\n".join(f"| {name} | {value} |" for name, value in told.items()),
        classes=_classes(class_names),
        configs="\n\n".join(_config(name, *described) for name, described in configs.items()),
        folder=folder,
        licence=f"Licence: {licence}." if licence else "No licence was named when this was exported.",
    )


def _header(configs: Sequence[str], count: int, licence: str | None) -> str:
    """YAML, each value as JSON, which YAML takes as it is."""
    size = next((name for most, name in _SIZES if count < most), "n>1T")
    described = [
        {
            "config_name": name,
            "data_files": [{"split": "train", "path": f"{name}.parquet"}],
            **({"default": True} if name == "samples" else {}),
        }
        for name in configs
    ]
    values = {
        **({"license": licence} if licence else {}),
        "pretty_name": "A transfer set of db3",
        "task_categories": ["image-classification"],
        "size_categories": [size],
        "tags": ["knowledge-distillation", "db3"],
        "configs": described,
    }
    return "\n".join(f"{name}: {json.dumps(value)}" for name, value in values.items())


_SIZES = [
    *((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")),
    *((10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B")),
]


def _config(name: str, rows: int, columns: Sequence[str]) -> str:
    lines = "\n".join(f"| `{column}` | {meaning(column)} |" for column in columns)
    return f"## {name.replace('_', ' ').capitalize()}: {rows:,}\n\n| column | |\n|---|---|\n{lines}"


def _classes(names: Sequence[str]) -> str:
    shown = ", ".join(f"{place}: {_cell(name)}" for place, name in enumerate(names[:_SHOWN]))
    return shown + (f", and {len(names) - _SHOWN} more in `transfer.json`" if len(names) > _SHOWN else "")


def _cell(name: str) -> str:
    text = " ".join(name.split())
    return f"`{text}`" if any(mark in text for mark in "|*_<>[]#") else text

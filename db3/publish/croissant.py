"""Croissant metadata of an exported transfer set: what its files and columns are, for programs.

Source: Croissant 1.0, https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        "citeAs": "cr:citeAs",
        "column": "cr:column",
        "conformsTo": "dct:conformsTo",
        "cr": "http://mlcommons.org/croissant/",
    },
    **{"data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"}},
    **{
        "dct": "http://purl.org/dc/terms/",
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "extract": "cr:extract",
    },
    **{"field": "cr:field", "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet"},
    **{
        "format": "cr:format",
        "includes": "cr:includes",
        "isLiveDataset": "cr:isLiveDataset",
        "jsonPath": "cr:jsonPath",
    },
    **{
        "key": "cr:key",
        "md5": "cr:md5",
        "parentField": "cr:parentField",
        "path": "cr:path",
        "recordSet": "cr:recordSet",
    },
    **{"references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace"},
    **{"sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField"},
    "transform": "cr:transform",
}
_TYPES = {"image": "sc:ImageObject", "soft_label": "sc:Float"}  # all others are whole numbers
_MEANINGS = {
    "image": "the image, as a PNG file",
    "decision": "the class that the teacher decided: its place among the class names",
    "soft_label": "a share for each class, in the order of the class names",
    "sample": "the row of `samples` that the search began at, or that was varied",
    "other_class": "the class whose boundary was searched; null of a variation",
    "other_sample": "of a variation the row of `samples` that is mixed in, `sample` where none is; null of a search",
    "place": "of this image among the queries of its pair of sample and class, or among the variations of its sample",
}


def croissant(
    name: str, description: str, licence: str | None, files: Mapping[str, tuple[str, Sequence[str]]]
) -> dict[str, Any]:
    """The metadata as JSON-LD.

    Args:
        name: of the data set.
        description: in a sentence.
        licence: its name or address; None: none is claimed.
        files: of each config: SHA-256 of CONFIG.parquet, and its columns.
    """
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": description,
        **({"license": licence} if licence else {}),
        "distribution": [_file(config, digest) for config, (digest, _) in files.items()],
        "recordSet": [_records(config, columns) for config, (_, columns) in files.items()],
    }


def meaning(column: str) -> str:
    """What a column holds, in words."""
    return _MEANINGS[column]


def _file(config: str, digest: str) -> dict[str, Any]:
    name = f"{config}.parquet"
    about = {"@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name}
    return {**about, "encodingFormat": "application/x-parquet", "sha256": digest}


def _records(config: str, columns: Sequence[str]) -> dict[str, Any]:
    fields = [_field(config, column) for column in columns]
    return {"@type": "cr:RecordSet", "@id": config, "name": config, "field": fields}


def _field(config: str, column: str) -> dict[str, Any]:
    source: dict[str, Any] = {"fileObject": {"@id": f"{config}.parquet"}, "extract": {"column": column}}
    if column == "image":
        source["transform"] = {"jsonPath": "bytes"}
    return {
        **{"@type": "cr:Field", "@id": f"{config}/{column}", "name": column, "description": meaning(column)},
        **{"dataType": _TYPES.get(column, "sc:Integer"), "source": source},
        **({"repeated": True} if column == "soft_label" else {}),
    }

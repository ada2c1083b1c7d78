"""Remove what is damaged in DVC's cache, so that it can come again: from a remote, or from its stage.

    python -m flows.repair && dvc pull       # without a remote: dvc repro

DVC names a file by the MD5 of its bytes and believes the name from then on: a file that was damaged on the way or on
the disk is checked out again and again, and called clean. Here each file is read and held against its name. Nothing
else is touched: what is whole stays, answers (.db3) are not looked at.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from db3.errors import ConfigError, DataError, one_line
from flows.engine.stage import run_entry_point
from flows.yaml_files import read_yaml


def repair(root: Path) -> list[Path]:
    """Remove damaged files of the cache, and their copies below `root` that dvc.lock knows; their places.

    Raises:
        DataError: DVC does not say where its cache is.
    """
    damaged = {_name(path): path for path in _objects(_cache(root)) if _md5(path) != _name(path).removesuffix(".dir")}
    copies = [path for path, name in _outs(root, _cache(root)) if name in damaged and path.is_file()]
    removed = [*damaged.values(), *copies]
    for path in removed:
        path.unlink()
    return removed


def _cache(root: Path) -> Path:
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if told.returncode:
        raise DataError(f"DVC does not say where its cache is: {one_line(told.stderr)}; run in the project's root")
    return Path(told.stdout.strip()) / "files" / "md5"


def _objects(cache: Path) -> Iterator[Path]:
    return (path for path in sorted(cache.glob("??/*")) if path.is_file())


def _name(path: Path) -> str:
    return path.parent.name + path.name


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _outs(root: Path, cache: Path) -> Iterator[tuple[Path, str]]:
    """Every file that dvc.lock knows, with its name in the cache; those of folders too."""
    lock: dict[str, Any] = {}
    with suppress(ConfigError):  # what is damaged in the cache is removed all the same
        lock = read_yaml(root / "dvc.lock") or {}
    for stage in lock.get("stages", {}).values():
        for out in stage.get("outs", []):
            path, name = root / out["path"], out["md5"]
            yield path, name
            if name.endswith(".dir"):
                with suppress(OSError, ValueError):
                    for file in json.loads((cache / name[:2] / name[2:]).read_bytes()):
                        yield path / file["relpath"], file["md5"]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m flows.repair", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()

    def work() -> str:
        removed = repair(Path())
        if not removed:
            return "repair: DVC's cache is whole"
        names = "\n".join(f"repair: removed {path}" for path in removed)
        return f"{names}\nrepair: `dvc pull` brings these again, or `dvc repro` computes them again"

    run_entry_point(work)


if __name__ == "__main__":
    main()

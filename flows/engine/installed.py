"""The installed code as a project sees it that holds none itself: one that `db3 init` created.

In a clone, dvc.yaml lists the source files of each stage. In such a project it lists `code.STAGE` of db3.lock instead:
the digest of those same files, where they are installed. An upgrade that leaves a stage's code alone does not rerun it.
"""

from pathlib import Path
from typing import Any

import db3
from db3.digest import digest_file, digest_json
from db3.errors import ConfigError, DataError
from db3.extras import installed_version
from flows.yaml_files import read_yaml

LOCK = Path("db3.lock")
_PACKAGES = {"db3": Path(db3.__file__).parent, "flows": Path(__file__).parents[1]}


def template() -> Path:
    """The folder of a project's files: beside this package in an installed one, the root of a clone.

    Raises:
        DataError: neither is there.
    """
    beside = _PACKAGES["flows"]
    for folder in (beside / "template", beside.parent):
        if (folder / "dvc.yaml").is_file() and (folder / "conf" / "config.yaml").is_file():
            return folder
    raise DataError(f"{beside} came without the files of a project; install db3 again: pip install --force-reinstall")


def is_code(dep: str) -> bool:
    """Whether a dep of dvc.yaml is source code."""
    return dep.partition("/")[0] in _PACKAGES


def code_digests() -> dict[str, str]:
    """By stage: digest of the installed code that it lists in the template's dvc.yaml."""
    return {stage: _digest(described["deps"]) for stage, described in _stages().items()}


def check_code(stage: str, lock: Path = LOCK) -> None:
    """In a project of `db3 init`: the stage's code is the one that db3.lock says, which is what DVC will write down.

    Raises:
        ConfigError: another version is installed, or db3.lock cannot be read.
    """
    described = _stages().get(stage) if lock.is_file() else None
    if not described:
        return
    known = read_lock(lock)
    said, found = str(known["code"].get(stage)), _digest(described["deps"])
    if said != found:
        raise ConfigError(
            f"{lock} says that {stage} runs the code {said[:12]} of db3 {known['version']}, but {found[:12]} of db3 "
            f"{installed_version()} is installed: `db3 init --update` takes the installed one, then `dvc repro` runs "
            "what has changed; or install the former version"
        )


def read_lock(lock: Path = LOCK) -> dict[str, Any]:
    """What `db3 init` wrote: `version`, `code` by stage and `files`, digests by path.

    Raises:
        ConfigError: it cannot be read.
    """
    known = read_yaml(lock)
    if not isinstance(known, dict) or not all(isinstance(known.get(name), dict) for name in ("code", "files")):
        raise ConfigError(f"{lock} is not as `db3 init` wrote it; restore it from git, or create the project anew")
    return {"version": "unknown", **known}


def _stages() -> dict[str, Any]:
    return dict(read_yaml(template() / "dvc.yaml")["stages"])


def _digest(deps: list[str]) -> str:
    """Of the files that these deps name, but for what Python compiles."""
    found = dict[str, str]()
    for dep in filter(is_code, deps):
        top, _, rest = dep.partition("/")
        place = _PACKAGES[top] / rest
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file() and "__pycache__" not in file.parts:
                found[f"{top}/{file.relative_to(_PACKAGES[top]).as_posix()}"] = digest_file(file)
    return digest_json(found)

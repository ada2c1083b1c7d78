"""Create a project in a folder of your own: parameters, stages and settings of DVC and Prefect, for the installed db3.

Its files are yours to change. db3.lock says what was written and which code each stage runs; after an upgrade of db3
`--update` brings the files that you left as they were up to date, and names those that you changed.
"""

import argparse
import io
import os
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from contextlib import chdir, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML

from db3.digest import digest_bytes, digest_file
from db3.errors import ConfigError
from db3.extras import installed_version
from db3.files import write_bytes, write_text
from flows.compose import PARAMS, compose
from flows.config import load_config
from flows.engine.installed import LOCK, code_digests, is_code, read_lock, template
from flows.engine.locks import require_idle
from flows.engine.stage import run_entry_point

# Of the template, as they are; dvc.yaml and .dvc/config are the folder's own.
COPIED = ("conf", "prefect.yaml", ".dvcignore", ".gitignore", ".dvc/.gitignore", ".dvc/plots", "data/.gitignore")
_HEAD = """\
# Written by `db3 init`, and yours to change. A stage's code is installed, not here: `code.STAGE` of db3.lock stands for
# it, and `db3 init --update` says when an upgrade of db3 has changed it.
"""


def create(folder: Path, overrides: Sequence[str] = ()) -> int:
    """Write a project into a new folder, or beside what is in one; nothing is overwritten.

    Args:
        folder: made where it is not there.
        overrides: as of `compose`, e.g. `experiment=smoke`.

    Returns:
        how many files.

    Raises:
        ConfigError: the parameters are wrong, or a file is in the way; then nothing is written.
        DataError: the folder cannot be written.
    """
    params = compose(overrides, template() / "conf")
    files = _contents(folder)
    for path in (PARAMS.name, *files, LOCK.name):
        if os.path.lexists(folder / path):
            raise ConfigError(
                f"{folder / path} is there already, and nothing is overwritten: move it away or choose another folder "
                "(a project from before: db3 init --update)"
            )
    with _whole_or_nothing(folder, [PARAMS.name, *files, LOCK.name]):
        for path, content in files.items():
            write_bytes(folder / path, content)
        write_text(folder / PARAMS, params)
        _write_lock(folder, files)
    return len(files) + 2


@contextmanager
def _whole_or_nothing(folder: Path, paths: Sequence[str]) -> Iterator[None]:
    """Where writing these files fails, those written are removed, and the folders that were made for them."""
    parents = [folder, *folder.parents, *{parent for path in paths for parent in (folder / path).parents}]
    made = [parent for parent in dict.fromkeys(parents) if not parent.exists()]
    try:
        yield
    except BaseException:
        for path in paths:
            with suppress(OSError):
                (folder / path).unlink()
        for parent in sorted(made, key=lambda parent: len(parent.parts), reverse=True):
            with suppress(OSError):  # something else lies there meanwhile
                parent.rmdir()
        raise


def update(folder: Path) -> list[str]:
    """Bring a project up to date with the installed db3; what was done, line by line.

    Raises:
        BusyError: a run is at work there.
        ConfigError: `db3 init` did not create it.
        DataError: it cannot be written.
    """
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}; `db3 init {folder}` creates a project there")
    with chdir(folder):
        known = read_lock()
        require_idle("db3.lock is not changed")
        files = _contents(Path())
        told = [line for path, content in files.items() if (line := _renew(Path(path), content, known["files"]))]
        _write_lock(Path(), files)
        changed = [stage for stage, code in code_digests().items() if known["code"].get(stage) != code]
        told.append(f"other code than db3 {known['version']}'s, so run again: {', '.join(changed)}" if changed else "")
        try:
            load_config()
        except ConfigError as error:
            told.append(f"compose the parameters anew, `python -m flows.compose ...`: {error}")
    return [line for line in told if line]


def _renew(path: Path, content: bytes, written: dict[str, str]) -> str:
    """Replace a file that is as it was written, write one that is new; what was done."""
    name, former = path.as_posix(), written.get(path.as_posix())
    if not path.is_file():
        if former or os.path.lexists(path):
            return ""  # its owner removed it
        write_bytes(path, content)
        return f"new: {name}"
    here = digest_file(path)
    if digest_bytes(content) in (here, former):
        return ""
    if here != former:
        return f"kept, since you changed it: {name}; this version's is {template() / name}"
    write_bytes(path, content)
    return f"replaced: {name}"


def _contents(folder: Path) -> dict[str, bytes]:
    """What is written into a folder, by path; but for params.yaml and db3.lock."""
    root = template()
    parts = [root / part for part in COPIED]
    files = [file for part in parts for file in (sorted(part.rglob("*")) if part.is_dir() else [part])]
    found = {file.relative_to(root).as_posix(): file.read_bytes() for file in files if file.is_file()}
    return {"dvc.yaml": _stages(root), ".dvc/config": _dvc_config(root, folder), **found}


def _stages(root: Path) -> bytes:
    """dvc.yaml of the clone, in which db3.lock stands for source files."""
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    described: Any = yaml.load((root / "dvc.yaml").read_text(encoding="utf-8"))
    for name, stage in described["stages"].items():
        for dep in list(filter(is_code, stage["deps"])):
            stage["deps"].remove(dep)
        if not stage["deps"]:
            del stage["deps"]
        stage["params"].append({LOCK.name: [f"code.{name}"]})
    text = io.StringIO()
    yaml.dump(described, text)
    return (_HEAD + text.getvalue()).encode()


def _dvc_config(root: Path, folder: Path) -> bytes:
    """As the clone's, but for its remotes; DVC has to be told where there is no git."""
    config = ConfigParser()
    config.read(root / ".dvc" / "config", encoding="utf-8")
    for section in set(config.sections()) - {"core", "hydra"}:
        config.remove_section(section)
    if not _is_in_git(folder):
        config["core"]["no_scm"] = "true"
    text = io.StringIO()
    config.write(text)
    return text.getvalue().encode()


def _is_in_git(folder: Path) -> bool:
    place = folder.resolve()
    return any((parent / ".git").exists() for parent in (place, *place.parents))


def _write_lock(folder: Path, files: dict[str, bytes]) -> None:
    written = {path: digest_bytes(content) for path, content in files.items()}
    held = {"version": installed_version(), "code": code_digests(), "files": written}
    text = io.StringIO("# Written by `db3 init` and `db3 init --update`; belongs into git.\n")
    text.seek(0, io.SEEK_END)
    yaml = YAML()
    yaml.width = 120  # a digest in the line of its name
    yaml.dump(held, text)
    write_text(folder / LOCK, text.getvalue())


def _next(folder: Path, files: int) -> str:
    """What was written, and what to do with it."""
    here = folder.resolve() == Path.cwd()
    steps = [
        *([] if here else [(f"cd {folder}", "")]),
        ("dvc repro", "run the pipeline; then open data/report/index.html"),
        ("python -m flows.compose experiment=NAME group.key=value ...", "other parameters: conf/, params.yaml"),
        ("db3 verify", "prove the transfer set from the recorded answers"),
    ]
    if _is_in_git(folder):
        steps.append(("git add --all . && git commit -m 'db3 project'", "`dvc exp run` needs a commit"))
    width = max(len(command) for command, _ in steps)
    lines = [f"  {command:<{width}}  # {why}" if why else f"  {command}" for command, why in steps]
    return "\n".join([f"init: {files} files written to {folder}, for db3 {installed_version()}; next:", *lines])


def main(arguments: Sequence[str]) -> NoReturn:
    """`db3 init`. Exit status: 0, or 1 and one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="db3 init", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="a new one, or one without such files")
    parser.add_argument("overrides", nargs="*", metavar="group.key=value", help="parameters, as of flows.compose")
    parser.add_argument("--experiment", metavar="NAME", help="a file of conf/experiment, e.g. smoke")
    parser.add_argument("--update", action="store_true", help="bring a project up to date with the installed db3")
    given = parser.parse_intermixed_args(arguments)  # --experiment may stand between the others
    chosen = [f"experiment={given.experiment}"] if given.experiment else []
    overrides = [*chosen, *given.overrides]
    folder = given.folder or Path()
    if not (given.folder or given.update) or "=" in folder.name:
        parser.error("the first argument has to be a folder: db3 init FOLDER, or `db3 init .` for this one")
    if given.update and overrides:
        parser.error(f"--update takes no parameters, but was given {' '.join(overrides)}; compose them after it")

    def work() -> str:
        if given.update:
            done = f"init: {folder.resolve()} is up to date with db3 {installed_version()}"
            return "\n".join([*update(folder), done])
        return _next(folder, create(folder, overrides))

    run_entry_point(work)

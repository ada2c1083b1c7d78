"""YAML as DVC reads it: version 1.2, each name once. params.yaml has one meaning, whoever reads it.

`1e-3` is a number, `060` is sixty, `yes` is a word: a YAML 1.1 reader, as PyYAML, takes each for something else.
"""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from db3.errors import ConfigError, one_line

# libyaml, DVC's parser too, crashes where lists nest some ten thousand times: in brackets, or in the columns of a line.
_BRACKETS, _LINE = 1000, 16_384


def read_yaml(path: Path) -> Any:
    """The values of a YAML file.

    Raises:
        ConfigError: one line: it cannot be read, is not UTF-8, or no YAML 1.2.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; run in the project's root") from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{path} has the byte 0x{content[error.start]:02x} in line {line}; expected UTF-8 text: save it as UTF-8"
        ) from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> Any:
    """The values of a YAML text; `source` is named in errors.

    Raises:
        ConfigError: one line, with the place where the parser stopped.
    """
    longest = max(map(len, text.splitlines()), default=0)
    if longest > _LINE:
        raise ConfigError(f"{source} has a line of {longest:,} characters; expected {_LINE:,} at most: break it")
    if text.count("[") + text.count("{") > _BRACKETS:
        raise ConfigError(f"{source} is nested too deeply to be read: correct it")
    try:
        return YAML(typ="safe").load(text)
    except RecursionError:
        raise ConfigError(f"{source} is nested too deeply to be read: correct it") from None
    except Exception as error:  # a malformed number or date raises whatever Python's own functions do
        raise ConfigError(f"{source} is not valid YAML 1.2: {_reason(error)}; correct it") from None


def _reason(error: Exception) -> str:
    """What the parser found, and where; it repeats the text itself and advice for programmers, which stay out."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return one_line(problem or error) + place

"""Compose conf/ into params.yaml: `python -m flows.compose [experiment=NAME] [group=FILE] [group.key=value ...]`.

The bytes are those that `dvc exp run -S ...` writes; unlike that command this one validates the values first, and
leaves params.yaml as it was when something is wrong. conf/declared.yaml, the defaults that db3/settings/ and
flows/config.py declare, is written anew where it is out of date; the other files of conf/ say what differs from it.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from db3.errors import ConfigError, nearest
from db3.extras import needs
from db3.files import write_text
from db3.settings.declare import hints, names_of, to_json
from flows.config import Config, parse_config
from flows.engine.locks import require_idle
from flows.engine.stage import run_entry_point
from flows.yaml_files import parse_yaml, read_yaml

CONF = Path("conf")
DECLARED = "declared.yaml"
PARAMS = Path("params.yaml")


def compose(overrides: Sequence[str] = (), conf: Path = CONF) -> str:
    """The text of params.yaml: conf/config.yaml and what it names, changed by Hydra overrides.

    Args:
        overrides: `experiment=NAME`, `group=FILE` or `group.key=value`.
        conf: the folder of the groups.

    Raises:
        ConfigError: one line; a misspelt name comes with the nearest that exists.
    """
    with needs("pipeline", "composing parameters"):
        from hydra import compose as hydra_compose
        from hydra import initialize_config_dir
        from hydra.errors import HydraException
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError  # of PyYAML, with which Hydra reads conf/

    if not (conf / "config.yaml").is_file():
        raise ConfigError(f"cannot read {conf / 'config.yaml'}; run in the project's root")
    declared = declared_defaults()
    if not (conf / DECLARED).is_file() or (conf / DECLARED).read_text(encoding="utf-8") != declared:
        write_text(conf / DECLARED, declared)
    try:
        with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
            for override in overrides:
                _check_name(override, conf)
            composed = hydra_compose("config", overrides=[_readable(override) for override in overrides])
        missing = OmegaConf.missing_keys(composed)
        if missing:
            name = min(missing)
            raise ConfigError(f"{name} has no value here; give it one, e.g. `python -m flows.compose ... {name}=VALUE`")
        OmegaConf.resolve(composed)
    except (HydraException, OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot compose {conf} with {' '.join(overrides)}: {_first_line(error)}") from error
    text = OmegaConf.to_yaml(composed)
    parse_config(parse_yaml(text, "the composed text"), "the composed parameters")
    return text


def declared_defaults() -> str:
    """The text of conf/declared.yaml."""
    from omegaconf import OmegaConf

    return "# Written by `python -m flows.compose`: every parameter with the default it is declared with.\n" + str(
        OmegaConf.to_yaml(OmegaConf.create(to_json(Config())))
    )


def write_params(overrides: Sequence[str] = (), conf: Path = CONF, params: Path = PARAMS) -> str:
    """Compose into `params`, atomically; the result is one line that says which parameters changed.

    Raises:
        ConfigError: as `compose`; `params` stays as it was.
    """
    text = compose(overrides, conf)
    before = _former(params)
    after = _values(parse_yaml(text, str(params)))
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    write_text(params, text)
    if not before:
        return f"{params}: written"
    changes = [f"{name} {before.get(name, 'absent')} -> {after.get(name, 'absent')}" for name in changed]
    return f"{params}: {', '.join(changes) or 'no change'}"


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="python -m flows.compose", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="experiment=NAME, group=FILE or group.key=value")
    overrides = parser.parse_args().overrides

    def work() -> str:
        require_idle("params.yaml is not changed")
        return write_params(overrides)

    run_entry_point(work)


def _check_name(override: str, conf: Path) -> None:
    """Refuse a misspelt group, file or key before Hydra does, whose messages need several lines."""
    key, equals, value = override.partition("=")
    if override[:1] in "+~":
        return  # adding and deleting are for those who know Hydra; the validation that follows sees the result
    if not equals:
        raise ConfigError(f"cannot read {override!r}; expected NAME=VALUE, e.g. experiment=smoke or distill.lr=0.001")
    groups = sorted(path.name for path in conf.iterdir() if path.is_dir())
    if key in groups:
        files = sorted(path.stem for path in (conf / key).glob("*.yaml"))
        if value not in files:
            raise ConfigError(f"unknown choice {override}; {nearest(value, files, f'{key}=')}")
    elif key not in (names := names_of(Config)):
        hint = nearest(key, [*groups, *names])
        hint = hint if hint.startswith("did you") else f"they all stand in a group: {', '.join(sorted(hints(Config)))}"
        raise ConfigError(f"unknown parameter {key}; {hint}")


def _readable(override: str) -> str:
    """The override as Hydra reads it: a value that is none of its grammar, such as a path with a bracket, is a text."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ValueType
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(override)
        if parsed.value_type != ValueType.SIMPLE_CHOICE_SWEEP:
            return override
    except HydraException:
        if override[:1] in "+~":
            raise
    key, _, value = override.partition("=")
    quoted = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value)
    return f"{key}='{quoted}'"


def _former(params: Path) -> dict[str, Any]:
    """What is about to be replaced; nothing where it is missing or damaged, since composing is how that is repaired."""
    with suppress(ConfigError):
        values = read_yaml(params)
        return _values(values) if isinstance(values, Mapping) else {}
    return {}


def _values(values: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested dictionaries by dotted name."""
    if not isinstance(values, Mapping):
        return {prefix[:-1]: values}
    return {name: leaf for key in values for name, leaf in _values(values[key], f"{prefix}{key}.").items()}


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


if __name__ == "__main__":
    main()

"""How settings are declared, and checked wherever they come from: Python, params.yaml or a command line.

Example:
    @settings
    class Probing:
        radius: Annotated[float, Gt(0), Doc("share of the distance")] = 0.1

    Probing(radius=-1.0)  # ConfigError: Probing.radius is -1.0; expected a number above 0

A field's type says what values it takes: `int`, `float`, `str`, `bool`, `Literal`, `None`, tuples and unions of them,
limits of `annotated_types`, and other settings. Whole numbers pass for real ones and lists for tuples; nothing else is
converted, and no number may be infinite or NaN. What several fields have to do with each other is said by a method
`rules`, which raises a ConfigError that begins with a field's name.
"""

import functools
import math
import numbers
import re
import reprlib
import types
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeGuard, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc, dataclass_transform

from db3.errors import ConfigError, nearest, one_line

T = TypeVar("T")
_TOO_LARGE = 1 << 63  # for NumPy's and torch's whole numbers
_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxlong = 4, 50
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 20
_REPR.maxstring = _REPR.maxother = 150


@dataclass(frozen=True)
class Matches:
    """Limit of a text: all of it matches the pattern, which `meaning` describes."""

    pattern: str
    meaning: str


@dataclass_transform(frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make a frozen dataclass whose values are checked when it is made.

    Raises:
        ConfigError: when one is made with an unknown name, or a value of a wrong type or out of range; one line.
    """
    if not hasattr(cls, "__post_init__"):
        cls.__post_init__ = check  # type: ignore[attr-defined]
    made: Any = dataclass(frozen=True)(cls)
    plain, names = made.__init__, [field.name for field in fields(made)]

    @functools.wraps(plain)
    def init(self: object, *values: object, **named: object) -> None:
        for name in named:
            if name not in names:
                raise ConfigError(f"unknown parameter {made.__name__}.{name}; {nearest(name, names)}")
        plain(self, *values, **named)

    made.__init__ = init
    found: type[T] = made
    return found


def build(cls: type[T], values: Any, path: str = "", complete: bool = False) -> T:
    """Settings from nested mappings, as YAML or JSON give them.

    Args:
        cls: their class.
        values: by name; a group is a mapping.
        path: dotted name of the group in messages; empty: the outermost.
        complete: whether every parameter has to be there, in place of its default.

    Raises:
        ConfigError: one line; an unknown name comes first, since a misspelling also leaves a gap.
    """
    _check_names(cls, values, path, complete=False)
    if complete:
        _check_names(cls, values, path, complete=True)
    return _built(cls, values, path)


def to_json(values: Any) -> dict[str, Any]:
    """Settings as nested dictionaries of JSON values; `build` reads them again."""
    found: dict[str, Any] = _as_lists(asdict(values))
    return found


def shared(cls: type, values: object) -> dict[str, Any]:
    """What `values` holds under the names of the fields of `cls`: `TrainSettings(**shared(Schedule, distill))`."""
    return {field.name: getattr(values, field.name) for field in fields(cls) if hasattr(values, field.name)}


def names_of(cls: type, prefix: str = "") -> list[str]:
    """Dotted names of all parameters, the groups themselves included."""
    found = []
    for name, hint in hints(cls).items():
        found += [prefix + name, *(names_of(hint, f"{prefix}{name}.") if _is_group(hint) else [])]
    return found


_hints: dict[type, dict[str, Any]] = {}


def hints(cls: Any) -> dict[str, Any]:
    """The fields' types, limits and meanings included."""
    if cls not in _hints:
        found = get_type_hints(cls, include_extras=True)
        _hints[cls] = {field.name: found[field.name] for field in fields(cls)}
    return _hints[cls]


def _is_group(hint: object) -> TypeGuard[type]:
    return isinstance(hint, type) and is_dataclass(hint)


def check(self: Any) -> None:
    """Convert and check every value, then the rules between them."""
    name = type(self).__name__
    for field, hint in hints(type(self)).items():
        value = getattr(self, field)
        try:
            object.__setattr__(self, field, _fitted(value, hint))
        except _MisfitError:
            raise ConfigError(
                f"{name}.{field} is {_shown(value)}; expected {_words(hint)}{_near(value, hint)}"
            ) from None
    if hasattr(self, "rules"):
        try:
            self.rules()
        except ConfigError as error:
            raise ConfigError(f"{name}.{error}") from None


def _check_names(cls: type, values: Any, path: str, *, complete: bool) -> None:
    known = hints(cls)
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{path or 'the whole'} is {_shown(values)}; expected a mapping of parameters: {', '.join(known)}"
        )
    prefix = f"{path}." if path else ""
    for name in values:
        if name not in known:
            shown = one_line(name if isinstance(name, str) else _shown(name))
            raise ConfigError(f"unknown parameter {prefix}{shown}; {nearest(shown, known, prefix)}")
    for name, hint in known.items():
        if complete and name not in values:
            raise ConfigError(f"parameter {prefix}{name} is missing; compose it with `python -m flows.compose`")
        if name in values and _is_group(hint):
            _check_names(hint, values[name], prefix + name, complete=complete)


def _built(cls: type[T], values: Mapping[str, Any], path: str) -> T:
    prefix = f"{path}." if path else ""
    inner: dict[str, Any] = {
        name: _built(hint, values[name], prefix + name)
        for name, hint in hints(cls).items()
        if name in values and _is_group(hint)
    }
    try:
        return cls(**{**values, **inner})
    except ConfigError as error:
        raise ConfigError(f"{prefix}{str(error).removeprefix(f'{cls.__name__}.')}") from None


class _MisfitError(Exception):
    """A value is not as its type wants it."""


def _fitted(value: Any, hint: Any) -> Any:
    """The value as `hint` wants it: whole numbers become real ones, lists tuples."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        fitted = _fitted(value, inner[0])
        if all(_within(fitted, limit) for limit in inner[1:]):
            return fitted
    elif origin in (Union, types.UnionType):
        for each in inner:
            try:
                return _fitted(value, each)
            except _MisfitError:
                continue
    elif origin is Literal:
        if any(type(value) is type(each) and value == each for each in inner):
            return value
    elif origin is tuple:
        return _fitted_tuple(value, inner)
    elif hint in (int, float):
        return _fitted_number(value, hint)
    elif isinstance(value, hint):
        return value
    raise _MisfitError


def _fitted_tuple(value: Any, inner: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _MisfitError
    each = [inner[0]] * len(value) if inner[1:] == (...,) else inner
    if len(each) != len(value):
        raise _MisfitError
    return tuple(_fitted(part, hint) for part, hint in zip(value, each, strict=True))


def _fitted_number(value: Any, kind: Any) -> Any:
    if type(value) is bool or not isinstance(value, numbers.Integral if kind is int else numbers.Real):
        raise _MisfitError
    if isinstance(value, numbers.Integral) and abs(int(value)) >= _TOO_LARGE:
        raise _MisfitError
    if not math.isfinite(value):
        raise _MisfitError
    return kind(value)


def _within(value: Any, limit: object) -> bool:
    match limit:
        case Ge(bound):
            return bool(value >= bound)
        case Gt(bound):
            return bool(value > bound)
        case Le(bound):
            return bool(value <= bound)
        case Lt(bound):
            return bool(value < bound)
        case Matches(pattern, _):
            return re.fullmatch(pattern, value) is not None
    return True


def _shown(value: Any) -> str:
    """A value as a message shows it, of any size: an alias in YAML makes gigabytes of a few lines."""
    try:
        return one_line(_REPR.repr(value))
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of thousands of digits"


_PLAIN = {int: "a whole number", float: "a number", str: "text", bool: "true or false", types.NoneType: "null"}


def _words(hint: Any) -> str:
    """What a type takes, as a message says it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        meanings = [limit.meaning for limit in inner[1:] if isinstance(limit, Matches)]
        return meanings[0] if meanings else _words(inner[0]) + "".join(_limits(inner[1:]))
    if origin in (Union, types.UnionType):
        return " or ".join(_words(each) for each in inner)
    if origin is Literal:
        return " or ".join(
            [", ".join(repr(each) for each in inner[:-1]), repr(inner[-1])] if inner[1:] else [repr(inner[0])]
        )
    if origin is tuple:
        return (
            f"a list [A, B, …], each {_words(inner[0])}"
            if inner[1:] == (...,)
            else f"a list of {len(inner)}, each {_words(inner[0])}"
        )
    return _PLAIN.get(hint, getattr(hint, "__name__", str(hint)))


def _limits(limits: tuple[Any, ...]) -> list[str]:
    words: list[tuple[type, Callable[[Any], str]]] = [
        (Ge, lambda limit: f" of {limit.ge} or more"),
        (Gt, lambda limit: f" above {limit.gt}"),
        (Le, lambda limit: f", {limit.le} at most"),
        (Lt, lambda limit: f", below {limit.lt}"),
    ]
    return [say(limit) for limit in limits for kind, say in words if isinstance(limit, kind)]


def _near(value: Any, hint: Any) -> str:
    """The nearest word that the type takes, where a word was given, or a list with one that it does not take."""
    if type(value) is int and abs(value) >= _TOO_LARGE:
        return ", below 2^63"
    words = [each for each in _literals(hint) if isinstance(each, str)]
    given = value if isinstance(value, list | tuple) else [value]
    wrong = [each for each in given if isinstance(each, str) and each not in words]
    hint_told = nearest(wrong[0], words) if wrong and words else ""
    return f"; {hint_told}" if hint_told.startswith("did you mean") else ""


def _literals(hint: Any) -> list[Any]:
    inner = get_args(hint)
    return list(inner) if get_origin(hint) is Literal else [word for each in inner for word in _literals(each)]


def _as_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_lists(inner) for name, inner in value.items()}
    return [_as_lists(inner) for inner in value] if isinstance(value, list | tuple) else value


__all__ = [
    "Doc",
    "Ge",
    "Gt",
    "Le",
    "Lt",
    "Matches",
    "build",
    "check",
    "hints",
    "names_of",
    "settings",
    "shared",
    "to_json",
]

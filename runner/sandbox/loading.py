"""A scenario from a YAML file.

Owns the way from YAML to the dataclasses of `scenario`, told by their own annotations, so that the file has exactly
their names. A key that is unknown, or a value of the wrong kind, is refused with its place and what was meant instead.

    seed: 7
    date: 2026-11-24
    tenants:
      - domain: acme.ilucca.net
        mood: late_twin            # starts from this mood; the other keys replace its values, whole
        requests_per_minute: 20
        faults:
          - {kind: content, first: 1, last: 2, fault: {cut: {bytes: 80}}}
"""

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from datetime import date
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from runner.errors import UsageError
from runner.sandbox.faults import (
    Cut,
    Delay,
    Gzip,
    Hang,
    Html,
    RawBody,
    Redirect,
    Reset,
    Status,
    Trickle,
)
from runner.sandbox.moods import MOODS
from runner.sandbox.scenario import Scenario, TenantScenario

_FAULTS: dict[str, type] = {
    "status": Status,
    "reset": Reset,
    "hang": Hang,
    "html": Html,
    "redirect": Redirect,
    "raw_body": RawBody,
    "cut": Cut,
    "trickle": Trickle,
    "delay": Delay,
    "gzip": Gzip,
}


# What YAML holds, or an annotation: known only once it is looked at.
Value = Any


class _MisfitError(ValueError):
    """A value that does not fit, with its place."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place or 'the file'}: {message}")


def load_scenario(path: Path | str) -> Scenario:
    """The scenario in a YAML file; `UsageError` says where it is wrong."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"sandbox: the scenario {path} cannot be read: {error}"
        raise UsageError(msg) from error
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        msg = f"sandbox: the scenario {path} is not YAML: {error}"
        raise UsageError(msg) from error
    try:
        return _scenario(value)
    except _MisfitError as error:
        msg = f"sandbox: {path}: {error}"
        raise UsageError(msg) from error


def _scenario(value: Value) -> Scenario:
    if not isinstance(value, Mapping):
        raise _MisfitError("", "a mapping with `tenants:` is expected")
    hints = _hints(Scenario)
    _refuse_unknown(value, set(hints), "")
    tenants = value.get("tenants")
    if not isinstance(tenants, list) or not tenants:
        raise _MisfitError("tenants", "a list of tenants is expected")
    day = _build(date, value["date"], "date") if "date" in value else Scenario(tenants=()).date
    built = tuple(_tenant(tenant, f"tenants[{place}]", day) for place, tenant in enumerate(tenants))
    seed = _build(int, value.get("seed", 1), "seed")
    return Scenario(tenants=built, seed=seed, date=day)


def _tenant(value: Value, place: str, day: date) -> TenantScenario:
    if not isinstance(value, Mapping):
        raise _MisfitError(place, "a mapping with `domain:` is expected")
    if "mood" not in value:
        return _build(TenantScenario, value, place)  # type: ignore[no-any-return]
    mood = value["mood"]
    if mood not in MOODS:
        raise _MisfitError(f"{place}.mood", f"there is no mood {mood!r}{_meant(str(mood), MOODS)}")
    hints = _hints(TenantScenario)
    _refuse_unknown(value, set(hints), place)
    if not isinstance(value.get("domain"), str):
        raise _MisfitError(f"{place}.domain", "a host name is expected")
    own = {
        name: _build(hints[name], item, f"{place}.{name}")
        for name, item in value.items()
        if name not in {"mood", "domain"}
    }
    return replace(MOODS[mood](value["domain"], day), **own)


def _build(kind: Value, value: Value, place: str) -> Value:
    """`value` as a `kind`, or a fault that names its place."""
    # Of `float | None` and the like the origin is a class that the checker does not expect here.
    origin: object = get_origin(kind)
    if origin is Literal:
        return _choice(get_args(kind), value, place)
    if origin in {Union, types.UnionType}:
        return _either(get_args(kind), value, place)
    if origin is tuple:
        return _tuple(get_args(kind), value, place)
    if is_dataclass(kind):
        return _dataclass(kind, value, place)  # type: ignore[arg-type]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # YAML reads 2026-11-30 as a date itself; a quoted one is as good.
    if kind is date and isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise _MisfitError(place, f"{value!r} is not a date") from None
    if type(value) is not kind:
        raise _MisfitError(place, f"{_called(kind)} is expected, not {value!r}")
    return value


def _dataclass(kind: type, value: Value, place: str) -> Value:
    if not isinstance(value, Mapping):
        raise _MisfitError(place, f"a mapping is expected, not {value!r}")
    hints = _hints(kind)
    _refuse_unknown(value, set(hints), place)
    for field in fields(kind):
        if field.name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise _MisfitError(place, f"`{field.name}` is missing")
    return kind(**{name: _build(hints[name], item, f"{place}.{name}") for name, item in value.items()})


def _fault(value: Value, place: str) -> Value:
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, Mapping) or len(value) != 1:
        raise _MisfitError(place, f"one of {', '.join(_FAULTS)} is expected, such as `cut: {{bytes: 80}}`")
    ((name, settings),) = value.items()
    if name not in _FAULTS:
        raise _MisfitError(place, f"there is no fault {name!r}{_meant(str(name), _FAULTS)}")
    return _dataclass(_FAULTS[name], settings or {}, f"{place}.{name}")


def _tuple(kinds: tuple[Value, ...], value: Value, place: str) -> Value:
    if not isinstance(value, list):
        raise _MisfitError(place, f"a list is expected, not {value!r}")
    if len(kinds) == 2 and kinds[1] is Ellipsis:  # tuple[kind, ...]
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise _MisfitError(place, f"{len(kinds)} values are expected")
    return tuple(
        _build(kind, item, f"{place}[{number}]")
        for number, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _either(kinds: tuple[Value, ...], value: Value, place: str) -> Value:
    if value is None and type(None) in kinds:
        return None
    if Status in kinds:
        fault = _fault(value, place)
        if type(fault) not in kinds:
            raise _MisfitError(place, "this fault bends a true answer; one that replaces it is expected here")
        return fault
    last: _MisfitError | None = None
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return _build(kind, value, place)
        except _MisfitError as fault:
            last = fault
    raise last or _MisfitError(place, f"{value!r} is not expected")


def _choice(choices: tuple[Value, ...], value: Value, place: str) -> Value:
    for choice in choices:
        if value == choice or (isinstance(choice, str) and str(value) == choice):
            return choice
    raise _MisfitError(place, f"one of {', '.join(map(str, choices))} is expected, not {value!r}")


def _refuse_unknown(value: Mapping[Any, Any], known: set[str], place: str) -> None:
    for name in value:
        if name not in known:
            raise _MisfitError(f"{place}.{name}".lstrip("."), f"unknown key{_meant(str(name), known)}")


def _meant(name: str, known: Value) -> str:
    near = get_close_matches(name, sorted(known), n=1)
    return f", did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"


def _called(kind: Value) -> str:
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", date: "a date"}
    return names.get(kind, str(kind))


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)

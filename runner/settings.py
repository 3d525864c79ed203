"""The settings: a flag before the environment before `.env` before the default. Knows nothing of their use.

Durations are in seconds. Values are not repeated in errors, since a URL may hold a password; but for a group's name.
"""

import grp
import ipaddress
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from runner.errors import UsageError
from runner.hosts import parse_suffix
from runner.options import BY_NAME, ENV_PREFIX, SETTINGS

DURATION_MAX_SECONDS = 31 * 86400.0
NO_HOME = (
    "what the ~ stands for is not known here: there is no such user, or no home; write the path without it"
)

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"[0-9]{1,9}(?:[.,][0-9]{1,9})?"
_PARTS = re.compile(rf"(?:{_NUMBER}(?:ms|min|[smhd]))+")
_PART = re.compile(rf"({_NUMBER})(ms|min|[smhd])")
_ISO = re.compile(
    rf"P(?=.)(?:({_NUMBER})W)?(?:({_NUMBER})D)?(?:T(?=.)(?:({_NUMBER})H)?(?:({_NUMBER})M)?(?:({_NUMBER})S)?)?"
)
_ISO_SECONDS = (7 * 86400.0, 86400.0, 3600.0, 60.0, 1.0)
_TIME_OF_DAY = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_LOCALTIME = Path("/etc/localtime")
_GROUP_MAX = 2**32 - 2  # the one above means "leave it" to the system
# Named on the page of settings, but of a later version: a word is due to whoever sets one already.
_PLANNED = ("RUNNER_METRICS_FILE", "RUNNER_WORKER_TIMEOUT")


def parse_duration(text: str) -> float:
    """Seconds, from `90s`, `1.5s`, `10m`, `1h30m`, a number of seconds, or ISO 8601 (`PT1H30M`).

    Raises:
        ValueError: it is written otherwise, not positive, or longer than 31 days.
    """
    text = text.strip()
    if re.fullmatch(_NUMBER, text):
        seconds = _number(text)
    elif _PARTS.fullmatch(text):
        parts: list[tuple[str, str]] = _PART.findall(text)
        seconds = sum(_number(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    elif iso := _ISO.fullmatch(text.upper()):
        seconds = sum(
            _number(part or "0") * size for part, size in zip(iso.groups(), _ISO_SECONDS, strict=True)
        )
    else:
        raise ValueError("write a duration like 90s, 1.5s, 10m, 1h, 1h30m, a number of seconds, or PT1H30M")
    if not 0 < seconds <= DURATION_MAX_SECONDS:
        raise ValueError("the duration must be longer than nothing and at most 31 days")
    return seconds


def _number(text: str) -> float:
    return float(text.replace(",", "."))


@dataclass(frozen=True, slots=True)
class Until:
    """When a run stops: after a while, or at the next time of day that reads so; one of the two is set."""

    seconds: float | None = None
    at: time | None = None

    def deadline(self, now: datetime) -> datetime:
        """The moment to stop, seen from `now`, which is aware; a time of day is read in its time zone."""
        if self.at is None:
            # Through UTC: in its own zone Python would count the hour that the clocks skip or repeat.
            return (now.astimezone(UTC) + timedelta(seconds=self.seconds or 0.0)).astimezone(now.tzinfo)
        today = now.date()
        moments = [
            datetime.combine(today + timedelta(days=days), self.at, tzinfo=now.tzinfo).replace(fold=fold)
            for days in (0, 1, 2)
            for fold in (0, 1)
        ]
        return min(
            moment for moment in map(_existing, moments) if moment.astimezone(UTC) > now.astimezone(UTC)
        )


def _existing(moment: datetime) -> datetime:
    """The same moment as clocks show it: what is skipped in spring is an hour later then."""
    shown = moment.astimezone(UTC).astimezone(moment.tzinfo)
    if shown.replace(tzinfo=None) != moment.replace(tzinfo=None):
        return moment.replace(fold=0).astimezone(UTC).astimezone(moment.tzinfo)
    return shown


def parse_until(text: str) -> Until:
    """A duration, or a time of day `HH:MM`.

    Raises:
        ValueError: it is neither.
    """
    if clock_time := _TIME_OF_DAY.fullmatch(text.strip()):
        return Until(at=time(int(clock_time[1]), int(clock_time[2])))
    try:
        return Until(seconds=parse_duration(text))
    except ValueError:
        raise ValueError("write a duration of at most 31 days like 8h or 90m, or a time like 06:30") from None


def parse_gateway(text: str) -> str:
    """The base URL that every request is sent to, as `scheme://host[:port]`.

    Raises:
        ValueError: it is none, or the key would travel in the clear to another machine.
    """
    text = text.strip()
    if not text.isascii() or not text.isprintable() or "\\" in text or " " in text:
        raise ValueError("the URL has characters that no URL has")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("not a URL; write it like http://127.0.0.1:8080") from None
    scheme, host = parts.scheme, parts.hostname
    if scheme not in {"http", "https"} or not host:
        raise ValueError("not an http or https URL; write it like http://127.0.0.1:8080")
    if "@" in parts.netloc:
        raise ValueError("the URL must not hold a user or a password")
    if parts.path not in {"", "/"} or "?" in text or "#" in text:
        raise ValueError("the URL must end after the host and the port: paths are the API's own")
    if port == 0:
        raise ValueError("the port must be between 1 and 65535")
    if scheme == "http" and not _is_loopback(host):
        raise ValueError("plain http is for a loopback address only (127.0.0.1, ::1, localhost); use https")
    shown_host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown_host}" + (f":{port}" if port else "")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_timezone(text: str) -> ZoneInfo:
    """The zone of this name.

    Raises:
        ValueError: there is none on this machine.
    """
    try:
        return ZoneInfo(text.strip())
    except (OSError, ValueError, LookupError):
        raise ValueError("not a time zone of this machine; write it like Europe/Paris or UTC") from None


def system_timezone(environ: Mapping[str, str] | None = None, localtime: Path = _LOCALTIME) -> ZoneInfo:
    """The zone of this machine by TZ or /etc/localtime; UTC where neither is there.

    Raises:
        UsageError: TZ names no zone: to pass it over might make it another day's night.
    """
    environ = os.environ if environ is None else environ
    name = environ.get("TZ", "").removeprefix(":")
    zone = _zone_named(name) if name and not name.startswith("/") else _zone_in(Path(name or localtime))
    if zone is None and name:
        raise UsageError(
            "TZ: not a time zone of this machine; write it like Europe/Paris or UTC, or set RUNNER_TIMEZONE"
        )
    return zone or ZoneInfo("UTC")


def _zone_named(name: str) -> ZoneInfo | None:
    try:
        return parse_timezone(name.removeprefix("posix/").removeprefix("right/"))
    except ValueError:
        return None


def _zone_in(file: Path) -> ZoneInfo | None:
    """The zone that this file links to, or is a copy of."""
    _, found, name = str(file.resolve()).rpartition("zoneinfo/")
    if found and (zone := _zone_named(name)):
        return zone
    try:
        with file.open("rb") as opened:
            return ZoneInfo.from_file(opened, key="localtime")
    except (OSError, ValueError):
        return None


def parse_allowed_hosts(text: str) -> tuple[str, ...]:
    """Host suffixes, from a comma-separated list.

    Raises:
        ValueError: one of them is none.
    """
    return tuple(parse_suffix(part) for part in text.split(",") if part.strip())


def _parse_count(text: str, *, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()) or not 1 <= int(text) <= most:
        raise ValueError(f"write a whole number from 1 to {most}")
    return int(text)


def _parse_choice(text: str, *, choices: tuple[str, ...]) -> str:
    text = text.strip().lower()
    if text not in choices:
        raise ValueError(f"choose one of {', '.join(choices)}{_near(text, choices)}")
    return text


def _parse_text(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError("it is empty, or holds a character that no path has")
    return text


def _parse_path(text: str) -> Path:
    try:
        return Path(_parse_text(text)).expanduser()
    except RuntimeError:
        raise ValueError(NO_HOME) from None


def _read_by(parse: Callable[[str], object]) -> BeforeValidator:
    """Texts are parsed; values of the program's own, such as defaults, are taken as they are."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _default_log_format() -> Literal["console", "json"]:
    return "console" if sys.stderr is not None and sys.stderr.isatty() else "json"


Seconds = Annotated[float, _read_by(parse_duration)]
FilePath = Annotated[Path, _read_by(_parse_path)]
Text = Annotated[str, _read_by(_parse_text)]


class Settings(BaseSettings):
    """Every setting, valid; durations in seconds. `NoDecode` keeps a variable from being read as JSON."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
    )

    manifest: FilePath = Path("tenants.yaml")
    output: FilePath = Path("output")
    output_group: Text | None = None
    state: Annotated[str, _read_by(_parse_text), Field(repr=False)]
    timezone: Annotated[ZoneInfo, _read_by(parse_timezone)] = Field(default_factory=system_timezone)
    gateway: Annotated[str, _read_by(parse_gateway)] | None = None
    max_concurrency: Annotated[int, _read_by(partial(_parse_count, most=10_000))] = 64
    max_concurrency_per_domain: Annotated[int, _read_by(partial(_parse_count, most=1_000))] = 2
    requests_per_minute: Annotated[int, _read_by(partial(_parse_count, most=100_000))] = 25
    trigger_timeout: Seconds = 15.0
    request_timeout: Seconds = 60.0
    export_poll_interval: Seconds = 30.0
    report_poll_interval: Seconds = 10.0
    report_timeout: Seconds = 3600.0
    retrigger_after: Seconds = 3600.0
    max_triggers: Annotated[int, _read_by(partial(_parse_count, most=100))] = 3
    until: Annotated[Until, NoDecode, _read_by(parse_until)] = Until(seconds=8 * 3600.0)
    log_format: Annotated[
        Literal["console", "json"], _read_by(partial(_parse_choice, choices=("console", "json")))
    ] = Field(default_factory=_default_log_format)
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        _read_by(partial(_parse_choice, choices=("debug", "info", "warning", "error", "critical"))),
    ] = "info"
    language: Annotated[Literal["fr", "en"], _read_by(partial(_parse_choice, choices=("fr", "en")))] = "fr"
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, _read_by(parse_allowed_hosts)] = ()

    @model_validator(mode="before")
    @classmethod
    def _place_the_journal(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The journal stands in the output, unless something else is said."""
        if "state" in values:
            return values
        output = str(values.get("output", cls.model_fields["output"].default)).strip() or "output"
        return {**values, "state": str(Path(output) / ".runner" / "journal.db")}

    def output_group_id(self) -> int | None:
        """The number of the group that may read the output; None if there is none.

        Raises:
            UsageError: no such group exists on this machine.
        """
        if self.output_group is None:
            return None
        if re.fullmatch(r"[0-9]{1,10}", self.output_group) and int(self.output_group) <= _GROUP_MAX:
            return int(self.output_group)
        try:
            return grp.getgrnam(self.output_group).gr_gid
        except KeyError:
            raise UsageError(
                f"RUNNER_OUTPUT_GROUP: there is no group {self.output_group} on this machine"
            ) from None

    def deadline(self, now: datetime) -> datetime:
        """The moment to stop, in the time zone of the settings."""
        return self.until.deadline(now.astimezone(self.timezone))


def load_settings(
    flags: Mapping[str, str] | None = None, *, env_file: Path | None = Path(".env")
) -> Settings:
    """The settings of this run.

    Args:
        flags: what was given on the command line, by the setting's name (`max_concurrency`), as text.
        env_file: read after the environment; it may be missing.

    Raises:
        UsageError: one line for each setting that is wrong.
    """
    flags = flags or {}
    if unknown := [name for name in flags if name not in BY_NAME]:
        raise UsageError(f"there is no setting {unknown[0]}{_near(unknown[0], tuple(BY_NAME))}")
    values: dict[str, Any] = dict(flags)
    try:
        return Settings(_env_file=env_file, **values)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        # The input is left out of errors, but a cause would bring it back.
        raise UsageError("\n".join(_told(fault["loc"], fault["msg"], flags) for fault in faults)) from None
    except UnicodeDecodeError:
        raise UsageError(f"{env_file} is not text in UTF-8") from None
    except OSError as error:
        raise UsageError(f"{env_file} cannot be read: {error.strerror}") from None


def _told(loc: tuple[int | str, ...], message: str, flags: Mapping[str, str]) -> str:
    setting = BY_NAME[str(loc[0])]
    source = setting.flag if setting.name in flags else setting.env
    return f"{source}: {message.removeprefix('Value error, ')}"


def unknown_settings(
    environ: Mapping[str, str] | None = None, *, env_file: Path | None = Path(".env")
) -> list[str]:
    """Warnings of RUNNER_… variables that mean nothing, in the environment or in `.env`."""
    names = set(os.environ if environ is None else environ)
    with suppress(OSError, UnicodeDecodeError):  # `load_settings` tells it
        if env_file is not None and env_file.is_file():
            names |= set(dotenv_values(env_file))
    known = tuple(setting.env for setting in SETTINGS)
    return [
        f"{name} is not built yet and has no effect"
        if name in _PLANNED
        else f"{name} is not a setting and has no effect{_near(name, known)}"
        for name in sorted(names)
        if name.startswith(ENV_PREFIX) and name not in known
    ]


def _near(name: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(name[:100], known, n=1)
    return f"; did you mean {near[0]}?" if near else ""

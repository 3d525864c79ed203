"""What every verb needs first: settings, manifest, date. Owns what is said when they are not to be had."""

import re
from datetime import date
from pathlib import Path

from runner.app.tell import say
from runner.clock import SystemClock
from runner.dates import FIRST_YEAR, LAST_YEAR
from runner.errors import StorageError, UsageError
from runner.manifest import Manifest, load_manifest
from runner.settings import NO_HOME, Settings, load_settings, unknown_settings

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def settings_of(flags: dict[str, str]) -> Settings:
    """The settings, with warnings of those that mean nothing."""
    for warning in unknown_settings():
        say(f"runner: {warning}")
    return load_settings(flags)


def manifest_of(settings: Settings) -> Manifest:
    """The manifest, read and checked."""
    return load_manifest(settings.manifest, allowed_hosts=settings.allowed_hosts)


def batch_date(text: str | None, settings: Settings) -> date:
    """The batch date: `--date`, or today where the settings live.

    Raises:
        UsageError: not a date, or none that the rules reckon with.
    """
    if text is None:
        return SystemClock().now().wall.astimezone(settings.timezone).date()
    try:
        day = date.fromisoformat(text if _DATE.fullmatch(text) else "")
    except ValueError:
        raise UsageError(f"--date {text[:40]}: expected a date as YYYY-MM-DD") from None
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise UsageError(f"--date {text}: the year is not between {FIRST_YEAR} and {LAST_YEAR}")
    return day


def journal_path(settings: Settings) -> Path:
    """Where the journal is.

    Raises:
        UsageError: it is not a file, or below the home of nobody.
        StorageError: nobody can look there: a folder on the way that this user may not enter, a name that is too long.
    """
    if "://" in settings.state:
        raise UsageError("RUNNER_STATE: a journal on a server is not built yet; give a path on a local disk")
    try:
        path = Path(settings.state).expanduser()
    except RuntimeError:
        raise UsageError(f"RUNNER_STATE: {NO_HOME}") from None
    try:
        path.exists()
    except OSError as error:
        raise StorageError(
            f"the journal {path} cannot be looked for: {error.strerror}. To do: give this user the right to enter its "
            "folders, or let RUNNER_STATE (or RUNNER_OUTPUT) name another place; then run again."
        ) from None
    return path

"""What every verb needs first: settings, manifest, date. Owns what is said when they are not to be had."""

from datetime import date
from pathlib import Path

from runner.app.tell import say
from runner.clock import SystemClock
from runner.dates import parse_date
from runner.errors import StorageError, UsageError
from runner.manifest import Manifest, load_manifest
from runner.settings import NO_HOME, Settings, load_settings, unknown_settings


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
        return parse_date(text)
    except ValueError as error:
        raise UsageError(f"--date {text[:40]}: {error}") from None


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

"""The command line: verbs, flags, exit codes. Parses and delegates; every verb's work is in `runner.app`.

`--help` answers at once: nothing but the command-line library is imported before a verb runs.
"""

import errno
import inspect
import io
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TextIO, cast

import typer

from runner import __version__
from runner.errors import (
    InterruptedEarlyError,
    RunnerError,
    StorageError,
    TerminatedEarlyError,
    UsageError,
)
from runner.options import SETTINGS

if TYPE_CHECKING:
    from runner.app.selection import Selection

app = typer.Typer(
    name="runner",
    help="Nightly exports and reports from Lucca Timesheet, for many clients at once.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

ManifestArgument = Annotated[
    str | None, typer.Argument(metavar="MANIFEST", help="The manifest (RUNNER_MANIFEST).")
]
JobArgument = Annotated[
    str, typer.Argument(metavar="TENANT/JOB", help="The job, as run.json and --only name it.")
]
Only = Annotated[list[str] | None, typer.Option(help="Only this TENANT or TENANT/JOB; may be given again.")]
Tag = Annotated[list[str] | None, typer.Option(help="Only tenants with this tag; may be given again.")]
Kind = Annotated[Literal["export", "report"] | None, typer.Option(help="Only jobs of this kind.")]
Date = Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="The batch date; left out: today.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, errors too.")]

Command = Callable[..., int]

# What the command-line library raises for a slip on the command line. Where it keeps the class differs from version to
# version; this one is public and derives from it.
_SlipError: Any = next(kind for kind in typer.BadParameter.mro() if kind.__name__ == "ClickException")


def choice(only: list[str] | None, tag: list[str] | None, kind: str | None) -> "Selection":
    """The selection that the flags mean."""
    from runner.app.selection import Selection

    return Selection(tuple(only or ()), tuple(tag or ()), kind)  # type: ignore[arg-type]


def command(*settings: str) -> Callable[[Command], Command]:
    """Make a verb of a function, with a flag for each of these settings (all of them for `*`).

    The function gets the flags that were given as `flags`, by the setting's name.
    """

    def decorate(function: Command) -> Command:
        rows = [row for row in SETTINGS if row.name in settings or "*" in settings]
        own = [p for p in inspect.signature(function).parameters.values() if p.name != "flags"]
        extra = [
            inspect.Parameter(
                f"setting_{row.name}",
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[
                    str | None,
                    typer.Option(
                        row.flag, metavar=row.metavar, help=f"{row.help} [{row.env}; {row.default}]"
                    ),
                ],
            )
            for row in rows
        ]

        @wraps(function)
        def verb(**values: Any) -> int:  # noqa: ANN401 - whatever the flags are
            flags = {
                key.removeprefix("setting_"): value
                for key, value in values.items()
                if key.startswith("setting_") and value is not None
            }
            arguments = {key: value for key, value in values.items() if not key.startswith("setting_")}
            if "manifest" in arguments:
                manifest = arguments["manifest"]
                if manifest is not None and flags.setdefault("manifest", manifest) != manifest:
                    raise UsageError(
                        f"--manifest names another manifest than the argument {manifest}: give one"
                    )
            try:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
                return function(**arguments, flags=flags)
            except KeyboardInterrupt as stopped:
                raise _early(stopped) from None

        verb.__signature__ = inspect.Signature([*own, *extra])  # type: ignore[attr-defined]
        verb.__annotations__ = {p.name: p.annotation for p in (*own, *extra)}
        app.command()(verb)
        return verb

    return decorate


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"runner {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Say which version this is.", is_eager=True, callback=_say_version),
    ] = False,
) -> None:
    """Nightly exports and reports from Lucca Timesheet, for many clients at once."""


@command("*")
def run(
    manifest: ManifestArgument = None,
    *,
    only: Only = None,
    tag: Tag = None,
    kind: Kind = None,
    date: Date = None,
    json: Json = False,
    flags: dict[str, str],
) -> int:
    """Do the night: all that is due, and what earlier nights left."""
    del manifest
    from runner.app import acting

    return acting.run(flags, choice(only, tag, kind), date, as_json=json)


@command("manifest", "state", "output", "timezone", "requests_per_minute", "allowed_hosts")
def plan(
    manifest: ManifestArgument = None,
    *,
    only: Only = None,
    tag: Tag = None,
    kind: Kind = None,
    date: Date = None,
    json: Json = False,
    flags: dict[str, str],
) -> int:
    """Show what would run; asks nobody, writes nothing."""
    del manifest
    from runner.app import planning

    return planning.plan(flags, choice(only, tag, kind), date, as_json=json)


@command("manifest", "timezone", "allowed_hosts")
def check(
    manifest: ManifestArgument = None, *, date: Date = None, json: Json = False, flags: dict[str, str]
) -> int:
    """Read the manifest and tell every fault with its place."""
    del manifest
    from runner.app import planning

    return planning.check(flags, date, as_json=json)


@command("output", "state", "timezone", "language")
def status(
    *, only: Only = None, kind: Kind = None, date: Date = None, json: Json = False, flags: dict[str, str]
) -> int:
    """Show how a night stands, job by job."""
    from runner.app import looking

    return looking.status(flags, choice(only, None, kind), date, as_json=json)


@command("output", "state", "timezone", "language", "retrigger_after", "max_triggers", "export_poll_interval")
def explain(job: JobArgument, *, date: Date = None, json: Json = False, flags: dict[str, str]) -> int:
    """Tell one job's story: what happened, and what to do."""
    from runner.app import looking

    return looking.explain(flags, job, date, as_json=json)


@command("manifest", "output", "state", "timezone", "allowed_hosts")
def retry(
    manifest: ManifestArgument = None,
    *,
    only: Only = None,
    tag: Tag = None,
    kind: Kind = None,
    date: Date = None,
    reason: Annotated[str, typer.Option(help="Why; kept with who and when.")] = "",
    json: Json = False,
    flags: dict[str, str],
) -> int:
    """Have failed jobs tried again by the next run."""
    from runner.app import deciding

    return deciding.retry(
        flags, choice(only, tag, kind), date, manifest_given=manifest, reason=reason, as_json=json
    )


@command("output", "state", "timezone", "retrigger_after")
def skip(
    job: JobArgument,
    *,
    date: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="When it was due, where several are open.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept with who and when.")] = "",
    json: Json = False,
    flags: dict[str, str],
) -> int:
    """Never mind this job: no run goes on with it, and no night fails by it."""
    from runner.app import deciding

    return deciding.skip(flags, job, date, reason=reason, as_json=json)


@command("output", "state")
def verify(
    *, only: Only = None, kind: Kind = None, date: Date = None, json: Json = False, flags: dict[str, str]
) -> int:
    """Compare every downloaded file with the journal."""
    from runner.app import looking

    return looking.verify(flags, choice(only, None, kind), date, as_json=json)


@command()
def schema(
    what: Annotated[
        Literal["manifest", "run"], typer.Argument(help="Of the manifest, or of run.json.")
    ] = "manifest",
    *,
    json: Json = False,
    flags: dict[str, str],
) -> int:
    """Print the JSON Schema of the manifest, or of run.json."""
    del flags, json  # it is JSON either way
    from runner.app import looking

    return looking.schema(what)


@command("manifest")
def init(manifest: ManifestArgument = None, *, json: Json = False, flags: dict[str, str]) -> int:
    """Write a commented manifest to begin with."""
    del manifest
    from runner.app import acting

    return acting.init(flags, as_json=json)


@command()
def sandbox(
    scenario: Annotated[
        str | None, typer.Argument(help="A scenario file; left out: the demo's tenants.")
    ] = None,
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where to listen on 127.0.0.1; 0 takes a free one.")
    ] = 8090,
    seed: Annotated[int, typer.Option(help="What its chance begins from.")] = 1,
    tenants: Annotated[int, typer.Option(min=1, help="How many tenants the demo has.")] = 36,
    write: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write the manifest and keys to match here.")
    ] = None,
    flags: dict[str, str],
) -> int:
    """Serve a local Lucca to try everything against."""
    del flags
    from runner.app import acting

    return acting.sandbox(scenario, port=port, seed=seed, tenants=tenants, write=write)


def main() -> None:
    """The entry point: run the verb, tell errors, exit with the code that the interface promises."""
    _take_streams()
    _obey_signals()
    arguments = sys.argv[1:]
    as_json = "--json" in arguments
    try:
        code = app(args=arguments, standalone_mode=False)
    except _SlipError as error:
        code = _tell(UsageError(error.format_message()), as_json=as_json)
    except RunnerError as error:
        code = _tell(error, as_json=as_json)
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except Exception as error:  # noqa: BLE001 - the last place that can still tell it without a key
        code = _tell_internal(error, as_json=as_json)
    code = code if isinstance(code, int) else 0
    sys.stdout.flush()
    if cast("_Listened", sys.stdout).full and code in (0, 3, 4):
        code = _tell(StorageError("standard output could not be written: its disk is full"), as_json=False)
    sys.exit(code)


_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _StoppedError(KeyboardInterrupt):
    """A signal other than SIGINT, which ends a verb as that does."""


def _obey_signals() -> None:
    """Until a night is under way, which has its own way to end, a signal ends the program as Ctrl-C does.

    They wait until the verb begins: the command-line library would make a bare exit of them.
    """

    def stop(number: int, _frame: object) -> None:
        raise _StoppedError(signal.Signals(number).name)

    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    for number in _STOPPING:
        if signal.getsignal(number) is signal.SIG_DFL:  # not under nohup, nor is it so with SIGINT
            signal.signal(number, stop)


def _early(stopped: BaseException) -> InterruptedEarlyError:
    if isinstance(stopped, _StoppedError):
        return TerminatedEarlyError(f"stopped by {stopped}")
    return InterruptedEarlyError("stopped by SIGINT")


class _Listened:
    """A standard stream whose reader may go, or whose disk may fill: what nobody gets is dropped, the work goes on.

    `full` says that it was the disk: somebody wants what is not there.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.full = False
        if isinstance(stream, io.TextIOWrapper):
            # A file's name may be no UTF-8. Escaped it is still JSON.
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write, or drop."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        self.full |= error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a stream has
        return getattr(self._stream, name)


def _take_streams() -> None:
    """Have three standard streams, whatever the scheduler left of them; else the journal might become one."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
    sys.stdout = cast("TextIO", _Listened(sys.stdout or open(os.devnull, "w", encoding="utf-8")))  # noqa: SIM115, PTH123
    sys.stderr = cast("TextIO", _Listened(sys.stderr or open(os.devnull, "w", encoding="utf-8")))  # noqa: SIM115, PTH123


def _tell(error: RunnerError, *, as_json: bool) -> int:
    from runner.app.tell import tell_error

    return tell_error(error, as_json=as_json)


def _tell_internal(error: Exception, *, as_json: bool) -> int:
    from runner.app.tell import tell_internal

    return tell_internal(error, as_json=as_json)

"""How a verb speaks: one JSON document on stdout, or words for people on stderr."""

import errno
import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from runner.errors import ManifestError, RunnerError, StorageError


def say(text: str) -> None:
    """Words for people."""
    sys.stderr.write(text + "\n")


def counted(n: int, thing: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people: aligned on a terminal, tab-separated into a pipe."""
    if not sys.stderr.isatty():
        sys.stderr.write(
            "".join("\t".join(row) + "\n" for row in rows)
        )  # at once: line by line costs a call each
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    Console(stderr=True).print(grid)


def answer(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """The one JSON document of `--json`; where the terminal's letters are not those of JSON, in plain ones."""
    plain = sys.stdout.encoding.lower() not in ("utf-8", "utf8")
    json.dump(document, sys.stdout, ensure_ascii=plain, indent=2)
    sys.stdout.write("\n")
    sys.stdout.flush()


def tell_error(error: RunnerError, *, as_json: bool) -> int:
    """Tell what stopped the command; gives its exit code."""
    if as_json:
        document: dict[str, Any] = {"code": error.code, "message": str(error)}
        if isinstance(error, ManifestError):
            document["faults"] = list(error.faults)
        answer({"error": document})
    say(f"runner: {error}")
    return error.exit_code


def tell_internal(error: Exception, *, as_json: bool) -> int:
    """Tell a fault of this program: where it happened, never with what values."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        # Wherever it was met, in a library or while one was loaded, it is no fault of the program.
        full = (
            f"too many files are open ({error.strerror}). To do: raise the limit (ulimit -n), then run again."
        )
        return tell_error(StorageError(full), as_json=as_json)
    frames = traceback.extract_tb(error.__traceback__)
    where = "\n".join(f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
    if as_json:
        answer({"error": {"code": "internal", "message": f"internal error: {type(error).__name__}"}})
    say(
        f"runner: internal error: {type(error).__name__}. Nothing is lost: the journal holds the state. Where:\n{where}"
    )
    return 1

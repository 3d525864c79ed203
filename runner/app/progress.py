"""The live view of a night on a terminal. It observes, and in cron it is not even built."""

import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from runner.app.tell import counted
from runner.jobs.events import Event
from runner.jobs.model import NEEDS_A_PERSON, Flag, Job, State

_STYLES = {
    State.DOWNLOADED: "green",
    State.FAILED: "bold red",
    State.DOWNLOADING: "cyan",
    State.POLLING: "yellow",
    State.RETRIED: "magenta",
}
_LAST_EVENTS = 8


class _Shows(Protocol):
    def jobs(self) -> list[Job]:
        """The jobs of the night as they stand."""


class LiveView:
    """A few lines on stderr that follow the night."""

    def __init__(self) -> None:
        """Nothing is shown before `showing`."""
        self._console = Console(stderr=True)
        self._events: deque[Text] = deque(maxlen=_LAST_EVENTS)
        self._nightly: _Shows | None = None
        self._since = time.monotonic()
        self._drawn = 0.0
        self._view: Text | Group = Text("")

    def seen(self, before: Job, after: Job, _event: Event) -> None:
        """Take note of what happened to a job."""
        if after.state is before.state:
            return
        line = Text(f"{after.label:<40.40} ")
        line.append(after.state.value, style=_STYLES.get(after.state, ""))
        told = sorted(after.flags - {Flag.ADOPTED})
        if after.state is State.FAILED and after.error is not None:
            line.append(f"  {after.error.code.value}", style="red")
        elif told:
            line.append("  " + ", ".join(told), style="red" if after.flags & NEEDS_A_PERSON else "yellow")
        self._events.append(line)

    @contextmanager
    def showing(self, nightly: _Shows) -> Iterator[None]:
        """Show the night for as long as the context lasts."""
        self._nightly = nightly
        with Live(get_renderable=self._render, console=self._console, refresh_per_second=4, transient=True):
            yield

    def _render(self) -> Text | Group:
        assert self._nightly is not None  # noqa: S101 - set by `showing`
        now = time.monotonic()
        if now - self._drawn < 0.5:
            return self._view
        self._drawn = now
        jobs = self._nightly.jobs()
        states = Counter(job.state for job in jobs)
        grid = Table.grid(padding=(0, 2))
        grid.add_row(*(Text(f"{states[s]} {s.value}", style=_STYLES.get(s, "")) for s in State if states[s]))
        minutes, seconds = divmod(int(now - self._since), 60)
        head = Text(f"{counted(len(jobs), 'job')}, {minutes}:{seconds:02d}", style="bold")
        self._view = Group(head, grid, *self._events)
        return self._view

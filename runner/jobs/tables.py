"""Which event may lead from which state to which: one table per kind. What follows besides is `jobs.machine`.

The diagrams of the README are drawn from these tables.
"""

from collections.abc import Mapping
from typing import Any

from runner.jobs import events as ev
from runner.jobs.model import (
    DOWNLOADED,
    DOWNLOADING,
    FAILED,
    PENDING,
    POLLING,
    RETRIED,
    SKIPPED,
    TRIGGERED,
    State,
)

Table = Mapping[State, Mapping[type[Any], frozenset[State]]]


def _to(*states: State) -> frozenset[State]:
    return frozenset(states)


_AFTER_A_POST: Mapping[type[Any], frozenset[State]] = {
    ev.TriggerLetGo: _to(POLLING),
    ev.TriggerAnswered: _to(POLLING, DOWNLOADING),
    ev.Resumed: _to(POLLING),
    ev.Failed: _to(FAILED),
}
_OF_A_DOWNLOAD: Mapping[type[Any], frozenset[State]] = {
    ev.Fetched: _to(DOWNLOADING),
    ev.Named: _to(DOWNLOADING),
    ev.Placed: _to(DOWNLOADING, DOWNLOADED),
    ev.FilesMissed: _to(DOWNLOADING),
    ev.Failed: _to(FAILED),
}

EXPORT_TABLE: Table = {
    PENDING: {
        ev.Listed: _to(PENDING, DOWNLOADING, FAILED),
        ev.Identified: _to(PENDING, DOWNLOADING, FAILED),
        ev.Doubted: _to(PENDING),
        ev.PathMissed: _to(PENDING),
        ev.Triggered: _to(TRIGGERED),
        ev.Failed: _to(FAILED),
    },
    TRIGGERED: {**_AFTER_A_POST, ev.TriggerUnsent: _to(PENDING)},
    RETRIED: {**_AFTER_A_POST, ev.TriggerAnswered: _to(POLLING), ev.TriggerUnsent: _to(POLLING)},
    POLLING: {
        ev.Listed: _to(POLLING, DOWNLOADING),
        ev.Identified: _to(POLLING, DOWNLOADING),
        ev.Doubted: _to(POLLING),
        ev.PathMissed: _to(POLLING),
        ev.PutOff: _to(POLLING),
        ev.Triggered: _to(RETRIED),
        ev.Failed: _to(FAILED),
    },
    DOWNLOADING: {
        **_OF_A_DOWNLOAD,
        ev.PathMissed: _to(DOWNLOADING),
        ev.PutOff: _to(DOWNLOADING),
        ev.Misattributed: _to(PENDING, POLLING, DOWNLOADING),
    },
    DOWNLOADED: {
        ev.Listed: _to(DOWNLOADED, DOWNLOADING),
        ev.Identified: _to(DOWNLOADED, DOWNLOADING),
        ev.PathMissed: _to(DOWNLOADED),
        ev.FilesMissed: _to(DOWNLOADING),
    },
    FAILED: {
        ev.Listed: _to(FAILED, DOWNLOADING),
        ev.Identified: _to(FAILED, DOWNLOADING),
        ev.PathMissed: _to(FAILED),
        ev.FilesMissed: _to(DOWNLOADING),
        ev.Reopened: _to(PENDING, POLLING, DOWNLOADING),
        ev.Retried: _to(PENDING, POLLING, DOWNLOADING),
    },
}

REPORT_TABLE: Table = {
    PENDING: {ev.TemplateCreated: _to(PENDING), ev.Triggered: _to(TRIGGERED), ev.Failed: _to(FAILED)},
    TRIGGERED: {
        **_AFTER_A_POST,
        ev.TriggerAnswered: _to(POLLING),
        ev.TriggerUnsent: _to(PENDING),
        ev.TriggerLetGo: _to(PENDING),
        ev.Resumed: _to(PENDING),
        ev.TemplateRefused: _to(PENDING),
    },
    RETRIED: {
        **_AFTER_A_POST,
        ev.TriggerAnswered: _to(POLLING),
        ev.TriggerUnsent: _to(POLLING),
        ev.TemplateRefused: _to(POLLING),
    },
    POLLING: {
        ev.TemplateCreated: _to(POLLING),
        ev.Triggered: _to(RETRIED),
        ev.ReportPolled: _to(POLLING, DOWNLOADING, FAILED),
        ev.ReportTimedOut: _to(POLLING, FAILED),
        ev.ReportLost: _to(POLLING, FAILED),
        ev.FilesMissed: _to(DOWNLOADING),
        ev.Failed: _to(FAILED),
    },
    DOWNLOADING: {**_OF_A_DOWNLOAD, ev.ReportLost: _to(POLLING, FAILED)},
    DOWNLOADED: {ev.FilesMissed: _to(DOWNLOADING)},
    FAILED: {
        ev.FilesMissed: _to(DOWNLOADING),
        ev.Reopened: _to(PENDING, POLLING),
        ev.Retried: _to(PENDING, POLLING),
    },
}


def _with_a_persons_no(table: Table) -> Table:
    """The table with what a person may do to whatever has not arrived: set it aside, and take that back."""
    open_ = {
        state: {**events, ev.Skipped: _to(SKIPPED)}
        for state, events in table.items()
        if state is not DOWNLOADED
    }
    return {**table, **open_, SKIPPED: {ev.Retried: table[FAILED][ev.Retried]}}


TABLES: Mapping[str, Table] = {
    "export": _with_a_persons_no(EXPORT_TABLE),
    "report": _with_a_persons_no(REPORT_TABLE),
}

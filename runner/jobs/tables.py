"""Which event may lead from which state to which: one table per kind. What follows besides is `jobs.machine`.

The diagrams of the README are drawn from these tables.
"""

from collections.abc import Mapping
from typing import Any

from runner.jobs import events as ev
from runner.jobs.model import State

_P, _T, _R = State.PENDING, State.TRIGGERED, State.RETRIED
_O, _L, _D, _F = State.POLLING, State.DOWNLOADING, State.DOWNLOADED, State.FAILED
_S = State.SKIPPED

Table = Mapping[State, Mapping[type[Any], frozenset[State]]]


def _to(*states: State) -> frozenset[State]:
    return frozenset(states)


_TRIGGERING: Mapping[type[Any], frozenset[State]] = {
    ev.TriggerLetGo: _to(_O),
    ev.TriggerAnswered: _to(_O, _L),
    ev.Resumed: _to(_O),
    ev.Failed: _to(_F),
}
_DOWNLOADING: Mapping[type[Any], frozenset[State]] = {
    ev.Fetched: _to(_L),
    ev.Named: _to(_L),
    ev.Placed: _to(_L, _D),
    ev.FilesMissed: _to(_L),
    ev.Failed: _to(_F),
}

EXPORT_TABLE: Table = {
    _P: {
        ev.Listed: _to(_P, _L, _F),
        ev.Identified: _to(_P, _L, _F),
        ev.Doubted: _to(_P),
        ev.PathMissed: _to(_P),
        ev.Triggered: _to(_T),
        ev.Failed: _to(_F),
    },
    _T: {**_TRIGGERING, ev.TriggerUnsent: _to(_P)},
    _R: {**_TRIGGERING, ev.TriggerAnswered: _to(_O), ev.TriggerUnsent: _to(_O)},
    _O: {
        ev.Listed: _to(_O, _L),
        ev.Identified: _to(_O, _L),
        ev.Doubted: _to(_O),
        ev.PathMissed: _to(_O),
        ev.PutOff: _to(_O),
        ev.Triggered: _to(_R),
        ev.Failed: _to(_F),
    },
    _L: {
        **_DOWNLOADING,
        ev.PathMissed: _to(_L),
        ev.PutOff: _to(_L),
        ev.Misattributed: _to(_P, _O, _L),
    },
    _D: {ev.Listed: _to(_D, _L), ev.Identified: _to(_D, _L), ev.PathMissed: _to(_D), ev.FilesMissed: _to(_L)},
    _F: {
        ev.Listed: _to(_F, _L),
        ev.Identified: _to(_F, _L),
        ev.PathMissed: _to(_F),
        ev.FilesMissed: _to(_L),
        ev.Reopened: _to(_P, _O, _L),
        ev.Retried: _to(_P, _O, _L),
    },
}

REPORT_TABLE: Table = {
    _P: {ev.TemplateCreated: _to(_P), ev.Triggered: _to(_T), ev.Failed: _to(_F)},
    _T: {
        **_TRIGGERING,
        ev.TriggerAnswered: _to(_O),
        ev.TriggerUnsent: _to(_P),
        ev.TriggerLetGo: _to(_P),
        ev.Resumed: _to(_P),
        ev.TemplateRefused: _to(_P),
    },
    _R: {**_TRIGGERING, ev.TriggerAnswered: _to(_O), ev.TriggerUnsent: _to(_O), ev.TemplateRefused: _to(_O)},
    _O: {
        ev.TemplateCreated: _to(_O),
        ev.Triggered: _to(_R),
        ev.ReportPolled: _to(_O, _L, _F),
        ev.ReportTimedOut: _to(_O, _F),
        ev.ReportLost: _to(_O, _F),
        ev.FilesMissed: _to(_L),
        ev.Failed: _to(_F),
    },
    _L: {**_DOWNLOADING, ev.ReportLost: _to(_O, _F)},
    _D: {ev.FilesMissed: _to(_L)},
    _F: {ev.FilesMissed: _to(_L), ev.Reopened: _to(_P, _O), ev.Retried: _to(_P, _O)},
}


def _with_a_persons_no(table: Table) -> Table:
    """The table with what a person may do to whatever has not arrived: set it aside, and take that back."""
    open_ = {state: {**events, ev.Skipped: _to(_S)} for state, events in table.items() if state is not _D}
    return {**table, **open_, _S: {ev.Retried: table[_F][ev.Retried]}}


TABLES: Mapping[str, Table] = {
    "export": _with_a_persons_no(EXPORT_TABLE),
    "report": _with_a_persons_no(REPORT_TABLE),
}

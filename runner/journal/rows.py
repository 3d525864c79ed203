"""Jobs as rows and back.

Owns what is stored of a job and how it is written: the wish and what is known as JSON, the rest as columns. Must not
know any query. A new field of a job is stored without a word here. `live` is never stored, nor is the body of a
template: that comes from the manifest.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from runner.collector import uncollected
from runner.jobs.model import (
    ErrorCode,
    ExportSpec,
    Identity,
    Job,
    ReportSpec,
    Spec,
    State,
    TemplateBody,
    TemplateId,
)
from runner.journal.protocol import EventRow

_STATES: Mapping[str, State] = {str(state): state for state in State}

# What the fields of a report are decoded as.
_StoredReport = msgspec.defstruct(
    "_StoredReport",
    [
        (f.name, TemplateId | None if f.name == "template" else f.type)
        for f in msgspec.structs.fields(ReportSpec)
    ],
    frozen=True,
)
_Snapshot = msgspec.defstruct(
    "_Snapshot",
    [
        (f.name, f.type, f.default)
        for f in msgspec.structs.fields(Job)
        if f.name not in ("id", "spec", "state", "live")
    ],
    frozen=True,
    gc=False,
    omit_defaults=True,
)
"""What is found out about a job on its way, whole at each change; its fields follow one another in a job, too."""
_known = attrgetter(*_Snapshot.__struct_fields__)
_encoder = msgspec.json.Encoder(order="deterministic")
_decode_snapshot = msgspec.json.Decoder(_Snapshot).decode
_decode_export = msgspec.json.Decoder(ExportSpec).decode
_decode_report: Callable[[str], Any] = msgspec.json.Decoder(_StoredReport).decode
_decode_numbers = msgspec.json.Decoder(frozenset[int]).decode
_asdict = msgspec.structs.asdict
_astuple = msgspec.structs.astuple

JobRow = tuple[int, str, str, str, str]
"""id, kind, state, spec, snapshot."""


@lru_cache(maxsize=4096)  # that of a trigger is stored with each event after it
def moment(at: datetime) -> str:
    """A moment as stored: UTC, as long as any other, so that text compares like time."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


@lru_cache(maxsize=64)
def day(night: date) -> str:
    """A batch date as stored."""
    return night.isoformat()


def stored(spec: Spec) -> Spec:
    """The wish as it comes back."""
    if isinstance(spec, ReportSpec) and isinstance(spec.template, TemplateBody):
        return msgspec.structs.replace(spec, template=None)
    return spec


def spec_text(spec: Spec) -> str:
    """The wish as JSON."""
    return _encoder.encode(stored(spec)).decode()


def _places(specs: Iterable[Spec]) -> dict[str, int]:
    """The places of wishes by what would be stored of them."""
    return {
        _encoder.encode(spec if isinstance(spec, ExportSpec) else stored(spec)).decode(): place
        for place, spec in enumerate(specs)
    }


def snapshot_text(job: Job) -> str:
    """What is known of the job as JSON, without what stands at its default."""
    return _encoder.encode(_Snapshot(*_known(job))).decode()


def snapshot_values(job: Job) -> tuple[str, str, int, str, str]:
    """What an event may have changed: state, error code, number of triggers, the last one's moment, the snapshot.

    What there is none of is no text.
    """
    return (
        job.state.value,
        "" if job.error is None else job.error.code.value,
        len(job.triggers),
        moment(job.triggers[-1].wall) if job.triggers else "",
        snapshot_text(job),
    )


def identities_text(identities: Iterable[Identity]) -> str:
    """Identities as the JSON that a query takes."""
    return _encoder.encode([(i.kind, i.domain, i.subject) for i in identities]).decode()


def codes_text(codes: Iterable[ErrorCode]) -> str:
    """Error codes as the JSON that a query takes."""
    return _encoder.encode([str(code) for code in codes]).decode()


def numbers_from(text: str) -> frozenset[int]:
    """The job ids of a JSON list."""
    return _decode_numbers(text)


class UnreadableError(sqlite3.DatabaseError):
    """A row holds what nobody wrote there: its disk or its memory failed."""


@contextmanager
def reading() -> Iterator[None]:
    """Tell a row that cannot be understood from a fault of this program."""
    try:
        yield
    except msgspec.MsgspecError:
        raise  # it says more, and which field
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # What stands there is not shown: nobody knows what it is.
        raise UnreadableError(f"{type(error).__name__} in a row") from error


def jobs_from(rows: Iterable[JobRow]) -> list[Job]:
    """The jobs of these rows."""
    return matched(rows, ())[1]


@reading()
@uncollected()
def matched(rows: Iterable[JobRow], wanted: Sequence[Spec]) -> tuple[list[Job | None], list[Job]]:
    """The jobs of these rows: those that want what is wanted, each at the place of its wish; and the others.

    Args:
        rows: as they come.
        wanted: values at hand: a job that wants the same by its text gets that value, and nothing is decoded.
    """
    places = _places(wanted)
    at_places: list[Job | None] = [None] * len(wanted)
    others = []
    for job_id, kind, state, wish, snapshot in rows:
        known = () if snapshot == "{}" else _astuple(_decode_snapshot(snapshot))
        place = places.get(wish)
        if place is None:
            others.append(Job(job_id, _spec(kind, wish), _STATES[state], *known))
        else:
            at_places[place] = Job(job_id, wanted[place], _STATES[state], *known)
    return at_places, others


def _spec(kind: str, wish: str) -> Spec:
    return _decode_export(wish) if kind == "export" else ReportSpec(**_asdict(_decode_report(wish)))


@reading()
def events_from(rows: Iterable[tuple[float, str, str, str | None, str, int]]) -> list[EventRow]:
    """Events as values."""
    return [
        EventRow(
            at=datetime.fromtimestamp(at, UTC),
            night=date.fromisoformat(night),
            name=name,
            state=None if state is None else _STATES[state],
            note=note,
            epoch=epoch,
        )
        for at, night, name, state, note, epoch in rows
    ]

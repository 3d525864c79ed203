"""Jobs as rows and back.

Owns what is stored of a job and how it is written: the wish and the snapshot as JSON, the rest as columns. Must not
know any query. What a job has besides `id`, `spec`, `state`, `history` and `live` is taken from the class itself, so a
new field is stored without a word here. `live` is never stored, nor is the body of a template: that comes from the
manifest.
"""

import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from runner.collector import uncollected
from runner.jobs.model import (
    ErrorCode,
    ExportSpec,
    FileRecord,
    Identity,
    Job,
    ReportSpec,
    Spec,
    State,
    TemplateBody,
    TemplateId,
    Transition,
)
from runner.journal.protocol import EventRow

_ELSEWHERE = frozenset({"id", "spec", "state", "history", "live"})
_STATES: Mapping[str, State] = {str(state): state for state in State}

# What the fields of a job and of a report are decoded as.
_Snapshot = msgspec.defstruct(
    "_Snapshot",
    [(f.name, f.type, f.default) for f in msgspec.structs.fields(Job) if f.name not in _ELSEWHERE],
    omit_defaults=True,
    frozen=True,
)
_StoredReport = msgspec.defstruct(
    "_StoredReport",
    [
        (f.name, TemplateId | None if f.name == "template" else f.type)
        for f in msgspec.structs.fields(ReportSpec)
    ],
    frozen=True,
)
_known = attrgetter(*_Snapshot.__struct_fields__)
_encoder = msgspec.json.Encoder(order="deterministic")
_decode_snapshot: Callable[[str], Any] = msgspec.json.Decoder(_Snapshot).decode
_decode_export = msgspec.json.Decoder(ExportSpec).decode
_decode_report: Callable[[str], Any] = msgspec.json.Decoder(_StoredReport).decode
_decode_file = msgspec.json.Decoder(FileRecord).decode
_asdict = msgspec.structs.asdict

JobRow = tuple[int, str, str, str, str]
"""id, kind, state, spec, snapshot."""
HistoryRow = tuple[int, str, str]
"""job id, state, moment."""
_NO_MORE: HistoryRow = (sys.maxsize, "", "")


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


def snapshot_text(job: Job) -> str:
    """What is known of the job as JSON, without what stands at its default."""
    return _encoder.encode(_Snapshot(*_known(job))).decode()


def snapshot_values(job: Job) -> tuple[str, str | None, int, str | None, str]:
    """What an event may have changed: state, error code, number of triggers, the last one's moment, the snapshot."""
    return (
        job.state.value,
        None if job.error is None else job.error.code.value,
        len(job.triggers),
        moment(job.triggers[-1].wall) if job.triggers else None,
        snapshot_text(job),
    )


def identities_text(identities: Iterable[Identity]) -> str:
    """Identities as the JSON that a query takes."""
    return _encoder.encode([(i.kind, i.domain, i.subject) for i in identities]).decode()


def codes_text(codes: Iterable[ErrorCode]) -> str:
    """Error codes as the JSON that a query takes."""
    return _encoder.encode([str(code) for code in codes]).decode()


class UnreadableError(sqlite3.DatabaseError):
    """A row holds what nobody wrote there: its disk or its memory failed."""


@contextmanager
def reading() -> Iterator[None]:
    """Tell a row that cannot be understood from a fault of this program."""
    try:
        yield
    except msgspec.MsgspecError:
        raise  # it says more, and which field
    except (LookupError, TypeError, ValueError) as error:
        # What stands there is not shown: nobody knows what it is.
        raise UnreadableError(f"{type(error).__name__} in a row") from error


@reading()
@uncollected()
def jobs_from(rows: Iterable[JobRow], histories: Iterable[HistoryRow]) -> list[Job]:
    """The jobs of these rows, each with its history; both come by the jobs' numbers."""
    parse = datetime.fromisoformat
    entered = iter(histories)
    of_job, entering, at = next(entered, _NO_MORE)
    jobs = []
    for job_id, kind, state, spec_json, snapshot in rows:
        history = []
        while of_job <= job_id:
            if of_job == job_id:
                history.append(Transition(_STATES[entering], parse(at)))
            of_job, entering, at = next(entered, _NO_MORE)
        spec = (
            _decode_export(spec_json)
            if kind == "export"
            else ReportSpec(**_asdict(_decode_report(spec_json)))
        )
        known = {} if snapshot == "{}" else _asdict(_decode_snapshot(snapshot))
        jobs.append(Job(id=job_id, spec=spec, state=_STATES[state], history=tuple(history), **known))
    return jobs


@reading()
def events_from(rows: Iterable[tuple[str, str, str, str | None, str, int]]) -> list[EventRow]:
    """Events as values."""
    return [
        EventRow(
            at=datetime.fromisoformat(at),
            night=date.fromisoformat(night),
            name=name,
            state=None if state is None else _STATES[state],
            note=note,
            epoch=epoch,
        )
        for at, night, name, state, note, epoch in rows
    ]


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file that is in its place, and whose it is."""

    job_id: int
    tenant: str
    name: str
    domain: str
    record: FileRecord


def files_from(rows: Iterable[tuple[int, str, str, str, str]]) -> list[FileRow]:
    """Files as values."""
    return [
        FileRow(job_id, tenant, name, domain, _decode_file(text))
        for job_id, tenant, name, domain, text in rows
    ]

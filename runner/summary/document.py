"""run.json: the night for programs. Owns its fields and their order; `schema` describes them.

Moments are UTC to the millisecond; `ends_at` and `starts_at` are local to Lucca and carry no zone.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import msgspec

from runner.jobs.model import ExportSpec, FileRecord, Job, ReportSpec, TemplateId
from runner.summary.night import Night, counts, ordered, outcome

SCHEMA_VERSION = 1
_NO_JOBS = b'\n  "jobs": []'
_JOBS_AT_ONCE = 500
BEGINNING_BYTES = 200
"""So much of the file holds its outcome."""


def run_document(night: Night) -> dict[str, Any]:
    """The content of run.json, ready for `encode`."""
    return {**_around(night), "jobs": [_job(job, night) for job in ordered(night.jobs)]}


def document_pieces(night: Night) -> Iterator[bytes]:
    """run.json as a file, piece by piece: of a night of any size only a few hundred jobs are held as text."""
    before, _, after = encode(_around(night)).partition(_NO_JOBS)
    jobs = ordered(night.jobs)
    if not jobs:
        yield before + _NO_JOBS + after
        return
    yield before + _NO_JOBS[:-1]
    for start in range(0, len(jobs), _JOBS_AT_ONCE):
        listed = encode([_job(job, night) for job in jobs[start : start + _JOBS_AT_ONCE]])
        # What stands between the brackets, two steps further in; no text of a job holds a line's end as such.
        yield (b"," if start else b"") + listed[1:-3].replace(b"\n", b"\n  ")
    yield b"\n  ]" + after


def says_running(beginning: bytes) -> bool:
    """Whether a run.json that begins so says that its night is running, or died."""
    return b'\n  "outcome": "running",' in beginning


def _around(night: Night) -> dict[str, Any]:
    """Everything but the jobs."""
    tally = counts(night.jobs)
    return {
        "schema_version": SCHEMA_VERSION,
        "date": night.date.isoformat(),
        "outcome": outcome(night),
        "started_at": moment(night.started_at),
        "finished_at": None if night.finished_at is None else moment(night.finished_at),
        "counts": {"downloaded": tally.downloaded, "failed": tally.failed, "unfinished": tally.unfinished},
        "problems": [{"tenant": problem.tenant, "message": problem.message} for problem in night.problems],
        "jobs": [],
        "notices": list(night.notices),
        "reason": night.reason,
        "written_at": moment(night.now),
    }


def encode(document: object) -> bytes:
    """The document, or a part of it, as a file: UTF-8, indented, with a last newline."""
    try:
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    except UnicodeEncodeError:
        # Half a character can come out of a server's message; escaped it is still JSON.
        text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
        return text.encode("utf-8", "backslashreplace")


def moment(at: datetime) -> str:
    """A moment as run.json writes it: `2026-11-24T01:00:00.000Z`."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return f"{at.isoformat(timespec='milliseconds')[:-6]}Z"


def relative_path(record: FileRecord, night: Night) -> str:
    """Where a file is, seen from the folder of run.json."""
    folder, _, rest = record.path.partition("/")
    return rest if folder == night.date.isoformat() else f"../{record.path}"


def placed_files(job: Job) -> list[FileRecord]:
    """The files that stand in their places, by path."""
    placed = [record for record in job.files if record.placed]
    return sorted(placed, key=attrgetter("path")) if len(placed) > 1 else placed


def entry_count(job: Job) -> int | None:
    """How many entries all its exports hold together; None where none is downloaded."""
    return sum([content.entries for content in job.contents]) if job.contents else None


def begins_at(job: Job) -> str | None:
    """Where the earliest of its exports begins, as Lucca wrote it."""
    if not job.contents:
        return None
    return min((content.starts_at for content in job.contents if content.starts_at), default=None)


def _job(job: Job, night: Night) -> dict[str, Any]:
    spec = job.spec
    told: dict[str, Any] = {
        "tenant": spec.tenant,
        "domain": spec.domain,
        "kind": spec.kind,
        "name": spec.name,
        "due": spec.due.isoformat(),
        "state": job.state,
    }
    told.update(_export(spec, job) if isinstance(spec, ExportSpec) else _report(spec, job))
    told["flags"] = sorted(job.flags) if job.flags else []
    told["files"] = [
        {"path": relative_path(record, night), "bytes": record.size_bytes, "sha256": record.sha256}
        for record in placed_files(job)
    ]
    error = job.error
    told["error"] = None if error is None else {"code": error.code, "message": error.message}
    told["transitions"] = [{"state": entry.state, "at": moment(entry.at)} for entry in job.history]
    if spec.kind == "export":
        told["foreign_ids"] = list(job.foreign_ids)
        told["superseded_by"] = job.superseded_by
    info = night.tenants.get(spec.tenant)
    told["label"] = None if info is None else info.label
    return told


def _export(spec: ExportSpec, job: Job) -> dict[str, Any]:
    return {
        "configuration_id": spec.configuration_id,
        "ends_at": f"{spec.ends_at.isoformat()}T00:00:00",
        "starts_at": begins_at(job),
        "triggers": len(job.triggers),
        "baseline_id": job.baseline_id,
        "remote_ids": list(job.remote_ids),
        "entries": entry_count(job),
    }


def _report(spec: ReportSpec, job: Job) -> dict[str, Any]:
    return {
        "template_id": spec.template.id if isinstance(spec.template, TemplateId) else job.template_id,
        "starts_on": None if spec.starts_on is None else spec.starts_on.isoformat(),
        "ends_on": None if spec.ends_on is None else spec.ends_on.isoformat(),
        "triggers": len(job.triggers),
        "remote_ids": list(job.remote_ids),
    }

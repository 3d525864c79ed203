"""run.json: the night for programs. Owns its fields and their order; `schema` describes them.

Moments are UTC to the millisecond; `ends_at` and `starts_at` are local to Lucca and carry no zone.
"""

import json
import posixpath
from datetime import UTC, datetime
from typing import Any

import msgspec

from runner.jobs.model import ExportSpec, FileRecord, Job, ReportSpec, TemplateId
from runner.summary.night import Night, counts, ordered, outcome

SCHEMA_VERSION = 1


def run_document(night: Night) -> dict[str, Any]:
    """The content of run.json, ready for `encode`."""
    tally = counts(night.jobs)
    return {
        "schema_version": SCHEMA_VERSION,
        "date": night.date.isoformat(),
        "outcome": outcome(night),
        "started_at": moment(night.started_at),
        "finished_at": None if night.finished_at is None else moment(night.finished_at),
        "counts": {"downloaded": tally.downloaded, "failed": tally.failed, "unfinished": tally.unfinished},
        "problems": [{"tenant": problem.tenant, "message": problem.message} for problem in night.problems],
        "jobs": [_job(job, night) for job in ordered(night.jobs)],
        "notices": list(night.notices),
        "reason": night.reason,
        "written_at": moment(night.now),
    }


def encode(document: dict[str, Any]) -> bytes:
    """The document as a file: UTF-8, indented, with a last newline."""
    try:
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    except UnicodeEncodeError:
        # Half a character can come out of a server's message; escaped it is still JSON.
        text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
        return text.encode("utf-8", "backslashreplace")


def moment(at: datetime) -> str:
    """A moment as run.json writes it: `2026-11-24T01:00:00.000Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def relative_path(record: FileRecord, night: Night) -> str:
    """Where a file is, seen from the folder of run.json."""
    return posixpath.relpath(record.path, night.date.isoformat())


def placed_files(job: Job) -> list[FileRecord]:
    """The files that stand in their places, by path."""
    return sorted((record for record in job.files if record.placed), key=lambda record: record.path)


def entry_count(job: Job) -> int | None:
    """How many entries all its exports hold together; None where none is downloaded."""
    return sum(content.entries for content in job.contents) if job.contents else None


def begins_at(job: Job) -> str | None:
    """Where the earliest of its exports begins, as Lucca wrote it."""
    return min((content.starts_at for content in job.contents if content.starts_at), default=None)


def _job(job: Job, night: Night) -> dict[str, Any]:
    spec = job.spec
    info = night.tenants.get(spec.tenant)
    return {
        "tenant": spec.tenant,
        "domain": spec.domain,
        "kind": spec.kind,
        "name": spec.name,
        "due": spec.due.isoformat(),
        "state": job.state.value,
        **(_export(spec, job) if isinstance(spec, ExportSpec) else _report(spec, job)),
        "flags": sorted(flag.value for flag in job.flags),
        "files": [
            {"path": relative_path(record, night), "bytes": record.size_bytes, "sha256": record.sha256}
            for record in placed_files(job)
        ],
        "error": None if job.error is None else {"code": job.error.code.value, "message": job.error.message},
        "transitions": [{"state": entry.state.value, "at": moment(entry.at)} for entry in job.history],
        **(
            {"foreign_ids": list(job.foreign_ids), "superseded_by": job.superseded_by}
            if spec.kind == "export"
            else {}
        ),
        "label": None if info is None else info.label,
    }


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

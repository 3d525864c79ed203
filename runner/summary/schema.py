"""The JSON Schema of run.json, for programs that read it. Later versions may add fields, never change these."""

from typing import Any

from runner.jobs.model import ErrorCode, Flag, State
from runner.summary.document import SCHEMA_VERSION

_MOMENT = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
    "description": "UTC, to the millisecond.",
}
_DAY = {"type": "string", "format": "date"}
_COUNT = {"type": "integer", "minimum": 0}
_IDS = {"type": "array", "items": {"type": "integer"}}


def run_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of run.json."""
    fields = {
        "schema_version": {"const": SCHEMA_VERSION},
        "date": {**_DAY, "description": "The batch date; also the name of the folder."},
        "outcome": {
            "enum": ["running", "ok", "failed", "incomplete"],
            "description": "running: not over, or dead if written_at is minutes ago; failed: something needs a person; "
            "incomplete: the next run goes on.",
        },
        "started_at": _MOMENT,
        "finished_at": _or_null(_MOMENT),
        "counts": _object({"downloaded": _COUNT, "failed": _COUNT, "unfinished": _COUNT}),
        "problems": _list(
            _object({"tenant": _or_null({"type": "string"}), "message": {"type": "string"}}),
            "Faults of the manifest; each stopped its tenant.",
        ),
        "jobs": _list({"oneOf": [{"$ref": "#/$defs/export"}, {"$ref": "#/$defs/report"}]}),
        "notices": _list({"type": "string"}, "Told, but no fault."),
        "reason": {
            "type": ["string", "null"],
            "description": "Why the run stopped early: deadline, SIGTERM, SIGHUP, SIGINT, storage, internal, died.",
        },
        "written_at": _MOMENT,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "run.json",
        "description": "What a night did, job by job. File paths are relative to the folder of run.json.",
        **_object(fields),
        "$defs": {
            "export": _object({**_subject("export"), **_EXPORT, **_COMMON, **_EXPORT_LAST, **_LABEL}),
            "report": _object({**_subject("report"), **_REPORT, **_COMMON, **_LABEL}),
            "file": _object(
                {
                    "path": {"type": "string"},
                    "bytes": _COUNT,
                    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                }
            ),
        },
    }


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(fields), "properties": fields}


def _list(items: dict[str, Any], description: str = "") -> dict[str, Any]:
    told = {"description": description} if description else {}
    return {"type": "array", **told, "items": items}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]}


def _subject(kind: str) -> dict[str, Any]:
    return {
        "tenant": {"type": "string"},
        "domain": {"type": "string"},
        "kind": {"const": kind},
        "name": {"type": "string"},
        "due": _DAY,
        "state": {"enum": [state.value for state in State]},
    }


_EXPORT = {
    "configuration_id": {"type": "integer"},
    "ends_at": {
        "type": "string",
        "pattern": r"^\d{4}-\d{2}-\d{2}T00:00:00$",
        "description": "Exclusive: a Monday includes the Sunday before.",
    },
    "starts_at": {"type": ["string", "null"], "description": "Where Lucca's answer begins, as it wrote it."},
    "triggers": {**_COUNT, "description": "POSTs that may have left."},
    "baseline_id": {
        "type": ["integer", "null"],
        "description": "The latest export before the first trigger, 0 if there was none.",
    },
    "remote_ids": {**_IDS, "description": "The exports that answer this job."},
    "entries": {"type": ["integer", "null"], "minimum": 0, "description": "Of all its exports together."},
}
_REPORT = {
    "template_id": {"type": ["integer", "null"]},
    "starts_on": {**_or_null(_DAY), "description": "null: the template's own period."},
    "ends_on": {**_or_null(_DAY), "description": "null: the template's own period."},
    "triggers": {**_COUNT, "description": "POSTs that may have left."},
    "remote_ids": {**_IDS, "description": "The report that answers this job."},
}
_COMMON = {
    "flags": {"type": "array", "uniqueItems": True, "items": {"enum": sorted(flag.value for flag in Flag)}},
    "files": _list(
        {"$ref": "#/$defs/file"},
        "Those that stand in their places. Where a report was made anew, the earlier one's too: "
        "remote_ids tells which counts.",
    ),
    "error": {
        "type": ["object", "null"],
        "required": ["code", "message"],
        "properties": {"code": {"enum": [code.value for code in ErrorCode]}, "message": {"type": "string"}},
    },
    "transitions": _list(
        _object({"state": {"enum": [state.value for state in State]}, "at": _MOMENT}),
        "Every state entered, in order, but for the first pending.",
    ),
}
_EXPORT_LAST = {
    "foreign_ids": {**_IDS, "description": "Exports that appeared meanwhile and are not ours."},
    "superseded_by": {"type": ["integer", "null"], "description": "An export with a later ends_at."},
}
_LABEL = {"label": {"type": ["string", "null"], "description": "What people call the tenant."}}

"""run.json, its schema, and the exit code."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from runner.jobs.model import ErrorCode, Flag, Job, State
from runner.summary.document import document_pieces, encode, run_document
from runner.summary.exitcode import exit_code
from runner.summary.night import Night, Problem, outcome
from runner.summary.schema import run_schema
from tests.summary_samples import export, good_night, large_night, night, report, troubled_night

SCHEMA_FILE = Path(__file__).parent.parent / "docs" / "run.schema.json"
NIGHTS = {
    "good": good_night(),
    "troubled": troubled_night(),
    "running": troubled_night(running=True),
    "large": large_night(30),
    "empty": night(),
}
PROBLEM = Problem("globex", "tenants.yaml:31:9: tenants[3]: unknown key")


def only_job(told: Night) -> dict[str, Any]:
    (job,) = run_document(told)["jobs"]
    assert isinstance(job, dict)
    return job


def objects(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Iterator[tuple[set[str], set[str]]]:
    """The fields of every object in the document beside those that the schema names."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    if "oneOf" in schema:
        schema = root["$defs"][value["kind"]]
    if isinstance(value, dict):
        yield set(value), set(schema["properties"])
        for key, child in value.items():
            yield from objects(child, schema["properties"][key], root)
    elif isinstance(value, list):
        for child in value:
            yield from objects(child, schema["items"], root)


@pytest.mark.parametrize("name", NIGHTS)
def test_every_night_validates_against_the_schema(name: str) -> None:
    validator = Draft202012Validator(run_schema(), format_checker=FormatChecker())
    assert list(validator.iter_errors(json.loads(encode(run_document(NIGHTS[name]))))) == []


@pytest.mark.parametrize("name", [*NIGHTS, "many"])
def test_the_file_written_piece_by_piece_is_the_whole_document(name: str) -> None:
    told = large_night(700) if name == "many" else NIGHTS[name]
    assert b"".join(document_pieces(told)) == encode(run_document(told))


def test_a_night_of_any_size_is_never_held_as_one_text() -> None:
    small, large = (max(map(len, document_pieces(large_night(clients)))) for clients in (500, 2000))
    assert large == pytest.approx(small, rel=0.1)


@pytest.mark.parametrize("name", NIGHTS)
def test_the_schema_names_every_field_that_is_written(name: str) -> None:
    schema = run_schema()
    for fields, named in objects(run_document(NIGHTS[name]), schema, schema):
        assert fields == named


def test_the_schema_is_itself_valid_and_the_one_in_docs() -> None:
    Draft202012Validator.check_schema(run_schema())
    assert SCHEMA_FILE.read_bytes() == encode(run_schema()), "write it anew from run_schema()"


def test_an_export_tells_its_fields_in_their_order() -> None:
    assert only_job(night(export())) == {
        "tenant": "acme",
        "domain": "acme.ilucca.net",
        "kind": "export",
        "name": "payroll",
        "due": "2026-11-24",
        "state": "downloaded",
        "configuration_id": 3,
        "ends_at": "2026-11-23T00:00:00",
        "starts_at": "2026-10-26T00:00:00",
        "triggers": 1,
        "baseline_id": 289,
        "remote_ids": [290],
        "entries": 412,
        "flags": [],
        "files": [
            {"path": "acme/payroll-290.csv", "bytes": 39766, "sha256": f"{290:064x}"},
            {"path": "acme/payroll-290.json", "bytes": 136586, "sha256": f"{290:064x}"},
        ],
        "error": None,
        "transitions": [
            {"state": "triggered", "at": "2026-11-24T01:00:00.250Z"},
            {"state": "polling", "at": "2026-11-24T01:00:07.250Z"},
            {"state": "downloading", "at": "2026-11-24T01:00:14.250Z"},
            {"state": "downloaded", "at": "2026-11-24T01:00:21.250Z"},
        ],
        "foreign_ids": [],
        "superseded_by": None,
        "label": "Acme SAS",
    }
    head = [
        "tenant",
        "domain",
        "kind",
        "name",
        "due",
        "state",
        "configuration_id",
        "ends_at",
        "starts_at",
        "triggers",
    ]
    assert list(only_job(night(export())))[: len(head)] == head


def test_a_report_tells_its_template_and_its_period_instead() -> None:
    told = only_job(night(report()))
    assert (told["template_id"], told["starts_on"], told["ends_on"]) == (12, "2026-11-01", "2026-11-30")
    assert not {"configuration_id", "ends_at", "starts_at", "baseline_id", "entries"} & set(told)


def test_a_report_from_an_inline_template_tells_the_id_that_was_made_for_it() -> None:
    told = only_job(night(report(inline=True, days=None)))
    assert (told["template_id"], told["starts_on"], told["ends_on"]) == (77, None, None)


def test_files_of_another_night_are_found_from_this_one() -> None:
    told = only_job(night(export(folder=date(2026, 11, 23), formats=("json",))))
    assert [file["path"] for file in told["files"]] == ["../2026-11-23/acme/payroll-290.json"]


def test_what_is_not_there_is_not_told_as_a_file_and_not_counted_as_no_entries() -> None:
    told = only_job(night(export(state=State.POLLING)))
    assert (told["files"], told["entries"], told["starts_at"]) == ([], None, None)


def test_entries_are_counted_over_all_versions() -> None:
    assert only_job(night(export(ids=(290, 292), flags=frozenset({Flag.DUPLICATE}))))["entries"] == 824


def test_jobs_stand_by_tenant_kind_name_and_due_date() -> None:
    shuffled = [
        report("b"),
        export("b", due=date(2026, 11, 25)),
        export("b"),
        export("b", "a"),
        export("a", "z"),
    ]
    told = [(j["tenant"], j["kind"], j["name"], j["due"]) for j in run_document(night(*shuffled))["jobs"]]
    assert told == sorted(told)


def test_moments_can_be_parsed_and_are_utc() -> None:
    told = run_document(good_night())
    assert datetime.fromisoformat(told["started_at"]) == datetime(2026, 11, 24, 1, tzinfo=UTC)
    assert told["finished_at"].endswith("Z")
    assert run_document(troubled_night(running=True))["finished_at"] is None


def test_counts_leave_out_what_a_person_skipped() -> None:
    told = run_document(troubled_night())
    assert told["counts"] == {"downloaded": 8, "failed": 13, "unfinished": 4}
    assert sum(told["counts"].values()) == len(told["jobs"]) - 1


def test_half_a_character_in_a_message_is_still_json() -> None:
    job = export(state=State.FAILED, code=ErrorCode.REJECTED, detail="\ud83d é\n\x1b[31m")
    read = json.loads(b"".join(document_pieces(night(job))).decode("utf-8"))
    assert read == json.loads(encode(run_document(night(job))).decode("utf-8"))
    assert "\ud83d é" in read["jobs"][0]["error"]["message"]


@pytest.mark.parametrize(
    "told, word",
    [
        (night(running=True), "running"),
        (night(export(state=State.POLLING), running=True), "running"),
        (night(), "ok"),
        (good_night(), "ok"),
        (night(export(state=State.SKIPPED, flags=frozenset({Flag.DUPLICATE}))), "ok"),
        (night(export(), reason="SIGTERM"), "ok"),
        (night(export(), reason="storage"), "failed"),
        (night(export(), problems=(PROBLEM,)), "failed"),
        (night(export(flags=frozenset({Flag.EMPTY}))), "failed"),
        (night(export(state=State.FAILED, code=ErrorCode.SECRET)), "failed"),
        (night(export(state=State.FAILED, code=ErrorCode.SECRET), report(state=State.PENDING)), "incomplete"),
    ],
)
def test_the_outcome_is_the_worst_that_holds(told: Night, word: str) -> None:
    assert outcome(told) == word


FAILED = export(state=State.FAILED, code=ErrorCode.NO_EXPORT)
WAITING = export(state=State.RETRIED)


@pytest.mark.parametrize(
    "jobs, problems, reason, code",
    [
        ([], [], None, 0),
        ([export()], [], None, 0),
        ([export(flags=frozenset({Flag.ADOPTED, Flag.FOREIGN}))], [], None, 0),
        ([export(state=State.SKIPPED, flags=frozenset({Flag.EMPTY}))], [], None, 0),
        ([export()], [], "deadline", 0),
        ([export(flags=frozenset({Flag.DUPLICATE}))], [], None, 3),
        ([export(flags=frozenset({Flag.EMPTY}))], [], None, 3),
        ([export(flags=frozenset({Flag.DERIVED}))], [], None, 3),
        ([FAILED], [], None, 3),
        ([export()], [PROBLEM], None, 3),
        ([FAILED, WAITING], [PROBLEM], "deadline", 4),
        ([WAITING], [], "storage", 6),
        ([WAITING], [], "internal", 1),
        ([WAITING], [], "SIGTERM", 143),
        ([WAITING], [], "stale", 5),
        ([WAITING], [], "SIGHUP", 143),
        ([FAILED], [], "SIGINT", 130),
        ([FAILED], [], "a reason of a later version", 3),
    ],
)
def test_the_exit_code_is_the_first_that_holds(
    jobs: list[Job], problems: list[Problem], reason: str | None, code: int
) -> None:
    assert exit_code(jobs=jobs, problems=problems, reason=reason) == code


def test_a_night_without_a_name_for_its_tenant_says_so() -> None:
    assert only_job(replace(night(export()), tenants={}))["label"] is None

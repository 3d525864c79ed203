"""Answers that are not what was asked for, each by its name: none is ever stored, and the job recovers or says why.

Every row is played twice through the whole program: as a mood of two requests, after which the night ends as if nothing
had been, and for ever, after which the job fails with `bad_answer` and nothing lies in its folder.
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from runner.jobs import model as m
from runner.sandbox import (
    Configuration,
    Cut,
    Delay,
    Fault,
    Gzip,
    Html,
    RawBody,
    Redirect,
    RequestRecord,
    Status,
    TenantScenario,
    Trickle,
    Trigger,
)
from tests.nights import BODY, DOMAIN, Setting, Told, export, night, report, tenant

OURS = "2026-11-23T00:00:00"
TRIES = 6
"""The first and at least five more."""

# What nobody may take for an answer of any kind.
NOTHING_AT_ALL: dict[str, Fault] = {
    "a login page": Html(),
    "a login page, labelled JSON": RawBody("<!DOCTYPE html><html><body>Connexion</body></html>"),
    "a redirect to the login page": Redirect("/identity/login?ReturnUrl=%2F"),
    "a redirect to another host": Redirect("https://login.example.com/identity/login", 307),
    "nothing": RawBody(""),
    "no content, said aloud": RawBody("", status=204),
    "not modified": RawBody("", status=304),
    "spaces": RawBody("  \n "),
    "null": RawBody("null"),
    "a word": RawBody('"ok"'),
    "an empty object": RawBody("{}"),
    "an error labelled success": RawBody('{"Status": 500, "Message": "Oops"}'),
    "cut in the middle": Cut(15),
    "cut where only the content tells": Cut(15, announced=False),
    "gzip without its end": Gzip(cut_bytes=9),
}
NOT_JSON: dict[str, Fault] = {
    "half of a JSON object": RawBody('{"data": {"items": ['),
    "JSON with more behind": RawBody('{"data": {"items": []}} {"data": 1}'),
    "an abyss of brackets": RawBody("[" * 100_000),
    "letters that are none": RawBody(
        '{"data": "\ud800"}'.encode("utf-8", "surrogatepass").decode("latin-1")[:12]
    ),
}
NO_LIST: dict[str, Fault] = {
    "a list of numbers": RawBody('{"data": {"items": [290]}}'),
    "items that are no list": RawBody('{"data": {"items": {"id": 290}}}'),
    "a list without ids": RawBody('{"data": {"items": [{"createdAt": "2026-11-24T01:00:00Z"}]}}'),
    "an id of letters": RawBody('{"data": {"items": [{"id": "abc"}]}}'),
    "an id of nought": RawBody('{"data": {"items": [{"id": 0}]}}'),
    "an id below nought": RawBody('{"data": {"items": [{"id": -290}]}}'),
    "an id with a fraction": RawBody('{"data": {"items": [{"id": 290.5}]}}'),
    "an id that is true": RawBody('{"data": {"items": [{"id": true}]}}'),
    "an id beyond all numbers": RawBody('{"data": {"items": [{"id": 99999999999999999999}]}}'),
}
NO_CONTENT: dict[str, Fault] = {
    "another export": RawBody(f'{{"data": {{"id": 7, "endsAt": "{OURS}", "entries": []}}}}'),
    "an export without an id": RawBody('{"data": {"entries": []}}'),
    "a list": RawBody('{"data": {"items": []}}'),
    "a part, said to be one": RawBody('{"data": {"id": 341, "entries": []}}', status=206),
    "something to come": RawBody('{"data": {"id": 341, "entries": []}}', status=202),
    "an export without entries": RawBody('{"data": {"id": 341, "configurationId": 3}}'),
    "entries that are null": RawBody('{"data": {"id": 341, "entries": null}}'),
    "entries that are no list": RawBody('{"data": {"id": 341, "entries": {"items": []}}}'),
    "a key twice": RawBody('{"data": {"id": 341, "entries": [], "entries": [1]}}'),
    "a trickle": Trickle(100),
}
NO_ID: dict[str, Fault] = {
    "an id of letters": RawBody('{"id": "new"}'),
    "an id of nought": RawBody('{"id": 0}'),
    "a list": RawBody('[{"id": 5}]'),
}
NO_STATUS: dict[str, Fault] = {
    "a status that is a number": RawBody('{"id": 72, "status": 3}'),
    "no status": RawBody('{"id": 72}'),
    "the status of another report": RawBody('{"id": 7, "status": "done"}'),
}
NO_REPORT: dict[str, Fault] = {
    "an object labelled JSON": RawBody('{"title": "Oops"}'),
    "an object labelled a file": RawBody('{"title": "Oops"}', "application/octet-stream"),
    "a page labelled a file": RawBody("\n<!DOCTYPE html><html></html>", "application/octet-stream"),
    "an empty file": RawBody("", "application/octet-stream"),
    "a part, said to be one": RawBody("Nom;Heures\r\nZo", "application/octet-stream", status=206),
    "something to come": RawBody("En cours de traitement", "text/plain", status=202),
    "nothing, reset": RawBody("", "application/octet-stream", status=205),
    "a trickle": Trickle(10),
}


def rows(kind: str, *tables: dict[str, Fault]) -> list[object]:
    return [
        pytest.param(kind, fault, id=f"{kind}, {name}") for table in tables for name, fault in table.items()
    ]


LIES = [
    *rows("list", NOTHING_AT_ALL, NOT_JSON, NO_LIST),
    *rows("poll", NOTHING_AT_ALL, NOT_JSON, NO_LIST),
    *rows("content", NOTHING_AT_ALL, NOT_JSON, NO_CONTENT),
    *rows("report.create", NOTHING_AT_ALL, NO_ID),
    *rows("template.create", NOTHING_AT_ALL, NO_ID),
    *rows("report.poll", NOTHING_AT_ALL, NO_STATUS),
    *rows("report.download", NOTHING_AT_ALL, NO_REPORT),
]


def of(kind: str, fault: Fault, *, times: int) -> Callable[[RequestRecord], Fault | None]:
    """Bend the first requests of a kind. A POST whose answer lies was executed all the same."""
    return lambda record: fault if record.kind == kind and record.nth_of_kind <= times else None


def played(root: Path, kind: str, setting: Setting) -> Told:
    """A night with one job that sends requests of this kind."""
    if kind in ("list", "poll", "content", "trigger"):
        slow = Trigger(seconds=60.0 if kind == "poll" else 1.0)
        host = TenantScenario(
            domain=DOMAIN, requests_per_minute=1000, configurations=(Configuration(trigger=slow),)
        )
        return night(root, [tenant(exports=[export()])], [host], setting)
    template = BODY if kind == "template.create" else m.TemplateId(12)
    return night(root, [tenant(reports=[report(template=template)])], setting=setting)


def label(kind: str) -> str:
    return "acme/times" if "report" in kind or "template" in kind else "acme/payroll"


@cache
def truth(kind: str, root: Path) -> dict[str, bytes]:
    told = played(root, kind, Setting())
    assert told.code == 0
    return contents(told)


def contents(told: Told) -> dict[str, bytes]:
    """The files, but for the moment at which an export was made."""
    return {name: re.sub(rb'"createdAt":"[^"]*"', b"", content) for name, content in told.files().items()}


@pytest.mark.parametrize("kind, fault", LIES)
def test_a_lie_of_the_moment_is_asked_again_and_leaves_no_trace(
    kind: str, fault: Fault, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    told = played(tmp_path, kind, Setting(bend=of(kind, fault, times=2)))
    job = told.jobs[label(kind)]
    assert (told.code, job.state, job.error, job.flags - {m.Flag.FOREIGN}) == (
        0,
        m.State.DOWNLOADED,
        None,
        frozenset(),
    )
    assert len(told.asked("trigger")) <= 1
    if (
        kind != "report.create"
    ):  # an answer that lies made a report all the same, so the next one has another number
        assert contents(told) == truth(kind, tmp_path_factory.getbasetemp() / f"truth-{kind}")


@pytest.mark.parametrize("kind, fault", LIES)
def test_a_lie_for_ever_is_asked_again_five_times_and_ends_as_a_bad_answer(
    kind: str, fault: Fault, tmp_path: Path
) -> None:
    told = played(tmp_path, kind, Setting(bend=of(kind, fault, times=10**9), until_seconds=600.0))
    job = told.jobs[label(kind)]
    if isinstance(fault, Trickle):
        # Too slow is trouble of the line, which is waited out; what it must never be is taken.
        assert (told.code, told.files()) == (4, {})
        return
    assert told.code == 3
    assert told.files() == {}
    assert job.state is m.State.FAILED
    assert job.error is not None
    assert job.error.code is m.ErrorCode.BAD_ANSWER
    assert job.error.message.startswith(f"{job.label} ({DOMAIN})")
    assert "To do: open the tenant in a browser" in job.error.message
    asked = [record.at_seconds for record in told.asked(kind)]
    assert len(asked) == TRIES
    pauses = [after - before for before, after in pairwise(asked)]
    assert 0.5 <= pauses[0] < 1.0
    assert all(later > sooner for sooner, later in pairwise(pauses))
    assert told.journaled[job.label].error == job.error
    assert told.document["counts"]["failed"] == 1


def test_a_post_whose_answer_lies_is_followed_by_polls_and_by_no_second_post(tmp_path: Path) -> None:
    lies = {
        **NOTHING_AT_ALL,
        **NOT_JSON,
        "no id": RawBody('{"data": {}}'),
        "an id below": RawBody('{"data": {"id": 1}}'),
    }
    for name, fault in lies.items():
        executed = fault if isinstance(fault, Cut | Gzip | Trickle | Delay) else replace(fault, executes=True)
        told = played(
            tmp_path / name.replace(" ", "-"), "trigger", Setting(bend=of("trigger", executed, times=9))
        )
        job = told.jobs["acme/payroll"]
        assert (name, told.code, job.state, len(told.asked("trigger"))) == (name, 0, m.State.DOWNLOADED, 1)
        assert entries(told) == told.entries[DOMAIN, job.remote_ids[0]]


def entries(told: Told) -> list[int]:
    (content,) = told.files().values()
    return [entry["id"] for entry in json.loads(content)["data"]["entries"]]


def test_a_post_that_tells_a_number_nobody_knows_is_not_believed(tmp_path: Path) -> None:
    wrong = RawBody('{"data": {"id": 99999}}', executes=True)
    told = played(tmp_path, "trigger", Setting(bend=of("trigger", wrong, times=1)))
    job = told.jobs["acme/payroll"]
    assert (told.code, job.state, job.remote_ids) == (0, m.State.DOWNLOADED, (341,))
    assert len(told.asked("trigger")) == 1
    assert entries(told) == told.entries[DOMAIN, 341]


def test_a_list_and_a_content_that_differ_about_the_end_are_a_bad_answer(tmp_path: Path) -> None:
    other = '{"data": {"id": 341, "configurationId": 3, "endsAt": "2026-11-16T00:00:00", "entries": []}}'
    told = played(tmp_path, "content", Setting(bend=of("content", RawBody(other), times=10**9)))
    job = told.jobs["acme/payroll"]
    assert job.error is not None
    assert job.error.code is m.ErrorCode.BAD_ANSWER
    assert "its content tells another end than was told before" in job.error.message
    assert told.files() == {}


def test_a_list_that_shows_only_what_is_below_the_baseline_is_an_empty_list(tmp_path: Path) -> None:
    old = RawBody('{"data": {"items": [{"id": 5, "endsAt": "2026-11-23T00:00:00"}]}}')
    told = played(tmp_path, "poll", Setting(bend=of("poll", old, times=3)))
    assert told.jobs["acme/payroll"].remote_ids == (341,)


DEFINITE: dict[str, tuple[Fault, m.ErrorCode]] = {
    "401": (Status(401), m.ErrorCode.KEY_REFUSED),
    "403": (Status(403), m.ErrorCode.FORBIDDEN),
    "400 with its reason": (Status(400, '{"Message": "endsAt must be midnight"}'), m.ErrorCode.REJECTED),
    "409 with its reason": (Status(409, '{"title": "Conflict", "detail": "closed"}'), m.ErrorCode.REJECTED),
}


@pytest.mark.parametrize(
    "kind", ["list", "poll", "trigger", "content", "report.create", "report.poll", "report.download"]
)
@pytest.mark.parametrize("fault, code", DEFINITE.values(), ids=DEFINITE)
def test_a_definite_no_is_asked_once_and_told_with_its_remedy(
    kind: str, fault: Fault, code: m.ErrorCode, tmp_path: Path
) -> None:
    told = played(tmp_path, kind, Setting(bend=of(kind, fault, times=10**9)))
    job = told.jobs[label(kind)]
    assert job.error is not None
    assert (told.code, job.state, job.error.code, len(told.asked(kind))) == (3, m.State.FAILED, code, 1)
    assert job.error.message.startswith(f"{job.label} ({DOMAIN})")
    assert "To do: " in job.error.message
    assert told.files() == {}


def test_an_unknown_configuration_is_not_found_under_either_path(tmp_path: Path) -> None:
    told = played(tmp_path, "content", Setting(bend=of("content", Status(404), times=10**9)))
    job = told.jobs["acme/payroll"]
    assert job.error is not None
    assert job.error.code is m.ErrorCode.NOT_FOUND
    assert {record.path.count("/api/v3") for record in told.asked("content")} == {1, 2}


KEY = "d8f7a1c2-0b3e-4f5a-9c6d-7e8f90a1b2c3"


@pytest.mark.parametrize(
    "shown",
    [KEY, KEY.upper(), KEY.replace("-", ""), b64encode(KEY.encode()).decode()],
    ids=["as sent", "in capitals", "without dashes", "in base64"],
)
@pytest.mark.parametrize("before", [*range(150, 200, 7), 0])
def test_a_server_that_echoes_the_key_gets_it_into_no_file(shown: str, before: int, tmp_path: Path) -> None:
    message = "x" * before + shown + " is wrong, " + "x" * 300
    host = TenantScenario(domain=DOMAIN, key=KEY, requests_per_minute=1000)
    echo = Status(400, json.dumps({"Message": message}))
    told = night(tmp_path, [tenant(exports=[export()])], [host], Setting(bend=of("trigger", echo, times=1)))
    assert told.jobs["acme/payroll"].error is not None
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert shown[12:24].encode() not in content, path
            assert KEY[:8].encode() not in content.lower(), path
            assert KEY[9:18].encode() not in content.lower(), path

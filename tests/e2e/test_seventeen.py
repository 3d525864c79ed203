"""A night of seventeen clients, each with another trouble, and the same night started again."""

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runner.sandbox import (
    MOODS,
    Configuration,
    Reset,
    Scenario,
    StaffExport,
    Status,
    TenantScenario,
    Trigger,
    TriggerRecord,
)
from runner.sandbox.scenario import DEFAULT_DATE, latest_monday
from tests.e2e.bureau import HOUR_SECONDS, Bureau, Result, check_files, executed_too_soon, lucca

MONDAY = latest_monday(DEFAULT_DATE)
WEEK = timedelta(days=7)
FAST = ["triggered", "downloading", "downloaded"]
POLLED = ["triggered", "polling", "downloading", "downloaded"]
AGAIN = ["triggered", "polling", "retried", "polling", "downloading", "downloaded"]


def of_trigger(domain: str, *triggers: Trigger, **more: Any) -> TenantScenario:
    return TenantScenario(domain=domain, configurations=(Configuration(triggers=triggers),), **more)


def mood(name: str) -> TenantScenario:
    """The tenant of a mood; its exports take no time that nobody listens to."""
    tenant = MOODS[name](f"{name.replace('_', '-')}.ilucca.net", DEFAULT_DATE, HOUR_SECONDS)
    if tenant.configurations != (Configuration(),):
        return tenant
    return replace(tenant, configurations=(Configuration(trigger=Trigger(seconds=0.3)),))


def tenants() -> tuple[TenantScenario, ...]:
    gone = Trigger(completes=False, answer=Status(504), answer_seconds=0.2)
    return (
        mood("prompt"),
        of_trigger("slow.ilucca.net", Trigger(seconds=HOUR_SECONDS * 0.7)),
        of_trigger("silent.ilucca.net", Trigger(completes=False)),
        of_trigger(
            "late.ilucca.net",
            Trigger(seconds=HOUR_SECONDS * 1.3, answer=Status(504), answer_seconds=0.2),
            gone,
        ),
        of_trigger("gateway.ilucca.net", Trigger(seconds=1.5, answer=Status(502), answer_seconds=0.2)),
        of_trigger("reset.ilucca.net", Trigger(seconds=1.5, answer=Reset(), answer_seconds=0.2)),
        of_trigger(
            "foreign.ilucca.net",
            Trigger(seconds=HOUR_SECONDS * 0.8, answer=Status(504), answer_seconds=0.2),
            staff_exports=(StaffExport(at_seconds=1.6, ends_at=MONDAY - WEEK),),
        ),
        mood("throttled"),
        mood("key_refused"),
        mood("doubled_path"),
        of_trigger(
            "bare-list.ilucca.net",
            Trigger(seconds=1.2, answer=Status(504), answer_seconds=0.2),
            bare_lists=True,
        ),
        mood("already_there"),
        mood("already_past"),
        mood("never"),
        mood("rejected"),
        mood("empty"),
        of_trigger(
            "empty-400.ilucca.net", Trigger(seconds=1.5, answer=Status(400, body=""), answer_seconds=0.2)
        ),
    )


@dataclass(frozen=True)
class Night:
    bureau: Bureau
    first: Result
    second: Result
    jobs: dict[str, Any]
    jobs_again: dict[str, Any]
    triggers: list[TriggerRecord]
    triggers_again: list[TriggerRecord]
    posts: tuple[int, int]
    files: tuple[list[str], list[str]]


def play(folder: Path) -> Night:
    """The night, and the same night once more."""
    scenario = Scenario(tenants=tenants())
    with lucca(scenario) as served:
        bureau = Bureau(folder, served.gateway)
        bureau.take(scenario)
        bureau.environ["RUNNER_TRIGGER_TIMEOUT"] = "1.5s"
        first = bureau.run()
        jobs, triggers, posts, files = bureau.jobs(), served.triggers(), served.posts(), bureau.data_files()
        second = bureau.run()
        return Night(
            bureau=bureau,
            first=first,
            second=second,
            jobs=jobs,
            jobs_again=bureau.jobs(),
            triggers=triggers,
            triggers_again=served.triggers()[len(triggers) :],
            posts=(posts, served.posts()),
            files=(files, bureau.data_files()),
        )


# tenant, state, flags, code of the error, triggers that count, transitions
FATES: tuple[tuple[str, str, list[str], str | None, int, list[str]], ...] = (
    ("prompt", "downloaded", [], None, 1, FAST),
    ("slow", "downloaded", [], None, 1, POLLED),
    ("silent", "downloaded", [], None, 2, AGAIN),
    ("late", "downloaded", [], None, 2, AGAIN),
    ("gateway", "downloaded", [], None, 1, POLLED),
    ("reset", "downloaded", [], None, 1, POLLED),
    ("foreign", "downloaded", ["foreign"], None, 1, POLLED),
    ("throttled", "downloaded", [], None, 1, FAST),
    ("key-refused", "failed", [], "key_refused", 0, ["failed"]),
    ("doubled-path", "downloaded", [], None, 1, FAST),
    ("bare-list", "downloaded", [], None, 1, POLLED),
    ("already-there", "downloaded", ["adopted"], None, 0, ["downloading", "downloaded"]),
    ("already-past", "failed", [], "superseded", 0, ["failed"]),
    ("never", "failed", [], "no_export", 3, ["triggered", "polling", *["retried", "polling"] * 2, "failed"]),
    ("rejected", "failed", [], "rejected", 1, ["triggered", "failed"]),
    ("empty", "downloaded", ["empty"], None, 1, FAST),
    ("empty-400", "downloaded", [], None, 1, POLLED),
)


def test_seventeen_troubles_in_one_night(tmp_path: Path, subtests: pytest.Subtests) -> None:
    night = play(tmp_path)
    assert sorted(night.jobs) == sorted(f"{name}/payroll" for name, *_ in FATES)
    assert len(FATES) == 17
    for fate in FATES:
        with subtests.test(fate[0]):
            check_fate(night, *fate)
    with subtests.test("the night says that somebody is needed"):
        assert night.first.code == 3, night.first.err
        assert night.second.code == 3, night.second.err
        document = night.bureau.document()
        assert document["outcome"] == "failed"
        assert document["counts"] == {"downloaded": 13, "failed": 4, "unfinished": 0}
    with subtests.test("nothing is asked for within the hour, and nothing behind the ledger"):
        assert executed_too_soon(night.triggers) == []
        assert [t for t in night.triggers if t.domain == "already-past.ilucca.net"] == []
    with subtests.test("started again it sends no POST for what is done"):
        # A definite refusal is taken up again: the key may have been replaced, the lock lifted. All else is settled.
        assert {t.domain for t in night.triggers_again} == {"rejected.ilucca.net"}
        assert night.posts[1] - night.posts[0] == 1
        assert night.files[0] == night.files[1]
        for name, state, *_ in FATES:
            if state == "downloaded":
                assert night.jobs_again[f"{name}/payroll"] == night.jobs[f"{name}/payroll"]
    with subtests.test("the files are as listed, and nothing else is there"):
        night.bureau.check_sums()
        assert night.bureau.leftovers() == []
        verified = night.bureau.command("verify", "--json")
        assert (verified.code, verified.json()["files"]) == (0, 26)


def check_fate(
    night: Night,
    name: str,
    state: str,
    flags: list[str],
    code: str | None,
    triggers: int,
    transitions: list[str],
) -> None:
    job = night.jobs[f"{name}/payroll"]
    assert (job["state"], job["flags"], (job["error"] or {}).get("code")) == (state, flags, code)
    assert [step["state"] for step in job["transitions"]] == transitions
    assert job["triggers"] == triggers
    assert len([t for t in night.triggers if t.domain == job["domain"] and t.status != 429]) == triggers
    check_files(night.bureau, job)
    files = [file["path"] for file in job["files"]]
    wanted = [f"{name}/payroll-{id_}.{ext}" for id_ in job["remote_ids"] for ext in ("csv", "json")]
    assert sorted(files) == (wanted if state == "downloaded" else [])
    if code is not None:
        assert name in job["error"]["message"]
        assert "payroll" in job["error"]["message"]

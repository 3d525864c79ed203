"""What a night leaves on disk, and what later nights make of it: sums, lost files, lost journals, twins, secrets."""

import base64
import grp
import os
import shutil
import sqlite3
import stat
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from runner.sandbox import (
    MOODS,
    Configuration,
    Reports,
    Scenario,
    StaffExport,
    Status,
    TenantScenario,
    Trigger,
)
from runner.sandbox.scenario import DEFAULT_DATE, latest_monday
from tests.e2e.bureau import HOUR_SECONDS, NIGHT, Bureau, lucca, quick
from tests.e2e.forks import Forks

MONDAY = latest_monday(DEFAULT_DATE)
NEXT_NIGHT = "2026-11-25"
NEXT_WEEK = "2026-12-01"
REPORTS = Reports(in_manifest=True, pending_seconds=0.2)


def modes(folder: Path) -> Counter[tuple[str, str]]:
    """How many folders and files there are of each mode."""
    paths = [folder, *folder.rglob("*")]
    return Counter(
        ("folder" if p.is_dir() else "file", f"{stat.S_IMODE(p.stat().st_mode):04o}") for p in paths
    )


def test_files_are_for_their_owner_alone_unless_a_group_is_named(tmp_path: Path) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net", reports=REPORTS),))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway)
        bureau.take(scenario)
        old = os.umask(0)
        try:
            assert bureau.run().code == 0
        finally:
            os.umask(old)
        assert set(modes(bureau.output)) == {("folder", "0700"), ("file", "0600")}
        group = grp.getgrgid(os.getgid())
        shared = bureau.run(output="shared", output_group=group.gr_name)
        assert shared.code == 0, shared.err
        folder = bureau.folder / "shared"
        assert set(modes(folder / NIGHT)) == {("folder", "0750"), ("file", "0640")}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o750
        assert {p.stat().st_gid for p in (folder / NIGHT).rglob("*")} == {group.gr_gid}
        # The journal is nobody's business but the runner's.
        assert stat.S_IMODE((folder / ".runner/journal.db").stat().st_mode) & 0o007 == 0
        assert bureau.run(output="third", output_group="no-such-group").code == 2


def test_the_answers_stand_byte_for_byte_and_sha256sum_agrees(forks: Forks, tmp_path: Path) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net", reports=REPORTS),))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        assert bureau.run().code == 0
        export, report = bureau.jobs()["acme/payroll"], bureau.jobs()["acme/times"]
        (export_id,), (report_id,) = export["remote_ids"], report["remote_ids"]
        assert bureau.data_files() == [
            f"acme/payroll-{export_id}.csv",
            f"acme/payroll-{export_id}.json",
            f"acme/times-{report_id}.csv",
            f"acme/times-{report_id}.xls",
        ]
        bureau.check_sums()
        entries = bureau.content(f"acme/payroll-{export_id}.json")["entries"]
        assert {entry["id"] for entry in entries} == set(
            served.tell(lambda world: world.entry_ids("acme.ilucca.net", export_id))
        )
        rows = (bureau.night() / f"acme/payroll-{export_id}.csv").read_text("utf-8").splitlines()
        assert len(rows) == len(entries) + 1 == export["entries"] + 1
        assert rows[0].startswith("id,name,amount,amountUnit,externalCode,endsAt,owner.id,owner.lastName")


def test_missing_files_of_tonight_are_downloaded_again_and_never_asked_for(
    forks: Forks, tmp_path: Path
) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net"), quick("globex.ilucca.net")))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        assert bureau.run().code == 0
        posts, files = served.posts(), bureau.data_files()
        kept = {path: (bureau.night() / path).read_bytes() for path in files}
        for path in bureau.night().glob("acme/*"):
            path.unlink()
        told = bureau.run()
        assert told.code == 0, told.err
        assert {path: (bureau.night() / path).read_bytes() for path in bureau.data_files()} == kept
        assert served.posts() == posts
        assert bureau.leftovers() == []
        shutil.rmtree(bureau.night())
        assert bureau.run().code == 0
        assert {path: (bureau.night() / path).read_bytes() for path in bureau.data_files()} == kept
        assert served.posts() == posts
        # Of another night nothing is missed: only tonight's files are looked for.
        shutil.rmtree(bureau.night())
        assert bureau.run(date=NEXT_NIGHT).code == 0
        assert (served.posts(), bureau.data_files(NEXT_NIGHT)) == (posts, [])


def test_a_file_that_somebody_changed_is_told_and_not_overwritten(forks: Forks, tmp_path: Path) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net"),))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        assert bureau.run().code == 0
        changed = bureau.night() / bureau.data_files()[0]
        kept = changed.read_bytes()
        changed.write_bytes(b"mine")
        told = bureau.run()
        assert told.code == 3, told.err
        assert bureau.jobs()["acme/payroll"]["error"]["code"] == "storage"
        assert changed.read_bytes() == b"mine"
        changed.unlink()
        assert bureau.command("retry", "acme/payroll").code == 0
        told = bureau.run()
        assert (told.code, changed.read_bytes()) == (0, kept), told.err
        assert len(served.triggers()) == 1
        assert bureau.leftovers() == []


@pytest.mark.parametrize("retried", [False, True], ids=["by itself", "retried"])
@pytest.mark.parametrize("changed", range(4), ids=["export csv", "export json", "report csv", "report xls"])
def test_what_was_moved_away_with_a_changed_file_comes_again_with_it(
    forks: Forks, tmp_path: Path, changed: int, *, retried: bool
) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net", reports=REPORTS),))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        assert bureau.run().code == 0
        posts, files = served.posts(), bureau.data_files()
        kept = {path: (bureau.night() / path).read_bytes() for path in files}
        (bureau.night() / files[changed]).write_bytes(b"mine")
        told = bureau.run()
        assert told.code == 3, told.err
        if retried:
            assert bureau.command("retry").code == 0
        # The page says to move the file in the way; whoever moves its whole folder finds all of it again.
        shutil.rmtree(bureau.night() / "acme")
        told = bureau.run()
        assert told.code == 0, told.err
        assert {path: (bureau.night() / path).read_bytes() for path in bureau.data_files()} == kept
        assert served.posts() == posts
        bureau.check_sums()
        assert bureau.command("verify").code == 0


def test_the_files_of_a_job_that_was_skipped_are_not_missed(forks: Forks, tmp_path: Path) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net"),))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        assert bureau.run().code == 0
        (bureau.night() / bureau.data_files()[0]).write_bytes(b"mine")
        assert bureau.run().code == 3
        assert bureau.command("skip", "acme/payroll").code == 0
        requests = served.requests()
        shutil.rmtree(bureau.night() / "acme")
        told = bureau.run()
        assert (told.code, bureau.jobs()["acme/payroll"]["state"]) == (0, "skipped"), told.err
        assert served.requests() == requests


def test_files_of_an_earlier_date_that_came_tonight_are_missed_as_well(forks: Forks, tmp_path: Path) -> None:
    slow = quick("acme.ilucca.net", configurations=(Configuration(trigger=Trigger(seconds=(0.5, 0.6))),))
    scenario = Scenario(tenants=(slow,))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        assert bureau.run(until="0.2s").code == 4
        assert bureau.run(date=NEXT_WEEK).code == 0
        posts, files = served.posts(), bureau.data_files(NEXT_WEEK)
        assert len(files) == 4
        kept = {path: (bureau.night(NEXT_WEEK) / path).read_bytes() for path in files}
        shutil.rmtree(bureau.night(NEXT_WEEK) / "acme")
        told = bureau.run(date=NEXT_WEEK)
        assert told.code == 0, told.err
        assert bureau.data_files(NEXT_WEEK) == files
        assert {path: (bureau.night(NEXT_WEEK) / path).read_bytes() for path in files} == kept
        assert served.posts() == posts
        bureau.check_sums(NEXT_WEEK)


def test_a_lost_journal_is_survived_by_adopting_what_exists(forks: Forks, tmp_path: Path) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net"), quick("globex.ilucca.net")))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        assert bureau.run().code == 0
        kept = {path: (bureau.night() / path).read_bytes() for path in bureau.data_files()}
        shutil.rmtree(bureau.output / ".runner")
        told = bureau.run()
        assert told.code == 0, told.err
        assert len(served.triggers()) == 2
        assert {job["state"] for job in bureau.jobs().values()} == {"downloaded"}
        assert all(job["flags"] == ["adopted"] for job in bureau.jobs().values())
        assert {path: (bureau.night() / path).read_bytes() for path in bureau.data_files()} == kept
        bureau.check_sums()
        assert bureau.leftovers() == []


def test_a_journal_restored_from_an_older_copy_is_survived(forks: Forks, tmp_path: Path) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net"), quick("globex.ilucca.net")))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        assert bureau.run("--only", "acme", date="2026-11-17").code == 0
        journal = bureau.output / ".runner/journal.db"
        shutil.copy(journal, tmp_path / "copy.db")
        assert bureau.run("--only", "acme").code == 0
        assert bureau.run("--only", "globex").code == 0
        triggers = len(served.triggers())
        shutil.copy(tmp_path / "copy.db", journal)
        told = bureau.run()
        assert told.code == 0, told.err
        assert len(served.triggers()) == triggers == 3
        assert {job["state"] for job in bureau.jobs().values()} == {"downloaded"}
        bureau.check_sums()
        assert bureau.leftovers() == []


def test_a_restored_journal_that_was_about_to_trigger_finds_what_came_of_it(
    forks: Forks, tmp_path: Path
) -> None:
    slow = quick("acme.ilucca.net", configurations=(Configuration(trigger=Trigger(seconds=1.0)),))
    scenario = Scenario(tenants=(slow,))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        assert bureau.run("--until", "600ms", trigger_timeout="200ms", retrigger_after="30s").code == 4
        journal = bureau.output / ".runner/journal.db"
        shutil.copy(journal, tmp_path / "copy.db")
        assert bureau.run().code == 0
        shutil.copy(tmp_path / "copy.db", journal)
        assert bureau.run().code == 0
        assert len(served.triggers()) == 1
        assert bureau.leftovers() == []


def test_a_late_twin_is_found_by_a_later_run_kept_and_flagged(forks: Forks, tmp_path: Path) -> None:
    unheard = Status(504)
    first = Trigger(seconds=HOUR_SECONDS + 2.5, answer=unheard, answer_seconds=0.1)
    second = Trigger(seconds=0.2, answer=unheard, answer_seconds=0.1)
    tenant = quick(
        "acme.ilucca.net", configurations=(Configuration(triggers=(first, second), late_corrections=2),)
    )
    scenario = Scenario(tenants=(tenant,))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        assert bureau.run().code == 0
        (only,) = bureau.jobs()["acme/payroll"]["remote_ids"]
        served.wait_for_exports("acme.ilucca.net", 3)
        told = bureau.run(date="2026-11-27")
        assert told.code == 3, told.err
        job = bureau.jobs("2026-11-27")["acme/payroll"]
        assert (job["state"], job["flags"], job["due"]) == ("downloaded", ["duplicate"], NIGHT)
        assert len(job["remote_ids"]) == 2
        (late,) = set(job["remote_ids"]) - {only}
        assert f"acme/payroll-{late}.json" in bureau.data_files("2026-11-27")
        assert "Plusieurs versions" in bureau.words("2026-11-27")
        bureau.check_sums("2026-11-27")
        assert len(served.triggers()) == 2
        # The first is still where it was put, and both are found by whoever asks.
        assert bureau.command("verify", "--json").json()["ok"] is True


def test_older_dates_of_a_configuration_go_first(forks: Forks, tmp_path: Path) -> None:
    asleep = Trigger(completes=False)
    tenant = quick(
        "acme.ilucca.net",
        configurations=(Configuration(triggers=(asleep,), trigger=Trigger(seconds=0.1)),),
    )
    scenario = Scenario(tenants=(tenant,))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        assert bureau.run("--until", "1.5s", date="2026-11-17").code == 4
        told = bureau.run(date=NIGHT)
        assert told.code == 0, told.err
        assert [t.ends_at for t in served.triggers()] == [
            "2026-11-16T00:00:00",
            "2026-11-16T00:00:00",
            "2026-11-23T00:00:00",
        ]
        # The older one's files stand in the folder of the night that downloaded them.
        jobs = [(job["due"], job["state"]) for job in bureau.document()["jobs"]]
        assert jobs == [("2026-11-17", "downloaded"), (NIGHT, "downloaded")]
        assert bureau.data_files("2026-11-17") == []
        assert len(bureau.data_files()) == 4
        bureau.check_sums()


def test_an_unfinished_job_that_left_the_manifest_is_left_alone_and_told(
    forks: Forks, tmp_path: Path
) -> None:
    slow = quick("acme.ilucca.net", configurations=(Configuration(trigger=Trigger(seconds=2.5)),))
    scenario = Scenario(tenants=(slow, quick("globex.ilucca.net")))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        assert bureau.run("--until", "1.5s", retrigger_after="20s").code == 4
        asked = served.requests("acme.ilucca.net")
        bureau.take(Scenario(tenants=scenario.tenants[1:]))
        told = bureau.run(date=NEXT_NIGHT)
        assert told.code == 0, told.err
        assert served.requests("acme.ilucca.net") == asked
        words = bureau.words(NEXT_NIGHT)
        assert "acme/payroll" in words
        assert any("acme/payroll" in notice for notice in bureau.document(NEXT_NIGHT)["notices"])
        # Back in the manifest it is finished.
        bureau.take(scenario)
        assert bureau.run(date=NEXT_NIGHT, retrigger_after="20s").code == 0
        assert len(served.triggers("acme.ilucca.net")) == 1


def test_a_tenants_fault_in_the_manifest_stops_that_tenant_only(forks: Forks, tmp_path: Path) -> None:
    scenario = Scenario(
        tenants=(quick("acme.ilucca.net"), quick("globex.ilucca.net"), quick("initech.ilucca.net"))
    )
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        path = tmp_path / "tenants.yaml"
        text = path.read_text("utf-8")
        before, name, after = text.partition("  - name: globex\n")
        path.write_text(before + name + after.replace("ends_at: monday", "ends_at: 2026-02-30", 1), "utf-8")
        told = bureau.run()
        assert told.code == 3, told.err
        document = bureau.document()
        assert (document["outcome"], document["counts"]["downloaded"]) == ("failed", 2)
        (problem,) = document["problems"]
        assert problem["tenant"] == "globex"
        assert problem["message"].startswith("tenants.yaml:")
        assert "tenants[1].exports[0].ends_at" in problem["message"]
        assert served.requests("globex.ilucca.net") == 0
        assert "globex" in bureau.words()
        # With a selection only the selected tenants' problems count.
        assert bureau.run("--only", "acme").code == 0
        assert bureau.run("--only", "globex").code in (2, 3)


@pytest.mark.parametrize("fault", ["not: [yaml", "version: 2\ntenants: []\n", "version: 1\ntenants: []\n"])
def test_a_fault_outside_the_tenants_stops_the_run_with_2(forks: Forks, tmp_path: Path, fault: str) -> None:
    bureau = Bureau(tmp_path, "http://127.0.0.1:9", forks=forks)
    (tmp_path / "tenants.yaml").write_text(fault, "utf-8")
    told = bureau.run("--json")
    assert told.code == 2
    assert told.json()["error"]["code"] == "manifest"
    assert "tenants.yaml" in told.json()["error"]["message"]
    assert not bureau.output.exists()


def test_reports_with_closed_periods_are_made_up_for_and_exports_only_the_latest(
    forks: Forks, tmp_path: Path
) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net", reports=REPORTS),))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        path = tmp_path / "tenants.yaml"
        text = path.read_text("utf-8")
        path.write_text(
            text.replace(
                "period: previous-month\n        due: daily\n        formats: [csv, excel]",
                "period: yesterday",
            ),
            "utf-8",
        )
        assert bureau.run(date="2026-11-20").code == 0
        assert bureau.run(date="2026-11-24").code == 0
        jobs = bureau.document("2026-11-24")["jobs"]
        made = [job["starts_on"] for job in jobs if job["kind"] == "report"]
        assert made == [f"2026-11-{day}" for day in range(20, 24)]
        asked = [
            r.nth_of_kind
            for r in served.tell(lambda world: world.requests("acme.ilucca.net", "report.create"))
        ]
        assert len(asked) == 5
        assert [t.ends_at for t in served.triggers()] == ["2026-11-16T00:00:00", "2026-11-23T00:00:00"]
        assert all(job["state"] == "downloaded" for job in jobs)
        bureau.check_sums("2026-11-24")


def test_a_budget_holds_over_restarts(forks: Forks, tmp_path: Path) -> None:
    slow = quick("acme.ilucca.net", configurations=(Configuration(trigger=Trigger(seconds=30.0)),))
    scenario = Scenario(tenants=(slow,))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        path = tmp_path / "tenants.yaml"
        path.write_text(
            path.read_text("utf-8").replace("requests_per_minute: 45", "requests_per_minute: 6"), "utf-8"
        )
        for _ in range(3):
            changes = {"export_poll_interval": "100ms", "retrigger_after": "1h", "trigger_timeout": "200ms"}
            assert bureau.run("--until", "1.5s", **changes).code == 4
        # Of six a minute, polls leave one to what moves the job on.
        assert 5 <= served.requests() <= 6


# --- secrets and names -----------------------------------------------------------------------------------------------


def test_no_key_is_anywhere_and_no_employee_where_none_belongs(forks: Forks, tmp_path: Path) -> None:
    echo = '{"Status":400,"Message":"no right for lucca application=%s"}'
    rejected = MOODS["rejected"]("rejected.ilucca.net", DEFAULT_DATE, HOUR_SECONDS)
    body = echo % rejected.key
    echoing = TenantScenario(
        domain="rejected.ilucca.net",
        faults=tuple(
            type(rule)(kind=rule.kind, last=rule.last, fault=Status(400, body=body))
            for rule in rejected.faults
        ),
    )
    scenario = Scenario(
        tenants=(
            quick("acme.ilucca.net", reports=REPORTS),
            echoing,
            MOODS["key_refused"]("refused.ilucca.net", DEFAULT_DATE, HOUR_SECONDS),
            MOODS["login_page"]("login.ilucca.net", DEFAULT_DATE, HOUR_SECONDS),
            quick("slow.ilucca.net", configurations=(Configuration(trigger=Trigger(seconds=30.0)),)),
        )
    )
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        told = []
        with bureau.start(
            "run", "--date", NIGHT, log_level="debug", until="3s", retrigger_after="30s"
        ) as night:
            night.process.wait(0.1) if night.process.poll() is not None else None
            told.append(night.end())
        told.append(bureau.run("--json", "--log-format", "console", log_level="debug", until="1s"))
        looks = ("status", "explain rejected/payroll", "plan", "check", "verify")
        asked = [(*look.split(), *more) for look in looks for more in ((), ("--json",))]
        with ExitStack() as together:
            started = [together.enter_context(bureau.start(*arguments)) for arguments in asked]
            told += [command.end() for command in started]
        told.append(bureau.command("retry", "--json"))
    keys = [tenant.client_key or tenant.key for tenant in scenario.tenants]
    artefacts = {
        str(p): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.parent.name != "keys"
    }
    artefacts |= {f"what was said ({n})": (t.out + t.err).encode() for n, t in enumerate(told)}
    assert any(name.endswith("journal.db") for name in artefacts)
    for key in keys:
        for form in _forms(key):
            assert [name for name, body in artefacts.items() if form in body] == []
    people = _people(bureau)
    assert people
    for name, written in artefacts.items():
        if f"{NIGHT}/acme/" not in name and f"{NIGHT}/login/" not in name:
            assert [person for person in people if person in written] == [], name


def _forms(key: str) -> list[bytes]:
    plain = key.encode()
    bare = key.replace("-", "").encode()
    header = f"lucca application={key}".encode()
    return [
        plain,
        plain.upper(),
        bare,
        base64.b64encode(plain),
        base64.b64encode(header)[:-4],
        base64.urlsafe_b64encode(plain).rstrip(b"="),
        quote(key.replace("-", "%2D")).encode(),
        key.encode("utf-16-le"),
    ]


def _people(bureau: Bureau) -> list[bytes]:
    path = next(p for p in bureau.data_files() if p.startswith("acme/payroll-") and p.endswith(".json"))
    owners = [entry["owner"] for entry in bureau.content(path)["entries"]]
    return sorted({f"{o['lastName']}".encode() for o in owners if len(o["lastName"]) > 4})


def test_the_journal_is_a_plain_file_when_the_night_is_over(forks: Forks, tmp_path: Path) -> None:
    scenario = Scenario(tenants=(quick("acme.ilucca.net"),), seed=2)
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        assert bureau.run().code == 0
    assert sorted(p.name for p in (bureau.output / ".runner").iterdir()) == ["journal.db", "journal.db.lock"]
    with sqlite3.connect(bureau.output / ".runner/journal.db") as journal:
        assert journal.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    journal.close()


def test_an_export_made_by_hand_in_an_earlier_week_does_not_hide_ours(forks: Forks, tmp_path: Path) -> None:
    made = StaffExport(at_seconds=-3600.0, ends_at=MONDAY - timedelta(days=7))
    scenario = Scenario(tenants=(quick("acme.ilucca.net", staff_exports=(made,)),))
    with lucca(scenario) as served:
        bureau = Bureau(tmp_path, served.gateway, forks=forks)
        bureau.take(scenario)
        assert bureau.run().code == 0
        job = bureau.jobs()["acme/payroll"]
        assert (job["flags"], job["triggers"], job["starts_at"]) == ([], 1, "2026-11-16T00:00:00")

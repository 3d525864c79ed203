"""One job's story, and the rows of `runner status`."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from runner.clock import Instant
from runner.jobs.agenda import Policy
from runner.jobs.model import ErrorCode, FileRecord, Flag, Job, Live, State
from runner.summary.story import EventRow, status_table, story
from runner.summary.texts import Language
from tests.summary_samples import BOOT, PARIS, START, export, good_night, report, stamp, troubled_night


@dataclass(frozen=True)
class Row:
    at: datetime
    name: str
    state: State | None = None
    note: str = ""


def minute(n: float) -> Instant:
    return Instant(START + timedelta(minutes=n), 1000 + n * 60, BOOT)


def told(
    job: Job,
    *events: EventRow,
    language: Language = "en",
    at: Instant = minute(10),  # noqa: B008 - a value
    policy: Policy | None = None,
) -> str:
    text = story(job, events, language, now=at, timezone=PARIS, policy=policy or Policy())
    return text.replace("\u00a0", " ").replace("’", "'")


def test_each_event_is_a_sentence_at_its_local_time() -> None:
    text = told(
        export(state=State.POLLING),
        Row(START, "Listed"),
        Row(START + timedelta(seconds=1), "Triggered", State.TRIGGERED),
        Row(START + timedelta(seconds=16), "TriggerLetGo", State.POLLING, "15 s"),
        Row(START + timedelta(hours=23), "Listed"),
    )
    assert "  Tuesday 24 November 2026\n    02:00:00  The exports that exist at Lucca were read.\n" in text
    assert "02:00:01  The request was decided and noted; it leaves for Lucca. [state: triggered]" in text
    assert "(15 s) [state: polling]" in text
    assert "  Wednesday 25 November 2026\n    01:00:00  Lucca was asked: no export yet.\n" in text


def test_an_event_of_a_later_version_keeps_its_name_and_a_note_cannot_steer_the_terminal() -> None:
    text = told(export(), Row(START, "BeamedUp", note="by \x1b[31mscotty\nnow"))
    assert "beamed_up (by  [31mscotty now)" in text


def test_a_job_without_events_says_so() -> None:
    text = told(export(state=State.PENDING), language="fr")
    assert "Rien encore." in text
    assert "lire la liste des exports existants" in text


def test_a_waiting_export_tells_until_when_and_why_no_other_trigger_leaves() -> None:
    job = replace(
        export(state=State.POLLING), live=Live(polled_boot_seconds=minute(9.9).boot_seconds, polls=9)
    )
    text = told(job)
    assert "It waits until 24 November 2026 at 02:10; the next step is then: ask Lucca." in text
    assert "no other request leaves before 24 November 2026 at 03:00" in text


def test_the_last_wait_is_told_as_the_last() -> None:
    assert "given up: every request was used" in told(
        export(state=State.POLLING), policy=Policy(max_triggers=1)
    )


def test_after_the_hour_no_wait_is_told() -> None:
    text = told(export(state=State.POLLING), at=minute(70))
    assert "no other request leaves before" not in text


def test_a_clock_set_back_ends_in_words_for_a_person() -> None:
    now = Instant(START - timedelta(days=1), 5, "another boot")
    job = replace(export(state=State.POLLING), live=Live(polled_boot_seconds=4))
    assert "The next run will give it up." in told(job, at=now)


def test_a_report_that_is_pending_too_long_is_asked_for_again() -> None:
    job = replace(report(state=State.POLLING), live=Live(polled_boot_seconds=minute(70).boot_seconds))
    assert "ask for the report again" in told(job, at=minute(70))
    waits = replace(job, live=Live(polled_boot_seconds=minute(10).boot_seconds, polls=9))
    assert "ask Lucca whether the report is ready" in told(waits)


@pytest.mark.parametrize("state", [State.TRIGGERED, State.RETRIED])
def test_a_request_on_its_way_waits_for_its_answer(state: State) -> None:
    assert "goes on as soon as Lucca answers" in told(export(state=state))


def test_a_done_job_names_its_files_and_leaves_nothing_to_do() -> None:
    text = told(export(flags=frozenset({Flag.ADOPTED})))
    assert "2026-11-24/acme/payroll-290.json (137 kB)" in text
    assert "412 entries." in text
    assert "Made by hand in Lucca and taken over" in text
    assert text.endswith("What to do\n  Nothing to do.\n")


def test_of_a_report_that_was_made_anew_the_files_of_the_earlier_version_are_told_apart() -> None:
    """It was deleted at Lucca between its two files, or one of them was lost afterwards."""
    job = report()
    anew = FileRecord("2026-11-24/acme/times-42.csv", 48_211, "d" * 64, 42, "csv", placed=True)
    job = replace(job, remote_ids=(42,), files=(*job.files, anew))
    assert "Made anew: the files of no. 41 are of an earlier version; use those of no. 42." in told(job)
    assert "les fichiers du n° 41 sont d'une version antérieure" in told(job, language="fr")
    assert "earlier version" not in told(replace(job, remote_ids=(41,), files=report().files))


def test_a_failed_job_says_what_to_do_and_whether_it_is_tried_again() -> None:
    refused = told(export(state=State.FAILED, code=ErrorCode.KEY_REFUSED))
    assert "Access key refused: Lucca refuses" in refused
    assert "Lucca refused the API key (401)" in refused
    assert "The next run takes it up by itself, as long as the manifest asks for it." in refused
    lost = told(export(state=State.FAILED, code=ErrorCode.NO_EXPORT), language="fr")
    assert "Plus rien ne se fera tout seul." in lost
    assert "Chaque passage regarde encore une fois dans Lucca" in lost


def test_what_was_set_aside_after_it_failed_is_not_said_to_be_taken_up_by_the_next_run() -> None:
    text = told(export(state=State.SKIPPED, code=ErrorCode.KEY_REFUSED))
    assert "Nothing more will happen by itself." in text
    assert "takes it up" not in text


def test_what_a_person_skipped_asks_for_nothing() -> None:
    text = told(export(state=State.SKIPPED, flags=frozenset({Flag.DUPLICATE}), code=ErrorCode.NO_EXPORT))
    assert text.endswith("What to do\n  Nothing to do.\n")


def test_an_export_that_is_only_looked_for_says_so() -> None:
    job = replace(export(state=State.POLLING), triggers=(), live=Live(unidentified=(7,)))
    assert "Being looked for in Lucca." in told(job)


def test_every_job_of_every_night_has_a_story_in_both_languages() -> None:
    for job in (*good_night().jobs, *troubled_night().jobs):
        assert told(job, language="fr").startswith(job.label)
        assert told(job, language="en").startswith(job.label)


def test_the_status_table_has_one_plain_row_for_each_job() -> None:
    night = troubled_night()
    table = status_table(night.jobs, "en", timezone=PARIS)
    assert table.columns == ("Client", "Job", "Due", "State", "Since", "Remarks")
    assert len(table.rows) == len(night.jobs)
    rows = {row[1]: row for row in table.rows}
    assert rows["acme/payroll"] == (
        "acme",
        "acme/payroll",
        "2026-11-24",
        "Arrived",
        "2026-11-24 02:00",
        "",
    )
    assert rows["client-01/payroll"][-1] == "Access key refused"
    assert rows["cordier/payroll"][-1] == "Another export seen"
    assert rows["gilles/extras"][4] == ""
    assert stamp().wall == START

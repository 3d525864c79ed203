"""A report is asked for again as often as Lucca allows, and both its formats come from one report."""

import pytest
from msgspec.structs import replace

from runner.jobs import events as ev
from runner.jobs import model as m
from runner.jobs.machine import MAX_LOSSES, ImpossibleError, missing_pieces, stamp
from runner.jobs.model import ErrorCode, State
from runner.jobs.remedies import job_error
from runner.jobs.tables import TABLES
from tests.job_samples import (
    EXPORT,
    REPORT,
    TEMPLATE,
    answered,
    at,
    failed,
    happen,
    let_go,
    put_in_place,
    record,
    report,
    restarted,
    staged,
    triggered,
)
from tests.test_jobs_exports import EVENTS


def waiting(remote_id: int = 7) -> m.Job:
    """A report that Lucca is generating."""
    return happen(report(), triggered(), answered(remote_id))


def fetched(job: m.Job) -> m.Job:
    """The report of this job, both formats downloaded and placed."""
    remote_id = job.remote_ids[-1]
    for format_ in ("csv", "excel"):
        job = happen(job, ev.Fetched(staged(remote_id, format_, entries=None)))
    return put_in_place(job)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_what_the_table_does_not_allow_stops_the_report(state: State, event: ev.Event) -> None:
    if type(event) in TABLES["report"].get(state, {}):
        return
    with pytest.raises(
        ImpossibleError, match=rf"acme/times: {type(event).__name__} cannot happen to a {state}"
    ):
        happen(report(state=state, triggers=(stamp(at(0)),)), event)


def test_a_report_goes_from_its_creation_to_its_files() -> None:
    job = waiting()
    assert (job.state, job.remote_ids) == (State.POLLING, (7,))
    job = happen(job, ev.ReportPolled("pending"), seconds=10)
    assert (job.state, job.live.polls, job.live.polled_boot_seconds) == (State.POLLING, 1, 1010.0)
    job = happen(job, ev.ReportPolled("done"))
    assert missing_pieces(job) == ((7, "csv"), (7, "excel"))
    job = happen(job, ev.Fetched(staged(7, "csv", entries=None)))
    assert (job.state, missing_pieces(job)) == (State.DOWNLOADING, ((7, "excel"),))
    job = put_in_place(happen(job, ev.Fetched(staged(7, "excel", entries=None))))
    assert [t.state for t in job.history] == ["triggered", "polling", "downloading", "downloaded"]
    assert (job.flags, job.contents) == (frozenset(), ())


def test_a_report_placed_in_part_goes_on_with_the_rest() -> None:
    job = happen(waiting(), ev.ReportPolled("done"), ev.Fetched(staged(7, "csv", entries=None)))
    job = put_in_place(job)
    assert (job.state, missing_pieces(job)) == (State.DOWNLOADING, ((7, "excel"),))


# ── creating ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_template_is_made_first_and_kept() -> None:
    job = happen(report(spec=replace(REPORT, template=TEMPLATE)), ev.TemplateCreated(31))
    assert (job.state, job.template_id) == (State.PENDING, 31)


def test_a_template_that_refuses_is_made_once_more_and_its_post_does_not_count() -> None:
    job = happen(report(template_id=31), triggered(), ev.TemplateRefused())
    assert (job.state, job.triggers, job.template_id) == (State.PENDING, (), None)
    again = happen(waiting(), ev.ReportLost(), triggered(5), ev.TemplateRefused())
    assert (again.state, len(again.triggers), again.template_id) == (State.POLLING, 1, None)
    assert happen(again, ev.TemplateCreated(32)).template_id == 32


@pytest.mark.parametrize(
    "event", [ev.TriggerUnsent(), let_go(), ev.Resumed()], ids=lambda e: type(e).__name__
)
def test_a_report_whose_creation_is_in_doubt_is_asked_for_again(event: ev.Event) -> None:
    """It leaves no list to look at, and one report too many harms nobody."""
    assert happen(report(), triggered(), event).state is State.PENDING
    again = happen(waiting(), ev.ReportLost(), triggered(5), event)
    assert (again.state, again.remote_ids) == (State.POLLING, ())


# ── error, time-out, loss ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "event, words",
    [(ev.ReportPolled("error"), "its status is error"), (ev.ReportTimedOut(), "it stayed pending too long")],
)
def test_a_report_that_ended_in_error_is_created_once_more_then_it_is_luccas_turn(
    event: ev.Event, words: str
) -> None:
    job = happen(waiting(), event)
    assert (job.state, job.remote_ids, job.errors) == (State.POLLING, (), 1)
    job = happen(job, triggered(9), answered(8, 10), event)
    assert (job.state, job.errors) == (State.FAILED, 2)
    assert job.error is not None
    assert job.error.code is ErrorCode.REPORT_ERROR
    assert f"report 8: {words}, twice" in job.error.message
    assert "support" in job.error.message


def test_a_report_that_vanished_is_created_again_three_times() -> None:
    job = waiting()
    for number in range(MAX_LOSSES):
        job = happen(job, ev.ReportLost())
        assert (job.state, job.remote_ids, job.losses) == (State.POLLING, (), number + 1)
        job = happen(job, triggered(), answered(8 + number), ev.ReportPolled("done"))
    job = happen(job, ev.ReportLost())
    assert (job.state, MAX_LOSSES) == (State.FAILED, 3)
    assert job.error is not None
    assert "vanished 4 times" in job.error.message


def test_nothing_of_a_report_that_vanished_between_its_two_downloads_is_used() -> None:
    job = happen(waiting(), ev.ReportPolled("done"), ev.Fetched(staged(7, "csv", entries=None)))
    job = happen(job, ev.Named((record(7, "csv"),)), ev.ReportLost())
    assert (job.files, job.live.staged, job.live.polled_boot_seconds) == ((), (), None)
    job = fetched(happen(job, triggered(), answered(8), ev.ReportPolled("done")))
    assert job.state is State.DOWNLOADED
    assert {r.remote_id for r in job.files} == {8}


def test_a_file_of_a_report_that_went_missing_is_downloaded_again() -> None:
    job = fetched(happen(waiting(), ev.ReportPolled("done")))
    job = happen(restarted(job), ev.FilesMissed((record(7, "csv").path,)))
    assert (job.state, missing_pieces(job)) == (State.DOWNLOADING, ((7, "csv"),))
    assert happen(job, ev.ReportLost()).state is State.POLLING


def test_a_report_of_which_a_file_was_lost_before_the_other_came_was_done_and_is_not_polled() -> None:
    job = happen(waiting(), ev.ReportPolled("done"), ev.Fetched(staged(7, "csv", entries=None)))
    job = happen(job, ev.Named((record(7, "csv"),)), ev.Placed((record(7, "csv").path,)), failed())
    for stood in (job, happen(job, ev.Reopened())):
        lost = happen(restarted(stood), ev.FilesMissed((record(7, "csv").path,)))
        assert (lost.state, lost.error, lost.files) == (State.DOWNLOADING, None, ())
        assert {format_ for _, format_ in missing_pieces(lost)} == {"csv", "excel"}


# ── returns ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_failed_report_is_taken_up_where_it_stood() -> None:
    assert happen(report(), failed(), ev.Reopened()).state is State.PENDING
    job = happen(waiting(), ev.ReportPolled("done"), failed(), ev.Reopened())
    assert (job.state, job.remote_ids) == (State.POLLING, (7,))
    lost = happen(waiting(), ev.ReportLost(), failed(), ev.Reopened())
    assert (lost.state, lost.remote_ids) == (State.PENDING, ())


@pytest.mark.parametrize("event", [ev.ReportPolled("error"), ev.ReportLost()])
def test_a_persons_retry_has_all_its_tries_again_and_asks_no_dead_report(event: ev.Event) -> None:
    job = waiting()
    while not job.finished:
        job = happen(job, event)
        if not job.finished:
            job = happen(job, triggered(), answered(8))
    job = happen(job, ev.Retried(stamp(at(0))))
    assert (job.state, job.remote_ids) == (State.PENDING, ())
    assert (job.errors, job.losses) == (0, 0)
    assert happen(job, triggered(), answered(20), event).state is State.POLLING


def test_a_persons_retry_goes_on_with_a_report_that_may_still_be_there() -> None:
    job = happen(waiting(), ev.ReportPolled("done"), failed(ErrorCode.STORAGE), ev.Retried(stamp(at(0))))
    assert (job.state, job.remote_ids) == (State.POLLING, (7,))


# ── identity and words ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_report_is_the_same_report_by_domain_name_and_due_date_alone() -> None:
    same = replace(REPORT, tenant="other", template=None, starts_on=None, ends_on=None, formats=("csv",))
    assert same.identity == REPORT.identity
    for other in (
        replace(REPORT, domain="globex.ilucca.net"),
        replace(REPORT, name="other"),
        replace(REPORT, due=EXPORT.ends_at),
    ):
        assert other.identity != REPORT.identity
    assert REPORT.identity != EXPORT.identity


def test_all_reports_of_a_domain_take_turns() -> None:
    assert REPORT.lane == replace(REPORT, tenant="other", name="other").lane == ("acme.ilucca.net", "report")


@pytest.mark.parametrize("code", list(ErrorCode))
@pytest.mark.parametrize("spec", [EXPORT, REPORT], ids=["export", "report"])
def test_every_error_says_what_happened_for_whom_and_what_to_do(code: ErrorCode, spec: m.Spec) -> None:
    error = job_error(code, spec)
    assert error.code is code
    assert error.message.startswith(f"acme/{spec.name} (acme.ilucca.net)")
    assert "To do: " in error.message
    assert "()" not in error.message
    assert ("configuration 3, before 2026-11-23" in error.message) is isinstance(spec, m.ExportSpec)
    assert "(as told)" in job_error(code, spec, "as told").message

"""An export is found, triggered, waited for and told apart so that no hour of work is lost or paid twice."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from runner.jobs import events as ev
from runner.jobs import model as m
from runner.jobs.finding import ends_text
from runner.jobs.machine import ImpossibleError, advance, host_time, missing_pieces, stamp
from runner.jobs.model import ErrorCode, Flag, State
from runner.jobs.tables import TABLES
from tests.job_samples import (
    EARLIER,
    ENDS,
    EXPORT,
    LATER,
    START,
    answered,
    at,
    downloaded,
    export,
    failed,
    happen,
    let_go,
    listed,
    record,
    restarted,
    staged,
    triggered,
)

EVENTS: tuple[ev.Event, ...] = (
    listed(),
    ev.Identified(290, ENDS),
    ev.Doubted(),
    triggered(),
    ev.TriggerUnsent(),
    let_go(),
    answered(290),
    ev.Resumed(),
    ev.Fetched(staged(290)),
    ev.PathMissed(),
    ev.Misattributed(290, None),
    ev.Named(()),
    ev.Placed(()),
    ev.FilesMissed(()),
    ev.TemplateCreated(1),
    ev.TemplateRefused(),
    ev.ReportPolled("done"),
    ev.ReportTimedOut(),
    ev.ReportLost(),
    failed(),
    ev.Reopened(),
    ev.Retried(stamp(at(0))),
    ev.Skipped(),
)


def polling(*, baseline: int = 289) -> m.Job:
    """An export that was triggered once and is waited for."""
    return happen(export(), listed((baseline, EARLIER)), triggered(), let_go())


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_what_the_table_does_not_allow_stops_the_job_before_it_can_do_harm(
    state: State, event: ev.Event
) -> None:
    if type(event) in TABLES["export"].get(state, {}):
        return
    with pytest.raises(
        ImpossibleError, match=rf"acme/payroll: {type(event).__name__} cannot happen to a {state}"
    ):
        happen(export(state=state, triggers=(stamp(at(0)),)), event)


@pytest.mark.parametrize("state", sorted(set(State) - {State.DOWNLOADED, State.SKIPPED}))
def test_whatever_has_not_arrived_can_be_set_aside_and_taken_up_again(state: State) -> None:
    job = export(state=state, baseline_id=289, triggers=(stamp(at(0)),), foreign_ids=(290,))
    aside = happen(job, ev.Skipped())
    assert (aside.state, aside.finished, aside.needs_a_person) == (State.SKIPPED, True, False)
    again = happen(aside, ev.Retried(stamp(at(60))))
    assert (again.state, again.triggers, again.foreign_ids) == (State.POLLING, job.triggers, (290,))


def test_an_event_that_would_end_where_the_table_has_no_arrow_is_refused() -> None:
    broken = export(state=State.RETRIED, baseline_id=289, triggers=(stamp(at(0)),))
    with pytest.raises(ImpossibleError, match="TriggerAnswered may not lead from retried to downloading"):
        happen(broken, answered(290))


def test_every_state_entered_is_told_in_order_but_the_first_pending() -> None:
    job = downloaded(happen(polling(), listed((290, ENDS)), seconds=60))
    assert [t.state for t in job.history] == ["triggered", "polling", "downloading", "downloaded"]
    assert job.history[2].at == START + timedelta(seconds=60)
    assert job.label == "acme/payroll"
    assert job.finished
    assert not job.needs_a_person


# ── the first look ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "items, baseline",
    [((), 0), (((289, EARLIER),), 289), (((7, EARLIER), (289, EARLIER), (8, EARLIER)), 289), ((289,), 289)],
)
def test_the_baseline_is_the_latest_id_or_0(items: tuple[int | tuple[int, str], ...], baseline: int) -> None:
    job = happen(export(), listed(*items))
    assert (job.state, job.baseline_id) == (State.PENDING, baseline)


def test_the_baseline_is_never_refreshed() -> None:
    job = happen(export(), listed((289, EARLIER)), triggered(), ev.TriggerUnsent(), listed((290, EARLIER)))
    assert job.baseline_id == 289
    assert happen(job, triggered(), let_go(), listed((291, EARLIER))).baseline_id == 289


def test_an_export_of_the_same_end_is_adopted_and_not_made_a_second_time() -> None:
    job = happen(export(), listed((289, ENDS), (288, EARLIER)))
    assert (job.state, job.remote_ids, job.flags) == (State.DOWNLOADING, (289,), frozenset({Flag.ADOPTED}))
    assert not job.needs_a_person
    assert [t.state for t in downloaded(job).history] == ["downloading", "downloaded"]


def test_several_of_the_same_end_are_all_adopted_and_shown_to_a_person() -> None:
    job = happen(export(), listed((289, ENDS), (288, EARLIER), (287, ENDS)))
    assert job.remote_ids == (287, 289)
    assert job.flags == frozenset({Flag.ADOPTED, Flag.DUPLICATE})
    assert job.needs_a_person


def test_ours_is_adopted_even_where_a_later_end_exists() -> None:
    job = happen(export(), listed((290, LATER), (289, ENDS)))
    assert (job.state, job.remote_ids) == (State.DOWNLOADING, (289,))


def test_behind_a_later_end_nothing_is_triggered() -> None:
    job = happen(export(), listed((290, LATER), (289, EARLIER)))
    assert (job.state, job.superseded_by) == (State.FAILED, 290)
    assert job.error is not None
    assert job.error.code is ErrorCode.SUPERSEDED
    assert "export 290 ends 2026-11-30" in job.error.message


def test_where_the_list_tells_no_end_the_newest_five_are_asked() -> None:
    job = happen(export(), listed(*range(280, 290)))
    assert (job.live.unidentified, job.state) == ((289, 288, 287, 286, 285), State.PENDING)
    job = happen(job, *(ev.Identified(id_, EARLIER) for id_ in (289, 288, 287, 286)))
    assert job.live.unidentified == (285,)
    assert happen(job, ev.Identified(285, EARLIER)).live.unidentified == ()
    assert happen(job, ev.Identified(285, ENDS)).remote_ids == (285,)
    assert happen(job, ev.Identified(285, LATER)).superseded_by == 285


def test_of_what_is_above_the_baseline_all_are_asked_and_named() -> None:
    """The first night took the baseline and sent nothing; by the second, staff have made seven exports."""
    job = restarted(happen(export(), listed((289, EARLIER))))
    job = happen(job, listed(*range(285, 297)))
    assert job.live.unidentified == (296, 295, 294, 293, 292, 291, 290)
    job = happen(job, *(ev.Identified(id_, EARLIER) for id_ in job.live.unidentified))
    assert (job.state, job.foreign_ids, job.flags) == (
        State.PENDING,
        tuple(range(290, 297)),
        frozenset({Flag.FOREIGN}),
    )


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_export_with_our_end_is_ours() -> None:
    job = happen(polling(), listed((290, ENDS)))
    assert (job.state, job.remote_ids, job.flags) == (State.DOWNLOADING, (290,), frozenset())


@pytest.mark.parametrize("end", [EARLIER, "2026-11-23T00:00:01", "2026-11-24T00:00:00"])
def test_any_other_end_is_foreign_and_the_job_goes_on(end: str) -> None:
    job = happen(polling(), listed((290, end)))
    assert (job.state, job.foreign_ids, job.flags) == (State.POLLING, (290,), frozenset({Flag.FOREIGN}))
    job = happen(job, listed((290, end), (291, ENDS)))
    assert (job.state, job.remote_ids, job.foreign_ids) == (State.DOWNLOADING, (291,), (290,))
    assert not job.needs_a_person


@pytest.mark.parametrize("end", [None, EARLIER])
def test_an_export_that_the_list_does_not_explain_is_asked_itself(end: str | None) -> None:
    job = happen(polling(), listed(290, 291))
    assert (job.state, job.live.unidentified) == (State.POLLING, (290, 291))
    job = happen(job, ev.PathMissed())
    assert job.live.missed_path is False
    job = happen(job, ev.Identified(290, end))
    assert (job.live.missed_path, job.live.unidentified, job.foreign_ids) == (None, (291,), ())
    job = happen(job, ev.Identified(291, ENDS))
    assert (job.state, job.remote_ids, job.foreign_ids) == (State.DOWNLOADING, (291,), (290,))


def test_nothing_is_asked_twice_within_one_run() -> None:
    job = happen(polling(), listed(290), ev.Identified(290, EARLIER), listed(290, 290, 291))
    assert job.live.unidentified == (291,)


def test_an_export_that_did_not_tell_its_end_is_asked_again_by_every_tenth_poll_that_shows_it() -> None:
    job = happen(polling(), listed(290), ev.Identified(290, None))
    for poll in range(1, 20):
        job = happen(job, listed(290))
        assert job.live.unidentified == ((290,) if poll == 10 else ())
        job = happen(job, ev.Identified(290, None))
        assert (job.state, job.foreign_ids) == (State.POLLING, (290,))
    job = happen(job, listed(290), ev.Identified(290, ENDS))
    assert (job.state, job.remote_ids, job.foreign_ids) == (State.DOWNLOADING, (290,), ())


def test_a_foreign_export_is_asked_again_after_a_restart_for_it_may_end_later() -> None:
    job = restarted(happen(polling(), listed(290), ev.Identified(290, EARLIER)))
    job = happen(job, listed(290))
    assert job.live.unidentified == (290,)
    job = happen(job, ev.Identified(290, LATER))
    assert (job.superseded_by, job.foreign_ids) == (290, (290,))


def test_what_was_foreign_and_turns_out_ours_is_no_longer_called_foreign() -> None:
    job = restarted(happen(polling(), listed(290), ev.Identified(290, None)))
    job = happen(job, listed((290, ENDS)))
    assert (job.remote_ids, job.foreign_ids, job.flags) == ((290,), (), frozenset())


def test_what_was_seen_and_could_not_be_identified_is_named_by_the_failure_that_came_first() -> None:
    job = happen(polling(), listed(290, 291, 292), ev.Identified(290, EARLIER))
    job = happen(job, failed())
    assert job.error is not None
    assert job.error.message.endswith(" Seen meanwhile, not known whose: 290, 291, 292.")
    assert "Seen" not in str(happen(polling(), listed((290, EARLIER)), failed()).error)
    assert "Seen" not in str(happen(export(), listed(290), failed()).error)


def test_a_long_list_is_read_to_its_end_before_anything_is_concluded() -> None:
    page = tuple((id_, EARLIER) for id_ in range(290, 389))
    job = happen(polling(), listed(*page, (389, ENDS), complete=False))
    assert (job.state, job.live.listed, job.live.polled_boot_seconds) == (State.POLLING, 100, None)
    job = happen(job, listed((390, ENDS), 391, complete=False))
    assert (job.live.listed, job.live.unidentified) == (102, (391,))
    job = happen(job, ev.Identified(391, EARLIER))
    job = happen(job, listed())
    assert (job.state, job.remote_ids, job.live.listed) == (State.DOWNLOADING, (389, 390), 0)
    assert job.foreign_ids == (*range(290, 389), 391)


def test_two_exports_of_ours_are_both_kept_and_shown() -> None:
    job = happen(polling(), listed((290, ENDS), (291, ENDS)))
    assert (job.remote_ids, job.flags) == ((290, 291), frozenset({Flag.DUPLICATE}))
    job = downloaded(job)
    assert job.state is State.DOWNLOADED
    assert {r.remote_id for r in job.files} == {290, 291}
    assert job.needs_a_person


def test_a_later_end_that_appears_meanwhile_is_remembered_and_ours_may_still_come() -> None:
    job = happen(polling(), listed((290, LATER)), listed((290, LATER)))
    assert (job.state, job.superseded_by) == (State.POLLING, 290)
    assert happen(job, listed((290, LATER), (291, ENDS))).remote_ids == (291,)


def test_polls_are_counted_and_the_hosts_time_is_kept() -> None:
    job = happen(polling(), listed(server_date=START), seconds=5)
    assert (job.live.polls, job.live.polled_boot_seconds) == (1, 1005.0)
    job = happen(job, listed(), seconds=9)
    assert host_time(job, at(12)) == START + timedelta(seconds=7)
    assert host_time(export(), at(12)) is None


# ── the trigger ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_with_an_id_above_the_baseline_needs_no_poll() -> None:
    job = happen(export(), listed((289, EARLIER)), triggered(0), answered(290, 4))
    assert (job.state, job.remote_ids) == (State.DOWNLOADING, (290,))
    assert job.triggers == (stamp(at(4)),)


@pytest.mark.parametrize("id_", [1, 289])
def test_an_answer_with_an_old_id_is_not_believed(id_: int) -> None:
    job = happen(export(), listed((289, EARLIER)), triggered(), answered(id_))
    assert (job.state, job.remote_ids) == (State.POLLING, ())


def test_after_a_second_trigger_only_the_list_shows_whether_both_arrived() -> None:
    job = happen(polling(), triggered(3600), answered(291, 3601))
    assert (job.state, job.remote_ids) == (State.POLLING, ())
    assert happen(job, listed((290, ENDS), (291, ENDS))).flags == frozenset({Flag.DUPLICATE})


def test_a_trigger_that_was_not_executed_does_not_count() -> None:
    job = happen(export(), listed((289, EARLIER)), triggered(), ev.TriggerUnsent())
    assert (job.state, job.triggers, job.live.polled_boot_seconds) == (State.PENDING, (), None)
    job = happen(polling(), triggered(3600), ev.TriggerUnsent())
    assert (job.state, len(job.triggers)) == (State.POLLING, 1)


def test_the_hour_counts_from_when_the_post_was_let_go() -> None:
    job = happen(export(), listed(), triggered(0), let_go(15))
    assert job.triggers == (stamp(at(15)),)


def test_an_intent_found_after_a_crash_counts_as_sent() -> None:
    first = restarted(happen(export(), listed(), triggered(0)))
    second = restarted(happen(polling(), triggered(3600)))
    for job, count in ((first, 1), (second, 2)):
        after = happen(job, ev.Resumed(), seconds=50)
        assert (after.state, len(after.triggers)) == (State.POLLING, count)
        assert 0 <= (after.triggers[-1].boot_seconds - job.triggers[-1].boot_seconds) <= 15


def test_a_post_that_was_answered_with_a_no_counts_from_that_answer_by_every_clock() -> None:
    job = happen(export(), listed(server_date=START), triggered(0))
    job = happen(job, failed(), seconds=12)
    assert (job.state, len(job.triggers)) == (State.FAILED, 1)
    assert job.triggers[0] == stamp(at(12), START + timedelta(seconds=12))
    assert job.error is not None


# ── downloading ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_export_is_whole_when_its_answer_and_all_that_derives_from_it_are_placed() -> None:
    job = happen(polling(), listed((290, ENDS)))
    assert missing_pieces(job) == ((290, "json"),)
    job = happen(job, ev.PathMissed(), ev.Fetched(staged(290)))
    assert (missing_pieces(job), job.live.missed_path) == ((), None)
    job = happen(job, ev.Named((record(290), record(290, "csv"))))
    assert [r.placed for r in job.files] == [False, False]
    job = happen(job, ev.Placed((record(290).path, record(290, "csv").path)))
    assert job.state is State.DOWNLOADED
    assert [r.placed for r in job.files] == [True, True]
    assert job.contents == (m.Content(290, 5, EARLIER),)


def test_a_name_without_its_file_is_not_a_file() -> None:
    job = happen(polling(), listed((290, ENDS)), ev.Fetched(staged(290)), ev.Named((record(290),)))
    assert missing_pieces(restarted(job)) == ((290, "json"),)
    job = happen(restarted(job), ev.FilesMissed((record(290).path,)))
    assert (job.state, job.files, job.contents) == (State.DOWNLOADING, (), ())


def test_what_was_lost_of_an_export_that_failed_is_downloaded_again_with_what_it_lacked() -> None:
    job = happen(polling(), listed((290, ENDS), (291, ENDS)), ev.Fetched(staged(290)))
    job = happen(job, ev.Named((record(290),)), ev.Placed((record(290).path,)), failed())
    job = happen(restarted(job), ev.FilesMissed((record(290).path,)))
    assert (job.state, job.error) == (State.DOWNLOADING, None)
    assert missing_pieces(job) == ((290, "json"), (291, "json"))


@pytest.mark.parametrize(
    "entries, empty_ok, flags",
    [(0, False, frozenset({Flag.EMPTY})), (0, True, frozenset()), (1, False, frozenset())],
)
def test_an_export_without_entries_needs_a_person_unless_that_is_said_to_be_ok(
    entries: int, empty_ok: bool, flags: frozenset[Flag]
) -> None:
    job = happen(polling(), listed((290, ENDS)))
    job = downloaded(replace(job, spec=replace(EXPORT, empty_ok=empty_ok)), entries=entries)
    assert job.flags == flags
    assert job.needs_a_person is bool(flags)


@pytest.mark.parametrize("end, others", [(None, {Flag.EMPTY}), (EARLIER, set())])
def test_empty_is_not_ok_beside_an_export_that_nobody_could_read(end: str | None, others: set[Flag]) -> None:
    # The hours may stand in that one.
    job = happen(polling(), listed(290, 291), ev.Identified(290, end), ev.Identified(291, ENDS))
    job = downloaded(replace(job, spec=replace(EXPORT, empty_ok=True)), entries=0)
    assert (job.remote_ids, job.foreign_ids) == ((291,), (290,))
    assert job.flags == {Flag.FOREIGN} | others


def test_an_empty_export_whose_twin_holds_entries_is_not_empty() -> None:
    job = downloaded(happen(polling(), listed((290, ENDS))), entries=0)
    job = downloaded(happen(job, listed((290, ENDS), (291, ENDS))))
    assert job.flags == frozenset({Flag.DUPLICATE})
    assert [c.remote_id for c in job.contents] == [290, 291]


def test_a_derived_file_that_could_not_be_made_is_flagged_until_it_is_made() -> None:
    job = happen(polling(), listed((290, ENDS)), ev.Fetched(staged(290, "json", underived=("csv",))))
    job = happen(job, ev.Named((record(290),)), ev.Placed((record(290).path,)))
    assert (job.state, job.flags) == (State.DOWNLOADED, frozenset({Flag.DERIVED}))
    again = happen(job, ev.FilesMissed((record(290).path,)))
    assert downloaded(again).flags == frozenset()


def test_the_derived_flag_of_one_export_outlives_its_twin() -> None:
    job = happen(polling(), listed((290, ENDS)), ev.Fetched(staged(290, "json", underived=("csv",))))
    job = happen(job, ev.Named((record(290),)), ev.Placed((record(290).path,)))
    job = happen(job, listed((290, ENDS), (291, ENDS)), ev.Fetched(staged(291)))
    job = happen(job, ev.Named((record(291),)), ev.Placed((record(291).path,)))
    assert job.flags == frozenset({Flag.DERIVED, Flag.DUPLICATE})


def test_a_file_that_went_missing_is_downloaded_again_from_its_id_never_triggered() -> None:
    job = downloaded(happen(polling(), listed((290, ENDS), (291, ENDS))))
    job = happen(job, ev.FilesMissed((record(290, "csv").path,)))
    assert (job.state, len(job.triggers)) == (State.DOWNLOADING, 1)
    assert missing_pieces(job) == ((290, "json"),)
    assert happen(restarted(job), ev.Fetched(staged(290)), ev.Named((record(290), record(290, "csv")))).files


# ── content that is not ours ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end, superseded_by", [(None, None), (EARLIER, None), (LATER, 290)])
def test_content_of_another_end_is_foreign_and_ours_is_waited_for(
    end: str | None, superseded_by: int | None
) -> None:
    job = happen(export(), listed((289, EARLIER)), triggered(), answered(290), ev.Misattributed(290, end))
    assert (job.state, job.remote_ids, job.foreign_ids) == (State.POLLING, (), (290,))
    assert (job.flags, job.superseded_by) == (frozenset({Flag.FOREIGN}), superseded_by)


def test_of_two_exports_the_one_that_is_not_ours_leaves_no_duplicate_behind() -> None:
    job = restarted(happen(polling(), listed((290, ENDS), (291, ENDS))))
    job = happen(job, ev.Misattributed(290, EARLIER))
    assert (job.state, job.remote_ids, job.foreign_ids) == (State.DOWNLOADING, (291,), (290,))
    assert job.flags == frozenset({Flag.FOREIGN})


def test_two_that_stay_are_still_a_duplicate() -> None:
    job = restarted(happen(polling(), listed((290, ENDS), (291, ENDS), (292, ENDS))))
    job = happen(job, ev.Misattributed(291, None))
    assert (job.remote_ids, job.flags) == ((290, 292), frozenset({Flag.DUPLICATE, Flag.FOREIGN}))


def test_an_adopted_export_that_is_not_ours_is_adopted_no_longer_and_looked_past_before_a_trigger() -> None:
    job = restarted(happen(export(), listed((289, ENDS), (288, ENDS))))
    job = happen(job, ev.Misattributed(288, EARLIER), ev.Misattributed(289, LATER))
    assert (job.state, job.remote_ids, job.flags) == (State.PENDING, (), frozenset())
    assert job.live.polled_boot_seconds is None
    assert happen(job, listed()).superseded_by == 289


# ── looking at what is finished ──────────────────────────────────────────────────────────────────────────────────


def test_a_twin_that_comes_late_is_downloaded_and_shown() -> None:
    job = downloaded(happen(polling(), triggered(3600), let_go(3601), listed((291, ENDS))))
    job = happen(restarted(job), ev.PathMissed(), listed((290, EARLIER), (291, ENDS)))
    assert (job.state, job.foreign_ids) == (State.DOWNLOADED, ())
    job = happen(job, listed(292), ev.Identified(292, ENDS))
    assert (job.state, job.remote_ids, job.flags) == (
        State.DOWNLOADING,
        (291, 292),
        frozenset({Flag.DUPLICATE}),
    )
    assert missing_pieces(job) == ((292, "json"),)


@pytest.mark.parametrize("code", [ErrorCode.NO_EXPORT, ErrorCode.SUPERSEDED])
def test_an_export_that_comes_after_all_is_taken(code: ErrorCode) -> None:
    job = happen(polling(), failed(code))
    assert happen(job, ev.PathMissed(), listed()).state is State.FAILED
    job = downloaded(happen(job, listed(290), ev.Identified(290, ENDS)))
    assert (job.state, job.error) == (State.DOWNLOADED, None)


# ── returns ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_failed_job_is_taken_up_again_where_it_stood() -> None:
    fresh = happen(export(), failed())
    waiting = happen(polling(), failed())
    found = happen(polling(), listed((290, ENDS)), failed())
    for job, state in ((fresh, State.PENDING), (waiting, State.POLLING), (found, State.DOWNLOADING)):
        assert job.needs_a_person
        for event in (ev.Reopened(), ev.Retried(stamp(at(0)))):
            after = happen(job, event)
            assert (after.state, after.error, len(after.triggers)) == (state, None, len(job.triggers))


def test_a_persons_retry_counts_the_triggers_anew_and_keeps_the_hour() -> None:
    job = happen(polling(), failed(ErrorCode.NO_EXPORT))
    job = happen(job, ev.Retried(stamp(at(60))))
    assert (job.forgiven, job.triggers) == (1, (stamp(at(0)),))


def test_a_retry_after_the_clock_was_set_back_starts_the_hour_anew() -> None:
    job = happen(polling(), failed(ErrorCode.NO_EXPORT))
    told = stamp(at(60, wall=-7200))
    assert happen(job, ev.Retried(told)).triggers == (told,)


def test_a_retry_after_the_clock_was_set_back_keeps_what_the_host_said_of_the_trigger() -> None:
    """Else a clock that is set forward again later would shorten the hour."""
    job = happen(export(), listed(), triggered(), ev.TriggerLetGo(stamp(at(0), START), "timed out"))
    job = happen(job, failed(ErrorCode.NO_EXPORT), ev.Retried(stamp(at(60, wall=-7200))))
    assert job.triggers == (stamp(at(60, wall=-7200), START),)


def test_a_retry_looks_anew_whether_a_later_export_stands_in_the_way() -> None:
    job = happen(polling(), listed((290, LATER)), failed(ErrorCode.SUPERSEDED), ev.Retried(stamp(at(60))))
    assert job.superseded_by is None
    assert happen(job, listed((290, LATER))).superseded_by == 290


def test_a_failure_that_no_night_can_mend_waits_for_a_person() -> None:
    assert set(ErrorCode) - m.TAKEN_UP_AGAIN == {
        ErrorCode.NO_EXPORT,
        ErrorCode.REPORT_ERROR,
        ErrorCode.SUPERSEDED,
    }


# ── identity ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_is_the_same_job_by_domain_configuration_and_end_alone() -> None:
    same = replace(
        EXPORT, tenant="other", name="renamed", due=EXPORT.ends_at, formats=("json",), empty_ok=True
    )
    assert same.identity == EXPORT.identity
    for other in (
        replace(EXPORT, domain="globex.ilucca.net"),
        replace(EXPORT, configuration_id=4),
        replace(EXPORT, ends_at=EXPORT.due),
    ):
        assert other.identity != EXPORT.identity


def test_one_export_is_in_flight_per_domain_and_configuration() -> None:
    assert EXPORT.lane == ("acme.ilucca.net", 3)


def test_an_end_is_midnight_without_a_zone() -> None:
    assert ends_text(export()) == ENDS
    assert advance(export(), listed((1, ENDS)), at(0)).remote_ids == (1,)

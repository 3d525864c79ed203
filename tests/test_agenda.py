"""A job decides what comes next so that nothing is triggered twice or forgotten, and a restart changes nothing."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from runner.clock import Instant
from runner.jobs import events as ev
from runner.jobs import model as m
from runner.jobs.agenda import (
    FRESH_SECONDS,
    LOOK_BACK,
    Action,
    Conclude,
    Do,
    Policy,
    Rest,
    Step,
    Wait,
    elapsed_seconds,
    looked,
    looking,
    next_action,
    owes_a_look,
    poll_pause,
    template_of,
)
from runner.jobs.finding import ends_text
from runner.jobs.machine import MAX_LOSSES, MAX_REPORT_ERRORS, advance, missing_pieces, stamp
from runner.jobs.model import ErrorCode, State
from runner.pacing import MARGIN_SECONDS, WINDOW_SECONDS
from tests.job_samples import (
    EARLIER,
    ENDS,
    LATER,
    REPORT,
    START,
    TEMPLATE,
    answered,
    at,
    downloaded,
    export,
    failed,
    happen,
    let_go,
    listed,
    put_in_place,
    record,
    report,
    restarted,
    staged,
    triggered,
)

POLICY = Policy()
HOUR = 3600.0


def act(job: m.Job, now: float | Instant) -> Action:
    """What the job does at that second, or moment."""
    return next_action(job, now if isinstance(now, Instant) else at(now), POLICY)


def waiting(*, polled: float | None = 10.0, triggers: int = 1) -> m.Job:
    """An export let go at second 0 and last polled at `polled`, with nothing found."""
    job = happen(export(), listed((289, EARLIER)), triggered(), let_go())
    for _ in range(triggers - 1):
        job = happen(job, triggered(), let_go())
    return job if polled is None else happen(job, listed(), seconds=polled)


def refusal(action: Action) -> m.JobError:
    """The error that this action concludes with."""
    assert isinstance(action, Conclude)
    assert isinstance(action.event, ev.Failed)
    return action.event.error


# ── exports: looking and triggering ──────────────────────────────────────────────────────────────────────────────


def test_an_export_is_looked_for_before_it_is_triggered() -> None:
    assert act(export(), 0) == Do(Step.SURVEY)
    assert act(happen(export(), listed()), 0) == Do(Step.TRIGGER)


def test_a_look_too_old_is_taken_again_before_the_trigger() -> None:
    job = happen(export(), listed())
    assert act(job, FRESH_SECONDS) == Do(Step.TRIGGER)
    assert act(job, FRESH_SECONDS + 1) == Do(Step.SURVEY)
    assert act(restarted(job), 1) == Do(Step.SURVEY)


def test_one_request_a_minute_is_enough_to_get_from_the_look_to_the_trigger() -> None:
    assert FRESH_SECONDS > WINDOW_SECONDS + MARGIN_SECONDS + 15


def test_what_a_bare_list_shows_is_asked_before_anything_else() -> None:
    assert act(happen(export(), listed(289)), 0) == Do(Step.IDENTIFY)
    assert act(happen(waiting(), listed(290)), HOUR * 2) == Do(Step.IDENTIFY)


def test_what_told_no_end_is_asked_once_more_before_a_trigger_and_not_for_ever() -> None:
    job = happen(
        export(), listed(289, 290), ev.Identified(290, None), ev.Identified(289, EARLIER), seconds=10
    )
    assert act(job, 11) == Wait(1000.0 + 40)
    assert act(job, 40) == Conclude(ev.Doubted())
    job = happen(job, ev.Doubted(), seconds=40)
    assert act(job, 41) == Do(Step.SURVEY)
    job = happen(job, listed(289, 290), seconds=41)
    assert (job.live.unidentified, act(job, 41)) == ((290,), Do(Step.IDENTIFY))
    job = happen(job, ev.Identified(290, None), seconds=41)
    assert act(job, 42) == Do(Step.TRIGGER)
    job = happen(job, triggered(), let_go(), listed(291), ev.Identified(291, None), seconds=50)
    job = happen(job, listed(291), seconds=HOUR + 60)
    assert act(job, HOUR + 61) == Conclude(ev.Doubted())
    job = happen(job, ev.Doubted(), seconds=HOUR + 61)
    assert act(job, HOUR + 61) == Do(Step.POLL)
    job = happen(job, listed(291), seconds=HOUR + 62)
    assert job.live.unidentified == (291,)
    job = happen(job, ev.Identified(291, None), seconds=HOUR + 62)
    assert act(job, HOUR + 63) == Do(Step.TRIGGER)


def test_a_post_whose_answer_was_lost_counts_as_sent() -> None:
    job = happen(export(), listed(), triggered())
    assert act(restarted(job), 1) == Conclude(ev.Resumed())
    assert act(happen(waiting(), triggered(HOUR)), HOUR) == Conclude(ev.Resumed())


# ── exports: polling ─────────────────────────────────────────────────────────────────────────────────────────────


def test_polls_come_soon_at_first_and_then_at_the_interval() -> None:
    assert [poll_pause(n, 32.0) for n in range(6)] == [2.0, 4.0, 8.0, 16.0, 32.0, 32.0]
    job = waiting(polled=None)
    assert act(job, 1) == Wait(1000.0 + 30 / 16)
    assert act(job, 2) == Do(Step.POLL)
    job = happen(job, listed(), seconds=2)
    assert act(job, 2.1) == Wait(1002.0 + 30 / 8)


def test_after_a_restart_or_a_reboot_the_first_poll_comes_at_once() -> None:
    assert act(restarted(waiting()), 5) == Do(Step.POLL)
    assert act(waiting(polled=None), at(1, boot="boot-2", boot_seconds=3.0)) == Do(Step.POLL)


def test_a_long_list_is_read_on_at_once() -> None:
    assert act(happen(waiting(), listed((290, EARLIER), complete=False), seconds=11), 11) == Do(Step.POLL)


# ── exports: the hour ────────────────────────────────────────────────────────────────────────────────────────────


def test_within_the_hour_it_is_never_triggered_again() -> None:
    job = waiting(polled=HOUR - 1)
    assert act(job, HOUR - 0.5) == Wait(1000.0 + HOUR)
    assert act(waiting(polled=HOUR - 40), HOUR - 0.5) == Do(Step.POLL)


def test_once_the_hour_is_up_it_is_polled_once_more_then_triggered() -> None:
    job = waiting(polled=HOUR - 1)
    assert act(job, HOUR) == Do(Step.POLL)
    job = happen(job, listed(), seconds=HOUR)
    assert act(job, HOUR + 1) == Do(Step.TRIGGER)
    assert act(job, HOUR + FRESH_SECONDS + 1) == Do(Step.POLL)


def test_after_the_last_trigger_the_hour_is_waited_once_more_and_then_it_fails() -> None:
    job = happen(waiting(triggers=3), listed(), seconds=HOUR - 1)
    assert act(job, HOUR - 0.5) == Wait(1000.0 + HOUR)
    job = happen(job, listed(), seconds=HOUR)
    error = refusal(act(job, HOUR))
    assert error.code is ErrorCode.NO_EXPORT
    assert "triggered 3 times" in error.message


def test_a_retry_gives_all_its_triggers_again_after_the_hour() -> None:
    job = happen(waiting(triggers=3), failed(ErrorCode.NO_EXPORT), ev.Retried(stamp(at(60))))
    assert act(job, 60) == Do(Step.POLL)
    job = happen(job, listed(), seconds=61)
    assert isinstance(act(job, 62), Wait)
    job = happen(job, listed(), seconds=HOUR)
    assert act(job, HOUR) == Do(Step.TRIGGER)


def test_behind_a_later_export_it_is_waited_for_and_not_triggered_again() -> None:
    job = happen(waiting(), listed((290, LATER)), seconds=20)
    assert isinstance(act(job, 21), Wait)
    error = refusal(act(happen(job, listed(), seconds=HOUR), HOUR))
    assert error.code is ErrorCode.SUPERSEDED
    assert "export 290 appeared" in error.message


# ── the clocks ───────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.floats(0, 1e5), st.floats(-1e7, 1e7), st.none() | st.floats(-1e6, 1e6))
def test_within_one_boot_only_the_boot_clock_counts(passed: float, wall: float, server: float | None) -> None:
    job = waiting(polled=None)
    date = None if server is None else START + timedelta(seconds=server)
    job = happen(job, listed(server_date=date), seconds=1)
    assert elapsed_seconds(job, at(passed, wall=wall)) == pytest.approx(passed)


@given(st.floats(0, 1e5), st.floats(-1e7, 1e7))
def test_after_a_reboot_the_servers_dates_count_and_no_wall_clock(passed: float, wall: float) -> None:
    last = stamp(at(0), START)
    job = replace(waiting(), triggers=(last,))
    seen = START + timedelta(seconds=int(passed))
    rebooted = Instant(START + timedelta(seconds=passed + wall), 7.0, "boot-2")
    job = advance(restarted(job), listed(server_date=seen), rebooted)
    elapsed = elapsed_seconds(job, replace(rebooted, boot_seconds=17.0))
    assert elapsed is not None
    assert passed + 10 - 3.5 <= elapsed <= passed + 10


def test_without_the_servers_dates_the_wall_clock_counts() -> None:
    job = restarted(waiting())
    assert elapsed_seconds(job, at(500, boot="boot-2", boot_seconds=7.0)) == 500


def test_a_wall_clock_that_was_set_back_is_told_and_waits_for_a_person() -> None:
    job = restarted(waiting())
    back = at(500, boot="boot-2", boot_seconds=7.0, wall=-1000.0)
    assert act(job, back) == Do(Step.POLL)
    job = advance(job, listed(), back)
    error = refusal(act(job, back))
    assert error.code is ErrorCode.NO_EXPORT
    assert "clock" in error.message
    assert error.code not in m.TAKEN_UP_AGAIN


# ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_report_creates_its_template_once_and_then_itself() -> None:
    assert act(report(), 0) == Do(Step.TRIGGER)
    assert template_of(report()) == 12
    job = report(spec=replace(REPORT, template=TEMPLATE))
    assert act(job, 0) == Do(Step.CREATE_TEMPLATE)
    job = happen(job, ev.TemplateCreated(31))
    assert act(job, 0) == Do(Step.TRIGGER)
    assert template_of(job) == 31


def test_a_report_is_polled_until_it_is_there_or_takes_too_long() -> None:
    job = happen(report(), triggered(), answered(7))
    assert act(job, 0.1) == Wait(1000.0 + 10 / 16)
    assert act(job, 1) == Do(Step.POLL_REPORT)
    job = happen(job, ev.ReportPolled("pending"), seconds=1)
    assert act(job, 1.5) == Wait(1001.0 + 10 / 8)
    assert act(job, HOUR - 1) == Do(Step.POLL_REPORT)
    assert act(job, HOUR) == Do(Step.POLL_REPORT), "it could not be asked all that time"
    assert act(happen(job, ev.ReportPolled("pending"), seconds=HOUR - 1), HOUR) == Conclude(
        ev.ReportTimedOut()
    )
    assert act(restarted(job), HOUR * 9) == Do(Step.POLL_REPORT), "it may have been done long ago"


def test_a_report_whose_time_cannot_be_told_is_polled_on() -> None:
    job = happen(restarted(happen(report(), triggered(), answered(7))), ev.ReportPolled("pending"))
    assert act(job, at(60, boot="boot-2", boot_seconds=2000.0, wall=-9000.0)) == Do(Step.POLL_REPORT)


def test_a_report_that_is_gone_is_created_again() -> None:
    assert act(happen(report(), triggered(), answered(7), ev.ReportLost()), 0) == Do(Step.TRIGGER)


# ── downloading ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_export_is_fetched_and_placed_one_after_the_other() -> None:
    job = happen(waiting(), listed((290, ENDS), (291, ENDS)))
    assert act(job, 0) == Do(Step.FETCH)
    job = happen(job, ev.Fetched(staged(290)))
    assert act(job, 0) == Do(Step.PLACE)
    job = put_in_place(job)
    assert act(job, 0) == Do(Step.FETCH)
    assert act(downloaded(job), 0) == Rest()


def test_the_formats_of_a_report_are_placed_together() -> None:
    job = happen(report(), triggered(), answered(7), ev.ReportPolled("done"))
    job = happen(job, ev.Fetched(staged(7, "csv", entries=None)))
    assert act(job, 0) == Do(Step.FETCH)
    job = happen(job, ev.Fetched(staged(7, "excel", entries=None)))
    assert act(job, 0) == Do(Step.PLACE)


def test_names_without_files_are_cleared_up_first_and_nothing_is_fetched_that_is_there() -> None:
    job = happen(waiting(), listed((290, ENDS)), ev.Fetched(staged(290)), ev.Named((record(290),)))
    assert act(restarted(job), 0) == Do(Step.PLACE)
    whole = replace(downloaded(job), state=State.DOWNLOADING)
    assert act(restarted(whole), 0) == Do(Step.PLACE)


def test_where_the_budget_is_short_triggers_and_downloads_go_before_polls() -> None:
    first = {Step.TRIGGER, Step.CREATE_TEMPLATE, Step.FETCH, Step.PLACE}
    assert {step for step in Step if step.priority == 0} == first
    assert Step.POLL.priority == Step.POLL_REPORT.priority == max(step.priority for step in Step)
    assert [step.label for step in (Step.TRIGGER, Step.POLL_REPORT)] == ["trigger", "poll_report"]


# ── looking at what is finished ──────────────────────────────────────────────────────────────────────────────────


def test_a_finished_job_rests_unless_it_owes_a_look() -> None:
    job = restarted(downloaded(happen(waiting(triggers=2), listed((291, ENDS)))))
    assert act(job, 0) == Rest()
    job = looking(job)
    assert act(job, 0) == Do(Step.POLL)
    assert act(happen(job, listed((291, ENDS))), 0) == Rest()
    assert act(looked(job), 0) == Rest()


def test_a_bare_list_is_no_excuse_to_miss_a_late_twin() -> None:
    job = looking(restarted(downloaded(happen(waiting(triggers=2), listed((291, ENDS))))))
    job = happen(job, listed(291, 292))
    assert act(job, 0) == Do(Step.IDENTIFY)
    assert act(happen(job, ev.Identified(292, ENDS)), 0) == Do(Step.FETCH)
    assert act(happen(job, ev.Identified(292, EARLIER)), 0) == Rest()
    assert act(looked(job), 0) == Rest()


def test_a_look_at_a_long_list_reads_all_of_it() -> None:
    job = looking(restarted(downloaded(happen(waiting(triggers=2), listed((291, ENDS))))))
    job = happen(job, listed(292, complete=False), ev.Identified(292, EARLIER))
    assert act(job, 0) == Do(Step.POLL)
    assert looked(job).live.listed == 0


@pytest.mark.parametrize(
    "code, triggers, days, owes",
    [
        (None, 1, 1, False),
        (None, 2, 7, True),
        (None, 2, 8, False),
        (None, 3, -1, True),
        (ErrorCode.NO_EXPORT, 1, 1, True),
        (ErrorCode.NO_EXPORT, 3, 400, True),
        (ErrorCode.SUPERSEDED, 1, 7, True),
        (ErrorCode.SUPERSEDED, 1, 8, False),
        (ErrorCode.SUPERSEDED, 0, 0, False),
        (ErrorCode.REJECTED, 1, 1, False),
    ],
)
def test_what_may_still_come_late_is_looked_for(
    code: ErrorCode | None, triggers: int, days: int, owes: bool
) -> None:
    error = None if code is None else m.JobError(code, "…")
    state = State.DOWNLOADED if code is None else State.FAILED
    job = export(state=state, error=error, triggers=(stamp(at(0)),) * triggers)
    assert owes_a_look(job, at(days * 86_400)) is owes
    assert timedelta(days=7) == LOOK_BACK


def test_neither_a_report_nor_what_is_under_way_owes_a_look() -> None:
    triggers = (stamp(at(0)),) * 2
    assert not owes_a_look(report(state=State.DOWNLOADED, triggers=triggers), at(1))
    assert not owes_a_look(export(state=State.POLLING, triggers=triggers), at(1))
    assert not owes_a_look(export(state=State.SKIPPED, triggers=triggers), at(1))


# ── any night at all ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class World:
    """A night that goes as chance will have it: the true time, three clocks, a ledger, and one job.

    The server's `Date` is true but for its fraction. With `dates` it is sent, and the wall clock may be set as chance
    likes; without, the wall clock can only be set back.
    """

    chance: Random
    dates: bool
    bare: bool
    job: m.Job
    true: float = 0.0
    wall_off: float = 0.0
    boot: int = 1
    booted: float = -1000.0
    next_id: int = 290
    ledger: dict[int, str] = field(default_factory=lambda: {289: EARLIER})
    seen: set[int] = field(default_factory=set)
    posts: list[float] = field(default_factory=list)
    counted: int = 0
    looked_at: float | None = None
    tries: int = 0
    losses: int = 0

    def now(self) -> Instant:
        return Instant(
            START + timedelta(seconds=self.true + self.wall_off), self.true - self.booted, f"boot-{self.boot}"
        )

    def date(self) -> datetime | None:
        return START + timedelta(seconds=int(self.true)) if self.dates else None

    def happens(self, *events: ev.Event) -> None:
        """Let it happen, and hold the job to what is promised whatever happens."""
        for event in events:
            before, self.job = self.job, advance(self.job, event, self.now())
            job = self.job
            assert before.baseline_id in (None, job.baseline_id), "the baseline was refreshed"
            assert not set(job.remote_ids) & set(job.foreign_ids), "ours and foreign at once"
            entered = () if job.state is before.state else (m.Transition(job.state, self.now().wall),)
            assert job.history == (*before.history, *entered)
            assert bool(job.foreign_ids) == (m.Flag.FOREIGN in job.flags)
            assert (job.error is not None) == (job.state is State.FAILED)
            quiet = not job.live.unidentified and not job.live.listed
            if job.state is State.POLLING and quiet:
                lost = self.seen - set(job.remote_ids) - set(job.foreign_ids)
                assert not lost, "an export was seen and forgotten"

    def ordinary(self, chance_of_trouble: float) -> bool:
        return self.chance.random() >= chance_of_trouble

    def appears(self, end: str) -> int:
        self.ledger[self.next_id] = end
        self.next_id += 1
        return self.next_id - 1

    # ── what may happen between two steps ──

    def interlude(self) -> None:
        pick = self.chance.choice(
            ["calm"] * 8 + ["slow", "crash", "reboot", "wall", "foreign", "later", "ours", "hours"]
        )
        if pick == "slow":
            self.true += self.chance.uniform(0, 200)
        elif pick == "hours":
            self.true += self.chance.uniform(0, 9000)
        elif pick in ("crash", "reboot"):
            self.restart(reboot=pick == "reboot")
        elif pick == "wall":
            self.wall_off += self.chance.uniform(-9000, 9000 if self.dates else 0)
        elif pick != "calm" and self.chance.random() < 0.3:
            self.appears({"foreign": EARLIER, "later": LATER, "ours": ENDS}[pick])

    def restart(self, *, reboot: bool) -> None:
        self.true += self.chance.uniform(0, 600)
        if reboot:
            self.boot += 1
            self.booted = self.true - self.chance.uniform(1, 60)
        self.job = restarted(self.job)
        self.seen &= {*self.job.remote_ids, *self.job.foreign_ids}
        self.looked_at = None
        if self.job.error is not None and self.job.error.code in m.TAKEN_UP_AGAIN:
            self.happens(ev.Reopened())
        elif owes_a_look(self.job, self.now()):
            self.job = looking(self.job)

    def retry(self) -> None:
        self.happens(ev.Retried(stamp(self.now())))
        self.counted = self.tries = self.losses = 0
        self.seen &= {*self.job.remote_ids, *self.job.foreign_ids}

    # ── one turn ──

    def turn(self, trouble: float) -> bool:
        """Do what comes next. False when nothing does."""
        action = next_action(self.job, self.now(), POLICY)
        if isinstance(action, Rest):
            return False
        if isinstance(action, Wait):
            assert action.until_boot_seconds > self.now().boot_seconds, "a wait for nothing"
            self.true = self.booted + action.until_boot_seconds + 0.001
        elif isinstance(action, Conclude):
            if isinstance(action.event, ev.ReportTimedOut):
                self.tries += 1
            self.happens(action.event)
        elif self.ordinary(trouble):
            self.true += self.chance.uniform(0.01, 2)
            getattr(self, action.step.label)(trouble)
        else:
            self.true += self.chance.uniform(0.5, 70)  # a request that came to nothing
            if self.chance.random() < 0.1 and not self.job.finished:
                self.happens(failed(self.chance.choice(list(m.TAKEN_UP_AGAIN))))
                self.seen &= {*self.job.remote_ids, *self.job.foreign_ids}
        return True

    def sightings(self, ids: list[int]) -> ev.Listed:
        return ev.Listed(
            tuple(m.Sighting(i, None if self.bare else self.ledger[i]) for i in ids), True, self.date()
        )

    def survey(self, _trouble: float) -> None:
        self.looked_at = self.true
        self.happens(self.sightings(sorted(self.ledger, reverse=True)[:100]))

    def poll(self, _trouble: float) -> None:
        above = sorted(i for i in self.ledger if i > (self.job.baseline_id or 0))
        page = above[self.job.live.listed :]
        cut = self.chance.random() < 0.2 and bool(page)
        page = page[: len(page) // 2 + 1] if cut else page
        if self.job.state is State.POLLING:
            self.seen |= set(page)
        if not cut:
            self.looked_at = self.true
        self.happens(replace(self.sightings(page), complete=not cut))

    def identify(self, trouble: float) -> None:
        id_ = self.job.live.unidentified[0]
        if not self.ordinary(trouble):
            self.happens(ev.PathMissed())
        elif not self.ordinary(trouble / 4):
            self.ledger.pop(id_, None)  # archived meanwhile
        self.happens(ev.Identified(id_, self.ledger.get(id_)))

    def trigger(self, trouble: float) -> None:
        kind = self.job.spec.kind
        if kind == "export":
            assert self.looked_at is not None
            assert self.true - self.looked_at <= FRESH_SECONDS + 2, "triggered on an old look"
            known = self.job.live.known.values()
            assert all(end < ends_text(self.job) for end in known), (
                "triggered although it is there, or behind the ledger"
            )
            assert all(self.true - post >= HOUR - 1 for post in self.posts), "triggered twice within the hour"
        seen = self.job.live.server_date
        host = None if seen is None else seen[0] + timedelta(seconds=self.now().boot_seconds - seen[1])
        self.happens(ev.Triggered(stamp(self.now(), host)))
        self.looked_at = None
        sent = self.true
        self.true += self.chance.uniform(0, 15)
        outcome = (
            "answered"
            if self.ordinary(trouble)
            else self.chance.choice(["unsent", "let_go", "crash", "no", "odd"])
        )
        if outcome == "unsent":
            self.happens(ev.TriggerUnsent())
            return
        self.counted += 1
        self.posts.append(sent if outcome == "crash" else self.true)
        if kind == "export":
            assert self.counted <= POLICY.max_triggers
        arrived = self.chance.random() < 0.5 or not trouble
        id_ = (
            self.appears(self.chance.choice([EARLIER, LATER]) if outcome == "odd" else ENDS)
            if arrived
            else self.next_id
        )
        self.next_id = max(self.next_id, id_ + 1)
        if outcome == "no":
            self.happens(failed())
            self.seen &= {*self.job.remote_ids, *self.job.foreign_ids}
        elif outcome == "crash":
            self.restart(reboot=self.chance.random() < 0.3)
        elif outcome == "let_go" or not arrived:
            self.happens(ev.TriggerLetGo(stamp(self.now(), self.date()), "timed out"))
        else:
            self.happens(ev.TriggerAnswered(id_, stamp(self.now(), self.date())))

    def fetch(self, trouble: float) -> None:
        id_, format_ = missing_pieces(self.job)[0]
        if self.job.spec.kind == "report":
            if not self.ordinary(trouble):
                self.losses += 1
                self.happens(ev.ReportLost())
            else:
                self.happens(ev.Fetched(staged(id_, format_, entries=None)))
        elif not self.ordinary(trouble):
            self.happens(ev.PathMissed())
        elif (end := self.ledger.get(id_)) != ENDS:
            self.happens(ev.Misattributed(id_, end))
        else:
            self.happens(ev.Fetched(staged(id_, entries=self.chance.randint(0, 2))))

    def place(self, trouble: float) -> None:
        fresh = tuple(r for s in self.job.live.staged for r, _ in s.parts)
        if fresh:
            self.happens(ev.Named(fresh))
        if not self.ordinary(trouble / 2):
            self.restart(reboot=False)
            return
        unplaced = [r.path for r in self.job.files if not r.placed]
        gone = [path for path in unplaced if path not in {r.path for r in fresh}]
        if gone:
            self.happens(ev.FilesMissed(tuple(gone)))
        self.happens(ev.Placed(tuple(path for path in unplaced if path not in gone)))

    def poll_report(self, trouble: float) -> None:
        if self.ordinary(trouble):
            self.happens(ev.ReportPolled(self.chance.choice(["pending", "done"]) if trouble else "done"))
        elif self.ordinary(0.5):
            self.tries += 1
            self.happens(ev.ReportPolled("error"))
        else:
            self.losses += 1
            self.happens(ev.ReportLost())
        assert self.tries <= MAX_REPORT_ERRORS + 1
        assert self.losses <= MAX_LOSSES + 1

    def create_template(self, _trouble: float) -> None:
        self.happens(ev.TemplateCreated(31))


def play(world: World, turns: int) -> None:
    """A wild night, then a calm one that brings everything to its end."""
    for _ in range(turns):
        world.interlude()
        if not world.turn(trouble=0.4) and world.chance.random() < 0.5:
            if world.job.state is State.FAILED and world.chance.random() < 0.3:
                world.retry()
            else:
                world.restart(reboot=False)
    world.restart(reboot=False)
    for _ in range(500):
        if not world.turn(trouble=0.0):
            break
    else:
        raise AssertionError("a calm night does not end")
    job = world.job
    assert job.finished
    if job.state is State.FAILED:
        assert job.error is not None
        assert job.error.code not in m.TAKEN_UP_AGAIN
    else:
        assert job.remote_ids
        assert not missing_pieces(job)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.booleans(), st.booleans(), st.integers(0, 80))
def test_whatever_happens_to_an_export_the_promises_hold_and_it_ends(
    seed: int, dates: bool, bare: bool, turns: int
) -> None:
    world = World(Random(seed), dates, bare, export())
    play(world, turns)
    if world.job.state is State.DOWNLOADED:
        assert {r.remote_id for r in world.job.files if r.placed and r.format == "json"} >= set(
            world.job.remote_ids
        )


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.booleans(), st.integers(0, 60))
def test_whatever_happens_to_a_report_it_ends_and_its_formats_belong_together(
    seed: int, inline: bool, turns: int
) -> None:
    spec = replace(REPORT, template=TEMPLATE) if inline else REPORT
    world = World(Random(seed), dates=False, bare=False, job=report(spec=spec))
    play(world, turns)
    if world.job.state is State.DOWNLOADED:
        last = world.job.remote_ids[-1]
        assert {r.format for r in world.job.files if r.placed and r.remote_id == last} == {"csv", "excel"}

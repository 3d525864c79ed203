"""The engine: takes what is due, runs its step when there is room, records what came of it, waits for the next.

Owns the road of a job through one run: from a state to its step, from the step's outcome to the journal, and
the bearing of trouble. Who may go at which moment is `runner.turns`. Must not know the wire, SQL, files or
pages. States change through `jobs.advance` alone; `_record` is its only caller here, and stores each change
before anything follows from it that could not be found out again.

Nobody waits in a task of his own: a job that waits is an entry in a heap, so ten thousand of them cost next to nothing.
"""

import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import date
from random import Random
from types import MappingProxyType
from typing import Final

import anyio
import structlog
from msgspec import Struct
from msgspec.structs import replace

from runner.clock import Clock, Instant, wait_for
from runner.errors import RunnerError
from runner.jobs import agenda
from runner.jobs import events as ev
from runner.jobs import model as m
from runner.jobs.agenda import Action, Conclude, Do, Policy, Step, Wait
from runner.jobs.machine import advance
from runner.jobs.remedies import job_error
from runner.journal import Happened, happened
from runner.keys import HOSTS_AHEAD, Keys
from runner.output import Output
from runner.pacing import BAD_ANSWERS, pause_seconds
from runner.steps import Bearing, Memory, Outcome, Tools, Trouble, take
from runner.turns import LAST_RANK, Client, JournalPort, Limits, SenderPort, Tenant, Turn, Turns

_log = structlog.get_logger("runner.engine")

LOOKS: Final = 4
"""How often the look at a finished job is tried; the next night looks again."""
LONGEST_PAUSE_FOR_A_LOOK_SECONDS: Final = 66.0
"""A host that wants more patience than a budget's minute is not waited for only to look."""
GRACE_SECONDS: Final = 5.0
"""How long requests in flight may go on after the night was stopped."""
LONGEST_SLEEP_SECONDS: Final = 30.0
"""After a suspend the timers of the machine are late; so the engine looks up now and then."""

Observer = Callable[[m.Job, m.Job, ev.Event], None]
_PLACE: Final = Step.PLACE  # Python 3.11 makes a call of each look at an enum's member
_BEGUN: Final = frozenset({m.State.TRIGGERED, m.State.RETRIED, m.State.DOWNLOADING})
"""A job that stands here may have something to do that needs no request."""


class _Entry(Struct, gc=False):
    """What the engine keeps of a job beside it: none of it outlives the run, and nothing in it leads back to it.

    Attributes:
        lane: the numbers of the jobs that go one after the other, this one's among them; None for one that only looks.
        riding: what happened last, where that is stored together with what happens next.
    """

    tenant: Tenant
    lane: list[int] | None
    opening: ev.Event | None = None
    riding: Happened | None = None
    open: bool = True
    busy: bool = False
    troubles: int = 0
    bad_answers: int = 0
    not_before: float = 0.0


class _Hand:
    """A task that takes turns, one after the other."""

    __slots__ = ("given", "ready")

    def __init__(self, ready: tuple[Turn, Step]) -> None:
        self.ready = ready
        self.given: anyio.Event

    def give(self, ready: tuple[Turn, Step]) -> None:
        """Let it take this turn."""
        self.ready = ready
        self.given.set()


class Engine:
    """Runs one night's jobs to their ends, or until it is stopped.

    Attributes:
        jobs: every job it was given, as it stands now.
        reason: why it stopped early: `deadline`, or what `stop` was told.
        crashed: jobs left alone after a fault of this program.
        touched: numbers of the jobs that something was recorded of.
    """

    def __init__(  # noqa: PLR0913 - every port by its name
        self,
        *,
        clock: Clock,
        journal: JournalPort,
        sender: SenderPort,
        output: Output,
        memory: Memory,
        policy: Policy,
        limits: Limits,
        night: date,
        random: Random,
        observers: Sequence[Observer] = (),
    ) -> None:
        """Everything it touches comes in from outside: ports in tests, the real things in `app`."""
        self.jobs: dict[int, m.Job] = {}
        self.reason: str | None = None
        self.crashed: list[str] = []
        self.touched: set[int] = set()
        self._clock = clock
        self._journal = journal
        self._output = output
        self._memory = memory
        self._policy = policy
        self._night = night
        self._random = random
        self._observers = observers
        self._entries: dict[int, _Entry] = {}
        # Lists, although they are emptied from the front: most hold one job, for which a deque takes 700 bytes.
        self._lanes: dict[tuple[str, int | str], list[int]] = {}
        self._timers: list[tuple[float, int]] = []
        self._open = 0
        self._wake = anyio.Event()
        self._turns = Turns(clock, journal, sender, limits, self._look_up)
        self._tasks = anyio.create_task_group()
        self._begun: list[int] = []
        self._unseen: deque[Tenant] = deque()
        self._keys = Keys(self._turns, self._tasks, self._park_keyless, self._look_up)
        self._fatal: RunnerError | None = None
        self._free: list[_Hand] = []
        self._log = _log.bind()

    def add(
        self, client: Client, jobs: Sequence[m.Job], openings: Mapping[int, ev.Event] = MappingProxyType({})
    ) -> None:
        """Take up jobs of a tenant.

        Args:
            client: the tenant.
            jobs: as the journal has them.
            openings: the events that open some of them again, by their numbers.
        """
        tenant, finished = self._turns.tenant(client), m.FINISHED
        self._unseen.append(tenant)
        for job in jobs:
            id_, state, lane = job.id, job.state, None
            opening = openings.get(id_)
            if opening is not None or state not in finished:
                lane = self._lanes.setdefault(job.spec.lane, [])
                lane.append(id_)
            if opening is not None or state in _BEGUN:
                self._begun.append(id_)
            self.jobs[id_] = job
            self._entries[id_] = _Entry(tenant, lane, opening)
            tenant.jobs.append(id_)
        self._open += len(jobs)

    async def run(self, *, until_boot_seconds: float = float("inf")) -> None:
        """Work until every job has ended, the deadline is reached, or `stop` was called; `reason` says which.

        Raises:
            RunnerError: the journal or the output failed. Nothing was sent whose intent could not be stored.
        """
        for ids in self._lanes.values():
            if len(ids) > 1:
                ids.sort(key=self._lane_order)
        async with self._tasks:
            # What needs no request is done at once; the others wait for keys and turns, and are looked at just before.
            self._look_at(self._begun, self._clock.now())
            while self._open and self.reason is None:
                now = self._clock.now()
                present = now.boot_seconds
                if present >= until_boot_seconds:
                    self.stop("deadline")
                    break
                self._wake = anyio.Event()
                while self._timers and self._timers[0][0] <= present:
                    self._schedule(heapq.heappop(self._timers)[1], now)
                while self._unseen and self._keys.backlog < HOSTS_AHEAD:
                    self._look_at(self._unseen.popleft().jobs, now)
                while (ready := self._next_turn(now)) is not None:
                    if self._free:
                        self._free.pop().give(ready)
                    else:
                        self._tasks.start_soon(self._take_turns, _Hand(ready))
                self._keys.fetch()
                next_moment = min(
                    self._timers[0][0] if self._timers else present + LONGEST_SLEEP_SECONDS,
                    self._turns.next_moment(),
                    present + LONGEST_SLEEP_SECONDS,
                    until_boot_seconds,
                )
                await wait_for(self._wake, next_moment - present)
            await self._let_finish()
            self._tasks.cancel_scope.cancel()
        await self._put_away()
        await self._store_riding()
        if self._fatal is not None:
            raise self._fatal

    def stop(self, reason: str) -> None:
        """Start nothing more; what is in flight has a few seconds."""
        if self.reason is None:
            self.reason = reason
        self._look_up()

    @property
    def announcements(self) -> list[str]:
        """What the hosts said of their interface's future, for the morning."""
        return list(self._turns.announced.values())

    def _look_up(self) -> None:
        self._wake.set()

    def _lane_order(self, id_: int) -> tuple[bool, float, bool, date, int]:
        """Within a lane what Lucca may be working on goes first, then what is in flight, then the oldest date.

        Only what was asked for last can still be on its way, or there: any other report was deleted by its POST.
        """
        job = self.jobs[id_]
        spec = job.spec
        free = agenda.free_at(job, self._clock.now(), self._policy) == 0.0
        last = None if free and not (spec.kind == "report" and job.remote_ids) else job.triggers[-1]
        asked = 0.0 if last is None else -(last.server_date or last.wall).timestamp()
        in_flight = job.state not in (m.State.PENDING, m.State.FAILED)
        day = spec.ends_at if isinstance(spec, m.ExportSpec) else spec.due
        return free, asked, not in_flight, day, id_

    async def _let_finish(self) -> None:
        end = self._clock.now().boot_seconds + GRACE_SECONDS
        while any(entry.busy for entry in self._entries.values()):
            left = end - self._clock.now().boot_seconds
            if left <= 0:
                return
            self._wake = anyio.Event()
            await wait_for(self._wake, min(left, 0.5))

    async def _put_away(self) -> None:
        """Downloads that wait beside their places are of no use to the next run, which asks for them again.

        On a full disk they may hold the very room in which to write that the night ended.
        """
        temps = [temp for job in self.jobs.values() for staged in job.live.staged for _, temp in staged.parts]
        if temps:
            await self._output.discard(temps)

    async def _store_riding(self) -> None:
        async with anyio.create_task_group() as tasks:
            for id_, entry in self._entries.items():
                if entry.riding is not None and self._fatal is None:
                    tasks.start_soon(self._guarded, id_, self._store(entry, self.jobs[id_]))

    # ── from a state to its step ──────────────────────────────────────────────────────────────────────────────

    def _look_at(self, ids: Iterable[int], now: Instant) -> None:
        """Look at those of these jobs that no other of their lane is before."""
        for id_ in ids:
            entry = self._entries[id_]
            if entry.open and (entry.lane is None or entry.lane[0] == id_):
                self._schedule(id_, now)

    def _schedule(self, id_: int, now: Instant | None = None) -> None:
        """Look at what the job does next and put it where it waits for that."""
        entry, job = self._entries[id_], self.jobs[id_]
        if entry.busy or not entry.open:
            return
        # Even a run that was stopped before it began says which files stand there: a crash may have left it unsaid.
        if self.reason is not None and (self._fatal is not None or not agenda.unplaced(job)):
            return
        now = now or self._clock.now()
        action = self._action(entry, job, now)
        # Asked in the order of how often it is so: that a struct is of another class takes long to tell.
        if action.step is _PLACE if isinstance(action, Do) else isinstance(action, Conclude):
            entry.busy = True
            self._tasks.start_soon(self._take_local, id_)
        elif entry.tenant.parked is not None and not isinstance(action, agenda.Rest):
            entry.busy = True
            self._tasks.start_soon(self._fail_parked, id_)
        elif isinstance(action, Do) and entry.not_before <= now.boot_seconds:
            self._queue(entry, id_, action.step)
        elif isinstance(action, Wait) or entry.not_before > now.boot_seconds:
            until = action.until_boot_seconds if isinstance(action, Wait) else 0.0
            heapq.heappush(self._timers, (max(until, entry.not_before), id_))
            self._look_up()
        else:
            self._close(id_, job)

    def _action(self, entry: _Entry, job: m.Job, now: Instant) -> Action:
        if entry.opening is not None:
            return Conclude(entry.opening)
        return agenda.next_action(job, now, self._policy)

    def _queue(self, entry: _Entry, id_: int, step: Step) -> None:
        tenant = entry.tenant
        if tenant.key is not None:
            troubled = entry.troubles or entry.bad_answers
            self._turns.ask(tenant, id_, step.priority, LAST_RANK if troubled else None)
            return
        self._keys.ask(tenant, id_, step.priority)

    def _next_turn(self, now: Instant) -> tuple[Turn, Step] | None:
        """The turn of whoever comes first and may send now, with the step to take in it."""
        while (turn := self._turns.next(now.boot_seconds)) is not None:
            entry = self._entries[turn.id]
            action = self._action(entry, self.jobs[turn.id], now)
            if not entry.busy and entry.open and isinstance(action, Do) and entry.tenant.parked is None:
                entry.busy = True
                return turn, action.step
            # It waited so long for its turn that something else comes first now.
            turn.end()
            self._schedule(turn.id)
        return None

    def _close(self, id_: int, job: m.Job) -> None:
        """The job has ended for this run; the next of its lane may begin, unless this one is still in flight."""
        entry = self._entries[id_]
        entry.open = False
        self._open -= 1
        self._look_up()
        lane = entry.lane
        if lane is None or lane[0] != id_:
            return
        del lane[0]
        if not job.finished:
            for later in lane:
                self._entries[later].open = False
                self._open -= 1
            lane.clear()
        elif lane:
            self._entries[lane[0]].not_before = agenda.free_at(job, self._clock.now(), self._policy)
            self._schedule(lane[0])

    # ── taking steps ──────────────────────────────────────────────────────────────────────────────────────────

    async def _take_turns(self, hand: _Hand) -> None:
        """Take the turn that was given, and wait for the next: a task for each would cost more than the turn."""
        while True:
            turn, step = hand.ready
            try:
                await self._guarded(turn.id, self._exchange(turn.id, step, turn))
            finally:
                turn.end()
            hand.given = anyio.Event()
            self._free.append(hand)
            await hand.given.wait()

    async def _exchange(self, id_: int, step: Step, turn: Turn) -> None:
        outcome = await take(step, self.jobs[id_], self._tools(id_, turn))
        turn.end()
        await self._apply(id_, outcome)
        await self._go_on(id_)

    async def _take_local(self, id_: int) -> None:
        await self._guarded(id_, self._go_on(id_))

    async def _go_on(self, id_: int) -> None:
        """Everything that needs no request, at once."""
        while self._fatal is None:
            action = self._action(self._entries[id_], self.jobs[id_], self._clock.now())
            if isinstance(action, Conclude):
                self._entries[id_].opening = None
                await self._record(id_, action.event)
            elif isinstance(action, Do) and action.step is _PLACE:
                await self._apply(id_, await take(Step.PLACE, self.jobs[id_], self._tools(id_, None)))
            else:
                return

    async def _fail_parked(self, id_: int) -> None:
        tenant = self._entries[id_].tenant
        assert tenant.parked is not None  # noqa: S101 - said by the caller
        code, detail = tenant.parked
        failed = ev.Failed(job_error(code, self.jobs[id_].spec, detail))
        await self._guarded(id_, self._apply(id_, Outcome((failed,))))

    async def _guarded(self, id_: int, work: Coroutine[object, object, None]) -> None:
        """One job's trouble with this program must not touch another's."""
        entry = self._entries[id_]
        try:
            await work
        except RunnerError as error:
            # Neither a full disk nor a lost journal concerns one job alone.
            self._fatal = self._fatal or error
            self.stop(error.code)
        except Exception:  # noqa: BLE001 - a fault of ours in one job; the others' pay goes on
            job = self.jobs[id_]
            self._log.exception(
                "job.crashed", tenant=job.spec.tenant, job=job.spec.name, state=job.state.value
            )
            self.crashed.append(job.label)
            entry.busy = False
            self._close(id_, job)
            return
        entry.busy = False
        self._schedule(id_)
        self._look_up()

    def _tools(self, id_: int, turn: Turn | None) -> Tools:
        return Tools(
            clock=self._clock,
            line=turn,
            output=self._output,
            memory=self._memory,
            night=self._night,
            record=lambda event: self._record(id_, event),
            scrub=self._entries[id_].tenant.scrub,
            key_in=self._entries[id_].tenant.told_in,
        )

    async def _apply(self, id_: int, outcome: Outcome) -> None:
        entry = self._entries[id_]
        for event in outcome.events:
            if isinstance(event, ev.Failed):
                if event.error.code is m.ErrorCode.KEY_REFUSED and entry.tenant.parked is None:
                    self._park(
                        entry.tenant, event.error.code, "refused to another job of this tenant just now"
                    )
                if self.jobs[id_].finished:
                    # Only the look at a finished job failed; what it has, it keeps.
                    self.jobs[id_] = agenda.looked(self.jobs[id_])
                    continue
            await self._record(id_, event)
        if outcome.trouble is None:
            entry.troubles = entry.bad_answers = 0
        else:
            await self._bear(id_, outcome.trouble)

    async def _bear(self, id_: int, trouble: Trouble) -> None:
        """Wait trouble out; only answers that are no content are counted to an end."""
        entry, job = self._entries[id_], self.jobs[id_]
        await self._store(entry, job)
        bad = trouble.bearing is Bearing.BAD_ANSWER
        attempt = entry.bad_answers if bad else entry.troubles
        if bad:
            entry.bad_answers += 1
        else:
            entry.troubles += 1
        self._log.info(
            "request.troubled",
            tenant=job.spec.tenant,
            job=job.spec.name,
            trouble=trouble.bearing.value,
            attempt=attempt + 1,
        )
        pause = pause_seconds(attempt, self._random, trouble.retry_after_seconds)
        if job.finished and (attempt + 1 >= LOOKS or pause > LONGEST_PAUSE_FOR_A_LOOK_SECONDS):
            self.jobs[id_] = agenda.looked(job)
            return
        if entry.bad_answers >= BAD_ANSWERS:
            entry.bad_answers = 0
            await self._record(id_, ev.Failed(job_error(m.ErrorCode.BAD_ANSWER, job.spec, trouble.detail)))
            return
        entry.not_before = self._clock.now().boot_seconds + pause
        if trouble.bearing is Bearing.THROTTLED or trouble.retry_after_seconds:
            entry.tenant.domain.pause(entry.not_before)

    def _park_keyless(self, tenant: Tenant, detail: str) -> None:
        self._park(tenant, m.ErrorCode.SECRET, detail)

    def _park(self, tenant: Tenant, code: m.ErrorCode, detail: str) -> None:
        """After a refused or missing key the tenant's other jobs fail without further requests in this run."""
        tenant.parked = (code, detail)
        self._look_at(tenant.jobs, self._clock.now())

    async def _store(self, entry: _Entry, job: m.Job, told: Happened | None = None) -> None:
        """Store the job with what happened to it, and is not stored yet."""
        events = [one for one in (entry.riding, told) if one is not None]
        entry.riding = None  # at once: who is cancelled while he waits has it stored all the same
        if events:
            await self._journal.record(job, self._night, *events)

    async def _record(self, id_: int, event: ev.Event) -> m.Job:
        """Let the event happen to the job: stored first, then known; but for what the next run would find out again.

        That is stored together with what happens next, in one flush: an intent with the baseline it goes by, the names
        of files with the answer that told their number. A crash before is one before it was recorded. Where the job
        has to wait because of trouble, and at the end of the run, it is stored by itself.
        """
        before = self.jobs[id_]
        now = self._clock.now()
        after = advance(before, event, now)
        if replace(after, live=before.live) != before:  # what lives only in this run is not stored
            entry = self._entries[id_]
            note = event.why if isinstance(event, ev.TriggerLetGo) else ""
            told = happened(type(event).__name__, before, after, now.wall, note)
            if entry.riding is None and agenda.found_again(before, after):
                entry.riding = told
            else:
                await self._store(entry, after, told)
            self.touched.add(id_)
        self.jobs[id_] = after
        if before.live.staged and not after.live.staged and not isinstance(event, ev.Placed):
            await self._output.discard([temp for staged in before.live.staged for _, temp in staged.parts])
        if after.state is not before.state:
            self._log.info(
                f"{after.spec.kind}.{after.state.value}",
                tenant=after.spec.tenant,
                job=after.spec.name,
                **({"error": after.error.code.value} if after.error is not None else {}),
            )
        for observer in self._observers:
            try:
                observer(before, after, event)
            except Exception:  # noqa: BLE001 - who only looks on can never fail a run
                self._log.exception("observer.failed", job=after.label)
        return after

"""The engine: takes what is due, runs its step when there is room, records what came of it, waits for the next.

Owns the road of a job through one run: from a state to its step, from the step's outcome to the journal, and
the bearing of trouble. Who may go at which moment is `runner.turns`. Must not know the wire, SQL, files or
pages. What a change is, and that it is stored first, is `runner.changes`.

Nobody waits in a task of his own: a job that waits is an entry in a heap, so ten thousand of them cost next to nothing.
"""

import asyncio
import heapq
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from random import Random
from typing import Any, Final

import anyio
import structlog

from runner.arrivals import Arrivals, Taken
from runner.changes import Changes, JournalPort, Observer
from runner.clock import Clock, Instant, wait_for
from runner.errors import RunnerError
from runner.jobs import agenda
from runner.jobs import events as ev
from runner.jobs import model as m
from runner.jobs.agenda import Action, Conclude, Do, Policy, Rest, Step, Wait
from runner.jobs.remedies import job_error
from runner.keys import HOSTS_AHEAD, Keys
from runner.lanes import Entry, Lane
from runner.output import Output
from runner.pacing import BAD_ANSWERS, pause_seconds
from runner.steps import Bearing, Memory, Tools, Trouble, take
from runner.turns import LAST_RANK, Client, Limits, SenderPort, Tenant, Turn, Turns

_log = structlog.get_logger("runner.engine")

GRACE_SECONDS: Final = 5.0
"""How long requests in flight may go on after the night was stopped."""
LONGEST_SLEEP_SECONDS: Final = 30.0
"""After a suspend the timers of the machine are late; so the engine looks up now and then."""

_PLACE: Final = Step.PLACE  # Python 3.11 makes a call of each look at an enum's member


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
        client: Callable[[Any], Client],
        policy: Policy,
        limits: Limits,
        night: date,
        random: Random,
        observers: Sequence[Observer] = (),
    ) -> None:
        """Everything it touches comes in from outside: ports in tests, the real things in `app`.

        `client` tells what a run needs of the tenant of a job that it takes up.
        """
        self.reason: str | None = None
        self.crashed: list[str] = []
        self._clock = clock
        self._output = output
        self._memory = memory
        self._client = client
        self._policy = policy
        self._night = night
        self._random = random
        self._changes = Changes(clock, journal, output, night, observers)
        self.jobs = self._changes.jobs
        self.touched = self._changes.touched
        self._entries: dict[int, Entry] = {}
        self._timers: list[tuple[float, int]] = []
        self._open = 0
        self._wake = asyncio.Event()
        self._turns = Turns(clock, journal, sender, limits, self._wake.set)
        self._tasks = anyio.create_task_group()
        self._arrivals = Arrivals()
        self._keys = Keys(self._turns, self._tasks, self._park, self._wake.set)
        self._fatal: RunnerError | None = None
        self._free: list[asyncio.Future[tuple[Turn, Step]]] = []
        self._log = _log.bind()

    def add(self, taken: Iterable[Taken], underway: Iterable[m.Job] = ()) -> None:
        """Take up jobs. Nothing is made of them before it is their host's turn.

        Args:
            taken: the jobs.
            underway: exports that this run leaves out and that may still be on their way. Another of their lane would
                take their hours.
        """
        for job in self._arrivals.add(taken, underway):
            self.jobs[job.id] = job
        self._open = len(self.jobs)

    async def run(self, *, until_boot_seconds: float = float("inf")) -> None:
        """Work until every job has ended, the deadline is reached, or `stop` was called; `reason` says which.

        Raises:
            RunnerError: the journal or the output failed. Nothing was sent whose intent could not be stored.
        """
        began = self._clock.now()
        async with self._tasks:
            # Where something needs no request it is done at once; the others wait for keys and turns, and are looked at
            # just before.
            for taken in self._arrivals.at_once():
                self._enter(taken, began)
            while self._open and self.reason is None:
                now = self._clock.now()
                present = now.boot_seconds
                if present >= until_boot_seconds:
                    self.stop("deadline")
                    break
                self._wake.clear()
                while self._timers and self._timers[0][0] <= present:
                    self._schedule(heapq.heappop(self._timers)[1], now)
                while self._arrivals and self._keys.backlog < HOSTS_AHEAD:
                    self._enter(self._arrivals.next(), now)
                while (ready := self._next_turn(now)) is not None:
                    if self._free:
                        self._free.pop().set_result(ready)
                    else:
                        self._tasks.start_soon(self._take_turns, *ready)
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
        await self._changes.put_away()
        if self._fatal is not None:
            raise self._fatal

    def stop(self, reason: str) -> None:
        """Start nothing more; what is in flight has a few seconds."""
        self.reason = self.reason or reason
        self._wake.set()

    @property
    def announcements(self) -> list[str]:
        """What the hosts said of their interface's future, for the morning."""
        return list(self._turns.announced.values())

    async def _let_finish(self) -> None:
        end = self._clock.now().boot_seconds + GRACE_SECONDS
        while any(entry.busy for entry in self._entries.values()):
            left = end - self._clock.now().boot_seconds
            if left <= 0:
                return
            self._wake.clear()
            await wait_for(self._wake, min(left, 0.5))

    # ── from a state to its step ──────────────────────────────────────────────────────────────────────────────

    def _enter(self, taken: Iterable[Taken], now: Instant) -> None:
        """Note beside the jobs of a host what a run needs to know of them, and look at them."""
        lanes: dict[tuple[str, int | str], Lane] = {}
        ids: list[int] = []
        for one in taken:
            tenant, job, lane = self._turns.tenant(self._client(one.tenant)), one.job, None
            # A job without entries is looked at before later dates are asked for: the look is to show whose export took
            # its hours, and not theirs.
            if one.opening is not None or job.state not in m.FINISHED or job.unlisted:
                lane = lanes.setdefault(job.spec.lane, Lane())
                lane.append(job.id)
            self._entries[job.id] = Entry(tenant, lane, one.opening)
            tenant.jobs.append(job.id)
            ids.append(job.id)
        for key, lane in lanes.items():
            if len(lane) > 1 or self._arrivals.underway(key):
                self._line_up(lane, self._arrivals.underway(key), now)
        for id_ in ids:
            self._schedule(id_, now)

    def _line_up(self, lane: Lane, underway: Iterable[m.Job], now: Instant) -> None:
        jobs = [self.jobs[id_] for id_ in lane]
        try:
            lined_up = agenda.lined_up(jobs, underway, now, self._policy)
        except Exception:  # noqa: BLE001 - as in `_work`: the same task begins all the other hosts
            lane.clear()
            for job in jobs:
                self._crash(job)
                self._close(job.id, job)
            return
        lane[:] = [job.id for job, _ in lined_up]
        for job, not_before in lined_up:
            self._entries[job.id].not_before = not_before

    def _schedule(self, id_: int, now: Instant) -> None:
        """Look at what the job does next: begin it, if it needs no request, or put the job where it waits for that."""
        entry, job = self._entries[id_], self.jobs[id_]
        if entry.busy or not entry.open or not entry.may_go(id_):
            return
        # Even a run that was stopped before it began says which files stand there: a crash may have left it unsaid.
        if self.reason is not None and (self._fatal is not None or not agenda.unplaced(job)):
            return
        action = self._action(entry, job, now)
        # The commonest case first: to tell that a struct is of another class takes long.
        if action.step is _PLACE if isinstance(action, Do) else isinstance(action, Conclude):
            entry.busy = True
            self._tasks.start_soon(self._work, id_)
        else:
            self._put(id_, entry, action, now.boot_seconds)

    def _put(self, id_: int, entry: Entry, action: Action, present: float) -> None:
        """Put the job where it waits for this action, which needs a request, or a later moment, or is none."""
        if entry.lane is not None and id_ not in entry.lane and agenda.joins_again(self.jobs[id_]):
            entry.lane.append(id_)
        if not entry.may_go(id_):
            return  # it stepped aside: whoever is before it calls it
        if isinstance(action, Do) and entry.not_before <= present:
            tenant, priority = entry.tenant, action.step.priority
            if tenant.key is None:
                self._keys.ask(tenant, id_, priority)
            else:
                troubled = entry.troubles or entry.bad_answers
                self._turns.ask(tenant, id_, priority, LAST_RANK if troubled else None)
        elif isinstance(action, Wait) or entry.not_before > present:
            until = action.until_boot_seconds if isinstance(action, Wait) else 0.0
            heapq.heappush(self._timers, (max(until, entry.not_before), id_))
            self._wake.set()
        else:
            self._close(id_, self.jobs[id_])

    def _action(self, entry: Entry, job: m.Job, now: Instant) -> Action:
        if entry.opening is not None:
            return Conclude(entry.opening)
        try:
            action, parked = agenda.next_action(job, now, self._policy), entry.tenant.parked
        except Exception:  # noqa: BLE001 - as in `_work`: the same task looks at all the other jobs
            self._crash(job)
            return Rest()
        asks = action.step is not _PLACE if isinstance(action, Do) else isinstance(action, Wait)
        if parked is None or not asks:
            return action
        return Conclude(ev.Failed(job_error(parked[0], job.spec, parked[1])))

    def _next_turn(self, now: Instant) -> tuple[Turn, Step] | None:
        """The turn of whoever comes first and may send now, with the step to take in it."""
        while (turn := self._turns.next(now.boot_seconds)) is not None:
            entry = self._entries[turn.id]
            action = self._action(entry, self.jobs[turn.id], now)
            if not entry.busy and entry.open and isinstance(action, Do):
                entry.busy = True
                return turn, action.step
            # It waited so long for its turn that something else comes first now.
            turn.end()
            self._schedule(turn.id, now)
        return None

    def _close(self, id_: int, job: m.Job) -> None:
        """The job has ended for this run; the next of its lane may begin, unless this one is still in flight."""
        entry = self._entries[id_]
        entry.open = False
        self._open -= 1
        self._wake.set()
        lane = entry.lane
        if lane is None or not lane.leave(id_):
            return
        if not job.finished:
            for later in lane:
                self._entries[later].open = False
                self._open -= 1
            lane.clear()
        else:
            now = self._clock.now()
            self._begin_first(lane, agenda.free_at(job, now, self._policy), now)

    def _begin_first(self, lane: Lane, not_before: float, now: Instant) -> None:
        if lane:
            entry = self._entries[lane[0]]
            entry.not_before = max(entry.not_before, not_before)
            self._schedule(lane[0], now)

    # ── taking steps ──────────────────────────────────────────────────────────────────────────────────────────

    async def _take_turns(self, turn: Turn, step: Step) -> None:
        """Take this turn, and wait for the next: a task for each would cost more than the turn."""
        while True:
            await self._work(turn.id, step, turn)
            turn.end()
            del turn  # who waits holds on to no answer
            given = asyncio.get_running_loop().create_future()
            self._free.append(given)
            turn, step = await given

    async def _work(self, id_: int, step: Step | None = None, turn: Turn | None = None) -> None:
        """Take the step, if there is one, and do what needs no request.

        One job's trouble with this program must not touch another's.
        """
        entry = self._entries[id_]
        try:
            if step is not None:
                await self._take(id_, step, turn)
            while self._fatal is None:
                now = self._clock.now()
                action = self._action(entry, self.jobs[id_], now)
                if isinstance(action, Conclude):
                    entry.opening = None
                    await self._happen(id_, action.event)
                elif isinstance(action, Do) and action.step is _PLACE:
                    await self._take(id_, _PLACE, None)
                else:
                    if self.reason is None:
                        self._put(id_, entry, action, now.boot_seconds)
                    break
        except RunnerError as error:
            # Neither a full disk nor a lost journal concerns one job alone.
            self._fatal = self._fatal or error
            self.stop(error.code)
        except Exception:  # noqa: BLE001 - a fault of ours in one job; the others' pay goes on
            job = self.jobs[id_]
            self._crash(job)
            if entry.open:
                self._close(id_, job)
        entry.busy = False
        self._wake.set()

    def _crash(self, job: m.Job) -> None:
        """Tell of the fault that is being handled."""
        self._log.exception("job.crashed", tenant=job.spec.tenant, job=job.spec.name, state=job.state.value)
        self.crashed.append(job.label)

    async def _take(self, id_: int, step: Step, turn: Turn | None) -> None:
        outcome = await take(step, self.jobs[id_], self._tools(id_, turn))
        if turn is not None:
            turn.end()
        for event in outcome.events:
            await self._happen(id_, event)
        if outcome.trouble is None:
            entry = self._entries[id_]
            entry.troubles = entry.bad_answers = 0
        else:
            await self._bear(id_, outcome.trouble)

    def _tools(self, id_: int, turn: Turn | None) -> Tools:
        return Tools(
            clock=self._clock,
            turn=turn,
            output=self._output,
            memory=self._memory,
            night=self._night,
            record=lambda event: self._changes.happen(id_, event),
            scrub=self._entries[id_].tenant.scrub,
            key_in=self._entries[id_].tenant.told_in,
        )

    async def _happen(self, id_: int, event: ev.Event) -> None:
        if isinstance(event, ev.Failed):
            tenant, code = self._entries[id_].tenant, event.error.code
            if code is m.ErrorCode.KEY_REFUSED and tenant.parked is None:
                self._park(tenant, "refused to another job of this tenant just now", code)
            if self.jobs[id_].finished:
                # Only the look at a finished job failed; what it has, it keeps.
                self.jobs[id_] = agenda.looked(self.jobs[id_])
                return
        await self._changes.happen(id_, event)

    async def _bear(self, id_: int, trouble: Trouble) -> None:
        """Wait trouble out; only answers that are no content are counted to an end."""
        entry, job = self._entries[id_], self.jobs[id_]
        bad = trouble.bearing is Bearing.BAD_ANSWER
        attempt = entry.note_trouble(bad_answer=bad)
        self._log.info(
            "request.troubled",
            tenant=job.spec.tenant,
            job=job.spec.name,
            trouble=trouble.bearing.value,
            attempt=attempt + 1,
        )
        pause = pause_seconds(attempt, self._random, trouble.retry_after_seconds)
        if job.finished and agenda.leaves_the_look(attempt + 1, pause):
            self.jobs[id_] = agenda.looked(job)
            return
        if entry.bad_answers >= BAD_ANSWERS:
            entry.bad_answers = 0
            error = trouble.in_vain or job_error(m.ErrorCode.BAD_ANSWER, job.spec, trouble.detail)
            await self._changes.happen(id_, ev.Failed(error))
            return
        now = self._clock.now()
        entry.not_before = now.boot_seconds + pause
        if trouble.bearing is Bearing.THROTTLED or trouble.retry_after_seconds:
            entry.tenant.domain.pause(entry.not_before)
        lane = entry.lane
        if lane and len(lane) > 1 and lane[0] == id_ and agenda.steps_aside(job, now, self._policy):
            await self._step_aside(id_, job, lane)
            self._begin_first(lane, entry.not_before, now)

    async def _step_aside(self, id_: int, job: m.Job, lane: Lane) -> None:
        is_report = isinstance(job.spec, m.ReportSpec)
        if is_report and job.remote_ids:
            await self._changes.happen(id_, ev.ReportLost())  # whoever comes first now has it deleted
        lane.leave(id_)
        if is_report:
            lane.append(id_)
        else:
            self.jobs[id_] = agenda.overtaken(job)  # theirs go on beside it

    def _park(self, tenant: Tenant, detail: str, code: m.ErrorCode = m.ErrorCode.SECRET) -> None:
        """After a refused or missing key the tenant's other jobs fail without further requests in this run."""
        tenant.parked = (code, detail)
        now = self._clock.now()
        for id_ in tenant.jobs:
            self._schedule(id_, now)

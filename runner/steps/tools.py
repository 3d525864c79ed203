"""What a step is given and what it gives back, and what several of them do alike.

Owns how trouble on the wire is borne. Must not know any particular step.
"""

from collections.abc import Awaitable, Callable
from datetime import date
from enum import Enum
from typing import Protocol

from msgspec import Struct

from runner import lucca
from runner.clock import Clock
from runner.jobs import events as ev
from runner.jobs import model as m
from runner.output import Output
from runner.transport import Answer, BrokenAnswerError, LostError, NotSentError, Stream


class Bearing(Enum):
    """What kind of trouble a step met; decides how long it is borne."""

    PASSING = "passing"
    THROTTLED = "throttled"
    BAD_ANSWER = "bad_answer"


class Trouble(Struct, frozen=True, gc=False):
    """Ask again later. `detail` is safe to show.

    Attributes:
        in_vain: what the job fails with once it was asked again often enough; left out: with a bad answer.
    """

    bearing: Bearing
    detail: str
    retry_after_seconds: float | None = None
    in_vain: m.JobError | None = None


class Outcome(Struct, frozen=True, gc=False):
    """What came of a step: events in order, then perhaps trouble that makes it worth waiting."""

    events: tuple[ev.Event, ...] = ()
    trouble: Trouble | None = None


class Memory(Protocol):
    """What is remembered of a domain from job to job and night to night."""

    def doubled(self, domain: str) -> bool:
        """Whether the content answers under the doubled path."""

    async def remember_doubled(self, domain: str, doubled: bool) -> None:  # noqa: FBT001 - the fact itself
        """Remember which path answered."""

    async def template(self, domain: str, sha256: str) -> int | None:
        """The template created for this content."""

    async def remember_template(self, domain: str, sha256: str, template_id: int) -> None:
        """Remember it."""

    async def forget_template(self, domain: str, sha256: str, template_id: int, tenant: str) -> bool:
        """This tenant can no longer use it; whether it may have another. One run makes it once more, not twice."""


class TurnPort(Protocol):
    """One turn to send one request to a tenant's host: the slot of the budget is taken, the key is known.

    Attributes:
        body: what was read of the answer that came last. `send` tells it; of a download whoever refuses it does.
    """

    body: bytes

    async def send(self, request: lucca.Request) -> Answer:
        """Send and read; raises what `Transport.send` raises."""

    async def download(self, request: lucca.Request) -> Stream:
        """Send, and hand out the answer to be streamed; raises what `Transport.download` raises."""

    def end(self) -> None:
        """Nothing more is sent in this turn: let the next one have it."""


class Tools(Struct, frozen=True, kw_only=True):
    """All that a step may touch.

    Attributes:
        turn: to send in; None for a step that sends nothing.
        night: whose folder takes the files.
        record: stores an event of this job, and gives the job after it.
        scrub: a server's words without the key.
        key_in: whether a body shows it.
    """

    clock: Clock
    turn: TurnPort | None
    output: Output
    memory: Memory
    night: date
    record: Callable[[ev.Event], Awaitable[m.Job]]
    scrub: Callable[[str], str]
    key_in: Callable[[bytes], bool]


Troubled = lucca.TroubleError | NotSentError | LostError | BrokenAnswerError
"""What passes, or may."""


def trouble_of(trouble: Troubled, tools: Tools) -> Trouble:
    """How this is borne."""
    detail = tools.scrub(trouble.detail)
    if isinstance(trouble, lucca.ThrottledError):
        return Trouble(Bearing.THROTTLED, detail, trouble.retry_after_seconds)
    if isinstance(trouble, lucca.NotContentError | BrokenAnswerError):
        return Trouble(Bearing.BAD_ANSWER, detail)
    return Trouble(Bearing.PASSING, detail, getattr(trouble, "retry_after_seconds", None))


def of_the_host(trouble: Troubled) -> bool:
    """Whether any other request would meet the same: the host refuses the key, or wants patience."""
    refused = isinstance(trouble, lucca.RefusedError) and trouble.code == m.ErrorCode.KEY_REFUSED
    patience = getattr(trouble, "retry_after_seconds", None) is not None
    return refused or patience or isinstance(trouble, lucca.ThrottledError)


def turn_of(tools: Tools) -> TurnPort:
    """The turn to send in."""
    assert tools.turn is not None  # noqa: S101 - a step that sends has one
    return tools.turn


async def ask(tools: Tools, request: lucca.Request) -> Answer:
    """Send a request that moves no data, for an answer that has to be a good one."""
    answer = await turn_of(tools).send(request)
    lucca.check_status(answer.status, answer.headers, answer.body)
    return answer


def export_of(job: m.Job) -> m.ExportSpec:
    """The wish of an export."""
    assert isinstance(job.spec, m.ExportSpec)  # noqa: S101 - the agenda chose a step of exports
    return job.spec


def report_of(job: m.Job) -> m.ReportSpec:
    """The wish of a report."""
    assert isinstance(job.spec, m.ReportSpec)  # noqa: S101 - the agenda chose a step of reports
    return job.spec


def doubled_path(job: m.Job, tools: Tools) -> bool:
    """Which spelling of the content's path to ask under: the other one where one has missed."""
    missed = job.live.missed_path
    return tools.memory.doubled(job.spec.domain) if missed is None else not missed

"""The steps: one action on the outside world each, `async (job, tools) → Outcome`.

Owns the sequence of a single exchange: which request, how its answer becomes an event. A step never waits for
later, never loops, never decides what comes next (that is `jobs.agenda`) and never changes a state (that is
`jobs.advance`); two of them record an intent through `tools.record` before their effect, which is the point
of the whole program.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeVar

from msgspec.structs import replace

from runner import content, derived, lucca
from runner.clock import Clock
from runner.errors import StorageError
from runner.jobs import events as ev
from runner.jobs import model as m
from runner.jobs.agenda import Step, template_of
from runner.jobs.machine import ends_text, host_time, missing_pieces, stamp
from runner.jobs.remedies import job_error
from runner.output import KEPT_BYTES, Derivation, Output, PlaceError, Reader, Spool, Spooled, TooLargeError
from runner.transport import (
    ANSWER_CAP_BYTES,
    CONTENT_CAP_BYTES,
    Answer,
    BrokenAnswerError,
    LostError,
    NotSentError,
    Stream,
    UnreachableError,
)

EXTENSIONS: Final[Mapping[str, str]] = {"json": "json", "csv": "csv", "excel": "xls"}
"""Of the answers; derived files have their own."""

R = TypeVar("R")
T = TypeVar("T")


class Bearing(Enum):
    """What kind of trouble a step met; decides how long it is borne."""

    PASSING = "passing"
    THROTTLED = "throttled"
    BAD_ANSWER = "bad_answer"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Ask again later. `detail` is safe to show."""

    bearing: Bearing
    detail: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
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

    async def forget_template(self, domain: str, sha256: str) -> None:
        """It is no longer usable."""


class Line(Protocol):
    """One turn to send one request to a tenant's host: the slot of the budget is taken, the key is known.

    Attributes:
        body: what was read of the answer that came last. `send` tells it; of a download whoever refuses it does.
    """

    body: bytes

    async def send(self, request: lucca.Request) -> Answer:
        """Send and read; raises what `Transport.send` raises."""

    def download(self, request: lucca.Request) -> AbstractAsyncContextManager[Stream]:
        """Send and stream."""

    def end(self) -> None:
        """Nothing more is sent in this turn: let the next one have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """All that a step may touch.

    Attributes:
        scrub: a server's words without the key.
        key_in: whether a body shows it.
    """

    clock: Clock
    line: Line | None
    output: Output
    memory: Memory
    night: date
    record: Callable[[ev.Event], Awaitable[m.Job]]
    scrub: Callable[[str], str]
    key_in: Callable[[bytes], bool]


async def take(step: Step, job: m.Job, tools: Tools) -> Outcome:
    """Take one step and tell what came of it. An answer that was refused is kept for a person to look at.

    Raises:
        StorageError: the output or the journal failed; the run cannot go on.
    """
    outcome = await _take(step, job, tools)
    trouble, line = outcome.trouble, tools.line
    if trouble is None or line is None or trouble.bearing is not Bearing.BAD_ANSWER:
        return outcome
    line.end()
    spec, body = job.spec, line.body[:KEPT_BYTES]
    if not body or tools.key_in(body):
        return outcome
    kept = await tools.output.quarantine.keep(tools.night, spec.tenant, spec.name, job.id, body)
    if kept is None:
        return outcome
    detail = f"{trouble.detail}; the answer is kept in {kept}"
    return Outcome(outcome.events, Trouble(trouble.bearing, detail, trouble.retry_after_seconds))


async def _take(step: Step, job: m.Job, tools: Tools) -> Outcome:
    try:
        return await _STEPS[step](job, tools)
    except lucca.RefusedError as refusal:
        return _failed(job, m.ErrorCode(refusal.code), tools.scrub(refusal.detail))
    except UnreachableError as error:
        return _failed(job, m.ErrorCode.UNREACHABLE, error.detail)
    except TooLargeError as error:
        return Outcome(
            trouble=Trouble(Bearing.BAD_ANSWER, f"the answer is larger than {error.cap_bytes} bytes")
        )
    except PlaceError as error:
        return _failed(job, m.ErrorCode.STORAGE, str(error))
    except (lucca.TroubleError, NotSentError, LostError, BrokenAnswerError) as trouble:
        return Outcome(trouble=_trouble(trouble, tools))


_Any = lucca.TroubleError | NotSentError | LostError | BrokenAnswerError


def _trouble(trouble: _Any, tools: Tools) -> Trouble:
    detail = tools.scrub(trouble.detail)
    if isinstance(trouble, lucca.ThrottledError):
        return Trouble(Bearing.THROTTLED, detail, trouble.retry_after_seconds)
    if isinstance(trouble, lucca.NotContentError | BrokenAnswerError):
        return Trouble(Bearing.BAD_ANSWER, detail)
    return Trouble(Bearing.PASSING, detail, getattr(trouble, "retry_after_seconds", None))


def _failed(job: m.Job, code: m.ErrorCode, detail: str) -> Outcome:
    return Outcome((ev.Failed(job_error(code, job.spec, detail)),))


async def _send(tools: Tools, request: lucca.Request) -> Answer:
    assert tools.line is not None  # noqa: S101 - a step that sends has a line
    return await tools.line.send(request)


async def _ask(tools: Tools, request: lucca.Request) -> Answer:
    answer = await _send(tools, request)
    lucca.check_status(answer.status, answer.headers, answer.body)
    return answer


# ── exports ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _export(job: m.Job) -> m.ExportSpec:
    assert isinstance(job.spec, m.ExportSpec)  # noqa: S101 - the agenda chose a step of exports
    return job.spec


def _report(job: m.Job) -> m.ReportSpec:
    assert isinstance(job.spec, m.ReportSpec)  # noqa: S101 - the agenda chose a step of reports
    return job.spec


async def _survey(job: m.Job, tools: Tools) -> Outcome:
    answer = await _ask(tools, lucca.latest_exports(_export(job).configuration_id))
    items = tuple(m.Sighting(line.id, line.ends_at) for line in lucca.read_export_list(answer.body))
    return Outcome((ev.Listed(items, server_date=lucca.server_date(answer.headers)),))


async def _poll(job: m.Job, tools: Tools) -> Outcome:
    baseline, seen = job.baseline_id or 0, job.live.known
    answer = await _ask(tools, lucca.exports_after(_export(job).configuration_id, baseline, job.live.listed))
    lines = lucca.read_export_list(answer.body)
    items = tuple(m.Sighting(line.id, line.ends_at) for line in lines if line.id > baseline)
    # A server that ignores the page would answer the same for ever.
    news = any(item.id not in seen for item in items)
    complete = len(lines) < lucca.LOOK_BACK or not news
    return Outcome((ev.Listed(items, complete=complete, server_date=lucca.server_date(answer.headers)),))


def _doubled(job: m.Job, tools: Tools) -> bool:
    """Which spelling of the content's path to ask under: the other one where one has missed."""
    missed = job.live.missed_path
    return tools.memory.doubled(job.spec.domain) if missed is None else not missed


async def _identify(job: m.Job, tools: Tools) -> Outcome:
    id_, domain = job.live.unidentified[0], job.spec.domain
    doubled = _doubled(job, tools)
    try:
        answer = await _ask(tools, lucca.export_identity(id_, doubled=doubled))
    except lucca.RefusedError as refusal:
        if refusal.code != "not_found":
            raise
        # Not there under either path: it was archived meanwhile, and is nobody's.
        missed_both = job.live.missed_path is not None
        return Outcome((ev.Identified(id_, None) if missed_both else ev.PathMissed(doubled),))
    identity = lucca.read_export_identity(answer.body)
    if identity.id != id_:
        raise lucca.NotContentError("another export than the one asked for")
    await tools.memory.remember_doubled(domain, doubled)
    ours = identity.configuration_id in (None, _export(job).configuration_id)
    return Outcome((ev.Identified(id_, identity.ends_at if ours else None),))


async def _trigger(job: m.Job, tools: Tools) -> Outcome:
    spec = job.spec
    job = await tools.record(ev.Triggered(_stamp(job, tools)))
    if isinstance(spec, m.ExportSpec):
        request = lucca.run_export(spec.configuration_id, spec.ends_at)
    else:
        template_id = template_of(job)
        assert template_id is not None  # noqa: S101 - the agenda creates it first
        request = lucca.create_report(template_id, spec.starts_on, spec.ends_on)
    try:
        answer = await _send(tools, request)
    except NotSentError as error:
        return Outcome((ev.TriggerUnsent(),), Trouble(Bearing.PASSING, error.detail))
    except UnreachableError as error:
        failed = ev.Failed(job_error(m.ErrorCode.UNREACHABLE, spec, error.detail))
        return Outcome((ev.TriggerUnsent(), failed))
    except (LostError, BrokenAnswerError) as error:
        return _let_go(job, tools, _trouble(error, tools), None)
    try:
        if isinstance(spec, m.ExportSpec):
            return _export_triggered(job, tools, answer)
        return await _report_triggered(job, tools, answer)
    except lucca.ThrottledError as trouble:
        return Outcome((ev.TriggerUnsent(),), _trouble(trouble, tools))


def _export_triggered(job: m.Job, tools: Tools, answer: Answer) -> Outcome:
    result = lucca.read_run_answer(answer.status, answer.headers, answer.body)
    if isinstance(result, lucca.Unknown):
        patience = lucca.retry_after_seconds(answer.headers)
        why = Trouble(Bearing.PASSING, tools.scrub(result.why), patience)
        return _let_go(job, tools, why, lucca.server_date(answer.headers))
    return Outcome((ev.TriggerAnswered(result, stamp(tools.clock.now(), lucca.server_date(answer.headers))),))


async def _report_triggered(job: m.Job, tools: Tools, answer: Answer) -> Outcome:
    spec = _report(job)
    try:
        lucca.check_status(answer.status, answer.headers, answer.body)
        report_id = lucca.read_created_id(answer.body)
    except lucca.RefusedError as refusal:
        gone = refusal.code in ("forbidden", "not_found") and isinstance(spec.template, m.TemplateBody)
        if not gone or job.template_made:
            raise
        assert isinstance(spec.template, m.TemplateBody)  # noqa: S101 - said above, for the type checker
        await tools.memory.forget_template(spec.domain, spec.template.sha256)
        return Outcome((ev.TemplateRefused(),))
    except (lucca.PassingError, lucca.NotContentError) as trouble:
        return _let_go(job, tools, _trouble(trouble, tools), lucca.server_date(answer.headers))
    return Outcome(
        (ev.TriggerAnswered(report_id, stamp(tools.clock.now(), lucca.server_date(answer.headers))),)
    )


def _let_go(job: m.Job, tools: Tools, why: Trouble, server_date: datetime | None) -> Outcome:
    now = tools.clock.now()
    moment = stamp(now, server_date or host_time(job, now))
    # An export is looked for, at once unless the host asks for patience. A report leaves no trace, so it is asked for
    # again, after a pause like any other trouble.
    trouble = why if isinstance(job.spec, m.ReportSpec) or why.retry_after_seconds else None
    return Outcome((ev.TriggerLetGo(moment, why.detail),), trouble)


def _stamp(job: m.Job, tools: Tools) -> m.Stamp:
    now = tools.clock.now()
    return stamp(now, host_time(job, now))


# ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def _create_template(job: m.Job, tools: Tools) -> Outcome:
    template = _report(job).template
    assert isinstance(template, m.TemplateBody)  # noqa: S101 - the agenda asks only for these
    domain = job.spec.domain
    known = await tools.memory.template(domain, template.sha256)
    if known is None:
        answer = await _ask(tools, lucca.create_template(template.body))
        known = lucca.read_created_id(answer.body)
        await tools.memory.remember_template(domain, template.sha256, known)
    return Outcome((ev.TemplateCreated(known),))


async def _poll_report(job: m.Job, tools: Tools) -> Outcome:
    try:
        answer = await _ask(tools, lucca.report_status(job.remote_ids[-1]))
    except lucca.RefusedError as refusal:
        if refusal.code != "not_found":
            raise
        return Outcome((ev.ReportLost(),))
    status = lucca.read_report_status(answer.body, job.remote_ids[-1])
    return Outcome(
        (ev.ReportPolled("done" if status == "done" else "error" if status == "error" else "pending"),)
    )


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────


class _NotOursError(Exception):
    """The content says that it answers another job."""

    def __init__(self, ends_at: str | None) -> None:
        super().__init__()
        self.ends_at = ends_at


async def _fetch(job: m.Job, tools: Tools) -> Outcome:
    remote_id, format_ = missing_pieces(job)[0]
    if isinstance(job.spec, m.ExportSpec):
        return await _fetch_export(job, tools, remote_id)
    try:
        return await _fetch_report(job, tools, remote_id, format_)
    except lucca.RefusedError as refusal:
        if refusal.code != "not_found":
            raise
        return Outcome((ev.ReportLost(),))


async def _fetch_export(job: m.Job, tools: Tools, remote_id: int) -> Outcome:
    spec = _export(job)
    doubled = _doubled(job, tools)

    def inspect(_stream: Stream, told: content.ExportContent) -> content.ExportContent:
        if told.id != remote_id:
            raise lucca.NotContentError("another export than the one asked for")
        ends_at = lucca.local_moment(told.ends_at)
        if told.configuration_id not in (None, spec.configuration_id) or ends_at not in (
            None,
            ends_text(job),
        ):
            if job.live.known.get(remote_id) == ends_text(job):
                raise lucca.NotContentError("the list and the content tell different ends")
            raise _NotOursError(ends_at if told.configuration_id in (None, spec.configuration_id) else None)
        return told

    stem = f"{spec.name}-{remote_id}"
    derivations = [
        Derivation(name, stem + derived.FORMATS[name].suffix, derived.FORMATS[name].write)
        for name in spec.formats
        if name != "json"
    ]
    request = lucca.export_content(remote_id, doubled=doubled)
    try:
        spooled, staged = await _download(
            job, tools, request, (remote_id, "json"), content.ExportReader(), inspect, derivations
        )
    except lucca.RefusedError as refusal:
        if refusal.code != "not_found":
            raise
        if job.live.missed_path is None:
            return Outcome((ev.PathMissed(doubled),))
        if job.triggers and remote_id not in job.live.known:
            # Only the POST's answer told this number. What our POST made will be in the list.
            return Outcome((ev.Misattributed(remote_id, None, exists=False),))
        raise
    except content.NotContentError as error:
        raise lucca.NotContentError(error.reason) from None
    except _NotOursError as other:
        return Outcome((ev.Misattributed(remote_id, other.ends_at),))
    await tools.memory.remember_doubled(spec.domain, doubled)
    told = m.Content(remote_id, spooled.result.entries, spooled.result.starts_at)
    return Outcome((ev.Fetched(replace(staged, content=told)),))


async def _fetch_report(job: m.Job, tools: Tools, remote_id: int, format_: str) -> Outcome:
    def inspect(stream: Stream, told: content.Beginning) -> None:
        if not stream.length_known:
            raise lucca.NotContentError("its end cannot be told: neither a length nor chunks")
        lucca.check_report_content(told.kept, told.size_bytes, stream.headers, format_)

    request = lucca.report_content(remote_id, format_)
    _, staged = await _download(job, tools, request, (remote_id, format_), content.Beginning(), inspect)
    return Outcome((ev.Fetched(staged),))


async def _download(
    job: m.Job,
    tools: Tools,
    request: lucca.Request,
    piece: tuple[int, str],
    reader: Reader[R],
    inspect: Callable[[Stream, R], T],
    derivations: Sequence[Derivation[T]] = (),
) -> tuple[Spooled[T], m.Staged]:
    """Stream an answer to its place's side, check it whole, derive from it, flush it to disk."""
    remote_id, format_ = piece
    spec = job.spec
    filename = f"{spec.name}-{remote_id}.{EXTENSIONS[format_]}"
    line = tools.line
    assert line is not None  # noqa: S101 - a step that sends has a line
    output, night = tools.output, tools.night
    async with output.spool(
        night, spec.tenant, filename, reader=reader, cap_bytes=CONTENT_CAP_BYTES
    ) as spool:
        async with line.download(request) as stream:
            if stream.status != HTTPStatus.OK:
                line.body = await stream.read(ANSWER_CAP_BYTES)
                lucca.check_status(stream.status, stream.headers, line.body)
                raise lucca.NotContentError(f"status {stream.status}, which promises no whole content")
            async with _shown(line, spool):
                async for chunk in stream.chunks(CONTENT_CAP_BYTES):
                    await spool.write(chunk)
        line.end()
        async with _shown(line, spool):
            spooled = await spool.finish(lambda told: inspect(stream, told), derivations)
    parts = [(format_, spooled.answer), *spooled.derived.items()]
    records = tuple(
        (m.FileRecord(part.path, part.size_bytes, part.sha256, remote_id, name), part.temp)
        for name, part in parts
    )
    return spooled, m.Staged(remote_id, records, underived=tuple(spooled.underived))


@asynccontextmanager
async def _shown(line: Line, spool: Spool[Any]) -> AsyncIterator[None]:
    """Show the beginning of an answer that is refused in the block."""
    try:
        yield
    except (BrokenAnswerError, TooLargeError, content.NotContentError, lucca.NotContentError):
        with suppress(StorageError):
            line.body = await spool.beginning(KEPT_BYTES)
        raise


async def _place(job: m.Job, tools: Tools) -> Outcome:
    parts = [part for staged in job.live.staged for part in staged.parts]
    # What an earlier night put in its place stays there alone: what lies in two nights' folders may be paid twice.
    stands = {(record.remote_id, record.format) for record in job.files if record.placed}
    new = [(record, temp) for record, temp in parts if (record.remote_id, record.format) not in stands]
    temps = {record.path: temp for record, temp in new}
    if len(new) < len(parts):
        await tools.output.discard({temp for _, temp in parts} - {*temps.values()})
    if parts:
        job = await tools.record(ev.Named(tuple(record for record, _ in new)))
    unplaced = tuple(record for record in job.files if not record.placed)
    if not unplaced:
        return Outcome((ev.Placed(()),))
    result = await tools.output.place(unplaced, temps)
    events: tuple[ev.Event, ...] = ()
    if result.missing:
        events = (ev.FilesMissed(tuple(result.missing)),)
    if result.placed:
        events = (*events, ev.Placed(tuple(result.placed)))
    return Outcome(events)


_Step = Callable[[m.Job, Tools], Awaitable[Outcome]]
_STEPS: Mapping[Step, _Step] = {
    Step.SURVEY: _survey,
    Step.IDENTIFY: _identify,
    Step.TRIGGER: _trigger,
    Step.POLL: _poll,
    Step.CREATE_TEMPLATE: _create_template,
    Step.POLL_REPORT: _poll_report,
    Step.FETCH: _fetch,
    Step.PLACE: _place,
}

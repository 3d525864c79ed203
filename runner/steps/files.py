"""Steps that move files: fetch an answer beside its place, and put it there.

Owns the sequence of a download: stream, check, derive, flush; then name it in the journal and put it in place. Must not
know where a place is nor how a file gets there safely: that is `output`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Final, TypeVar

from msgspec.structs import replace

from runner import content, derived, lucca
from runner.errors import StorageError
from runner.jobs import events as ev
from runner.jobs import model as m
from runner.jobs.finding import ends_text
from runner.jobs.machine import missing_pieces
from runner.jobs.remedies import gone, job_error
from runner.output import KEPT_BYTES, Derivation, Reader, Spooled, TooLargeError
from runner.steps.tools import (
    Bearing,
    Outcome,
    Tools,
    Trouble,
    doubled_path,
    export_of,
    of_the_host,
    turn_of,
)
from runner.transport import ANSWER_CAP_BYTES, CONTENT_CAP_BYTES, BrokenAnswerError, LostError, Stream

EXTENSIONS: Final[Mapping[str, str]] = {"json": "json", "csv": "csv", "excel": "xls"}
"""Of the answers; derived files have their own."""

R = TypeVar("R")
T = TypeVar("T")


class _NotOursError(Exception):
    """The content says that it answers another job."""

    def __init__(self, ends_at: str | None) -> None:
        super().__init__()
        self.ends_at = ends_at


def fetch(job: m.Job, tools: Tools) -> Awaitable[Outcome]:
    """Download the next piece that is missing, and check it."""
    (remote_id, format_), *others = missing_pieces(job)
    if not isinstance(job.spec, m.ExportSpec):
        return _fetch_report(job, tools, remote_id, format_)
    if all(other in job.live.put_off for other, _ in others):
        return _fetch_export(job, tools, remote_id)
    return _fetch_or_put_off(job, tools, remote_id)


async def _fetch_or_put_off(job: m.Job, tools: Tools, remote_id: int) -> Outcome:
    """Of several exports one that cannot be had keeps none of the others from the disk."""
    try:
        outcome = await _fetch_export(job, tools, remote_id)
    except (lucca.TroubleError, LostError, BrokenAnswerError) as trouble:
        if of_the_host(trouble):
            raise
    except TooLargeError:
        pass
    else:
        if outcome.trouble is None:
            return outcome
    return Outcome((ev.PutOff(remote_id),))


async def _fetch_export(job: m.Job, tools: Tools, remote_id: int) -> Outcome:
    spec = export_of(job)
    doubled = doubled_path(job, tools)

    def inspect(_stream: Stream, told: content.ExportContent) -> content.ExportContent:
        if told.id != remote_id:
            raise lucca.NotContentError("another export than the one asked for")
        ends_at, wanted = lucca.local_moment(told.ends_at), ends_text(job)
        our_configuration = told.configuration_id in (None, spec.configuration_id)
        if not our_configuration or ends_at not in (None, wanted):
            if job.live.known.get(remote_id) == wanted or job.downloaded_before:
                raise lucca.NotContentError("its content tells another end than was told before")
            raise _NotOursError(ends_at if our_configuration else None)
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
        return _not_there(job, remote_id, tools.scrub(refusal.detail), doubled=doubled)
    except content.NotContentError as error:
        raise lucca.NotContentError(error.reason) from None
    except _NotOursError as other:
        return Outcome((ev.Misattributed(remote_id, other.ends_at),))
    await tools.memory.remember_doubled(spec.domain, doubled)
    told = m.Content(remote_id, spooled.result.entries, spooled.result.starts_at)
    return Outcome((ev.Fetched(replace(staged, content=told)),))


def _not_there(job: m.Job, remote_id: int, detail: str, *, doubled: bool) -> Outcome:
    """What the 404 of an export's content means; the other path may have given one, too."""
    missed = ev.PathMissed(doubled)
    if job.live.missed_path is None:
        return Outcome((missed,))
    if remote_id not in job.live.known and not job.downloaded_before:
        # Only the POST's answer told this number, or a list of another night: the list tells what is there now.
        shown = job.entered(m.State.POLLING)  # by a list; it was there, so it is named
        return Outcome((ev.Misattributed(remote_id, None, exists=shown),))
    # A list shows it, or showed it once: it may only not be there to be read yet. Either path is asked again.
    if job.downloaded_before:
        in_vain = gone(export_of(job), remote_id)
    else:
        in_vain = job_error(m.ErrorCode.NOT_FOUND, job.spec, f"export {remote_id}, {detail}")
    return Outcome((missed,), Trouble(Bearing.BAD_ANSWER, in_vain.message, in_vain=in_vain))


async def _fetch_report(job: m.Job, tools: Tools, remote_id: int, format_: str) -> Outcome:
    def inspect(stream: Stream, told: content.Beginning) -> None:
        if not stream.length_known:
            raise lucca.NotContentError("its end cannot be told: neither a length nor chunks")
        lucca.check_report_content(told.kept, told.size_bytes, stream.headers, format_)

    request = lucca.report_content(remote_id, format_)
    try:
        _, staged = await _download(job, tools, request, (remote_id, format_), content.Beginning(), inspect)
    except lucca.RefusedError as refusal:
        if refusal.code != "not_found":
            raise
        return Outcome((ev.ReportLost(),))
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
    turn, output, night = turn_of(tools), tools.output, tools.night
    async with output.spool(
        night, spec.tenant, filename, reader=reader, cap_bytes=CONTENT_CAP_BYTES
    ) as spool:
        try:
            async with await turn.download(request) as stream:
                if stream.status != HTTPStatus.OK:
                    turn.body = await stream.read(ANSWER_CAP_BYTES)
                    lucca.check_status(stream.status, stream.headers, turn.body)
                    raise lucca.NotContentError(f"status {stream.status}, which promises no whole content")
                async for chunk in stream.chunks(CONTENT_CAP_BYTES):
                    await spool.write(chunk)
            async with output.room:
                turn.end()
                spooled = await spool.finish(lambda told: inspect(stream, told), derivations)
        except (BrokenAnswerError, TooLargeError, content.NotContentError, lucca.NotContentError):
            with suppress(StorageError):
                turn.body = turn.body or await spool.beginning(KEPT_BYTES)
            raise
    parts = [(format_, spooled.answer), *spooled.derived.items()]
    records = tuple(
        (m.FileRecord(part.path, part.size_bytes, part.sha256, remote_id, name), part.temp)
        for name, part in parts
    )
    return spooled, m.Staged(remote_id, records, underived=tuple(spooled.underived))


async def place(job: m.Job, tools: Tools) -> Outcome:
    """Name the files that wait beside their places in the journal, then put them there."""
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

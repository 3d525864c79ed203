"""Steps that ask and tell: lists, triggers, templates, statuses. None of them moves a file.

Owns the sequence of each exchange of the guides "Export from Lucca Timesheet" (steps 1 to 3) and "How to Download
Reports" (steps 1 to 3). `trigger` records its intent before the POST, which is the point of the whole program.
"""

from datetime import datetime
from typing import Final

from runner import lucca
from runner.jobs import events as ev
from runner.jobs import model as m
from runner.jobs.agenda import template_of
from runner.jobs.machine import host_time, stamp
from runner.jobs.remedies import job_error
from runner.steps.tools import (
    Bearing,
    Outcome,
    Tools,
    Trouble,
    ask,
    doubled_path,
    export_of,
    of_the_host,
    report_of,
    trouble_of,
    turn_of,
)
from runner.transport import Answer, BrokenAnswerError, LostError, NotSentError, UnreachableError

PATIENCE: Final = 3
"""How often an export that cannot be read is asked whose it is, before the list is read again without knowing."""

# ── exports ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def survey(job: m.Job, tools: Tools) -> Outcome:
    """Look at the latest exports of the configuration."""
    answer = await ask(tools, lucca.latest_exports(export_of(job).configuration_id))
    items = tuple(m.Sighting(line.id, line.ends_at) for line in lucca.read_export_list(answer.body))
    return Outcome((ev.Listed(items, server_date=lucca.server_date(answer.headers)),))


async def poll(job: m.Job, tools: Tools) -> Outcome:
    """Look at what came above the baseline."""
    baseline, listed = job.baseline_id or 0, job.live.listed
    answer = await ask(tools, lucca.exports_after(export_of(job).configuration_id, baseline, listed))
    lines = lucca.read_export_list(answer.body)
    items = tuple(m.Sighting(line.id, line.ends_at) for line in lines if line.id > baseline)
    # A server that ignores the page would show its first line for ever. That all of it is known proves nothing: an
    # earlier poll may have read it, and ours comes last.
    first = min((id_ for id_ in job.live.known if id_ > baseline), default=0)
    again = listed > 0 and any(item.id <= first for item in items)
    complete = len(lines) < lucca.LEAST_PAGE or not items or again
    return Outcome((ev.Listed(items, complete=complete, server_date=lucca.server_date(answer.headers)),))


async def identify(job: m.Job, tools: Tools) -> Outcome:
    """Ask one export whose it is."""
    id_, domain = job.live.unidentified[0], job.spec.domain
    doubled = doubled_path(job, tools)
    try:
        identity = await _identity(id_, tools, doubled=doubled)
    except lucca.RefusedError as refusal:
        if refusal.code != "not_found":
            raise
        # Not there under either path: it was archived meanwhile, and is nobody's.
        missed_both = job.live.missed_path is not None
        return Outcome((ev.Identified(id_, None) if missed_both else ev.PathMissed(doubled),))
    except (lucca.TroubleError, LostError, BrokenAnswerError) as trouble:
        if job.state is not m.State.POLLING or job.live.doubted or of_the_host(trouble):
            raise
        # Ours may come while somebody's is broken for ever. It is asked again now and then, and before a trigger.
        if job.live.put_off.count(id_) >= PATIENCE:
            return Outcome((ev.Identified(id_, None),))
        return Outcome((ev.PutOff(id_),), trouble_of(trouble, tools))
    await tools.memory.remember_doubled(domain, doubled)
    ours = identity.configuration_id in (None, export_of(job).configuration_id)
    return Outcome((ev.Identified(id_, identity.ends_at if ours else None),))


async def _identity(id_: int, tools: Tools, *, doubled: bool) -> lucca.ExportIdentity:
    answer = await ask(tools, lucca.export_identity(id_, doubled=doubled))
    identity = lucca.read_export_identity(answer.body)
    if identity.id != id_:
        raise lucca.NotContentError("another export than the one asked for")
    return identity


async def trigger(job: m.Job, tools: Tools) -> Outcome:
    """Store the intent, then POST."""
    spec = job.spec
    job = await tools.record(ev.Triggered(_stamp(job, tools)))
    if isinstance(spec, m.ExportSpec):
        request = lucca.run_export(spec.configuration_id, spec.ends_at)
    else:
        template_id = template_of(job)
        assert template_id is not None  # noqa: S101 - the agenda creates it first
        request = lucca.create_report(template_id, spec.starts_on, spec.ends_on)
    try:
        answer = await turn_of(tools).send(request)
    except NotSentError as error:
        return Outcome((ev.TriggerUnsent(),), Trouble(Bearing.PASSING, error.detail))
    except UnreachableError as error:
        failed = ev.Failed(job_error(m.ErrorCode.UNREACHABLE, spec, error.detail))
        return Outcome((ev.TriggerUnsent(), failed))
    except (LostError, BrokenAnswerError) as error:
        return _let_go(job, tools, trouble_of(error, tools), None)
    try:
        if isinstance(spec, m.ExportSpec):
            return _export_triggered(job, tools, answer)
        return await _report_triggered(job, tools, answer)
    except lucca.ThrottledError as trouble:
        return Outcome((ev.TriggerUnsent(),), trouble_of(trouble, tools))


def _export_triggered(job: m.Job, tools: Tools, answer: Answer) -> Outcome:
    result = lucca.read_run_answer(answer.status, answer.headers, answer.body)
    if isinstance(result, lucca.Unknown):
        patience = lucca.retry_after_seconds(answer.headers)
        why = Trouble(Bearing.PASSING, tools.scrub(result.why), patience)
        return _let_go(job, tools, why, lucca.server_date(answer.headers))
    return Outcome((ev.TriggerAnswered(result, stamp(tools.clock.now(), lucca.server_date(answer.headers))),))


async def _report_triggered(job: m.Job, tools: Tools, answer: Answer) -> Outcome:
    spec = report_of(job)
    try:
        lucca.check_status(answer.status, answer.headers, answer.body)
        report_id = lucca.read_created_id(answer.body)
    except lucca.RefusedError as refusal:
        gone = refusal.code in ("forbidden", "not_found") and isinstance(spec.template, m.TemplateBody)
        if not gone:
            raise
        assert isinstance(spec.template, m.TemplateBody)  # noqa: S101 - said above, for the type checker
        assert job.template_id is not None  # noqa: S101 - it was just refused
        sha256 = spec.template.sha256
        if not await tools.memory.forget_template(spec.domain, sha256, job.template_id, spec.tenant):
            raise
        return Outcome((ev.TemplateRefused(),))
    except (lucca.PassingError, lucca.NotContentError) as trouble:
        return _let_go(job, tools, trouble_of(trouble, tools), lucca.server_date(answer.headers))
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


async def create_template(job: m.Job, tools: Tools) -> Outcome:
    """Create the report's template, unless one of this content is known."""
    template = report_of(job).template
    assert isinstance(template, m.TemplateBody)  # noqa: S101 - the agenda asks only for these
    domain = job.spec.domain
    known = await tools.memory.template(domain, template.sha256)
    if known is None:
        answer = await ask(tools, lucca.create_template(template.body))
        known = lucca.read_template_id(answer.body)
        await tools.memory.remember_template(domain, template.sha256, known)
    return Outcome((ev.TemplateCreated(known),))


async def poll_report(job: m.Job, tools: Tools) -> Outcome:
    """Ask for the report's status."""
    try:
        answer = await ask(tools, lucca.report_status(job.remote_ids[-1]))
    except lucca.RefusedError as refusal:
        if refusal.code != "not_found":
            raise
        return Outcome((ev.ReportLost(),))
    return Outcome((ev.ReportPolled(lucca.read_report_status(answer.body, job.remote_ids[-1])),))

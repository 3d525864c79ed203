"""The steps: one action on the outside world each, `async (job, tools) → Outcome`.

Owns the sequence of a single exchange: which request, how its answer becomes an event. A step never waits for
later, never loops, never decides what comes next (that is `jobs.agenda`) and never changes a state (that is
`jobs.advance`); two of them record an intent through `tools.record` before their effect, which is the point
of the whole program.
"""

from collections.abc import Awaitable, Callable, Mapping

from runner import lucca
from runner.jobs import events as ev
from runner.jobs import model as m
from runner.jobs.agenda import Step
from runner.jobs.remedies import job_error
from runner.output import KEPT_BYTES, PlaceError, TooLargeError
from runner.steps import asking, files
from runner.steps.tools import Bearing, Memory, Outcome, Tools, Trouble, trouble_of
from runner.transport import BrokenAnswerError, LostError, NotSentError, UnreachableError

__all__ = ["Bearing", "Memory", "Outcome", "Tools", "Trouble", "take"]


async def take(step: Step, job: m.Job, tools: Tools) -> Outcome:
    """Take one step and tell what came of it. An answer that was refused is kept for a person to look at.

    Raises:
        StorageError: the output or the journal failed; the run cannot go on.
    """
    try:
        outcome = await _STEPS[step](job, tools)
    except lucca.RefusedError as refusal:
        return _failed(job, m.ErrorCode(refusal.code), tools.scrub(refusal.detail))
    except UnreachableError as error:
        return _failed(job, m.ErrorCode.UNREACHABLE, error.detail)
    except PlaceError as error:
        return _failed(job, m.ErrorCode.STORAGE, str(error))
    except TooLargeError as error:
        detail = f"the answer is larger than {error.cap_bytes} bytes"
        outcome = Outcome(trouble=Trouble(Bearing.BAD_ANSWER, detail))
    except (lucca.TroubleError, NotSentError, LostError, BrokenAnswerError) as trouble:
        outcome = Outcome(trouble=trouble_of(trouble, tools))
    return outcome if outcome.trouble is None else await _kept(outcome, outcome.trouble, job, tools)


async def _kept(outcome: Outcome, trouble: Trouble, job: m.Job, tools: Tools) -> Outcome:
    turn = tools.turn
    if turn is None or trouble.bearing is not Bearing.BAD_ANSWER or trouble.in_vain is not None:
        return outcome
    turn.end()
    spec, body = job.spec, turn.body[:KEPT_BYTES]
    if not body or tools.key_in(body):
        return outcome
    kept = await tools.output.quarantine.keep(tools.night, spec.tenant, spec.name, job.id, body)
    if kept is None:
        return outcome
    detail = f"{trouble.detail}; the answer is kept in {kept}"
    return Outcome(outcome.events, Trouble(trouble.bearing, detail, trouble.retry_after_seconds))


def _failed(job: m.Job, code: m.ErrorCode, detail: str) -> Outcome:
    return Outcome((ev.Failed(job_error(code, job.spec, detail)),))


_Step = Callable[[m.Job, Tools], Awaitable[Outcome]]
_STEPS: Mapping[Step, _Step] = {
    Step.SURVEY: asking.survey,
    Step.IDENTIFY: asking.identify,
    Step.TRIGGER: asking.trigger,
    Step.POLL: asking.poll,
    Step.CREATE_TEMPLATE: asking.create_template,
    Step.POLL_REPORT: asking.poll_report,
    Step.FETCH: files.fetch,
    Step.PLACE: files.place,
}

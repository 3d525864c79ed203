"""One job's story for `runner explain`, and the rows of `runner status`: words for a terminal, without colours.

Why a job waits is asked of `jobs.agenda`, never guessed here, so that the story cannot differ from what a run would do.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from runner.clock import Instant
from runner.jobs import agenda
from runner.jobs.agenda import Do, Policy, Rest, Wait, next_action, owes_a_look
from runner.jobs.events import Failed
from runner.jobs.model import ExportSpec, Job, State
from runner.summary import facts
from runner.summary.document import entry_count, placed_files
from runner.summary.night import ordered
from runner.summary.texts import Language, Phrasebook

_INDENT = "  "
_HUMP = re.compile(r"(?<!^)(?=[A-Z])")


class EventRow(Protocol):
    """What the journal tells of one event."""

    @property
    def at(self) -> datetime:
        """When it was recorded."""

    @property
    def name(self) -> str:
        """The event's class, `TriggerLetGo` or `trigger_let_go`."""

    @property
    def state(self) -> State | None:
        """The state it entered; None when it changed none."""

    @property
    def note(self) -> str:
        """What else is known, such as who decided and why."""


@dataclass(frozen=True, slots=True)
class StatusTable:
    """Rows of plain strings, and the titles above them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def story(
    job: Job,
    events: Sequence[EventRow],
    language: Language,
    *,
    now: Instant,
    timezone: ZoneInfo,
    policy: Policy,
) -> str:
    """One job's story: what happened, where it stands, what comes next, and what a person has to do.

    Args:
        job: as the journal knows it.
        events: its events, the oldest first.
        language: of the words.
        now: the moment, to say how long it still waits.
        timezone: of the times.
        policy: the waiting rules.
    """
    words = Phrasebook(language, timezone)
    parts = [
        _head(job, words),
        _part(words("story.happened"), _happened(events, words)),
        _part(words("story.stands"), _stands(job, words)),
        _part(words("story.next"), _next(job, words, now, policy)),
        _part(words("story.to_do"), _to_do(job, words)),
    ]
    return "\n\n".join(parts) + "\n"


def status_table(jobs: Iterable[Job], language: Language, *, timezone: ZoneInfo) -> StatusTable:
    """One row for each job: client, job, due, state, since when, remarks."""
    words = Phrasebook(language, timezone)
    columns = ("client", "job", "due", "state", "since", "remarks")
    rows = tuple(_status_row(job, words) for job in ordered(list(jobs)))
    return StatusTable(tuple(words(f"status.{column}") for column in columns), rows)


def _status_row(job: Job, words: Phrasebook) -> tuple[str, ...]:
    since = words.local(job.history[-1].at).strftime("%Y-%m-%d %H:%M") if job.history else ""
    told = [words(f"{key}.title") for key in facts.issues(job)] + _quiet_flags(job, words)
    return (
        job.spec.tenant,
        job.label,
        job.spec.due.isoformat(),
        facts.where(job, words, running=True),
        since,
        ", ".join(told),
    )


def _quiet_flags(job: Job, words: Phrasebook) -> list[str]:
    return [words(f"flag.{flag}.title") for flag in sorted(job.flags - set(facts.ACTIONS))]


def event_words(name: str, state: State, words: Phrasebook) -> str:
    """The sentence for an event; one that this version does not know keeps its name."""
    name = _HUMP.sub("_", name).lower()
    for key in (f"event.{name}.{state}", f"event.{name}"):
        if words.has(key):
            return words(key)
    return words("event.other", name=name)


def _part(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(_INDENT + line for line in lines)])


def _head(job: Job, words: Phrasebook) -> str:
    spec = job.spec
    period = facts.period(job, words)
    if isinstance(spec, ExportSpec):
        what = words("story.export", configuration=spec.configuration_id, period=period)
    else:
        what = words("story.report", period=period)
    return f"{job.label} ({spec.domain})\n{what[0].upper()}{what[1:]}. {words('story.due', day=words.day(spec.due))}"


def _happened(events: Sequence[EventRow], words: Phrasebook) -> list[str]:
    if not events:
        return [words("story.nothing")]
    lines: list[str] = []
    day, state = None, State.PENDING
    for event in events:
        local = words.local(event.at)
        if local.date() != day:
            day = local.date()
            lines.append(words.day(day))
        entered = event.state is not None and event.state is not state
        state = event.state or state
        moved = f" [{words('event.moved', state=state)}]" if entered else ""
        note = f" ({_one_line(event.note)})" if event.note else ""
        lines.append(f"{_INDENT}{local:%H:%M:%S}  {event_words(event.name, state, words)}{note}{moved}")
    return lines


def _one_line(text: str) -> str:
    """Notes may hold a server's words: no line breaks, no terminal escapes."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _stands(job: Job, words: Phrasebook) -> list[str]:
    unasked = job.state is State.POLLING and not job.triggers
    lines = [words("where.polling.unasked") + "." if unasked else words(f"stands.{job.state}")]
    if job.triggers:
        last = words.moment(job.triggers[-1].wall)
        lines.append(words.count("stands.triggers", len(job.triggers), moment=last))
    entries = entry_count(job)
    if entries is not None:
        lines.append(f"{words.count('entries', entries)}.")
    lines += [f"{text[0].upper()}{text[1:].removesuffix('.')}." for text in facts.remarks(job, words)]
    files = placed_files(job)
    if files:
        lines.append(words("story.files"))
        lines += [f"{_INDENT}{record.path} ({words.size(record.size_bytes)})" for record in files]
    return lines


def _next(job: Job, words: Phrasebook, now: Instant, policy: Policy) -> list[str]:
    if job.finished:
        return _after_the_end(job, words, now)
    return [_coming(job, words, now, policy), *_hour(job, words, now, policy)]


def _coming(job: Job, words: Phrasebook, now: Instant, policy: Policy) -> str:
    on_its_way = job.state in (State.TRIGGERED, State.RETRIED)
    if on_its_way or isinstance(action := next_action(job, now, policy), Rest):
        return words("then.answer")
    if isinstance(action, Do):
        return words("then.do", step=words(f"step.{action.step.label}"))
    if isinstance(action, Wait):
        later = now.wall + timedelta(seconds=action.until_boot_seconds - now.boot_seconds)
        return words("then.wait", moment=words.moment(later), step=words(f"step.{_waits_for(job)}"))
    return words("then.fail" if isinstance(action.event, Failed) else "then.report_again")


def _waits_for(job: Job) -> str:
    return (agenda.Step.POLL if isinstance(job.spec, ExportSpec) else agenda.Step.POLL_REPORT).label


def _hour(job: Job, words: Phrasebook, now: Instant, policy: Policy) -> list[str]:
    """Until when no other trigger leaves, where that is still to come."""
    if not isinstance(job.spec, ExportSpec) or job.state is not State.POLLING or not job.triggers:
        return []
    elapsed = agenda.elapsed_seconds(job, now)
    if elapsed is None or elapsed >= policy.retrigger_after_seconds:
        return []
    moment = words.moment(now.wall + timedelta(seconds=policy.retrigger_after_seconds - elapsed))
    return [words("then.hour.end" if facts.last_trigger_spent(job, policy) else "then.hour", moment=moment)]


def _after_the_end(job: Job, words: Phrasebook, now: Instant) -> list[str]:
    lines = [words("then.again" if job.taken_up_again else "then.rest")]
    if owes_a_look(job, now):
        lines.append(words("then.look"))
    return lines


def _to_do(job: Job, words: Phrasebook) -> list[str]:
    keys = facts.issues(job) if job.finished and job.state is not State.SKIPPED else []
    lines: list[str] = []
    for key in keys:
        lines += [f"{words(f'{key}.title')}{_colon(words)} {words(f'{key}.what')}", words(f"{key}.todo")]
    if keys and job.error is not None:
        lines.append(f"{words('story.message')} {_one_line(job.error.message)}")
    return lines or [words("then.nothing")]


def _colon(words: Phrasebook) -> str:
    return "\u00a0:" if words.language == "fr" else ":"

"""A person's decisions: retry, skip. Each is kept in the journal with who, when and why. None sends anything."""

import getpass
import os
import re
import socket
from datetime import date
from math import ceil
from pathlib import Path

import anyio

from runner.app.selection import Selection, tenant_and_name
from runner.app.setup import batch_date, manifest_of, settings_of
from runner.app.stores import hold_journal, jobs_named, policy_of, read_journal
from runner.app.tell import answer, say
from runner.clock import Instant, SystemClock
from runner.errors import UsageError
from runner.jobs.agenda import elapsed_seconds, free_at
from runner.jobs.events import Retried, Skipped
from runner.jobs.machine import advance, stamp
from runner.jobs.model import Identity, Job, State
from runner.journal import Journal, happened
from runner.settings import Settings

_CHOSEN = re.compile(r"[a-z0-9][a-z0-9_-]*(?:/[a-z0-9][a-z0-9_-]*)?")


def retry(
    flags: dict[str, str],
    selection: Selection,
    date_text: str | None,
    *,
    manifest_given: str | None,
    reason: str,
    as_json: bool,
) -> int:
    """`runner retry`: failed jobs are pending again, their triggers counted anew; so is a skipped one named in full."""
    if manifest_given is not None and not Path(manifest_given).expanduser().exists():
        # `runner retry acme/payroll` or `runner retry acme` is what one types; neither is a manifest. Nor must a slip
        # open every client's jobs.
        if not _CHOSEN.fullmatch(manifest_given):
            raise UsageError(
                f"{manifest_given}: no such manifest; name what to retry as TENANT or TENANT/JOB"
            )
        flags.pop("manifest", None)
        selection = Selection((*selection.only, manifest_given), selection.tags, selection.kind)
    settings = settings_of(flags)
    night = batch_date(date_text, settings)
    tags: dict[str, tuple[str, ...]] = {}
    if selection.tags:
        tags = {tenant.name: tenant.tags for tenant in manifest_of(settings).tenants}
    with read_journal(settings) as journal:
        jobs = journal.jobs()
        worked_on = {job.id for job in journal.jobs(night=night)} if date_text else set()
    selection.refuse_unknown(job.spec for job in jobs)
    chosen = [job for job in jobs if selection.takes(job.spec, tags.get(job.spec.tenant, ()))]
    if not chosen:
        raise UsageError("the selection matches no job of the journal; `runner status` shows what there is")
    if date_text:
        # What run.json of that date tells: what was due on it, and what a run of it worked on.
        chosen = [job for job in chosen if job.spec.due == night or job.id in worked_on]
    # A skipped one only where it is named in full.
    skipped = [job for job in chosen if job.state is State.SKIPPED and job.label in selection.only]
    failed = [job for job in chosen if job.state is State.FAILED]
    retried = anyio.run(_retry, settings, [*failed, *skipped], reason)
    if as_json:
        answer({"retried": retried})
    if not retried:
        say("runner: none of these jobs failed; `runner status` shows how they stand")
    for label in retried:
        say(f"runner: {label} will be tried again by the next run")
    return 0


async def _retry(settings: Settings, chosen: list[Job], reason: str) -> list[str]:
    now = SystemClock().now()
    retried: list[str] = []
    states = {job.spec.identity: job.state for job in chosen}
    async with hold_journal(settings) as journal:
        for identity, job in (await journal.find(list(states))).items():
            if job.state is states[identity]:  # else somebody was quicker
                await _decide(journal, job, Retried(stamp(now)), reason, settings, now)
                retried.append(f"{job.label} of {job.spec.due.isoformat()}")
    return retried


async def _decide(
    journal: Journal, job: Job, event: Retried | Skipped, reason: str, settings: Settings, now: Instant
) -> None:
    after = advance(job, event, now)
    note = f"by {_user()}@{socket.gethostname()}" + (f": {reason}" if reason else "")
    told = happened(type(event).__name__, job, after, now.wall, note)
    await journal.record(after, batch_date(None, settings), told)


def skip(flags: dict[str, str], label: str, date_text: str | None, *, reason: str, as_json: bool) -> int:
    """`runner skip TENANT/JOB`: nobody minds this job any more. Sends nothing."""
    settings = settings_of(flags)
    tenant, name = tenant_and_name(label)
    due = batch_date(date_text, settings) if date_text else None
    with read_journal(settings) as journal:
        known = jobs_named(journal, tenant, name)
        worked_on = {job.id for job in journal.jobs(night=due)} if due else set()
    # As `retry` has it: what was due on that date, else what a run of it worked on.
    jobs = [j for j in known if due in (None, j.spec.due)] or [j for j in known if j.id in worked_on]
    open_ = [job for job in jobs if not job.settled]
    if not open_:
        raise UsageError(f"{label}: {_why_not(jobs, due)}")
    if len(open_) > 1:
        days = ", ".join(sorted({job.spec.due.isoformat() for job in open_}))
        raise UsageError(f"{label}: several are open; say which with --date: {days}")
    anyio.run(_skip, settings, open_[0].spec.identity, reason)
    told = f"{label} of {open_[0].spec.due.isoformat()}"
    if as_json:
        answer({"skipped": [told]})
    say(f"runner: {told} is set aside; `runner retry {label}` takes that back")
    return 0


def _why_not(jobs: list[Job], due: date | None) -> str:
    if not jobs:
        return f"none was due on {due}; `runner explain` tells of the latest"
    state = max(jobs, key=lambda job: (job.spec.due, job.id)).state
    return (
        "it is set aside already"
        if state is State.SKIPPED
        else "it has arrived, so there is nothing to set aside"
    )


async def _skip(settings: Settings, identity: Identity, reason: str) -> None:
    now = SystemClock().now()
    async with hold_journal(settings) as journal:
        job = (await journal.find([identity]))[identity]
        policy = policy_of(settings)
        elapsed = elapsed_seconds(job, now) if job.triggers else None
        left = policy.retrigger_after_seconds - (elapsed or 0.0)
        if free_at(job, now, policy) and left > 0:
            raise UsageError(
                f"{job.label}: Lucca may still be at work on the request that left, for {ceil(left / 60)} min yet, and "
                "nobody would see what comes of it. To do: run again, or wait so long"
            )
        await _decide(journal, job, Skipped(), reason, settings, now)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"uid {os.getuid()}"

"""The promises, each as one function over what the sandbox's own records and the disk say.

Owns what counts as broken. Reads the server's records, the files and the journal; never the program's counters alone.
"""

import hashlib
import json
import posixpath
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jsonschema import Draft202012Validator, FormatChecker

from runner.jobs.model import ErrorCode, ExportSpec, Flag, Identity, Job, ReportSpec, State
from tests.simulation.exports import (
    LATE_SECONDS,
    an_hour_lies_between_triggers,
    ends,
    every_export_is_accounted_for,
    label,
    ledger,
    no_hours_lie_behind_an_empty_answer,
    nothing_was_triggered_below_the_ledger,
    was_done,
)
from tests.simulation.story import Run

if TYPE_CHECKING:
    from tests.simulation.play import Theatre

_NEEDS_A_PERSON: Final = {"duplicate", "empty", "derived"}


# ── after each run ───────────────────────────────────────────────────────────────────────────────────────────────


def after_run(theatre: "Theatre", run: Run) -> None:
    """What must hold whenever no runner is at work."""
    jobs = theatre.jobs
    _visible_files_are_recorded(theatre, jobs)
    if not theatre.story.journal_forgot:
        _what_was_done_is_not_triggered_again(theatre)
    if theatre.died or theatre.code is None:
        _documents_can_be_read(theatre)
        return
    _nothing_is_left_over(theatre, run)
    _run_json_agrees(theatre, run, jobs)
    if run.calm:
        _everything_ended(theatre, jobs)
        _a_calm_night_of_done_jobs_posts_nothing(theatre)


def _hidden(name: str) -> bool:
    """Whether a file waits beside its place."""
    return name.rpartition("/")[2].startswith(".")


def _visible_files_are_recorded(theatre: "Theatre", jobs: list[Job]) -> None:
    records = {record.path: record for job in jobs for record in job.files}
    for name in theatre.data_files:
        if _hidden(name):
            continue
        record = records.get(name)
        if record is None:
            if not theatre.story.journal_forgot:
                theatre.witness.violated(f"{name} is on disk and not recorded")
        elif name in theatre.changed_files and _sha256(theatre.output / name) != record.sha256:
            theatre.witness.violated(f"{name} is not as recorded")
    for record in records.values():
        if record.placed and record.path not in theatre.data_files and record.path not in theatre.lost_files:
            theatre.witness.violated(f"{record.path} is recorded as placed and is not there")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _documents_can_be_read(theatre: "Theatre") -> None:
    for path in theatre.documents():
        try:
            document = json.loads(path.read_bytes())
        except ValueError:
            theatre.witness.violated(f"{path.parent.name}/run.json cannot be read after a crash")
        else:
            _follows_its_schema(theatre, document)


@cache
def _validator() -> Draft202012Validator:
    schema = Path(__file__).parents[2] / "docs" / "run.schema.json"
    return Draft202012Validator(json.loads(schema.read_bytes()), format_checker=FormatChecker())


def _follows_its_schema(theatre: "Theatre", document: Any) -> None:
    if theatre.validates:
        for error in _validator().iter_errors(document):
            theatre.witness.violated(
                f"run.json of {document['date']} breaks its schema at {error.json_path}: {error.message}"
            )


def _nothing_is_left_over(theatre: "Theatre", run: Run) -> None:
    for name in theatre.data_files:
        if _hidden(name) and name.startswith(run.night.isoformat()):
            theatre.witness.violated(f"{name} was left over")


def _run_json_agrees(theatre: "Theatre", run: Run, jobs: list[Job]) -> None:
    witness = theatre.witness
    folder = theatre.output / run.night.isoformat()
    document = json.loads((folder / "run.json").read_bytes())
    _follows_its_schema(theatre, document)
    by_key = {(j.spec.tenant, j.spec.kind, j.spec.name, j.spec.due.isoformat(), _subject(j)): j for j in jobs}
    states: list[str] = []
    wanting = False
    listed: set[str] = set()
    for told in document["jobs"]:
        key = (told["tenant"], told["kind"], told["name"], told["due"], told.get("ends_at", ""))
        job = by_key.get(key)
        if job is None:
            witness.violated(f"run.json tells of {key}, which the journal does not know")
            continue
        listed.add(label(job))
        states.append(told["state"])
        wanting |= told["state"] == "failed" or bool(_NEEDS_A_PERSON & set(told["flags"]))
        _told_as_it_is(theatre, told, job)
    expected = _expected_code(theatre, states, wanting=wanting)
    if theatre.code != expected:
        witness.violated(f"exit {theatre.code} although run.json means {expected}")
    outcome = "incomplete" if expected == 4 or _open(states) else "failed" if wanting else "ok"
    if document["outcome"] != outcome:
        witness.violated(f"the outcome is {document['outcome']}, not {outcome}")
    counts = Counter("unfinished" if s not in ("downloaded", "failed") else s for s in states)
    if document["counts"] != {name: counts[name] for name in ("downloaded", "failed", "unfinished")}:
        witness.violated(f"run.json counts {document['counts']}, its jobs are {dict(counts)}")
    _every_due_job_is_told(theatre, run, jobs, listed)
    _sums_agree(theatre, run, document)


def _subject(job: Job) -> str:
    return f"{job.spec.ends_at.isoformat()}T00:00:00" if isinstance(job.spec, ExportSpec) else ""


def _open(states: list[str]) -> bool:
    return any(state not in ("downloaded", "failed", "skipped") for state in states)


def _expected_code(theatre: "Theatre", states: list[str], *, wanting: bool) -> int:
    if theatre.stopped:
        return 143
    if _open(states):
        return 4
    return 3 if wanting else 0


def _told_as_it_is(theatre: "Theatre", told: dict[str, Any], job: Job) -> None:
    is_ = {
        "state": job.state.value,
        "remote_ids": list(job.remote_ids),
        "triggers": len(job.triggers),
        "flags": sorted(flag.value for flag in job.flags),
        "error": None if job.error is None else job.error.code.value,
        "files": sorted(record.sha256 for record in job.files if record.placed),
        "transitions": [transition.state.value for transition in job.history],
    }
    says = {
        **{name: told[name] for name in ("state", "remote_ids", "triggers", "flags")},
        "error": told["error"] and told["error"]["code"],
        "files": sorted(file["sha256"] for file in told["files"]),
        "transitions": [transition["state"] for transition in told["transitions"]],
    }
    for name, value in is_.items():
        if says[name] != value:
            theatre.witness.violated(
                f"run.json says {name} {says[name]} of {label(job)}, the journal {value}"
            )


def _every_due_job_is_told(theatre: "Theatre", run: Run, jobs: list[Job], listed: set[str]) -> None:
    for job in jobs:
        before = theatre.before.get(job.spec.identity)
        touched = before is None or before.history != job.history
        if touched and label(job) not in listed:
            theatre.witness.violated(f"{label(job)} was worked on and run.json does not tell")


def _sums_agree(theatre: "Theatre", run: Run, document: dict[str, Any]) -> None:
    folder = theatre.output / run.night.isoformat()
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    prefix = f"{run.night.isoformat()}/"
    there = {
        name.removeprefix(prefix)
        for name in theatre.data_files
        if name.startswith(prefix) and not _hidden(name)
    }
    missing = there - set(sums)
    lost = {name.removeprefix(prefix) for name in theatre.lost_files}
    if (missing and not theatre.story.journal_forgot) or set(sums) - there - lost:
        theatre.witness.violated(
            f"SHA256SUMS of {run.night} lacks {missing} and has too many: {set(sums) - there}"
        )
    for told in document["jobs"]:
        for file in told["files"]:
            if posixpath.normpath(prefix + file["path"]) not in theatre.data_files | theatre.lost_files:
                theatre.witness.violated(f"run.json names {file['path']}, which is not there")


def _everything_ended(theatre: "Theatre", jobs: list[Job]) -> None:
    tenants = theatre.story.manifest.tenants
    wanted: set[tuple[str, int | str]] = {(t.domain, entry.name) for t in tenants for entry in t.reports}
    wanted |= {(t.domain, entry.configuration_id) for t in tenants for entry in t.exports}
    for job in jobs:
        spec = job.spec
        if (spec.domain, spec.configuration_id if isinstance(spec, ExportSpec) else spec.name) not in wanted:
            continue  # no longer in the manifest, so left alone and told
        if not job.finished:
            theatre.witness.violated(f"{label(job)} is still {job.state} after a calm night")
        elif job.state is State.FAILED and not _may_fail(theatre, job):
            theatre.witness.violated(f"{label(job)} failed in a calm night: {job.error}")


def _may_fail(theatre: "Theatre", job: Job) -> bool:
    spec, error = job.spec, job.error
    assert error is not None
    if isinstance(spec, ReportSpec):
        return error.code is ErrorCode.REPORT_ERROR
    exports = ledger(theatre, spec.domain, spec.configuration_id)
    if error.code is ErrorCode.NOT_FOUND:
        return was_done(job) and any((spec.domain, id_) in theatre.put_away for id_ in job.remote_ids)
    if error.code is ErrorCode.SUPERSEDED and theatre.put_away:
        exports = theatre.world.exports(spec.domain)  # it was there when it was seen
    if error.code is ErrorCode.SUPERSEDED:
        return any(ends(export) > spec.ends_at.isoformat() for export in exports)
    if error.code is ErrorCode.NO_EXPORT:
        early = [e for e in exports if e.at_seconds < theatre.last_start]
        return not any(ends(export) == spec.ends_at.isoformat() for export in early)
    if error.code is ErrorCode.REJECTED:
        tenant = next(t for t in theatre.story.scenario.tenants if t.domain == spec.domain)
        return any(
            c.id == spec.configuration_id and c.nothing_new == "rejected" for c in tenant.configurations
        )
    return False


def _what_was_done_is_not_triggered_again(theatre: "Theatre") -> None:
    """Whatever became of its files, and of its export at Lucca."""
    for asked in theatre.witness.asked_exports:
        if asked.run != theatre.witness.run:
            continue
        identity = Identity("export", asked.domain, f"{asked.configuration_id}@{asked.ends_at[:10]}")
        job = theatre.before.get(identity)
        if job is not None and was_done(job):
            theatre.witness.violated(f"{identity} was done, and was triggered again")


def _a_calm_night_of_done_jobs_posts_nothing(theatre: "Theatre") -> None:
    number = theatre.witness.run
    before, now = theatre.story.runs[number - 1 : number + 1] if number else (None, None)
    same = before is not None and now is not None and before.calm and before.night == now.night
    if same and all(job.state is State.DOWNLOADED for job in theatre.before.values()):
        posts = theatre.witness.posts - theatre.posts_before
        if posts:
            theatre.witness.violated(f"{posts} POSTs left although everything was done")


# ── at the end ───────────────────────────────────────────────────────────────────────────────────────────────────


def at_the_end(theatre: "Theatre") -> None:
    """What must hold of the whole schedule."""
    jobs = theatre.jobs
    an_hour_lies_between_triggers(theatre)
    nothing_was_triggered_below_the_ledger(theatre)
    every_export_is_accounted_for(theatre, jobs)
    no_hours_lie_behind_an_empty_answer(theatre, jobs)
    _no_report_was_evicted_by_ourselves(theatre)
    budgets_were_kept(theatre)
    _contents_are_whole(theatre, jobs)
    for name in theatre.data_files:
        # A journal that was lost takes along in which folders there is something to clean.
        if _hidden(name) and not theatre.story.journal_forgot:
            theatre.witness.violated(f"{name} was left behind for ever")


def _no_report_was_evicted_by_ourselves(theatre: "Theatre") -> None:
    if theatre.story.journal_forgot:
        return
    witness = theatre.witness
    for eviction in theatre.world.evictions:
        if eviction.by != "client":
            continue
        key = (eviction.domain, eviction.report_id)
        held = witness.reports.get(key)
        if held is None:
            delivered = witness.delivered_reports.get(key)
            if delivered is not None and delivered not in witness.deaths:
                witness.violated(f"report {key} was made, its id was read, and it was evicted unknown")
        unanswered = witness.unanswered_reports.get(eviction.domain, ())
        for hold in held or ():
            if any(
                asked <= hold.from_seconds and asked > eviction.at_seconds - LATE_SECONDS
                for asked in unanswered
            ):
                continue  # a POST that nobody heard of any more was carried out late
            if hold.from_seconds <= eviction.at_seconds and (
                hold.to_seconds is None or hold.to_seconds > eviction.at_seconds
            ):
                witness.violated(f"report {key} of {hold.identity} was evicted by ourselves")


def budgets_were_kept(theatre: "Theatre") -> None:
    """No host got more in any minute than the manifest allows, since that manifest is in force."""
    budgets: dict[str, int] = {}
    for tenant in theatre.story.manifest.tenants:
        own = tenant.requests_per_minute or theatre.story.requests_per_minute
        budgets[tenant.domain] = min(own, budgets.get(tenant.domain, own))
    for domain, budget in budgets.items():
        most = theatre.world.max_requests_in_any_60_seconds(domain, theatre.manifest_since)
        if most > budget:
            theatre.witness.violated(f"{domain} got {most} requests within 60 s, its budget is {budget}")


def _robbed(theatre: "Theatre", job: Job) -> bool:
    """Whether its files were lost, and no run of their night came after."""
    return any(record.path in theatre.lost_files - theatre.data_files for record in job.files)


def _contents_are_whole(theatre: "Theatre", jobs: list[Job]) -> None:
    seen: dict[tuple[str, int], str] = {}
    for job in jobs:
        spec = job.spec
        if job.state is not State.DOWNLOADED or _robbed(theatre, job):
            continue
        placed = [record for record in job.files if record.placed]
        if isinstance(spec, ReportSpec):
            formats = {record.format for record in placed if record.remote_id == job.remote_ids[-1]}
            # What a later manifest asks for besides is not fetched of a job that is done.
            if (
                not formats
                or not formats <= set(spec.formats)
                or (formats != set(spec.formats) and not theatre.edited)
            ):
                theatre.witness.violated(f"{label(job)} is downloaded with {formats} of {spec.formats}")
            continue
        answers = [record for record in placed if record.format == "json"]
        if sorted(record.remote_id for record in answers) != sorted(job.remote_ids):
            theatre.witness.violated(
                f"{label(job)} answers to {job.remote_ids}, on disk are {[r.path for r in answers]}"
            )
        entries = 0
        for record in answers:
            key = (spec.domain, record.remote_id)
            if seen.setdefault(key, record.path) != record.path:
                theatre.witness.violated(f"export {key} is on disk twice: {seen[key]} and {record.path}")
            told = json.loads((theatre.output / record.path).read_bytes())["data"]
            ids = [entry["id"] for entry in told["entries"]]
            entries += len(ids)
            if ids != theatre.world.entry_ids(*key):
                theatre.witness.violated(f"{record.path} does not hold the entries of export {key}")
        # Where empty is ok, and another export with a later end took the hours, a person has to know all the same.
        # So it is where one that nobody could read stands beside it.
        bare = any(t.domain == spec.domain and t.bare_lists for t in theatre.story.scenario.tenants)
        beside = job.superseded_by is not None or (bare and Flag.FOREIGN in job.flags)
        taken = not entries and spec.empty_ok and beside
        empty = not entries and not spec.empty_ok
        if empty is not (Flag.EMPTY in job.flags) and not taken:
            theatre.witness.violated(f"{label(job)} has {entries} entries and the flags {set(job.flags)}")
        if (len(job.remote_ids) > 1) is not (Flag.DUPLICATE in job.flags):
            theatre.witness.violated(f"{label(job)} has {job.remote_ids} and the flags {set(job.flags)}")

"""Nights to tell: jobs in every state, as the journal would give them back."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from runner.jobs.model import (
    Content,
    ErrorCode,
    ExportSpec,
    FileRecord,
    Flag,
    Job,
    ReportSpec,
    Stamp,
    State,
    TemplateBody,
    TemplateId,
    Transition,
)
from runner.jobs.remedies import job_error
from runner.summary.night import Night, Problem, TenantInfo

NIGHT = date(2026, 11, 24)
PARIS = ZoneInfo("Europe/Paris")
START = datetime(2026, 11, 24, 1, 0, 0, tzinfo=UTC)
BOOT = "boot-1"

_PATHS = {
    State.PENDING: (),
    State.TRIGGERED: (State.TRIGGERED,),
    State.POLLING: (State.TRIGGERED, State.POLLING),
    State.RETRIED: (State.TRIGGERED, State.POLLING, State.RETRIED),
    State.DOWNLOADING: (State.TRIGGERED, State.POLLING, State.DOWNLOADING),
    State.DOWNLOADED: (State.TRIGGERED, State.POLLING, State.DOWNLOADING, State.DOWNLOADED),
    State.FAILED: (State.FAILED,),
    State.SKIPPED: (State.SKIPPED,),
}


def stamp(minutes: float = 0) -> Stamp:
    """A trigger so many minutes after the start."""
    return Stamp(START + timedelta(minutes=minutes), BOOT, 1000 + minutes * 60)


def history(state: State) -> tuple[Transition, ...]:
    """The usual way to this state."""
    return tuple(Transition(s, START + timedelta(seconds=7 * n + 0.25)) for n, s in enumerate(_PATHS[state]))


def export(
    tenant: str = "acme",
    name: str = "payroll",
    state: State = State.DOWNLOADED,
    *,
    flags: frozenset[Flag] = frozenset(),
    code: ErrorCode | None = None,
    detail: str = "",
    ids: tuple[int, ...] = (290,),
    entries: int = 412,
    triggers: int = 1,
    due: date = NIGHT,
    folder: date = NIGHT,
    formats: tuple[str, ...] = ("json", "csv"),
) -> Job:
    """An export job."""
    spec = ExportSpec(
        tenant=tenant,
        domain=f"{tenant}.ilucca.net",
        name=name,
        due=due,
        configuration_id=3,
        ends_at=date(2026, 11, 23),
        formats=formats,
    )
    have = state is State.DOWNLOADED
    files = tuple(
        FileRecord(
            f"{folder}/{tenant}/{name}-{id_}.{fmt}",
            entries * (331 if fmt == "json" else 96) + 214,
            f"{id_:064x}",
            id_,
            fmt,
            placed=True,
        )
        for id_ in ids
        for fmt in formats
    )
    stray = FileRecord(f"{folder}/{tenant}/{name}-9.json", 1, "0" * 64, 9, "json")
    return Job(
        id=1,
        spec=spec,
        state=state,
        history=history(state),
        baseline_id=289,
        triggers=tuple(
            stamp(61 * n) for n in range(0 if state in (State.PENDING, State.SKIPPED) else triggers)
        ),
        remote_ids=ids if have else (),
        foreign_ids=(291,) if Flag.FOREIGN in flags else (),
        contents=tuple(Content(id_, entries, "2026-10-26T00:00:00") for id_ in ids) if have else (),
        files=(*files, stray) if have else (),
        flags=flags,
        error=job_error(code, spec, detail) if code else None,
    )


def report(
    tenant: str = "acme",
    name: str = "times",
    state: State = State.DOWNLOADED,
    *,
    code: ErrorCode | None = None,
    days: tuple[date, date] | None = (date(2026, 11, 1), date(2026, 11, 30)),
    inline: bool = False,
) -> Job:
    """A report job."""
    spec = ReportSpec(
        tenant=tenant,
        domain=f"{tenant}.ilucca.net",
        name=name,
        due=NIGHT,
        template=TemplateBody(b"{}", "0" * 64) if inline else TemplateId(12),
        starts_on=days[0] if days else None,
        ends_on=days[1] if days else None,
        formats=("csv", "excel"),
    )
    have = state is State.DOWNLOADED
    files = tuple(
        FileRecord(f"{NIGHT}/{tenant}/{name}-41.{ext}", 48_211, "c" * 64, 41, fmt, placed=True)
        for fmt, ext in (("csv", "csv"), ("excel", "xls"))
    )
    return Job(
        id=2,
        spec=spec,
        state=state,
        history=history(state),
        triggers=(stamp(1),) if state is not State.PENDING else (),
        remote_ids=(41,) if have or state is State.POLLING else (),
        files=files if have else (),
        error=job_error(code, spec, "report 41: its status is error, twice") if code else None,
        template_id=77 if inline else None,
    )


def night(
    *jobs: Job,
    running: bool = False,
    problems: tuple[Problem, ...] = (),
    notices: tuple[str, ...] = (),
    reason: str | None = None,
    tenants: tuple[TenantInfo, ...] = (
        TenantInfo(name="acme", label="Acme SAS", dossier="00123", owner="paie-equipe-2"),
    ),
) -> Night:
    """A night of these jobs."""
    now = START + timedelta(minutes=74, seconds=5)
    return Night(
        date=NIGHT,
        started_at=START,
        finished_at=None if running else now,
        now=now,
        jobs=jobs,
        problems=problems,
        notices=notices,
        tenants={info.name: info for info in tenants},
        reason=reason,
        timezone=PARIS,
    )


def good_night() -> Night:
    """Three clients, everything there; two of them with something worth knowing."""
    return night(
        export(),
        report(),
        export("boulangerie", flags=frozenset({Flag.ADOPTED}), entries=1, formats=("json",)),
        export(
            "cordier", flags=frozenset({Flag.FOREIGN}), entries=12_408, triggers=2, due=date(2026, 11, 20)
        ),
        tenants=(
            TenantInfo(name="acme", label="Acme SAS", dossier="00123", owner="paie-equipe-2"),
            TenantInfo(name="boulangerie", label="Boulangerie Élan", dossier="00417"),
            TenantInfo(name="cordier", label="Cordier & Fils"),
        ),
    )


def troubled_night(*, running: bool = False) -> Night:
    """Every code, every flag, every state."""
    jobs = list(good_night().jobs)
    for n, code in enumerate(ErrorCode):
        tenant = f"client-{n:02}"
        jobs.append(export(tenant, state=State.FAILED, code=code, detail="the server's own words"))
        if code in (ErrorCode.KEY_REFUSED, ErrorCode.REPORT_ERROR):
            jobs.append(report(tenant, state=State.FAILED, code=code))
    jobs += [
        export("durand", flags=frozenset({Flag.DUPLICATE}), ids=(290, 292), triggers=2),
        export("durand", "extras", entries=96),
        export("elan", flags=frozenset({Flag.EMPTY}), entries=0),
        export("fabre", flags=frozenset({Flag.DERIVED}), formats=("json",)),
        export("gilles", state=State.POLLING, triggers=2),
        export("gilles", "extras", state=State.PENDING),
        report("gilles", state=State.POLLING),
        export("henri", state=State.DOWNLOADING),
        export("ivoire", state=State.SKIPPED),
    ]
    infos = [
        *good_night().tenants.values(),
        TenantInfo(name="durand", label="Durand Transports", dossier="00088"),
    ]
    return night(
        *jobs,
        running=running,
        problems=(
            Problem(
                "globex",
                "tenants.yaml:31:9: tenants[3].exports[0].ends_at: not a date rule; did you mean monday?",
            ),
            Problem(None, "clients.d/new.yaml:1:1: not YAML: a tab where spaces belong"),
        ),
        notices=("initech/payroll is unfinished but no longer in the manifest: it was left alone.",),
        reason=None if running else "deadline",
        tenants=tuple(infos),
    )


def large_night(clients: int, trouble_every: int = 60) -> Night:
    """Many clients, few of them with trouble."""
    jobs, infos = [], []
    for n in range(clients):
        name = f"client-{n:04}"
        infos.append(
            TenantInfo(
                name=name, label=f"Client {n:04} SARL", dossier=f"{n:05}", owner=f"paie-equipe-{n % 7}"
            )
        )
        if n % trouble_every == 7:
            jobs.append(export(name, state=State.FAILED, code=ErrorCode.KEY_REFUSED))
        else:
            jobs.append(export(name, entries=37 + n))
        jobs.append(report(name))
    return night(*jobs, tenants=tuple(infos))

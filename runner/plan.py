"""Manifest × date → the jobs that are due. The only loop over tenants; pure: no network, no files, no clock.

Must not know what ran already: the same manifest and date give the same specs. What an earlier night missed
is worked out in `missed_reports`, from what the journal knows.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from runner.dates import DateRule
from runner.errors import ManifestError
from runner.jobs.model import ExportSpec, Identity, ReportSpec, Spec, TemplateBody
from runner.manifest.model import ExportEntry, Manifest, ReportEntry, Tenant

MOST_MISSED: Final = 31
"""How many missed dates of one report are made up for."""
_YEAR_DAYS: Final = 366

Entry = ExportEntry | ReportEntry


class Planned(Struct, frozen=True, gc=False):
    """A spec and the tenant whose key and budget it uses."""

    tenant: Tenant
    spec: Spec


def plan(manifest: Manifest, batch_date: date) -> tuple[Planned, ...]:
    """The jobs that are due on `batch_date`: of each entry the latest.

    Raises:
        ManifestError: two entries mean the same job.
    """
    planned: list[Planned] = []
    places: dict[Identity, str] = {}
    faults: list[str] = []
    for tenant in manifest.tenants:
        entries: tuple[Entry, ...] = (*tenant.exports, *tenant.reports)
        for entry in entries:
            spec = _spec(tenant, entry, batch_date)
            if spec is None:
                continue
            first = places.setdefault(spec.identity, entry.place)
            if first != entry.place:
                faults.append(
                    f"{entry.place}: the same {spec.kind} as at {first}: {_said(spec)} on {spec.domain}"
                )
                continue
            planned.append(Planned(tenant, spec))
    if faults:
        raise ManifestError(faults)
    return tuple(planned)


def twins_to_come(manifest: Manifest, batch_date: date) -> Iterator[str]:
    """For `check`: exports that are two tonight and one on some date of the year; that night would be refused whole."""
    sharing: dict[tuple[str, int], list[tuple[Tenant, ExportEntry]]] = {}
    for tenant in manifest.tenants:
        for entry in tenant.exports:
            sharing.setdefault((tenant.domain, entry.configuration_id), []).append((tenant, entry))
    for (domain, configuration_id), entries in sharing.items():
        rules = tuple((entry.due, entry.ends_at, tenant.since) for tenant, entry in entries)
        if len(entries) > 1 and (found := _first_twins(rules, batch_date)) is not None:
            day, ends_at, first, second = found
            yield (
                f"{entries[second][1].place}: on {day} it is the same export as {entries[first][1].place} "
                f"(configuration {configuration_id} before {ends_at} on {domain}), and no run of that date begins, "
                "for no tenant: one entry for both, or other rules, are advised"
            )


_Rules = tuple[DateRule, DateRule, date | None]
"""When an export is due, where it ends, and from when on exports are ours to make."""


@lru_cache(maxsize=1024)  # a bureau gives most of its clients the same few
def _first_twins(rules: tuple[_Rules, ...], batch_date: date) -> tuple[date, date, int, int] | None:
    """The first date of the year on which two of these exports are one: that date, their end, and which they are."""
    for days in range(_YEAR_DAYS):
        day = batch_date + timedelta(days=days)
        numbers: dict[date, int] = {}
        for number, one in enumerate(rules):
            when = _when(*one, day)
            if when is not None and (first := numbers.setdefault(when[1], number)) != number:
                return day, when[1], first, number
    return None


def _when(due: DateRule, ends_at: DateRule, since: date | None, batch_date: date) -> tuple[date, date] | None:
    """When an export is due and where it ends; None where there is none yet that is ours to make."""
    due_on = due.latest(batch_date)
    ends_on = None if due_on is None else ends_at.latest(due_on)
    if due_on is None or ends_on is None or (since is not None and ends_on < since):
        return None
    return due_on, ends_on


def missed_reports(
    manifest: Manifest, batch_date: date, first_nights: Mapping[tuple[str, str], date]
) -> Iterator[Planned]:
    """Reports with a closed period whose due date passed since the first night that knew them, the oldest first.

    At most 31 of each. Those that the journal holds already are among them; the caller leaves them out.

    Args:
        manifest: the tenants.
        batch_date: tonight.
        first_nights: for (domain, report name) the first night that knew it.
    """
    for tenant in manifest.tenants:
        for entry in tenant.reports:
            first = first_nights.get((tenant.domain, entry.name))
            current = entry.due.latest(batch_date)
            if first is None or current is None or entry.period is None or not entry.period.is_closed:
                continue
            for due in entry.due.between(first, current - timedelta(days=1))[-MOST_MISSED:]:
                yield Planned(tenant, _report(tenant, entry, due))


def by_domain(manifest: Manifest) -> dict[str, list[Tenant]]:
    """The tenants of each host, in the order of the manifest."""
    found: dict[str, list[Tenant]] = {}
    for tenant in manifest.tenants:
        found.setdefault(tenant.domain, []).append(tenant)
    return found


def budgets(manifest: Manifest, requests_per_minute: int) -> dict[str, int]:
    """Of each host the least that any of its tenants asks for, though that one may have no job tonight.

    Args:
        manifest: the tenants.
        requests_per_minute: of a tenant that names none.
    """
    found: dict[str, int] = {}
    for tenant in manifest.tenants:
        own = tenant.requests_per_minute or requests_per_minute
        found[tenant.domain] = min(own, found.get(tenant.domain, own))
    return found


def entry_of(tenant: Tenant, spec: Spec) -> Entry | None:
    """The manifest's entry that an earlier night's job came from, or None where it is gone.

    Of several exports of one configuration it is the one of that name; or where that was changed, the one that gives
    that end.
    """
    if isinstance(spec, ExportSpec):
        return max(
            _exports_like(tenant, spec),
            key=lambda e: (e.name == spec.name, e.ends_at.latest(spec.due) == spec.ends_at),
            default=None,
        )
    return next((e for e in tenant.reports if e.name == spec.name), None)


def _exports_like(tenant: Tenant, spec: ExportSpec) -> list[ExportEntry]:
    return [e for e in tenant.exports if e.configuration_id == spec.configuration_id]


def owner_of(sharing: Iterable[Tenant], spec: Spec, *, begun: bool) -> tuple[Tenant, Entry] | None:
    """Of the tenants of its host the one that goes on with an earlier night's job, its own one first; with its entry.

    Args:
        sharing: the tenants of its host.
        spec: what it wants.
        begun: whether it was asked for already, or found. If not, it must be what the manifest asks for today.
    """
    for tenant in sorted(sharing, key=lambda tenant: tenant.name != spec.tenant):
        entry = entry_of(tenant, spec)
        if entry is not None and (begun or _is_ours(tenant, spec)):
            return tenant, entry
    return None


def _is_ours(tenant: Tenant, spec: Spec) -> bool:
    """Whether an export ends where an entry has it end by now, and not before it is ours to make."""
    if not isinstance(spec, ExportSpec):
        return True
    if tenant.since is not None and spec.ends_at < tenant.since:
        return False
    return any(e.ends_at.latest(spec.due) == spec.ends_at for e in _exports_like(tenant, spec))


def refreshed(tenant: Tenant, entry: Entry, spec: Spec, *, asked: bool) -> Spec:
    """An earlier night's spec with what the manifest says today; its end or due date stays, being what it is.

    Args:
        tenant: whose it is today.
        entry: what it comes from today.
        spec: as it was.
        asked: whether there is a report that was asked for with it. With what that was asked for is told as it was;
            before that, or when it is lost, a mended period or template counts.
    """
    if isinstance(entry, ExportEntry):
        assert isinstance(spec, ExportSpec)  # noqa: S101 - entry_of pairs them
        return replace(
            spec, tenant=tenant.name, name=entry.name, formats=entry.formats, empty_ok=entry.empty_ok
        )
    assert isinstance(spec, ReportSpec)  # noqa: S101 - entry_of pairs them
    today = _report(tenant, entry, spec.due)
    if not asked:
        return today
    # Of a template that was made the journal keeps no body. It may have to be made once more, for this very period.
    made = spec.template is None and isinstance(today.template, TemplateBody)
    template = today.template if made and _period(today) == _period(spec) else spec.template
    return replace(spec, tenant=tenant.name, name=entry.name, formats=entry.formats, template=template)


def _period(spec: ReportSpec) -> tuple[date | None, date | None]:
    return spec.starts_on, spec.ends_on


def _spec(tenant: Tenant, entry: Entry, batch_date: date) -> Spec | None:
    if isinstance(entry, ReportEntry):
        due = entry.due.latest(batch_date)
        return None if due is None else _report(tenant, entry, due)
    when = _when(entry.due, entry.ends_at, tenant.since, batch_date)
    if when is None:
        return None
    due, ends_at = when
    return ExportSpec(
        tenant=tenant.name,
        domain=tenant.domain,
        name=entry.name,
        due=due,
        configuration_id=entry.configuration_id,
        ends_at=ends_at,
        formats=entry.formats,
        empty_ok=entry.empty_ok,
    )


def _report(tenant: Tenant, entry: ReportEntry, due: date) -> ReportSpec:
    starts_on, ends_on = entry.period.resolve(due) if entry.period is not None else (None, None)
    return ReportSpec(
        tenant=tenant.name,
        domain=tenant.domain,
        name=entry.name,
        due=due,
        template=entry.template,
        starts_on=starts_on,
        ends_on=ends_on,
        formats=entry.formats,
    )


def _said(spec: Spec) -> str:
    if isinstance(spec, ExportSpec):
        return f"configuration {spec.configuration_id} before {spec.ends_at}"
    return f"report {spec.name} of {spec.due}"

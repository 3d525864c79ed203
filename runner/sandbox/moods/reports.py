"""Tenants by what becomes of their reports."""

from datetime import date

from runner.sandbox.moods.kinds import mood
from runner.sandbox.scenario import Reports, TenantScenario


def _reporting(domain: str, reports: Reports) -> TenantScenario:
    return TenantScenario(domain=domain, configurations=(), reports=reports)


@mood
def report(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Makes a report."""
    return _reporting(domain, Reports(in_manifest=True))


@mood
def report_and_export(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Makes an export and a report in one night."""
    return TenantScenario(domain=domain, reports=Reports(in_manifest=True, created_status=201))


@mood
def report_slow(domain: str, _day: date, hour: float) -> TenantScenario:
    """Takes its time over a report."""
    return _reporting(domain, Reports(in_manifest=True, pending_seconds=hour))


@mood
def report_error_once(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Fails the first report."""
    return _reporting(domain, Reports(in_manifest=True, error_first=1))


@mood
def report_error(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Fails every report."""
    return _reporting(domain, Reports(in_manifest=True, error_first=1_000_000))


@mood
def report_pending_for_ever(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Never ends a report."""
    return _reporting(domain, Reports(in_manifest=True, pending_forever=True))


@mood
def report_evicted_while_pending(domain: str, _day: date, _hour: float) -> TenantScenario:
    """A colleague makes another report while ours is pending."""
    return _reporting(domain, Reports(in_manifest=True, evicted_while_pending=1))


@mood
def report_evicted_before_download(domain: str, _day: date, _hour: float) -> TenantScenario:
    """A colleague makes another report just before we download ours."""
    return _reporting(domain, Reports(in_manifest=True, evicted_before_download=1))


@mood
def template_vanishing(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Forgets the template that we made, once. Ask it for an inline template."""
    return _reporting(
        domain, Reports(templates=(), in_manifest=True, vanishing_templates=1, vanished_status=403)
    )


@mood
def template_unknown(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Does not know the template that it is asked for."""
    return _reporting(domain, Reports(templates=(12,), in_manifest=True, unknown_template=True))

"""From a manifest and a date come exactly the jobs that are due, the same ones however often one asks."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from runner.errors import ManifestError
from runner.jobs.model import ExportSpec, ReportSpec, TemplateBody, TemplateId
from runner.manifest import Manifest, load_manifest
from runner.plan import (
    MOST_MISSED,
    budgets,
    entry_of,
    missed_reports,
    owner_of,
    plan,
    refreshed,
    twins_to_come,
)

NIGHT = date(2026, 11, 24)
HEAD = "version: 1\ntenants:\n"
ACME = """
  - name: acme
    domain: acme.ilucca.net
    api_key: {env: ACME}
    since: 2026-11-01
"""
PAYROLL = (
    ACME
    + "    exports: [{name: payroll, configuration_id: 3, ends_at: monday, due: day-24, formats: [json, csv]}]\n"
)


def manifest_of(folder: Path, text: str) -> Manifest:
    path = folder / "tenants.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    manifest = load_manifest(path)
    assert not manifest.problems
    return manifest


def reports(folder: Path, *entries: str) -> Manifest:
    """A manifest of one tenant with these reports."""
    text = ACME + "    reports:\n" + "".join(f"      - {{{entry}}}\n" for entry in entries)
    return manifest_of(folder, text)


def exports_of(manifest: Manifest, night: date) -> list[ExportSpec]:
    return [p.spec for p in plan(manifest, night) if isinstance(p.spec, ExportSpec)]


def reports_of(manifest: Manifest, night: date) -> list[ReportSpec]:
    return [p.spec for p in plan(manifest, night) if isinstance(p.spec, ReportSpec)]


# ── exports ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_night_of_the_24th_asks_for_everything_before_the_latest_monday(tmp_path: Path) -> None:
    (planned,) = plan(manifest_of(tmp_path, PAYROLL), NIGHT)
    assert planned.tenant.name == "acme"
    assert planned.spec == ExportSpec(
        tenant="acme",
        domain="acme.ilucca.net",
        name="payroll",
        due=NIGHT,
        configuration_id=3,
        ends_at=date(2026, 11, 23),
        formats=("json", "csv"),
    )


@pytest.mark.parametrize("later", range(1, 30))
def test_the_first_night_after_it_asks_for_the_same(tmp_path: Path, later: int) -> None:
    manifest = manifest_of(tmp_path, PAYROLL)
    assert plan(manifest, NIGHT + timedelta(days=later)) == plan(manifest, NIGHT)


@pytest.mark.parametrize(
    "since, due", [("2026-11-23", True), ("2026-11-24", False), ("2027-01-01", False), ("2026-01-01", True)]
)
def test_what_ends_before_since_is_not_ours_to_make(tmp_path: Path, since: str, due: bool) -> None:
    manifest = manifest_of(tmp_path, PAYROLL.replace("2026-11-01", since))
    assert bool(plan(manifest, NIGHT)) is due


@pytest.mark.parametrize(
    "rules",
    ["ends_at: monday, due: 2026-12-01", "ends_at: 2026-11-30", "ends_at: 2026-12-07, due: 2026-11-20"],
)
def test_before_its_date_nothing_is_due(tmp_path: Path, rules: str) -> None:
    manifest = manifest_of(tmp_path, ACME + f"    exports: [{{name: p, configuration_id: 3, {rules}}}]\n")
    assert plan(manifest, NIGHT) == ()


def test_an_export_that_may_be_empty_says_so(tmp_path: Path) -> None:
    text = ACME + "    exports: [{name: p, configuration_id: 3, ends_at: monday, empty: ok}]\n"
    (spec,) = exports_of(manifest_of(tmp_path, text), NIGHT)
    assert spec.empty_ok
    assert spec.due == NIGHT


# ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "period, due, dates",
    [
        ("", NIGHT, (None, None)),
        (", period: yesterday", NIGHT, (date(2026, 11, 23), date(2026, 11, 23))),
        (", period: previous-week", date(2026, 11, 23), (date(2026, 11, 16), date(2026, 11, 22))),
        (", period: previous-month", date(2026, 11, 1), (date(2026, 10, 1), date(2026, 10, 31))),
        (", period: this-month", NIGHT, (date(2026, 11, 1), date(2026, 11, 30))),
        (
            ", period: {starts_on: 2026-11-02, ends_on: 2026-11-03}",
            NIGHT,
            (date(2026, 11, 2), date(2026, 11, 3)),
        ),
        (", period: previous-month, due: day-24", NIGHT, (date(2026, 10, 1), date(2026, 10, 31))),
    ],
)
def test_a_report_has_the_period_seen_from_its_due_date(
    tmp_path: Path, period: str, due: date, dates: tuple[date | None, date | None]
) -> None:
    (spec,) = reports_of(reports(tmp_path, f"name: times, template_id: 12{period}"), NIGHT)
    assert (spec.due, spec.starts_on, spec.ends_on) == (due, *dates)
    assert (spec.template, spec.formats, spec.domain) == (TemplateId(12), ("csv",), "acme.ilucca.net")


def test_an_inline_template_travels_with_its_report(tmp_path: Path) -> None:
    (spec,) = reports_of(reports(tmp_path, 'name: times, template: {"id": 0, "name": "Temps"}'), NIGHT)
    assert isinstance(spec.template, TemplateBody)


# ── the same job twice ───────────────────────────────────────────────────────────────────────────────────────────


def test_two_exports_that_mean_the_same_job_stop_the_run_and_both_places_are_told(tmp_path: Path) -> None:
    entry = "{{name: {}, configuration_id: 3, ends_at: {}}}"
    text = ACME + f"    exports: [{entry.format('a', 'monday')}, {entry.format('b', '2026-11-23')}]\n"
    manifest = manifest_of(tmp_path, text)
    with pytest.raises(ManifestError) as caught:
        plan(manifest, NIGHT)
    (fault,) = caught.value.faults
    assert "tenants.yaml:8:" in fault
    assert "export b: the same export as at" in fault
    assert "export a: configuration 3 before 2026-11-23 on acme.ilucca.net" in fault
    assert len(plan(manifest, NIGHT + timedelta(days=7))) == 2, "only on nights when they meet"


def test_two_exports_that_will_mean_the_same_job_some_day_are_warned_of(tmp_path: Path) -> None:
    """On that day no tenant's night would begin."""
    entry = "{{name: {}, configuration_id: {}, ends_at: {}}}"
    weekly, monthly = entry.format("a", 3, "monday"), entry.format("b", 3, "month-start")
    manifest = manifest_of(tmp_path, ACME + f"    exports: [{weekly}, {monthly}]\n")
    (warning,) = twins_to_come(manifest, NIGHT)
    assert "tenants.yaml:8:" in warning
    assert "on 2027-02-01 it is the same export as" in warning
    with pytest.raises(ManifestError):
        plan(manifest, date(2027, 2, 1))
    for other in (entry.format("b", 4, "month-start"), entry.format("b", 3, "sunday")):
        manifest = manifest_of(tmp_path, ACME + f"    exports: [{weekly}, {other}]\n")
        assert list(twins_to_come(manifest, NIGHT)) == []


def test_two_reports_of_one_name_and_domain_are_the_same_job(tmp_path: Path) -> None:
    manifest = reports(tmp_path, "name: times, template_id: 12")
    (tenant,) = manifest.tenants
    (entry,) = tenant.reports
    twin = replace(tenant, name="globex", reports=(replace(entry, place="tenants.yaml:99:1"),))
    with pytest.raises(
        ManifestError, match=r"99:1: the same report as at .*report times of 2026-11-24 on acme"
    ):
        plan(replace(manifest, tenants=(tenant, twin)), NIGHT)


def test_one_configuration_may_end_at_two_dates(tmp_path: Path) -> None:
    entry = "{{name: {}, configuration_id: 3, ends_at: {}}}"
    text = ACME + f"    exports: [{entry.format('a', 'monday')}, {entry.format('b', '2026-11-16')}]\n"
    assert [spec.name for spec in exports_of(manifest_of(tmp_path, text), NIGHT)] == ["a", "b"]


# ── what was missed ──────────────────────────────────────────────────────────────────────────────────────────────


def missed(
    manifest: Manifest, first: date | None, night: date = NIGHT, name: str = "times"
) -> list[ReportSpec]:
    first_nights = {} if first is None else {("acme.ilucca.net", name): first}
    specs = [p.spec for p in missed_reports(manifest, night, first_nights)]
    assert all(isinstance(spec, ReportSpec) for spec in specs)
    return [spec for spec in specs if isinstance(spec, ReportSpec)]


def test_each_missed_period_is_made_up_for_the_oldest_first(tmp_path: Path) -> None:
    manifest = reports(tmp_path, "name: times, template_id: 1, period: previous-week")
    specs = missed(manifest, date(2026, 11, 3))
    assert [spec.due for spec in specs] == [date(2026, 11, 9), date(2026, 11, 16)]
    assert [spec.starts_on for spec in specs] == [date(2026, 11, 2), date(2026, 11, 9)]
    assert [spec.due for spec in reports_of(manifest, NIGHT)] == [date(2026, 11, 23)], (
        "tonight's is not a missed one"
    )


def test_no_more_than_31_are_made_up_for(tmp_path: Path) -> None:
    manifest = reports(tmp_path, "name: times, template_id: 1, period: yesterday")
    specs = missed(manifest, date(2026, 1, 1))
    assert len(specs) == MOST_MISSED == 31
    assert (specs[0].due, specs[-1].due) == (NIGHT - timedelta(days=31), NIGHT - timedelta(days=1))


@pytest.mark.parametrize(
    "entry",
    [
        "name: times, template_id: 1",
        "name: times, template_id: 1, period: this-month",
        "name: times, template_id: 1, period: {starts_on: 2026-11-01, ends_on: 2026-11-02}",
        "name: times, template_id: 1, period: yesterday, due: 2026-12-01",
        "name: other, template_id: 1, period: yesterday",
    ],
)
def test_nothing_is_made_up_for_that_is_not_closed_not_yet_due_or_new(tmp_path: Path, entry: str) -> None:
    assert missed(reports(tmp_path, entry), date(2026, 11, 1)) == []
    assert missed(reports(tmp_path, "name: times, template_id: 1, period: yesterday"), None) == []


# ── an earlier night's job ───────────────────────────────────────────────────────────────────────────────────────

SEVERAL = (
    ACME
    + """    exports:
      - {name: weekly, configuration_id: 3, ends_at: monday, due: monday}
      - {name: monthly, configuration_id: 3, ends_at: month-start, due: day-5, formats: [json, csv-fr], empty: ok}
      - {name: other, configuration_id: 4, ends_at: monday}
    reports: [{name: times, template_id: 12, formats: [csv, excel]}]
"""
)


def test_an_earlier_nights_job_is_told_anew_with_its_dates_kept(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, SEVERAL)
    (tenant,) = manifest.tenants
    for spec in (p.spec for p in plan(manifest, NIGHT)):
        entry = entry_of(tenant, spec)
        assert entry is not None
        old = replace(spec, tenant="old-name", formats=("json",))
        assert refreshed(tenant, entry, old, asked=False) == spec


def test_with_what_a_report_was_asked_for_is_told_as_it_was(tmp_path: Path) -> None:
    """Its file will hold that, whatever the manifest says by now."""
    manifest = reports(tmp_path, "name: times, template_id: 13, period: yesterday, formats: [excel]")
    (tenant,) = manifest.tenants
    entry = tenant.reports[0]
    first, last = date(2026, 10, 1), date(2026, 10, 31)
    old = ReportSpec(
        tenant="old-name",
        domain=tenant.domain,
        name="times",
        due=NIGHT,
        template=TemplateId(12),
        starts_on=first,
        ends_on=last,
    )
    kept = refreshed(tenant, entry, old, asked=True)
    assert kept == replace(old, tenant="acme", formats=("excel",))
    made = replace(old, template=None)
    assert refreshed(tenant, entry, made, asked=True) == replace(kept, template=None)
    yesterday = date(2026, 11, 23)
    assert refreshed(tenant, entry, old, asked=False) == replace(
        kept, template=TemplateId(13), starts_on=yesterday, ends_on=yesterday
    )


def test_the_template_of_a_report_that_was_asked_for_comes_from_the_manifest_if_the_period_does(
    tmp_path: Path,
) -> None:
    """The journal keeps no template, and one that refuses is made once more: for the period that was asked for."""
    manifest = reports(tmp_path, "name: times, template: {name: Temps}, period: yesterday")
    (tenant,), (now,) = manifest.tenants, reports_of(manifest, NIGHT)
    entry = tenant.reports[0]
    assert isinstance(now.template, TemplateBody)
    stored = replace(now, template=None)
    assert refreshed(tenant, entry, stored, asked=True) == now
    other_days = replace(stored, starts_on=date(2026, 10, 1))
    assert refreshed(tenant, entry, other_days, asked=True) == other_days


def test_of_several_entries_of_one_configuration_each_keeps_its_own_jobs(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, SEVERAL)
    (tenant,) = manifest.tenants
    weekly, monthly, _ = exports_of(manifest, NIGHT)
    for spec in (weekly, monthly, replace(monthly, name="renamed since")):
        entry = entry_of(tenant, spec)
        assert entry is not None
        assert entry.name == ("weekly" if spec is weekly else "monthly")
    unlike_any = replace(monthly, name="renamed since", ends_at=date(2026, 11, 3))
    entry = entry_of(tenant, unlike_any)
    assert entry is not None
    assert entry.name == "weekly"


def test_a_since_that_was_moved_holds_for_what_was_not_begun(tmp_path: Path) -> None:
    """Triggering is not undone. What was triggered is followed to its end."""
    manifest = manifest_of(tmp_path, PAYROLL)
    (tenant,), (spec,) = manifest.tenants, exports_of(manifest, NIGHT)
    assert owner_of([tenant], spec, begun=False) == (tenant, tenant.exports[0])
    moved = replace(tenant, since=spec.ends_at + timedelta(days=1))
    assert owner_of([moved], spec, begun=False) is None
    assert owner_of([moved], spec, begun=True) == (moved, moved.exports[0])
    assert owner_of([replace(tenant, since=spec.ends_at)], spec, begun=False) is not None
    assert owner_of([replace(tenant, since=None)], spec, begun=False) is not None


def test_a_since_says_nothing_of_reports(tmp_path: Path) -> None:
    manifest = reports(tmp_path, "name: times, template_id: 12")
    (tenant,), (spec,) = manifest.tenants, reports_of(manifest, NIGHT)
    later = replace(tenant, since=NIGHT + timedelta(days=1))
    assert owner_of([later], spec, begun=False) == (later, later.reports[0])


def test_a_job_that_is_no_longer_in_the_manifest_has_no_entry(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, SEVERAL)
    (tenant,) = manifest.tenants
    export, *_, report = (p.spec for p in plan(manifest, NIGHT))
    assert isinstance(export, ExportSpec)
    assert entry_of(tenant, replace(export, configuration_id=5)) is None
    assert entry_of(tenant, replace(report, name="gone")) is None


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return manifest_of(
        tmp_path_factory.mktemp("plan"),
        SEVERAL.replace("monthly, configuration_id: 3", "monthly, configuration_id: 5"),
    )


@given(st.dates(date(2026, 12, 1), date(2090, 1, 1)))
def test_every_night_has_the_latest_of_each_entry_and_never_one_of_the_future(
    several: Manifest, night: date
) -> None:
    planned = plan(several, night)
    assert [p.spec.name for p in planned] == ["weekly", "monthly", "other", "times"]
    assert planned == plan(several, night)
    for p in planned:
        assert night - timedelta(days=31) <= p.spec.due <= night
        assert not isinstance(p.spec, ExportSpec) or p.spec.ends_at <= p.spec.due


def test_of_tenants_that_share_a_host_the_least_budget_holds_for_all_though_its_own_is_not_due(
    tmp_path: Path,
) -> None:
    other = ACME.replace("name: acme", "name: acme-later") + "    requests_per_minute: 5\n"
    literal = "    exports: [{name: payroll, configuration_id: 4, ends_at: monday, due: 2999-01-01}]\n"
    manifest = manifest_of(tmp_path, other + literal + PAYROLL)
    assert [p.tenant.name for p in plan(manifest, NIGHT)] == ["acme"]
    assert budgets(manifest, 25) == {"acme.ilucca.net": 5}

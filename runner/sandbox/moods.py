"""Named kinds of tenants, from the prompt one to the one that never answers.

Owns what each mood means in the values of `scenario`; each is one function with one sentence. All take the domain, the
day of the run and the length of "the hour" that a client waits before it triggers again: a few seconds in the demo, a
true hour in tests with virtual time. Exports are asked for up to the latest Monday.
"""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Protocol

from runner.sandbox.faults import (
    Cut,
    FaultRule,
    Gzip,
    Hang,
    Html,
    Redirect,
    Replacing,
    Reset,
    Status,
    Trickle,
)
from runner.sandbox.scenario import (
    Configuration,
    Outage,
    Reports,
    StaffExport,
    TenantScenario,
    Trigger,
    latest_monday,
    made_up_key,
)

DEMO_HOUR_SECONDS = 8.0
_WEEK = timedelta(days=7)


class Mood(Protocol):
    """Makes the tenant of a mood."""

    def __call__(self, domain: str, day: date, hour_seconds: float = DEMO_HOUR_SECONDS) -> TenantScenario:
        """The tenant of this mood at `domain`, for a run on `day`."""


_Maker = Callable[[str, date, float], TenantScenario]
MOODS: dict[str, Mood] = {}


def _mood(make: _Maker) -> _Maker:
    name = make.__name__

    def mood(domain: str, day: date, hour_seconds: float = DEMO_HOUR_SECONDS) -> TenantScenario:
        tenant = make(domain, day, hour_seconds)
        object.__setattr__(tenant, "mood", name)
        return tenant

    mood.__doc__ = make.__doc__
    MOODS[name] = mood
    return make


def _exports(*triggers: Trigger, then: Trigger | None = None) -> tuple[Configuration, ...]:
    return (Configuration(triggers=triggers, trigger=then or Trigger()),)


def _answered(fault: Replacing, *, seconds: float = 3.0, answer_seconds: float = 0.5) -> Trigger:
    """An export that appears although its POST was answered like this."""
    return Trigger(seconds=seconds, answer=fault, answer_seconds=answer_seconds)


def _lost(fault: Replacing | None = None) -> Trigger:
    return Trigger(completes=False, answer=fault)


# --- exports that come -----------------------------------------------------------------------------------------------


@_mood
def prompt(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Answers the POST with the export's id, as the guide has it."""
    return TenantScenario(domain=domain)


@_mood
def slow(domain: str, _day: date, hour: float) -> TenantScenario:
    """Generates for longer than anybody listens, and the export appears."""
    return TenantScenario(domain=domain, configurations=_exports(then=Trigger(seconds=hour * 0.7)))


@_mood
def request_timeout(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Gives the POST up with 408 and goes on generating."""
    return TenantScenario(
        domain=domain, configurations=_exports(then=Trigger(seconds=4.0)), post_timeout_seconds=1.0
    )


@_mood
def gateway_timeout(domain: str, _day: date, _hour: float) -> TenantScenario:
    """A gateway answers 504 with a page of its own; the export appears."""
    return TenantScenario(domain=domain, configurations=_exports(_answered(Status(504))))


@_mood
def bad_gateway(domain: str, _day: date, _hour: float) -> TenantScenario:
    """A gateway answers 502 before the server got anything: nothing appears until triggered again."""
    return TenantScenario(domain=domain, configurations=_exports(_lost(Status(502))))


@_mood
def connection_reset(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Breaks the connection after it received the POST; the export appears."""
    return TenantScenario(domain=domain, configurations=_exports(_answered(Reset())))


@_mood
def empty_bad_request(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Answers the POST with an empty 400, which means nothing; the export appears."""
    return TenantScenario(domain=domain, configurations=_exports(_answered(Status(400, body=""))))


@_mood
def redirected(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Sends the POST's client to another host; the export appears all the same."""
    return TenantScenario(domain=domain, configurations=_exports(_answered(Redirect())))


@_mood
def silent_once(domain: str, _day: date, _hour: float) -> TenantScenario:
    """The first export fails without a word."""
    return TenantScenario(domain=domain, configurations=_exports(_lost()))


@_mood
def silent_twice(domain: str, _day: date, _hour: float) -> TenantScenario:
    """The first two exports fail without a word, once hanging, once with 500."""
    return TenantScenario(domain=domain, configurations=_exports(_lost(), _lost(Status(500))))


@_mood
def never(domain: str, _day: date, _hour: float) -> TenantScenario:
    """No trigger ever yields anything."""
    return TenantScenario(domain=domain, configurations=_exports(then=_lost()))


@_mood
def late_twin(domain: str, _day: date, hour: float) -> TenantScenario:
    """The first export comes after the second was asked for: there are two, and the later holds only corrections."""
    first = Trigger(seconds=hour * 1.3, answer=Status(504), answer_seconds=0.5)
    second = Trigger(seconds=hour * 0.25, answer=Status(504), answer_seconds=0.5)
    return TenantScenario(
        domain=domain, configurations=(Configuration(triggers=(first, second), late_corrections=2),)
    )


@_mood
def drop_cancels(domain: str, _day: date, hour: float) -> TenantScenario:
    """Gives the generation up when its client leaves, the first time."""
    slow_one = Trigger(seconds=hour * 0.6, stops_with_client=True)
    return TenantScenario(domain=domain, configurations=_exports(slow_one))


@_mood
def two_configurations(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Has two configurations whose exports share one row of ids."""
    return TenantScenario(
        domain=domain, configurations=(Configuration(id=3), Configuration(id=5, name="meal-vouchers"))
    )


@_mood
def first_ever(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Never exported anything before."""
    return TenantScenario(domain=domain, configurations=(Configuration(history=0),))


@_mood
def large(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Has a thousand employees with an entry each working day."""
    return TenantScenario(
        domain=domain, employees=1000, configurations=(Configuration(entry_weekdays=(0, 1, 2, 3, 4)),)
    )


# --- exports that staff made -----------------------------------------------------------------------------------------


@_mood
def already_there(domain: str, day: date, _hour: float) -> TenantScenario:
    """Somebody made this very export by hand in the afternoon."""
    made = StaffExport(at_seconds=-3600.0 * 9, ends_at=latest_monday(day))
    return TenantScenario(domain=domain, staff_exports=(made,))


@_mood
def already_past(domain: str, day: date, _hour: float) -> TenantScenario:
    """Somebody exported further than we are asked to: our period is behind the ledger."""
    made = StaffExport(at_seconds=-3600.0 * 9, ends_at=latest_monday(day) + _WEEK)
    return TenantScenario(domain=domain, staff_exports=(made,))


@_mood
def overtaken(domain: str, day: date, _hour: float) -> TenantScenario:
    """Our first trigger is lost, and while we wait somebody exports further than we were to."""
    made = StaffExport(at_seconds=4.0, ends_at=latest_monday(day) + _WEEK)
    return TenantScenario(domain=domain, configurations=_exports(_lost()), staff_exports=(made,))


@_mood
def foreign(domain: str, day: date, hour: float) -> TenantScenario:
    """Somebody makes an export of an earlier period while ours is on its way."""
    made = StaffExport(at_seconds=2.0, ends_at=latest_monday(day) - _WEEK)
    slow_one = Trigger(seconds=hour * 0.7, answer=Status(504), answer_seconds=0.5)
    return TenantScenario(domain=domain, configurations=_exports(slow_one), staff_exports=(made,))


@_mood
def made_by_hand_meanwhile(domain: str, day: date, _hour: float) -> TenantScenario:
    """Our trigger is lost, and somebody makes the very same export by hand while we wait."""
    made = StaffExport(at_seconds=4.0, ends_at=latest_monday(day))
    return TenantScenario(domain=domain, configurations=_exports(then=_lost()), staff_exports=(made,))


# --- exports that are refused, or empty ------------------------------------------------------------------------------


@_mood
def empty(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Has nothing to export, and makes an export of nothing."""
    return TenantScenario(domain=domain, employees=0)


@_mood
def nothing_to_export(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Has nothing to export, and refuses to."""
    return TenantScenario(domain=domain, employees=0, configurations=(Configuration(nothing_new="rejected"),))


@_mood
def rejected(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Refuses the POST and says why."""
    body = '{"Status":400,"Message":"The period is locked by the payroll manager"}'
    rule = FaultRule(kind="trigger", last=1_000_000, fault=Status(400, body=body))
    return TenantScenario(domain=domain, faults=(rule,))


@_mood
def unknown_configuration(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Does not know the configuration that it is asked for."""
    return TenantScenario(domain=domain, configurations=(Configuration(id=99, exists=False),))


@_mood
def key_refused(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Refuses the key: it was renewed, and nobody told us."""
    return TenantScenario(domain=domain, client_key=made_up_key(f"old {domain}"))


@_mood
def key_refused_midway(domain: str, _day: date, hour: float) -> TenantScenario:
    """Refuses the key from the fourth request on."""
    slow_one = Trigger(seconds=hour, answer=Status(504), answer_seconds=0.5)
    return TenantScenario(domain=domain, key_refused_from=4, configurations=_exports(slow_one))


@_mood
def read_only(domain: str, _day: date, _hour: float) -> TenantScenario:
    """The key may read and not export."""
    key = made_up_key(f"reader {domain}")
    return TenantScenario(domain=domain, client_key=key, read_only_keys=(key,))


@_mood
def forbidden(domain: str, _day: date, _hour: float) -> TenantScenario:
    """The key may nothing."""
    rule = FaultRule(last=1_000_000, fault=Status(403))
    return TenantScenario(domain=domain, faults=(rule,))


# --- a network with its troubles -------------------------------------------------------------------------------------


@_mood
def outage(domain: str, _day: date, hour: float) -> TenantScenario:
    """Is down for maintenance for a while."""
    return TenantScenario(domain=domain, outages=(Outage(from_seconds=0.0, to_seconds=hour * 0.6),))


@_mood
def outage_with_resets(domain: str, _day: date, hour: float) -> TenantScenario:
    """Breaks every connection for a while."""
    window = Outage(from_seconds=1.0, to_seconds=hour * 0.6, form="reset")
    return TenantScenario(domain=domain, outages=(window,))


@_mood
def throttled(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Says 429 to its first requests: other integrations were quicker."""
    rule = FaultRule(last=2, fault=Status(429, retry_after="2"))
    return TenantScenario(domain=domain, faults=(rule,), retry_after="zero")


@_mood
def crowded(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Leaves us ten requests a minute: other integrations take the rest."""
    return TenantScenario(domain=domain, other_requests_per_minute=40, retry_after="date")


@_mood
def login_page(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Answers the first polls and contents with the login page, and 200."""
    rules = (
        FaultRule(kind="list", fault=Html()),
        FaultRule(kind="poll", fault=Html()),
        FaultRule(kind="content", fault=Html()),
    )
    return TenantScenario(domain=domain, faults=rules)


@_mood
def cut_short(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Breaks off the content, once with its length announced, once without, once compressed."""
    rules = (
        FaultRule(kind="content", first=1, last=1, fault=Cut(600)),
        FaultRule(kind="content", first=2, last=2, fault=Cut(600, announced=False)),
        FaultRule(kind="content", first=3, last=3, fault=Gzip(cut_bytes=20)),
    )
    return TenantScenario(domain=domain, faults=rules)


@_mood
def trickling(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Sends the content by the spoonful, the first time."""
    return TenantScenario(domain=domain, faults=(FaultRule(kind="content", fault=Trickle(50)),))


@_mood
def hanging_list(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Leaves its first list unanswered for a while."""
    return TenantScenario(domain=domain, faults=(FaultRule(kind="list", fault=Hang(5.0)),))


# --- other readings of the guide -------------------------------------------------------------------------------------


@_mood
def bare_list(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Never says in a list where an export ends."""
    return TenantScenario(domain=domain, bare_lists=True, configurations=_exports(_answered(Status(504))))


@_mood
def doubled_path(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Gives the content on the guide's doubled path only."""
    return TenantScenario(domain=domain, content_path="doubled")


@_mood
def zoneless(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Says when an export was made without saying in which zone."""
    return TenantScenario(domain=domain, zoneless=True, configurations=_exports(_answered(Status(504))))


@_mood
def skewed(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Its clock is three quarters of an hour ahead."""
    return TenantScenario(domain=domain, clock_skew_seconds=2700.0)


# --- reports ---------------------------------------------------------------------------------------------------------


def _reporting(domain: str, reports: Reports) -> TenantScenario:
    return TenantScenario(domain=domain, configurations=(), reports=reports)


@_mood
def report(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Makes a report."""
    return _reporting(domain, Reports(in_manifest=True))


@_mood
def report_and_export(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Makes an export and a report in one night."""
    return TenantScenario(domain=domain, reports=Reports(in_manifest=True, created_status=201))


@_mood
def report_slow(domain: str, _day: date, hour: float) -> TenantScenario:
    """Takes its time over a report."""
    return _reporting(domain, Reports(in_manifest=True, pending_seconds=hour))


@_mood
def report_error_once(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Fails the first report."""
    return _reporting(domain, Reports(in_manifest=True, error_first=1))


@_mood
def report_error(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Fails every report."""
    return _reporting(domain, Reports(in_manifest=True, error_first=1_000_000))


@_mood
def report_pending_for_ever(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Never ends a report."""
    return _reporting(domain, Reports(in_manifest=True, pending_forever=True))


@_mood
def report_evicted_while_pending(domain: str, _day: date, _hour: float) -> TenantScenario:
    """A colleague makes another report while ours is pending."""
    return _reporting(domain, Reports(in_manifest=True, evicted_while_pending=1))


@_mood
def report_evicted_before_download(domain: str, _day: date, _hour: float) -> TenantScenario:
    """A colleague makes another report just before we download ours."""
    return _reporting(domain, Reports(in_manifest=True, evicted_before_download=1))


@_mood
def template_vanishing(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Forgets the template that we made, once. Ask it for an inline template."""
    return _reporting(
        domain, Reports(templates=(), in_manifest=True, vanishing_templates=1, vanished_status=403)
    )


@_mood
def template_unknown(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Does not know the template that it is asked for."""
    return _reporting(domain, Reports(templates=(12,), in_manifest=True, unknown_template=True))

"""Tenants by what becomes of their exports: those that come, that staff made, that are refused or empty."""

from datetime import date, timedelta

from runner.sandbox.faults import FaultRule, Redirect, Reset, Status
from runner.sandbox.moods.kinds import answered, exports, lost, mood
from runner.sandbox.scenario import (
    Configuration,
    StaffExport,
    TenantScenario,
    Trigger,
    latest_monday,
    made_up_key,
)

_WEEK = timedelta(days=7)


# --- exports that come -----------------------------------------------------------------------------------------------


@mood
def prompt(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Answers the POST with the export's id, as the guide has it."""
    return TenantScenario(domain=domain)


@mood
def slow(domain: str, _day: date, hour: float) -> TenantScenario:
    """Generates for longer than anybody listens, and the export appears."""
    return TenantScenario(domain=domain, configurations=exports(then=Trigger(seconds=hour * 0.7)))


@mood
def request_timeout(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Gives the POST up with 408 and goes on generating."""
    return TenantScenario(
        domain=domain, configurations=exports(then=Trigger(seconds=4.0)), post_timeout_seconds=1.0
    )


@mood
def gateway_timeout(domain: str, _day: date, _hour: float) -> TenantScenario:
    """A gateway answers 504 with a page of its own; the export appears."""
    return TenantScenario(domain=domain, configurations=exports(answered(Status(504))))


@mood
def bad_gateway(domain: str, _day: date, _hour: float) -> TenantScenario:
    """A gateway answers 502 before the server got anything: nothing appears until triggered again."""
    return TenantScenario(domain=domain, configurations=exports(lost(Status(502))))


@mood
def connection_reset(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Breaks the connection after it received the POST; the export appears."""
    return TenantScenario(domain=domain, configurations=exports(answered(Reset())))


@mood
def empty_bad_request(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Answers the POST with an empty 400, which means nothing; the export appears."""
    return TenantScenario(domain=domain, configurations=exports(answered(Status(400, body=""))))


@mood
def redirected(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Sends the POST's client to another host; the export appears all the same."""
    return TenantScenario(domain=domain, configurations=exports(answered(Redirect())))


@mood
def silent_once(domain: str, _day: date, _hour: float) -> TenantScenario:
    """The first export fails without a word."""
    return TenantScenario(domain=domain, configurations=exports(lost()))


@mood
def silent_twice(domain: str, _day: date, _hour: float) -> TenantScenario:
    """The first two exports fail without a word, once hanging, once with 500."""
    return TenantScenario(domain=domain, configurations=exports(lost(), lost(Status(500))))


@mood
def never(domain: str, _day: date, _hour: float) -> TenantScenario:
    """No trigger ever yields anything."""
    return TenantScenario(domain=domain, configurations=exports(then=lost()))


@mood
def late_twin(domain: str, _day: date, hour: float) -> TenantScenario:
    """The first export comes after the second was asked for: there are two, and the later holds only corrections."""
    first = Trigger(seconds=hour * 1.3, answer=Status(504), answer_seconds=0.5)
    second = Trigger(seconds=hour * 0.25, answer=Status(504), answer_seconds=0.5)
    return TenantScenario(
        domain=domain, configurations=(Configuration(triggers=(first, second), late_corrections=2),)
    )


@mood
def drop_cancels(domain: str, _day: date, hour: float) -> TenantScenario:
    """Gives the generation up when its client leaves, the first time."""
    slow_one = Trigger(seconds=hour * 0.6, stops_with_client=True)
    return TenantScenario(domain=domain, configurations=exports(slow_one))


@mood
def two_configurations(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Has two configurations whose exports share one row of ids."""
    return TenantScenario(
        domain=domain, configurations=(Configuration(id=3), Configuration(id=5, name="meal-vouchers"))
    )


@mood
def first_ever(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Never exported anything before."""
    return TenantScenario(domain=domain, configurations=(Configuration(history=0),))


@mood
def large(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Has a thousand employees with an entry each working day."""
    return TenantScenario(
        domain=domain, employees=1000, configurations=(Configuration(entry_weekdays=(0, 1, 2, 3, 4)),)
    )


# --- exports that staff made -----------------------------------------------------------------------------------------


@mood
def already_there(domain: str, day: date, _hour: float) -> TenantScenario:
    """Somebody made this very export by hand in the afternoon."""
    made = StaffExport(at_seconds=-3600.0 * 9, ends_at=latest_monday(day))
    return TenantScenario(domain=domain, staff_exports=(made,))


@mood
def already_past(domain: str, day: date, _hour: float) -> TenantScenario:
    """Somebody exported further than we are asked to: our period is behind the ledger."""
    made = StaffExport(at_seconds=-3600.0 * 9, ends_at=latest_monday(day) + _WEEK)
    return TenantScenario(domain=domain, staff_exports=(made,))


@mood
def overtaken(domain: str, day: date, _hour: float) -> TenantScenario:
    """Our first trigger is lost, and while we wait somebody exports further than we were to."""
    made = StaffExport(at_seconds=4.0, ends_at=latest_monday(day) + _WEEK)
    return TenantScenario(domain=domain, configurations=exports(lost()), staff_exports=(made,))


@mood
def foreign(domain: str, day: date, hour: float) -> TenantScenario:
    """Somebody makes an export of an earlier period while ours is on its way."""
    made = StaffExport(at_seconds=2.0, ends_at=latest_monday(day) - _WEEK)
    slow_one = Trigger(seconds=hour * 0.7, answer=Status(504), answer_seconds=0.5)
    return TenantScenario(domain=domain, configurations=exports(slow_one), staff_exports=(made,))


@mood
def made_by_hand_meanwhile(domain: str, day: date, _hour: float) -> TenantScenario:
    """Our trigger is lost, and somebody makes the very same export by hand while we wait."""
    made = StaffExport(at_seconds=4.0, ends_at=latest_monday(day))
    return TenantScenario(domain=domain, configurations=exports(then=lost()), staff_exports=(made,))


# --- exports that are refused, or empty ------------------------------------------------------------------------------


@mood
def empty(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Has nothing to export, and makes an export of nothing."""
    return TenantScenario(domain=domain, employees=0)


@mood
def nothing_to_export(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Has nothing to export, and refuses to."""
    return TenantScenario(domain=domain, employees=0, configurations=(Configuration(nothing_new="rejected"),))


@mood
def rejected(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Refuses the POST and says why."""
    body = '{"Status":400,"Message":"The period is locked by the payroll manager"}'
    rule = FaultRule(kind="trigger", last=1_000_000, fault=Status(400, body=body))
    return TenantScenario(domain=domain, faults=(rule,))


@mood
def unknown_configuration(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Does not know the configuration that it is asked for."""
    return TenantScenario(domain=domain, configurations=(Configuration(id=99, exists=False),))


@mood
def key_refused(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Refuses the key: it was renewed, and nobody told us."""
    return TenantScenario(domain=domain, client_key=made_up_key(f"old {domain}"))


@mood
def key_refused_midway(domain: str, _day: date, hour: float) -> TenantScenario:
    """Refuses the key from the fourth request on."""
    slow_one = Trigger(seconds=hour, answer=Status(504), answer_seconds=0.5)
    return TenantScenario(domain=domain, key_refused_from=4, configurations=exports(slow_one))


@mood
def read_only(domain: str, _day: date, _hour: float) -> TenantScenario:
    """The key may read and not export."""
    key = made_up_key(f"reader {domain}")
    return TenantScenario(domain=domain, client_key=key, read_only_keys=(key,))


@mood
def forbidden(domain: str, _day: date, _hour: float) -> TenantScenario:
    """The key may nothing."""
    rule = FaultRule(last=1_000_000, fault=Status(403))
    return TenantScenario(domain=domain, faults=(rule,))

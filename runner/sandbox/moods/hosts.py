"""Tenants by how their host behaves: a network with its troubles, and other readings of the guide."""

from datetime import date

from runner.sandbox.faults import Cut, FaultRule, Gzip, Hang, Html, Status, Trickle
from runner.sandbox.moods.kinds import answered, exports, mood
from runner.sandbox.scenario import Outage, TenantScenario

# --- a network with its troubles -------------------------------------------------------------------------------------


@mood
def outage(domain: str, _day: date, hour: float) -> TenantScenario:
    """Is down for maintenance for a while."""
    return TenantScenario(domain=domain, outages=(Outage(from_seconds=0.0, to_seconds=hour * 0.6),))


@mood
def outage_with_resets(domain: str, _day: date, hour: float) -> TenantScenario:
    """Breaks every connection for a while."""
    window = Outage(from_seconds=1.0, to_seconds=hour * 0.6, form="reset")
    return TenantScenario(domain=domain, outages=(window,))


@mood
def throttled(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Says 429 to its first requests: other integrations were quicker."""
    rule = FaultRule(last=2, fault=Status(429, retry_after="2"))
    return TenantScenario(domain=domain, faults=(rule,), retry_after="zero")


@mood
def crowded(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Leaves us ten requests a minute: other integrations take the rest."""
    return TenantScenario(domain=domain, other_requests_per_minute=40, retry_after="date")


@mood
def login_page(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Answers the first polls and contents with the login page, and 200."""
    rules = (
        FaultRule(kind="list", fault=Html()),
        FaultRule(kind="poll", fault=Html()),
        FaultRule(kind="content", fault=Html()),
    )
    return TenantScenario(domain=domain, faults=rules)


@mood
def cut_short(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Breaks off the content, once with its length announced, once without, once compressed."""
    rules = (
        FaultRule(kind="content", first=1, last=1, fault=Cut(600)),
        FaultRule(kind="content", first=2, last=2, fault=Cut(600, announced=False)),
        FaultRule(kind="content", first=3, last=3, fault=Gzip(cut_bytes=20)),
    )
    return TenantScenario(domain=domain, faults=rules)


@mood
def trickling(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Sends the content by the spoonful, the first time."""
    return TenantScenario(domain=domain, faults=(FaultRule(kind="content", fault=Trickle(50)),))


@mood
def hanging_list(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Leaves its first list unanswered for a while."""
    return TenantScenario(domain=domain, faults=(FaultRule(kind="list", fault=Hang(5.0)),))


# --- other readings of the guide -------------------------------------------------------------------------------------


@mood
def bare_list(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Never says in a list where an export ends."""
    return TenantScenario(domain=domain, bare_lists=True, configurations=exports(answered(Status(504))))


@mood
def doubled_path(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Gives the content on the guide's doubled path only."""
    return TenantScenario(domain=domain, content_path="doubled")


@mood
def zoneless(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Says when an export was made without saying in which zone."""
    return TenantScenario(domain=domain, zoneless=True, configurations=exports(answered(Status(504))))


@mood
def skewed(domain: str, _day: date, _hour: float) -> TenantScenario:
    """Its clock is three quarters of an hour ahead."""
    return TenantScenario(domain=domain, clock_skew_seconds=2700.0)

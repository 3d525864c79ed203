"""Turns: who may send a request at which moment.

Owns the limits on requests in flight (all together, and per domain), the budget per domain, the pauses a host asked
for, and the order among those who ask: triggers and downloads first, whosever they are, before looks, and these before
polls; among equals domains in rotation. So what is begun goes on at once, however many wait: a look that waited for
half of the night would be too old to be trusted for a trigger, and be taken again, for ever. And all is begun, however
many wait for what they began. Of both there is only so much; what has no end, polls and what is asked again after
trouble, comes last. A turn is good for one request and holds its places only for that long. Must not know what a job
is: it deals in numbers.
"""

import heapq
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

from msgspec import Struct

from runner.clock import Clock
from runner.credentials import Secret
from runner.jobs.model import ErrorCode
from runner.journal import Spend
from runner.lucca import Purpose, Request, announcement
from runner.pacing import SlidingWindow
from runner.transport import Answer, BrokenAnswerError, Stream

UNPROVEN_REQUESTS: Final = 1
"""Requests in flight for a tenant whose key has not worked yet: a refused key is shown no more often, and a host that
hangs from the start holds no more places."""

SLOW_SECONDS: Final = 5.0
"""A host that leaves a request without an answer for longer is slow, until it answers one sooner. Lucca itself gives up
after as long; the POST that generates an export is not judged."""

SLOW_SHARE: Final = 2
"""Slow hosts together hold at most one of so many places, or a few dozen that hang would hold up everybody."""


POLITE_PRIORITY: Final = 2
"""From this priority on (polls), requests leave a fifth of the budget to triggers and downloads."""

FIRST_RANK: Final = 1
"""The latest among hosts for what a tenant asks first in a run, even if it is a poll."""

LAST_RANK: Final = 2
"""Among hosts, of polls and of what is asked again after trouble."""


class SpendPort(Protocol):
    """What of the journal turns need."""

    async def spend(self, spend: Spend) -> None:
        """Store that a request is about to leave, so that a restart knows it."""


class SenderPort(Protocol):
    """What a run asks of the transport."""

    async def send(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Answer:
        """Send and read."""

    async def download(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Stream:
        """Send, and hand out the answer to be streamed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many requests at a time."""

    in_flight: int = 64
    in_flight_per_domain: int = 2


class Client(Struct, frozen=True, kw_only=True):
    """What a run is told of a tenant, when it begins the first of its jobs.

    Attributes:
        name: of the tenant.
        domain: its host.
        requests_per_minute: the domain's budget; of several tenants' the least counts.
        key: fetches the API key; asked once, when it is first needed.
        spent: boot seconds at which earlier runs sent requests to the domain.
    """

    name: str
    domain: str
    requests_per_minute: int
    key: Callable[[], Awaitable[Secret]]
    spent: tuple[float, ...] = ()


class Domain(Struct, eq=False):
    """One host: what is shared by its tenants.

    Attributes:
        name: the host.
        window: its budget.
        running: requests in flight.
        paused_until: the boot second before which nothing is sent to it.
        asking: who asks for a turn, as a heap of (priority, number of the asking, who, rank).
    """

    name: str
    window: SlidingWindow
    running: int = 0
    paused_until: float = 0.0
    asking: list[tuple[int, int, int, int]] = []

    def pause(self, until_boot_seconds: float) -> None:
        """Send nothing to it before then."""
        self.paused_until = max(self.paused_until, until_boot_seconds)


class Tenant(Struct, eq=False):
    """A tenant in this run: its key, and whether it works.

    Attributes:
        client: what was told of it.
        domain: its host.
        key: its API key, once it is there.
        key_asked: whether it was asked for.
        proven: whether the host has accepted the key.
        running: requests in flight.
        parked: why it sends nothing more in this run, in a code and words.
        waiting: who asks for a turn once the key is there: (who, priority).
        jobs: the numbers of its jobs.
    """

    client: Client
    domain: Domain
    key: Secret | None = None
    key_asked: bool = False
    proven: bool = False
    running: int = 0
    parked: tuple[ErrorCode, str] | None = None
    waiting: list[tuple[int, int]] = []
    jobs: list[int] = []

    def scrub(self, text: str) -> str:
        """A server's words without the key: it may echo what it was sent."""
        return text if self.key is None else self.key.hide_in(text)

    def told_in(self, body: bytes) -> bool:
        """Whether the key stands in a body, in whatever shape."""
        return self.key is not None and self.key.stands_in(body)


class Turns:
    """Gives out turns, one request each."""

    def __init__(
        self,
        clock: Clock,
        journal: SpendPort,
        sender: SenderPort,
        limits: Limits,
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called whenever another turn may have become possible."""
        self._clock = clock
        self._journal = journal
        self._sender = sender
        self._limits = limits
        self._changed = changed
        self._domains: dict[str, Domain] = {}
        self._tenants: dict[str, Tenant] = {}
        self._askers: dict[int, Tenant] = {}
        self._urgent: OrderedDict[str, Domain] = OrderedDict()
        self._early: OrderedDict[str, Domain] = OrderedDict()
        self._patient: OrderedDict[str, Domain] = OrderedDict()
        self._queues = (self._urgent, self._early, self._patient)
        self._timers: list[tuple[float, str]] = []
        self._slow: dict[str, Domain] = {}
        self._held: dict[str, Domain] = {}
        self._sequence = 0
        self._running = 0
        self.announced: dict[str, str] = {}

    def tenant(self, client: Client) -> Tenant:
        """The tenant of this name, made when it is new."""
        tenant = self._tenants.get(client.name)
        if tenant is None:
            domain = self._domains.get(client.domain)
            if domain is None:
                window = SlidingWindow(client.requests_per_minute, client.spent)
                domain = self._domains[client.domain] = Domain(client.domain, window)
            else:
                domain.window.lower(client.requests_per_minute)
            tenant = self._tenants[client.name] = Tenant(client, domain)
        return tenant

    def ask(self, tenant: Tenant, id_: int, priority: int, rank: int | None = None) -> None:
        """Ask for a turn. Who asks twice is heard once.

        Args:
            tenant: whose.
            id_: who asks.
            priority: the lower the sooner, among those of one host.
            rank: the same among hosts; left out: the priority.
        """
        if id_ in self._askers:
            return
        self._askers[id_] = tenant
        self._sequence += 1
        entry = priority, self._sequence, id_, priority if rank is None else rank
        heapq.heappush(tenant.domain.asking, entry)
        self._enqueue(tenant.domain)

    def next(self, now: float) -> "Turn | None":
        """A turn for the next in order, or None while nobody may go."""
        while self._timers and self._timers[0][0] <= now:
            self._enqueue(self._domains[heapq.heappop(self._timers)[1]])
        while self._running < self._limits.in_flight and (
            queue := self._urgent or self._early or self._patient
        ):
            _, domain = queue.popitem(last=False)
            if not domain.asking or domain.running >= self._limits.in_flight_per_domain:
                continue
            priority, _, first, _ = domain.asking[0]
            tenant = self._askers[first]
            if not tenant.proven and tenant.running >= UNPROVEN_REQUESTS:
                continue
            if domain.name in self._slow and not self._has_place_for_slow():
                self._held[domain.name] = domain
                continue
            spare = domain.window.delay_seconds(now, polite=priority >= POLITE_PRIORITY)
            delay = max(spare, domain.paused_until - now)
            if delay > 0:
                heapq.heappush(self._timers, (now + delay, domain.name))
                continue
            heapq.heappop(domain.asking)
            del self._askers[first]
            self._enqueue(domain)
            return Turn(self, tenant, first)
        return None

    @property
    def backlog(self) -> int:
        """How many hosts wait only for others' requests to end, with more than polls and what is asked again."""
        return len(self._urgent) + len(self._early)

    def next_moment(self) -> float:
        """The boot second at which a domain that had to wait may go on."""
        return self._timers[0][0] if self._timers else float("inf")

    def _enqueue(self, domain: Domain) -> None:
        if not domain.asking:
            return
        queue = self._queues[domain.asking[0][3]]
        if domain.name not in queue:
            queue[domain.name] = domain
            self._changed()

    def _has_place_for_slow(self) -> bool:
        held = sum(domain.running for domain in self._slow.values())
        return held < max(1, self._limits.in_flight // SLOW_SHARE)

    def _waited(self, domain: Domain, seconds: float) -> None:
        """A request to this host waited so long for its answer, whether one came or not."""
        if seconds > SLOW_SECONDS:
            self._slow[domain.name] = domain
        else:
            self._slow.pop(domain.name, None)

    def _begin(self, tenant: Tenant) -> None:
        tenant.running += 1
        tenant.domain.running += 1
        self._running += 1

    def _end(self, tenant: Tenant) -> None:
        tenant.running -= 1
        tenant.domain.running -= 1
        self._running -= 1
        self._enqueue(tenant.domain)
        held, self._held = self._held, {}
        for domain in held.values():
            self._enqueue(domain)
        if self._urgent or self._early or self._patient:
            self._changed()


class Turn:
    """The right to send one request to a tenant's host.

    Attributes:
        body: what was read of the answer that came last, for whoever refuses it. Of a download its reader tells.
    """

    __slots__ = ("_ended", "_slot", "_tenant", "_turns", "_waits_since", "body", "id")

    def __init__(self, turns: Turns, tenant: Tenant, id_: int) -> None:
        self.id = id_
        self._turns = turns
        self._tenant = tenant
        self._slot = tenant.domain.window.take()
        self._ended = False
        self._waits_since: float | None = None
        self.body = b""
        turns._begin(tenant)  # noqa: SLF001 - two halves of one thing

    async def send(self, request: Request) -> Answer:
        """Send and read; raises what `Transport.send` raises."""
        domain, key = await self._spend(request)
        try:
            answer = await self._turns._sender.send(domain, key, request, self._left)  # noqa: SLF001
        except BrokenAnswerError as error:
            self.body = error.body
            raise
        self.body = answer.body
        self._heard(answer.status, answer.headers)
        return answer

    async def download(self, request: Request) -> Stream:
        """Send and hand out the answer; raises what `Transport.download` raises."""
        domain, key = await self._spend(request)
        stream = await self._turns._sender.download(domain, key, request, self._left)  # noqa: SLF001
        self._heard(stream.status, stream.headers)
        return stream

    def end(self) -> None:
        """Give the places back; a request that never left costs nothing of the budget."""
        if self._ended:
            return
        self._ended = True
        if self._slot.at is None:
            self._tenant.domain.window.give_back(self._slot)
        if self._waits_since is not None:
            self._judge(self._turns._clock.boot_seconds())  # noqa: SLF001
        self._turns._end(self._tenant)  # noqa: SLF001

    async def _spend(self, request: Request) -> tuple[str, Secret]:
        key = self._tenant.key
        assert key is not None and not self._ended, "a turn is asked for with a key, and used once"  # noqa: S101, PT018
        now = self._turns._clock.now()  # noqa: SLF001
        domain = self._tenant.domain.name
        await self._turns._journal.spend(Spend(domain, now.boot_id, now.boot_seconds, now.wall))  # noqa: SLF001
        if request.purpose is not Purpose.TRIGGER:
            self._waits_since = now.boot_seconds
        return domain, key

    def _judge(self, now: float) -> None:
        """The answer has begun, or the turn has ended without one."""
        if self._waits_since is not None:
            self._turns._waited(self._tenant.domain, now - self._waits_since)  # noqa: SLF001
            self._waits_since = None

    def _left(self) -> None:
        self._slot.left(self._turns._clock.boot_seconds())  # noqa: SLF001

    def _heard(self, status: int, headers: Mapping[str, str]) -> None:
        now = self._turns._clock.boot_seconds()  # noqa: SLF001
        self._slot.answered(now)
        self._judge(now)
        if not self._tenant.proven and HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            # Of any other answer nobody knows whether its sender looked at the key: it may be a proxy's.
            self._tenant.proven = True
            self._turns._enqueue(self._tenant.domain)  # noqa: SLF001 - who waited for that need not wait for its body
        if (words := announcement(headers)) is not None:
            said = (
                f"{self._tenant.domain.name} announces a change of its interface: {self._tenant.scrub(words)}"
            )
            self._turns.announced.setdefault(self._tenant.domain.name, said)

"""What a run takes up, host by host: to make something of ten thousand at once would hold up the first request.

Owns the order in which hosts have their turn to be begun. Must not know what is made of a job then.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from runner.jobs import events as ev
from runner.jobs import model as m

_BEGUN: Final = frozenset({m.State.TRIGGERED, m.State.RETRIED, m.State.DOWNLOADING})
"""A job that stands here may have something to do that needs no request."""


class Taken(Struct, frozen=True, gc=False):
    """A job to take up.

    Attributes:
        tenant: whose it is; what a run needs of him is asked for when it is his host's turn.
        job: as the journal has it.
        opening: the event that opens it again, where one does.
    """

    tenant: Any
    job: m.Job
    opening: ev.Event | None = None


class Arrivals:
    """The jobs of a run, until it is their host's turn."""

    def __init__(self) -> None:
        """None yet."""
        self._hosts: OrderedDict[str, list[Taken]] = OrderedDict()
        self._begun: dict[str, None] = {}
        self._underway: dict[tuple[str, int | str], list[m.Job]] = {}

    def add(self, taken: Iterable[Taken], underway: Iterable[m.Job]) -> Iterator[m.Job]:
        """Keep these, and give the jobs one by one. Those of `underway` are left out."""
        for job in underway:
            self._underway.setdefault(job.spec.lane, []).append(job)
        for one in taken:
            job = one.job
            self._hosts.setdefault(job.spec.domain, []).append(one)
            if one.opening is not None or job.state in _BEGUN:
                self._begun[job.spec.domain] = None
            yield job

    def __bool__(self) -> bool:
        """Whether there are hosts whose turn has not come."""
        return bool(self._hosts)

    def at_once(self) -> Iterator[Sequence[Taken]]:
        """The jobs of each host where something may need no request."""
        for host in self._begun:
            yield self._hosts.pop(host)

    def next(self) -> Sequence[Taken]:
        """Those of the host whose turn it is."""
        return self._hosts.popitem(last=False)[1]

    def underway(self, lane: tuple[str, int | str]) -> Sequence[m.Job]:
        """Of this lane the jobs that are left out: what they asked for may still be on its way."""
        return self._underway.get(lane, ())

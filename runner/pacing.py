"""How fast: the sliding-window budget and the pauses between attempts. Pure; the moment comes in as an argument.

Must not know jobs, sockets or the journal. Times are seconds of the boot clock.
"""

from collections.abc import Iterable
from random import Random
from typing import Final

from msgspec import Struct

WINDOW_SECONDS: Final = 60.0
MARGIN_SECONDS: Final = 0.1
"""Two clocks do not run alike."""
ARRIVES_WITHIN_SECONDS: Final = 5.0
"""The server counts a request when it arrives: before its answer, and where there is none, so soon after it left."""
_SHORTEST_DELAY_SECONDS: Final = 0.001  # Rounding must not make a caller ask again and again.

POLITE_SHARE: Final = 5

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 60.0
BAD_ANSWERS: Final = 6
"""So many answers in a row that are no content make the job fail: the first and five more."""
LONGEST_RETRY_AFTER_SECONDS: Final = 3600.0
"""A server that asks for more patience than this is asked again all the same."""


class Slot(Struct, eq=False, gc=False):
    """One request of the budget. There may be one for each request of a minute, so it is no work for the collector.

    Attributes:
        at: by when the server has counted it; None from its taking until it has left (or certainly has not).
    """

    at: float | None = None

    def left(self, now: float) -> None:
        """Its bytes leave."""
        self.at = now + ARRIVES_WITHIN_SECONDS

    def answered(self, now: float) -> None:
        """Its answer begins, so it has left, and was counted by now."""
        self.at = now if self.at is None else min(self.at, now)


class SlidingWindow:
    """At most `limit` requests in any 60 s, by the server's count."""

    __slots__ = ("_limit", "_slots")

    def __init__(self, limit: int, spent: Iterable[float] = ()) -> None:
        """A budget of `limit` requests a minute.

        Args:
            limit: requests per minute.
            spent: when earlier requests left (an earlier run's), in any order. Nobody knows when they were answered.
        """
        self._limit = limit
        self._slots = [Slot(at + ARRIVES_WITHIN_SECONDS) for at in spent]

    def delay_seconds(self, now: float, *, polite: bool = False) -> float:
        """Seconds until a request may be taken: 0 when one may now.

        Args:
            now: the moment.
            polite: leave a fifth of the budget to more urgent requests, so that they need not wait a minute for it.
        """
        span = WINDOW_SECONDS + MARGIN_SECONDS
        limit = self._limit - (self._limit // POLITE_SHARE if polite else 0)
        if len(self._slots) < limit:
            return 0.0
        # Requests leave in another order than they were taken, so the whole record is looked through.
        self._slots = [slot for slot in self._slots if slot.at is None or slot.at > now - span]
        too_many = len(self._slots) - limit
        if too_many < 0:
            return 0.0
        # What is on its way leaves now at the earliest. More may be on record than the limit allows (it was lowered):
        # as many must fall out as are too many, and one.
        leavings = sorted(now if slot.at is None else slot.at for slot in self._slots)
        return max(_SHORTEST_DELAY_SECONDS, leavings[too_many] + span - now)

    def lower(self, limit: int) -> None:
        """Tenants that share a host share its budget: the least of theirs counts."""
        self._limit = min(self._limit, limit)

    def take(self) -> Slot:
        """A slot for a request about to leave. The caller stamps it when it has left, or gives it back."""
        slot = Slot()
        self._slots.append(slot)
        return slot

    def give_back(self, slot: Slot) -> None:
        """The request certainly never left."""
        self._slots.remove(slot)


def pause_seconds(attempt: int, random: Random, retry_after_seconds: float | None = None) -> float:
    """How long to wait before asking again.

    Grows from 0.5 s to 60 s, with up to a tenth of jitter on top, so that many tenants do not come back as
    one. A server's `Retry-After` may lengthen the pause, never shorten it: 0 is not a licence to hammer.

    Args:
        attempt: 0 for the first time in a row.
        random: where the jitter comes from.
        retry_after_seconds: what the server asked for, if it did.
    """
    own: float = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(attempt, 10))
    asked = min(retry_after_seconds or 0.0, LONGEST_RETRY_AFTER_SECONDS)
    return max(own, asked) + own * 0.1 * random.random()

"""Who goes after whom in a run: the exports of one configuration, the reports of one host, one after the other.

Owns what is kept of a job beside it while the run lasts, its lane among that. Must not know why one job goes before
another (`jobs.agenda` says) nor what it does.
"""

from msgspec import Struct

from runner.jobs import events as ev
from runner.turns import Tenant


class Lane(list[int]):
    """Numbers of jobs, the first of which may go.

    A list, although it is emptied from the front: most hold one job, for which a deque takes 700 bytes.
    """

    __slots__ = ()

    def lets(self, id_: int) -> bool:
        """Whether the job may go: nobody is before it, or it left, since others may go on beside it."""
        return not self or self[0] == id_ or id_ not in self

    def leave(self, id_: int) -> bool:
        """The job is in nobody's way any more; whether it was the first, so that another may begin."""
        was_first = bool(self) and self[0] == id_
        if was_first or id_ in self:
            self.remove(id_)
        return was_first


class Entry(Struct, gc=False):
    """What the engine keeps of a job beside it: none of it outlives the run, and nothing in it leads back to it.

    Attributes:
        tenant: whose it is.
        lane: of the jobs that go one after the other, this one among them; None for one that only looks.
        opening: the event that opens it again, where one does.
        open: whether this run has still something to do with it.
        busy: whether a step of it is under way.
        troubles: so many in a row.
        bad_answers: of those that are counted to an end, so many in a row.
        not_before: the boot second before which it is left in peace.
    """

    tenant: Tenant
    lane: Lane | None
    opening: ev.Event | None = None
    open: bool = True
    busy: bool = False
    troubles: int = 0
    bad_answers: int = 0
    not_before: float = 0.0

    def may_go(self, id_: int) -> bool:
        """Whether nobody of its lane is before it."""
        return self.lane is None or self.lane.lets(id_)

    def note_trouble(self, *, bad_answer: bool) -> int:
        """Count it; how many of its kind there were before."""
        if bad_answer:
            self.bad_answers += 1
            return self.bad_answers - 1
        self.troubles += 1
        return self.troubles - 1

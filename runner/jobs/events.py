"""What can happen to a job: one value per event. `jobs.machine` tells what follows from it.

Owns the names that the journal keeps of what happened. Must not know who says so.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from runner.jobs.model import FileRecord, JobError, Sighting, Staged, Stamp


class Listed(Struct, frozen=True, gc=False):
    """A list of exports arrived. `complete` is False when its page was full and another follows."""

    items: tuple[Sighting, ...]
    complete: bool = True
    server_date: datetime | None = None


class Identified(Struct, frozen=True, gc=False):
    """One export told its end, local and to the second; None: it is gone, or another configuration's, or tells none."""

    id: int
    ends_at: str | None


class Doubted(Struct, frozen=True, gc=False):
    """Before a trigger: exports that a list showed did not tell their end, so the look is taken once more."""


class Triggered(Struct, frozen=True, gc=False):
    """The intent to POST was stored; the bytes may leave from now on."""

    stamp: Stamp


class TriggerUnsent(Struct, frozen=True, gc=False):
    """The POST was certainly not executed: it never left, or was answered 429."""


class TriggerLetGo(Struct, frozen=True, gc=False):
    """The POST left and nobody knows what became of it."""

    stamp: Stamp
    why: str


class TriggerAnswered(Struct, frozen=True, gc=False):
    """The POST was answered with an id."""

    remote_id: int
    stamp: Stamp


class Resumed(Struct, frozen=True, gc=False):
    """A run found this job with a stored intent: it counts as sent."""


class Fetched(Struct, frozen=True, gc=False):
    """A download arrived, was checked, and waits beside its place."""

    staged: Staged


class PathMissed(Struct, frozen=True, gc=False):
    """The content was not found under one spelling of its path, the doubled one or not; the other is to be asked."""

    doubled: bool = False


class PutOff(Struct, frozen=True, gc=False):
    """One export cannot be read; the others come first."""

    id: int


class Misattributed(Struct, frozen=True, gc=False):
    """The content says that this export is not the one we asked for, or that there is none of this number.

    `exists` is False where nothing but our POST's answer, or the look that adopted it, ever told of it.
    """

    id: int
    ends_at: str | None
    exists: bool = True


class Named(Struct, frozen=True, gc=False):
    """The names and digests of files about to be put in place."""

    files: tuple[FileRecord, ...]


class Placed(Struct, frozen=True, gc=False):
    """The named files stand in their places."""

    paths: tuple[str, ...]


class FilesMissed(Struct, frozen=True, gc=False):
    """Recorded files that are not on disk as recorded; they are downloaded again."""

    paths: tuple[str, ...]


class TemplateCreated(Struct, frozen=True, gc=False):
    """The report template exists now (or was created by another job)."""

    template_id: int


class TemplateRefused(Struct, frozen=True, gc=False):
    """A template that we created is no longer usable; it is created once more."""


class ReportPolled(Struct, frozen=True, gc=False):
    """The report told its status."""

    status: Literal["pending", "done", "error"]


class ReportTimedOut(Struct, frozen=True, gc=False):
    """The report stayed pending too long, which counts as an error."""


class ReportLost(Struct, frozen=True, gc=False):
    """The report is gone: expired, or evicted by another one."""


class Failed(Struct, frozen=True, gc=False):
    """Something definite stands in the way."""

    error: JobError


class Reopened(Struct, frozen=True, gc=False):
    """A later run takes a failed job up again."""


class Retried(Struct, frozen=True, gc=False):
    """A person asked for a failed job again; its triggers are counted anew.

    Attributes:
        stamp: when, in case the last trigger's own time can no longer be measured.
    """

    stamp: Stamp


class Skipped(Struct, frozen=True, gc=False):
    """A person decided that nobody minds this job any more."""


Event = (
    Listed
    | Identified
    | Doubted
    | Triggered
    | TriggerUnsent
    | TriggerLetGo
    | TriggerAnswered
    | Resumed
    | Fetched
    | PathMissed
    | PutOff
    | Misattributed
    | Named
    | Placed
    | FilesMissed
    | TemplateCreated
    | TemplateRefused
    | ReportPolled
    | ReportTimedOut
    | ReportLost
    | Failed
    | Reopened
    | Retried
    | Skipped
)

"""What a job is: its wish, its state, and what is known of it. What can happen to it is `jobs.events`.

Owns the words of the state machine (values only). Must not know how anything is sent, stored or shown, and
reads no clock.

The values are msgspec structs: to change one field of a job takes a tenth of what it takes with a dataclass, and thirty
thousand of them are no work for the garbage collector. That they are left out of its search (`gc=False`) is safe
because nothing in them can point back at them.
"""

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import ClassVar, Literal

from msgspec import Struct, field


class State(StrEnum):
    """Where a job stands. The names are those of `run.json`."""

    PENDING = "pending"
    TRIGGERED = "triggered"
    POLLING = "polling"
    RETRIED = "retried"
    DOWNLOADING = "downloading"
    DOWNLOADED = "downloaded"
    FAILED = "failed"
    SKIPPED = "skipped"


# Each by itself, for Python 3.11 makes a call of each look at an enum's member.
PENDING, TRIGGERED, POLLING, RETRIED = State.PENDING, State.TRIGGERED, State.POLLING, State.RETRIED
DOWNLOADING, DOWNLOADED = State.DOWNLOADING, State.DOWNLOADED
FAILED, SKIPPED = State.FAILED, State.SKIPPED

FINISHED = frozenset({DOWNLOADED, FAILED, SKIPPED})


class Flag(StrEnum):
    """What a person should know of a job, besides its state."""

    ADOPTED = "adopted"
    FOREIGN = "foreign"
    DUPLICATE = "duplicate"
    EMPTY = "empty"
    DERIVED = "derived"


NEEDS_A_PERSON = frozenset({Flag.DUPLICATE, Flag.EMPTY, Flag.DERIVED})


class ErrorCode(StrEnum):
    """Why a job failed. The names are those of `run.json`."""

    SECRET = "secret"  # noqa: S105 - the name of an error, not a secret
    KEY_REFUSED = "key_refused"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    REJECTED = "rejected"
    NO_EXPORT = "no_export"
    REPORT_ERROR = "report_error"
    SUPERSEDED = "superseded"
    UNREACHABLE = "unreachable"
    BAD_ANSWER = "bad_answer"
    STORAGE = "storage"


TAKEN_UP_AGAIN = frozenset(ErrorCode) - {ErrorCode.NO_EXPORT, ErrorCode.REPORT_ERROR, ErrorCode.SUPERSEDED}
"""Failures that the next run tries again by itself. The others wait for `runner retry`."""


class JobError(Struct, frozen=True, gc=False):
    """Why a job failed, in words for the person who has to mend it."""

    code: ErrorCode
    message: str


class Stamp(Struct, frozen=True, gc=False):
    """When something happened, by every clock we may later have to measure against.

    Attributes:
        wall: this machine's wall clock, UTC.
        boot_id: the boot that `boot_seconds` belongs to.
        boot_seconds: seconds since that boot.
        server_date: the newest `Date` header of the tenant's host, or None when it sent none.
    """

    wall: datetime
    boot_id: str
    boot_seconds: float
    server_date: datetime | None = None


class TemplateId(Struct, frozen=True, gc=False):
    """A report template that exists in Lucca already."""

    id: int


class TemplateBody(Struct, frozen=True, gc=False):
    """A report template to create: `body` is the JSON to send, `sha256` its content's name (canonical JSON)."""

    body: bytes
    sha256: str


class Identity(Struct, frozen=True, gc=False):
    """What makes a job the same job on another night."""

    kind: Literal["export", "report"]
    domain: str
    subject: str


class ExportSpec(Struct, frozen=True, gc=False, kw_only=True):
    """One export that is due: everything of `configuration_id` before `ends_at` (midnight, exclusive)."""

    kind: ClassVar[Literal["export"]] = "export"
    tenant: str
    domain: str
    name: str
    due: date
    configuration_id: int
    ends_at: date
    formats: tuple[str, ...] = ("json",)
    empty_ok: bool = False

    @property
    def identity(self) -> Identity:
        """(domain, configuration, end): the ledger knows no more."""
        return Identity("export", self.domain, f"{self.configuration_id}@{self.ends_at.isoformat()}")

    @property
    def lane(self) -> tuple[str, int | str]:
        """One export in flight per lane."""
        return self.domain, self.configuration_id


class ReportSpec(Struct, frozen=True, gc=False, kw_only=True):
    """One report that is due. `starts_on` and `ends_on` of None mean the template's own period."""

    kind: ClassVar[Literal["report"]] = "report"
    tenant: str
    domain: str
    name: str
    due: date
    template: TemplateId | TemplateBody | None
    starts_on: date | None = None
    ends_on: date | None = None
    formats: tuple[str, ...] = ("csv",)

    @property
    def identity(self) -> Identity:
        """(domain, name, due date)."""
        return Identity("report", self.domain, f"{self.name}@{self.due.isoformat()}")

    @property
    def lane(self) -> tuple[str, int | str]:
        """Lucca keeps one report per tenant, so all reports of a domain share one lane."""
        return self.domain, "report"


Spec = ExportSpec | ReportSpec


class FileRecord(Struct, frozen=True, gc=False):
    """A file of a job.

    Attributes:
        path: relative to the output directory, with `/`.
        size_bytes: its length.
        sha256: its digest, in hex.
        remote_id: the export or report it came from.
        format: json, csv, excel, …
        placed: whether it is known to stand at `path`; a name is recorded before the file is put there.
    """

    path: str
    size_bytes: int
    sha256: str
    remote_id: int
    format: str
    placed: bool = False


class Content(Struct, frozen=True, gc=False):
    """What the answer of one export said of itself."""

    remote_id: int
    entries: int
    starts_at: str | None = None


class Staged(Struct, frozen=True, gc=False):
    """A checked download that waits beside its place. `parts` pairs each record with the path of its temporary file."""

    remote_id: int
    parts: tuple[tuple[FileRecord, str], ...]
    content: Content | None = None
    underived: tuple[str, ...] = ()


class Sighting(Struct, frozen=True, gc=False):
    """One line of the export list: its id and its end, local and to the second; None where the list does not tell."""

    id: int
    ends_at: str | None = None


class Transition(Struct, frozen=True, gc=False, array_like=True):
    """A state entered, and when. Stored as a pair, for it is stored at each change."""

    state: State
    at: datetime


class Live(Struct, frozen=True, gc=False, kw_only=True):
    """What follows from the state and is found out anew after a restart; never journaled.

    Attributes:
        polled_boot_seconds: when the last good list arrived.
        polls: good polls since the last trigger, for spacing them.
        listed: how many lines of a long list are read (the next page starts there).
        unidentified: ids that a bare list showed and whose end is still to be asked.
        known: what is known of each id: its end, `""` when nobody can tell.
        doubted: whether those of which nobody could tell were asked again since the last trigger.
        staged: checked downloads not yet in place.
        server_date: newest `Date` header and the boot second it came.
        missed_path: the spelling of the content's path that found nothing: whether it was the doubled one. Absolute,
            since another job may learn meanwhile which of them comes first.
        put_off: exports that could not be read just now, each as often as it was tried, while there were others.
        overtaken: whether later dates of its configuration go on beside it.
        revisited: False while this run still owes a finished job its look.
        templated: whether `template_id` is known to be that of the template as the manifest has it today.
    """

    polled_boot_seconds: float | None = None
    polls: int = 0
    listed: int = 0
    unidentified: tuple[int, ...] = ()
    known: Mapping[int, str] = field(default_factory=dict)
    doubted: bool = False
    staged: tuple[Staged, ...] = ()
    server_date: tuple[datetime, float] | None = None
    missed_path: bool | None = None
    put_off: tuple[int, ...] = ()
    overtaken: bool = False
    revisited: bool = True
    templated: bool = False


class Job(Struct, frozen=True, gc=False):
    """One job, as the journal knows it.

    Attributes:
        id: its number in the journal.
        spec: what is wanted.
        state: where it stands.
        history: every state entered, but for the first `pending`.
        baseline_id: the latest export id before the first trigger, 0 when there was none; never refreshed.
        triggers: when each trigger was let go or answered (or intended, where a crash hides the rest).
        forgiven: how many of them a person's `retry` no longer counts.
        remote_ids: the exports or the report that answer this job.
        foreign_ids: exports seen above the baseline that are not ours.
        superseded_by: an export of this configuration with a later end.
        contents: what each downloaded export said of itself.
        files: named and placed files.
        flags: what a person should know.
        error: why it failed.
        template_id: the template used (reports).
        errors, losses: reports that ended in error; reports that vanished.
        unlisted: whether an export without entries is known from its POST's answer alone: no list was read since.
        live: what only this run knows of it.
    """

    id: int
    spec: Spec
    state: State = State.PENDING
    history: tuple[Transition, ...] = ()
    baseline_id: int | None = None
    triggers: tuple[Stamp, ...] = ()
    forgiven: int = 0
    remote_ids: tuple[int, ...] = ()
    foreign_ids: tuple[int, ...] = ()
    superseded_by: int | None = None
    contents: tuple[Content, ...] = ()
    files: tuple[FileRecord, ...] = ()
    flags: frozenset[Flag] = frozenset()
    error: JobError | None = None
    template_id: int | None = None
    errors: int = 0
    losses: int = 0
    unlisted: bool = False
    live: Live = Live()

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in FINISHED

    @property
    def begun(self) -> bool:
        """Whether it was asked for already, or found."""
        return bool(self.triggers or self.remote_ids)

    @property
    def settled(self) -> bool:
        """Whether nobody has to do anything for it any more: it has arrived, or a person set it aside."""
        return self.state in (DOWNLOADED, SKIPPED)

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody has to look at it; what a person set aside is settled."""
        if self.state is SKIPPED:
            return False
        return self.state is FAILED or bool(self.flags & NEEDS_A_PERSON)

    @property
    def taken_up_again(self) -> bool:
        """Whether it failed for a reason that may be mended: the next run tries it again by itself."""
        return self.state is FAILED and self.error is not None and self.error.code in TAKEN_UP_AGAIN

    @property
    def downloaded_before(self) -> bool:
        """Whether somebody may have paid by it: what was there once and is gone now must not be triggered again."""
        return self.entered(DOWNLOADED)

    def entered(self, state: State) -> bool:
        """Whether it has ever stood in this state; what it began with does not count."""
        return any(transition.state is state for transition in self.history)

    @property
    def label(self) -> str:
        """`tenant/name`, as people and `--only` write it."""
        return f"{self.spec.tenant}/{self.spec.name}"

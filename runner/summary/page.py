"""The morning page: one HTML file for the payroll clerk. Owns what stands where; words and looks are elsewhere.

The page needs nothing but itself: no script, no request. Its policy allows the one style sheet inside it, by digest.
"""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import groupby, islice
from typing import NamedTuple
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, Template

from runner.jobs.model import FileRecord, Job, State
from runner.summary import facts
from runner.summary.document import entry_count, placed_files, relative_path
from runner.summary.night import Night, TenantInfo, ordered, outcome
from runner.summary.texts import Language, Phrasebook

OPEN_CLIENTS = 8
"""Up to so many clients, what arrived is shown unfolded."""
_TEXTS_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class FileView:
    """A link to a file."""

    href: str
    name: str
    size: str


class JobView(NamedTuple):
    """One job in words. A tuple, since a page may hold tens of thousands: it is made in a quarter of the time."""

    name: str
    path: str
    kind: str
    period: str
    entries: str
    entry_count: str
    files: Sequence[FileView]
    remarks: Sequence[str]
    where: str
    next_look: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class IssueView:
    """One trouble of one client, with all the jobs that it befell."""

    bad: bool
    title: str
    what: str
    todo: str
    then: str
    jobs: Sequence[JobView]


@dataclass(frozen=True, slots=True)
class ClientView:
    """One client, under the name people know."""

    name: str
    title: str
    facts: Sequence[str]
    tally: str = ""
    jobs: Sequence[JobView] = ()
    issues: Sequence[IssueView] = ()
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class ProblemView:
    """One fault of the manifest."""

    client: str
    message: str


@dataclass(frozen=True, slots=True)
class TileView:
    """One number of the head, leading to its part of the page."""

    part: str
    n: str
    label: str
    tone: str


@dataclass(frozen=True, slots=True)
class PageView:
    """All that the template shows. What comes as an iterator is put into words while it is written, and shown once.

    Attributes:
        shown: how many clients or jobs each part has.
        some_orphans: whether some that are waited for are no longer in the manifest.
    """

    title: str
    tone: str
    badge: str
    verdict: Sequence[str]
    running: Sequence[str]
    reason: str
    tiles: Sequence[TileView]
    shown: Mapping[str, int]
    some_orphans: bool
    act: Iterator[ClientView]
    waiting: Iterator[tuple[ClientView, JobView]]
    arrived: Iterator[ClientView]
    unfolded: bool
    skipped: Iterator[tuple[ClientView, JobView]]
    problems: Sequence[ProblemView]
    notices: Sequence[str]
    footer: str


def page_pieces(night: Night, language: Language) -> Iterator[bytes]:
    """The page as a whole HTML file, piece by piece: of a night of any size only a few clients are held as text.

    Args:
        night: what is told.
        language: of the words.
    """
    words = Phrasebook(language, night.timezone)
    style, digest = _style()
    texts = _template().generate(view=_Builder(night, words).view(), t=words, style=style, digest=digest)
    while text := "".join(islice(texts, _TEXTS_AT_ONCE)):
        # Half a character can come out of a server's message, and no file could hold it.
        yield text.encode("utf-8", "replace")


def verdict_line(night: Night, language: Language) -> str:
    """The night in one line of text, for a terminal or a notice."""
    return " ".join(verdict(night, Phrasebook(language, night.timezone)))


def verdict(night: Night, words: Phrasebook) -> list[str]:
    """The night in a few sentences; the first thing on the page."""
    jobs = [job for job in night.jobs if job.state is not State.SKIPPED]
    arrived = sum(job.state is State.DOWNLOADED for job in jobs)
    act = len({job.spec.tenant for job in jobs if _needs_action(job)})
    waiting = [job for job in jobs if not job.finished]
    running = night.finished_at is None
    told = [_arrivals(jobs, arrived, words, running=running)]
    if act:
        told.append(words.count("verdict.act", act))
    if waiting:
        told.append(
            words.count("verdict.waiting", len(waiting), things=_things(waiting, len(waiting), words))
        )
    if night.problems:
        told.append(words.count("verdict.problems", len(night.problems)))
    if outcome(night) == "ok":
        told.append(words("verdict.nothing_to_do"))
    return told


def _arrivals(jobs: Sequence[Job], arrived: int, words: Phrasebook, *, running: bool) -> str:
    if not jobs:
        return words("verdict.none")
    total = words.number(len(jobs))
    # `1 export sur 2`, `1 of 2 exports`: in English the noun goes with the number next to it.
    things = _things(jobs, arrived if words.language == "fr" else len(jobs), words)
    if running:
        return words.count("verdict.so_far", arrived, total=total, things=things)
    if not arrived:
        return words.count("verdict.none_arrived", len(jobs))
    key = "verdict.all" if arrived == len(jobs) else "verdict.some"
    return words.count(key, arrived, total=total, things=things)


def _things(jobs: Iterable[Job], n: int, words: Phrasebook) -> str:
    """`exports`, `rapports`, or both, in the number asked for."""
    kinds = {job.spec.kind for job in jobs}
    return words.count(f"things.{'both' if len(kinds) > 1 else kinds.pop()}", n)


def _needs_action(job: Job) -> bool:
    return job.finished and job.needs_a_person


def _is_good(job: Job) -> bool:
    return job.state is State.DOWNLOADED and not job.needs_a_person


class _Builder:
    """Puts one night into words, part by part."""

    def __init__(self, night: Night, words: Phrasebook) -> None:
        self.night = night
        self.words = words
        self.running = night.finished_at is None

    def view(self) -> PageView:
        words, night = self.words, self.night
        by_tenant: dict[str, list[Job]] = defaultdict(list)
        for job in ordered(night.jobs):
            by_tenant[job.spec.tenant].append(job)
        lots = [(tenant, by_tenant[tenant]) for tenant in sorted(by_tenant, key=self._sort_key)]
        act = [(tenant, some) for tenant, jobs in lots if (some := [j for j in jobs if _needs_action(j)])]
        good = [(tenant, some) for tenant, jobs in lots if (some := [j for j in jobs if _is_good(j)])]
        waiting = [job for _, jobs in lots for job in jobs if not job.finished]
        skipped = [job for _, jobs in lots for job in jobs if job.state is State.SKIPPED]
        in_act = {tenant for tenant, _ in act}
        word = outcome(night)
        return PageView(
            title=words("title", day=words.day(night.date)),
            tone={"ok": "good", "failed": "bad", "incomplete": "warn", "running": "info"}[word],
            badge=words(f"outcome.{word}"),
            verdict=verdict(night, words),
            running=[words("running.now", time=words.time(night.now)), words("running.dead")]
            if self.running
            else [],
            reason=self._reason(),
            tiles=self._tiles(len(act), len(waiting), len(skipped)),
            shown={"act": len(act), "waiting": len(waiting), "arrived": len(good), "skipped": len(skipped)},
            some_orphans=any(job.id in night.orphans for job in waiting),
            act=(self._to_do(tenant, jobs) for tenant, jobs in act),
            waiting=self._rows(waiting),
            arrived=(self._arrived(tenant, jobs, elsewhere=tenant in in_act) for tenant, jobs in good),
            unfolded=len(good) <= OPEN_CLIENTS,
            skipped=self._rows(skipped),
            problems=[ProblemView(self._problem_title(p.tenant), p.message) for p in night.problems],
            notices=list(night.notices),
            footer=words(
                "footer",
                moment=words.moment(night.now),
                zone=night.timezone.key,
                started=words.moment(night.started_at),
            ),
        )

    # ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _reason(self) -> str:
        reason = self.night.reason
        if not reason or self.running:
            return ""
        key = f"reason.{reason}"
        return self.words(key) if self.words.has(key) else self.words("reason.other", reason=reason)

    def _tiles(self, act: int, waiting: int, skipped: int) -> list[TileView]:
        arrived = sum(job.state is State.DOWNLOADED for job in self.night.jobs)
        rows = (
            ("act", act, "bad" if act else "plain"),
            ("waiting", waiting, "warn" if waiting else "plain"),
            ("arrived", arrived, "good" if arrived else "plain"),
            ("skipped", skipped, "plain"),
        )
        return [
            TileView(part, self.words.number(n), self.words.count(f"tile.{part}", n), tone)
            for part, n, tone in rows
            if n or part != "skipped"
        ]

    def _to_do(self, tenant: str, jobs: Sequence[Job]) -> ClientView:
        befell: dict[tuple[str, bool], list[Job]] = defaultdict(list)
        for job in jobs:
            for key in facts.issues(job):
                befell[key, job.id in self.night.orphans].append(job)
        return self._client(tenant, issues=[self._issue(*kind, befell[kind]) for kind in sorted(befell)])

    def _issue(self, key: str, orphan: bool, jobs: Sequence[Job]) -> IssueView:  # noqa: FBT001 - the fact itself
        words = self.words
        bad = key.startswith("error.")
        again = "act.orphan" if orphan else "act.again" if jobs[0].taken_up_again else "act.stays"
        then = words(again) if bad else ""
        return IssueView(
            bad=bad,
            title=words(f"{key}.title"),
            what=words(f"{key}.what"),
            todo=words(f"{key}.todo"),
            then=then,
            jobs=[self._job(job, in_table=False) for job in jobs],
        )

    def _arrived(self, tenant: str, jobs: Sequence[Job], *, elsewhere: bool) -> ClientView:
        kinds = [
            self.words.count("client.jobs", len(some), things=_things(some, len(some), self.words))
            for kind in ("export", "report")
            if (some := [job for job in jobs if job.spec.kind == kind])
        ]
        return self._client(
            tenant, tally=", ".join(kinds), jobs=[self._job(job) for job in jobs], elsewhere=elsewhere
        )

    def _rows(self, jobs: Iterable[Job]) -> Iterator[tuple[ClientView, JobView]]:
        for tenant, some in groupby(jobs, key=lambda job: job.spec.tenant):
            client = self._client(tenant)
            for job in some:
                yield client, self._job(job)

    # ── pieces ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _info(self, tenant: str) -> TenantInfo:
        return self.night.tenants.get(tenant) or TenantInfo(name=tenant)

    def _title(self, tenant: str) -> str:
        return self._info(tenant).label or tenant

    def _sort_key(self, tenant: str) -> tuple[str, str]:
        return self._title(tenant).casefold(), tenant

    def _problem_title(self, tenant: str | None) -> str:
        return self.words("client.unknown") if tenant is None else self._title(tenant)

    def _client(
        self,
        tenant: str,
        *,
        tally: str = "",
        jobs: Sequence[JobView] = (),
        issues: Sequence[IssueView] = (),
        elsewhere: bool = False,
    ) -> ClientView:
        info = self._info(tenant)
        told = [tenant] if info.label and info.label != tenant else []
        if info.dossier:
            told.append(self.words("client.dossier", dossier=info.dossier))
        if info.owner:
            told.append(self.words("client.owner", owner=info.owner))
        return ClientView(
            name=tenant,
            title=self._title(tenant),
            facts=told,
            tally=tally,
            jobs=jobs,
            issues=issues,
            elsewhere=elsewhere,
        )

    def _job(self, job: Job, *, in_table: bool = True) -> JobView:
        """Outside of a table, whose columns say what a number counts, that is said with the number."""
        words, night = self.words, self.night
        entries = entry_count(job)
        unfinished = not job.finished
        return JobView(
            name=job.spec.name,
            path=job.label,
            kind=words(f"kind.{job.spec.kind}"),
            period=facts.period(job, words),
            # Of several versions each is told by itself: their sum would be taken for something to import.
            entries=words.count("entries", entries)
            if not in_table and entries is not None and len(job.contents) < 2
            else "",
            entry_count="–" if entries is None else words.number(entries),
            files=[self._file(record) for record in placed_files(job)],
            remarks=facts.remarks(job, words, night.date),
            where=facts.where(job, words, running=self.running) if unfinished else "",
            next_look=facts.next_look(
                job, words, night.policy, running=self.running, orphan=job.id in night.orphans
            )
            if unfinished
            else "",
            code=job.error.code if job.error else "",
            message=job.error.message if job.error else "",
        )

    def _file(self, record: FileRecord) -> FileView:
        path = relative_path(record, self.night)
        return FileView(quote(path), path.rsplit("/", 1)[-1], self.words.size(record.size_bytes))


@cache
def _style() -> tuple[str, str]:
    """The style sheet, and its digest for the content security policy."""
    text = resources.files("runner.summary").joinpath("style.css").read_text(encoding="utf-8")
    return text, base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _template() -> Template:
    text = resources.files("runner.summary").joinpath("index.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)

"""Single exchanges in the rarer turns they take: nothing left, bare lists, templates and reports that are gone."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from runner.app.nightly import Nightly
from runner.credentials import Secret
from runner.jobs import model as m
from runner.jobs.agenda import Policy
from runner.lucca import Purpose, Request
from runner.sandbox import (
    Configuration,
    Cut,
    Fault,
    FaultRule,
    Hang,
    Html,
    RawBody,
    Reports,
    RequestRecord,
    StaffExport,
    Status,
    TenantScenario,
    Trigger,
)
from runner.transport import Answer, NotSentError, Stream, TransportError, UnreachableError
from runner.turns import SenderPort
from tests.nights import BODY, DOMAIN, TONIGHT, Setting, Told, export, night, report, tenant
from tests.virtual import VirtualSandbox


def host(**changes: Any) -> TenantScenario:
    return TenantScenario(**{"domain": DOMAIN, "requests_per_minute": 100_000, **changes})


class Unsent:
    """A network that loses the first so many POSTs of an export before a byte of them left."""

    def __init__(self, sender: SenderPort, error: TransportError, times: int) -> None:
        self.sender = sender
        self.error = error
        self.times = times

    async def send(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Answer:
        if request.purpose is Purpose.TRIGGER and self.times:
            self.times -= 1
            raise self.error
        return await self.sender.send(domain, key, request, left)

    async def download(self, domain: str, key: Secret, request: Request, left: Callable[[], None]) -> Stream:
        return await self.sender.download(domain, key, request, left)


def unsent(error: TransportError, times: int) -> Setting:
    return Setting(sender=lambda sender: Unsent(sender, error, times))


def test_a_post_that_never_left_is_sent_again_without_waiting_the_hour_and_does_not_count(
    tmp_path: Path,
) -> None:
    told = night(tmp_path, [tenant(exports=[export()])], setting=unsent(NotSentError("refused"), 7))
    job = told.jobs["acme/payroll"]
    assert (told.code, len(job.triggers), len(told.triggers)) == (0, 1, 1)
    assert told.seconds < 120


def test_a_host_that_does_not_exist_is_told_and_nothing_counts_as_sent(tmp_path: Path) -> None:
    told = night(tmp_path, [tenant(exports=[export()])], setting=unsent(UnreachableError("no such host"), 9))
    job = told.jobs["acme/payroll"]
    assert job.error is not None
    assert (told.code, job.error.code, job.triggers) == (3, m.ErrorCode.UNREACHABLE, ())
    assert f"acme/payroll ({DOMAIN})" in job.error.message
    assert "check the domain in the manifest" in job.error.message


# ── lists that do not tell the end ───────────────────────────────────────────────────────────────────────────────


SLOW = Configuration(trigger=Trigger(seconds=60.0))
BY_HAND = StaffExport(at_seconds=-100.0, ends_at=TONIGHT.replace(day=23))


def test_a_bare_list_is_completed_by_asking_each_export(tmp_path: Path) -> None:
    told = night(tmp_path, [tenant(exports=[export()])], [host(bare_lists=True, configurations=(SLOW,))])
    job = told.jobs["acme/payroll"]
    assert (told.code, job.remote_ids, len(told.triggers)) == (0, (341,), 1)
    assert told.asked("item")


@pytest.mark.parametrize("path", ["plain", "doubled"])
def test_under_a_bare_list_an_export_made_by_hand_is_adopted(path: Any, tmp_path: Path) -> None:
    bare = host(bare_lists=True, content_path=path, staff_exports=(BY_HAND,))
    told = night(tmp_path, [tenant(exports=[export()])], [bare])
    job = told.jobs["acme/payroll"]
    assert (told.code, set(job.flags), len(told.triggers)) == (0, {m.Flag.ADOPTED}, 0)


ITEM_LIES: dict[str, Fault] = {
    "a page": Html(),
    "another export": RawBody('{"data": {"id": 7, "endsAt": "2026-11-23T00:00:00"}}'),
    "a list": RawBody('{"data": []}'),
    "no id": RawBody('{"data": {"endsAt": "2026-11-23T00:00:00"}}'),
    "no date": RawBody('{"data": {"id": 341, "endsAt": "soon"}}'),
}


@pytest.mark.parametrize("fault", ITEM_LIES.values(), ids=ITEM_LIES)
def test_an_export_that_lies_about_itself_is_asked_again_and_then_a_bad_answer(
    fault: Fault, tmp_path: Path
) -> None:
    for last, code, error in ((2, 0, None), (10**9, 3, m.ErrorCode.BAD_ANSWER)):
        lying = host(
            bare_lists=True,
            staff_exports=(BY_HAND,),
            faults=(FaultRule(fault=fault, kind="item", last=last),),
        )
        told = night(tmp_path / str(last), [tenant(exports=[export()])], [lying])
        found = told.jobs["acme/payroll"].error
        assert (told.code, found.code if found else None, told.triggers) == (code, error, [])


def test_a_late_first_export_is_found_though_a_later_number_was_seen_before_the_second_trigger(
    tmp_path: Path,
) -> None:
    """Lucca may number an export when it begins. Were the baseline taken anew, this one would lie below it for ever."""
    late = Trigger(seconds=4000.0, answer=Status(504), numbered_early=True)
    lost = Trigger(completes=False, answer=Status(504))
    by_hand = StaffExport(at_seconds=1800.0, ends_at=date(2026, 11, 16))
    told = night(
        tmp_path,
        [tenant(exports=[export()])],
        [host(configurations=(Configuration(triggers=(late, lost)),), staff_exports=(by_hand,))],
    )
    assert told.code == 0
    job, (first, second) = told.jobs["acme/payroll"], told.triggers
    assert (job.state, job.remote_ids, second.export_id) == (m.State.DOWNLOADED, (first.export_id,), None)
    (theirs,) = job.foreign_ids
    assert theirs > job.remote_ids[0]


@pytest.mark.parametrize("longest_page", [10, 50, 1000])
@pytest.mark.parametrize("bare_lists", [False, True])
def test_behind_hundreds_of_strangers_ours_is_found_by_every_poll(
    bare_lists: bool, longest_page: int, tmp_path: Path
) -> None:
    """The polls before ours came have read every line of the first pages, as long as the host allows them to be."""
    crowd = tuple(StaffExport(at_seconds=5.0 + n, ends_at=date(2026, 11, 16)) for n in range(230))
    busy = host(
        bare_lists=bare_lists,
        longest_page=longest_page,
        staff_exports=crowd,
        configurations=(Configuration(trigger=Trigger(seconds=900.0, answer=Status(504))),),
    )
    told = night(tmp_path, [tenant(exports=[export()])], [busy])
    job = told.jobs["acme/payroll"]
    assert (told.code, job.state, len(told.triggers)) == (0, m.State.DOWNLOADED, 1)
    assert len(job.foreign_ids) == len(crowd)


def test_a_server_that_shows_the_same_full_page_for_ever_is_asked_for_it_twice_a_poll(tmp_path: Path) -> None:
    lines = ", ".join(f'{{"id": {400 + n}, "endsAt": "2026-11-16T00:00:00"}}' for n in range(100))
    page = FaultRule(fault=RawBody(f'{{"data": {{"items": [{lines}]}}}}'), kind="poll", last=10**9)
    pageless = host(faults=(page,), configurations=(Configuration(trigger=Trigger(answer=Status(504))),))
    told = night(tmp_path, [tenant(exports=[export()])], [pageless], Setting(until_seconds=1800.0))
    job = told.jobs["acme/payroll"]
    assert (told.code, job.state, len(job.foreign_ids)) == (4, m.State.POLLING, 100)
    assert 2 * 60 <= len(told.asked("poll")) <= 2 * 66


def test_an_export_that_the_list_shows_before_it_can_be_read_is_not_asked_for_a_second_time(
    tmp_path: Path,
) -> None:
    late = host(
        bare_lists=True,
        faults=(FaultRule(fault=Status(404), kind="item", first=2, last=5),),
        configurations=(Configuration(trigger=Trigger(seconds=60.0, answer=Status(504))),),
    )
    told = night(tmp_path, [tenant(exports=[export()])], [late])
    job = told.jobs["acme/payroll"]
    assert (told.code, job.state, len(told.triggers), job.foreign_ids) == (0, m.State.DOWNLOADED, 1, ())


def test_where_polls_are_few_what_could_not_be_read_is_asked_once_more_before_another_is_asked_for(
    tmp_path: Path,
) -> None:
    """Its page answers 404 to the one poll that finds it, and the next asks nothing again: the hour comes first."""
    late = host(
        bare_lists=True,
        configurations=(
            Configuration(trigger=Trigger(seconds=60.0, answer=Status(504), unread_seconds=300.0)),
        ),
    )
    few = Setting(policy=Policy(export_poll_interval_seconds=1800.0))
    told = night(tmp_path, [tenant(exports=[export()])], [late], few)
    job = told.jobs["acme/payroll"]
    assert (told.code, job.state, len(told.triggers), job.foreign_ids) == (0, m.State.DOWNLOADED, 1, ())


def test_an_export_that_was_archived_meanwhile_is_nobodys(tmp_path: Path) -> None:
    gone = host(
        bare_lists=True,
        faults=(FaultRule(fault=Status(404), kind="item", last=10**9),),
        configurations=(SLOW,),
    )
    told = night(tmp_path, [tenant(exports=[export()])], [gone], Setting(until_seconds=1800.0))
    assert told.code == 4
    assert len(told.triggers) == 1
    assert told.jobs["acme/payroll"].state is m.State.POLLING


def test_an_export_that_ends_with_the_end_of_days_breaks_no_night(tmp_path: Path) -> None:
    """.NET's last moment, told in UTC, has no midnight after it. It is a later end than ours all the same."""
    open_ended = RawBody('{"data": {"items": [{"id": 340, "endsAt": "9999-12-31T23:59:59.9999999Z"}]}}')
    told = night(
        tmp_path, [tenant(exports=[export()])], [host(faults=(FaultRule(fault=open_ended, kind="list"),))]
    )
    error = told.jobs["acme/payroll"].error
    assert error is not None
    assert (told.code, error.code, told.triggers) == (3, m.ErrorCode.SUPERSEDED, [])


GONE = FaultRule(fault=Status(404), kind="content", last=10**9)
DOWN = FaultRule(fault=Status(503), kind="content", last=10**9)


@pytest.mark.parametrize("bare_lists", [False, True])
def test_content_that_is_not_found_for_a_moment_after_its_list_fails_no_night(
    bare_lists: bool, tmp_path: Path
) -> None:
    """Nor would it help to mend the manifest, as its error says of an export that stays unknown."""
    late = host(
        bare_lists=bare_lists,
        faults=(FaultRule(fault=Status(404), kind="content", last=4),),
        configurations=(Configuration(trigger=Trigger(seconds=60.0, answer=Status(504))),),
    )
    told = night(tmp_path, [tenant(exports=[export()])], [late])
    job = told.jobs["acme/payroll"]
    assert (told.code, job.state, len(told.triggers)) == (0, m.State.DOWNLOADED, 1)
    assert len(told.asked("content")) == 5
    assert len(told.files()) == 1


def test_a_downloaded_export_whose_content_is_not_found_for_a_moment_is_fetched_again(tmp_path: Path) -> None:
    by_hand = StaffExport(at_seconds=-60, ends_at=date(2026, 11, 23))
    first = night(
        tmp_path, [tenant(exports=[export()])], [host(staff_exports=(by_hand,))], Setting(kept=True)
    )
    (file,) = first.files()
    (first.folder / file).unlink()
    late = host(staff_exports=(by_hand,), faults=(FaultRule(fault=Status(404), kind="content", last=3),))
    told = night(tmp_path, [tenant(exports=[export()])], [late], Setting(kept=True))
    assert (told.code, told.triggers, len(told.asked("content"))) == (0, [], 5)
    assert [*told.files()] == [file]


def test_an_export_that_was_downloaded_once_is_never_triggered_again_though_it_is_gone_with_its_file(
    tmp_path: Path,
) -> None:
    """Its hours may be paid by now. Staff archive what is done, and a file may be lost long after."""
    lost = Configuration(triggers=(Trigger(answer=Status(504)),))
    first = night(tmp_path, [tenant(exports=[export()])], [host(configurations=(lost,))], Setting(kept=True))
    (file,) = first.files()
    (first.folder / file).unlink()
    told = night(tmp_path, [tenant(exports=[export()])], [host(faults=(GONE,))], Setting(kept=True))
    job = told.jobs["acme/payroll"]
    assert job.error is not None
    assert (told.code, job.error.code, len(first.triggers), told.triggers) == (
        3,
        m.ErrorCode.NOT_FOUND,
        1,
        [],
    )
    assert f"export {job.remote_ids[0]}" in job.error.message


def test_an_export_that_was_downloaded_once_is_never_triggered_again_though_it_tells_another_end_now(
    tmp_path: Path,
) -> None:
    first = night(tmp_path, [tenant(exports=[export()])], setting=Setting(kept=True))
    (file,) = first.files()
    (first.folder / file).unlink()
    (id_,) = first.jobs["acme/payroll"].remote_ids
    other = RawBody(f'{{"data": {{"id": {id_}, "endsAt": "2026-11-16T00:00:00", "entries": []}}}}')
    lying = host(faults=(FaultRule(fault=other, kind="content", last=10**9),))
    told = night(tmp_path, [tenant(exports=[export()])], [lying], Setting(kept=True))
    job = told.jobs["acme/payroll"]
    assert job.error is not None
    assert (told.code, job.error.code, told.triggers) == (3, m.ErrorCode.BAD_ANSWER, [])


def test_an_adopted_export_that_staff_replaced_before_it_was_downloaded_stands_in_nobodys_way(
    tmp_path: Path,
) -> None:
    def by_hand(*, archived: bool = False) -> StaffExport:
        return StaffExport(at_seconds=-60, ends_at=date(2026, 11, 23), archived=archived)

    troubled = host(staff_exports=(by_hand(),), faults=(DOWN,))
    first = night(
        tmp_path,
        [tenant(exports=[export(empty_ok=True)])],
        [troubled],
        Setting(kept=True, until_seconds=600.0),
    )
    assert first.code == 4
    (old,) = first.jobs["acme/payroll"].remote_ids
    replaced = host(
        staff_exports=(by_hand(archived=True), by_hand()),
        faults=(FaultRule(fault=Status(404), kind="content", last=2),),
    )
    told = night(tmp_path, [tenant(exports=[export(empty_ok=True)])], [replaced], Setting(kept=True))
    job = told.jobs["acme/payroll"]
    assert (told.code, job.state, told.triggers) == (0, m.State.DOWNLOADED, [])
    assert job.remote_ids > (old,)


@pytest.mark.parametrize("empty_ok", [True, False])
def test_hours_that_staff_exported_between_our_look_and_our_post_are_not_lost(
    empty_ok: bool, tmp_path: Path
) -> None:
    """What the POST makes then is empty, and that alone would be paid by."""
    theirs = StaffExport(at_seconds=3.0, ends_at=date(2026, 11, 23))
    crossed = host(
        latency_seconds=2.0,
        staff_exports=(theirs,),
        configurations=(Configuration(trigger=Trigger(seconds=3.0)),),
    )
    told = night(tmp_path, [tenant(exports=[export(empty_ok=empty_ok)])], [crossed])
    job = told.jobs["acme/payroll"]
    assert (told.code, job.state, job.flags, len(told.triggers)) == (
        3,
        m.State.DOWNLOADED,
        frozenset({m.Flag.DUPLICATE}),
        1,
    )
    assert sorted(content.entries > 0 for content in job.contents) == [False, True]
    assert len(told.files()) == 2


@pytest.mark.parametrize(
    "fault, state, code",
    [
        (Status(500), m.State.DOWNLOADING, 4),
        (Status(404), m.State.FAILED, 3),
        (Status(403), m.State.FAILED, 3),
        (Html(), m.State.FAILED, 3),
        (Hang(), m.State.DOWNLOADING, 4),
        (Cut(10), m.State.FAILED, 3),
    ],
    ids=["500", "404", "403", "HTML", "silence", "cut"],
)
def test_of_several_exports_one_that_cannot_be_had_keeps_no_other_from_the_disk(
    fault: Fault, state: m.State, code: int, tmp_path: Path
) -> None:
    """Its generation broke, perhaps, and the other one holds the hours."""
    twice = tuple(StaffExport(at_seconds=-60.0 * n, ends_at=date(2026, 11, 23)) for n in (2, 1))
    broken: list[str] = []

    def bend(record: RequestRecord) -> Fault | None:
        if record.kind == "content" and not broken:
            broken.append(record.path.rpartition("/")[2])
        return fault if broken and record.path.endswith(broken[0]) else None

    setting = Setting(bend=bend, until_seconds=900.0)
    told = night(tmp_path, [tenant(exports=[export()])], [host(staff_exports=twice)], setting)
    job = told.jobs["acme/payroll"]
    assert (told.code, job.state, len(job.remote_ids), told.triggers) == (code, state, 2, [])
    (file,) = told.files()
    assert file.endswith(f"-{(set(map(str, job.remote_ids)) - {*broken}).pop()}.json")


@pytest.mark.parametrize("fault", [Status(500), Hang(), RawBody("{}")], ids=["500", "silence", "no export"])
def test_a_strangers_export_that_cannot_be_read_for_ever_keeps_ours_from_nobody(
    fault: Fault, tmp_path: Path
) -> None:
    """Where lists tell no ends each is asked itself, and ours may come after it."""
    theirs = StaffExport(at_seconds=30.0, ends_at=date(2026, 11, 20))
    slow = Trigger(seconds=900.0)
    shown = host(bare_lists=True, staff_exports=(theirs,), configurations=(Configuration(trigger=slow),))
    seen: list[str] = []

    def bend(record: RequestRecord) -> Fault | None:
        if record.kind == "item" and record.at_seconds > 1015.0 and not seen:
            seen.append(record.path)
        return fault if record.path in seen else None

    told = night(tmp_path, [tenant(exports=[export()])], [shown], Setting(bend=bend))
    job = told.jobs["acme/payroll"]
    assert (told.code, job.state, len(told.triggers)) == (0, m.State.DOWNLOADED, 1)
    assert [f"/api/v3/timmiexports/{id_}" for id_ in job.foreign_ids] == seen


def test_nothing_is_triggered_again_while_an_export_that_came_cannot_be_read(tmp_path: Path) -> None:
    """It may be ours."""
    shown = host(bare_lists=True, configurations=(Configuration(trigger=Trigger(seconds=60.0)),))

    def bend(record: RequestRecord) -> Fault | None:
        late = 1050.0 < record.at_seconds < 1000.0 + 5 * 3600.0
        return Status(500) if record.kind == "item" and late else None

    told = night(tmp_path, [tenant(exports=[export()])], [shown], Setting(bend=bend))
    assert (told.code, len(told.triggers)) == (0, 1)
    assert told.seconds > 5 * 3600.0


@pytest.mark.parametrize("fault", [Status(429, retry_after="30"), Status(503, retry_after="30"), Status(401)])
def test_a_host_that_wants_patience_or_another_key_is_not_asked_for_the_other_export_at_once(
    fault: Fault, tmp_path: Path
) -> None:
    twice = tuple(StaffExport(at_seconds=-60.0 * n, ends_at=date(2026, 11, 23)) for n in (2, 1))

    def bend(record: RequestRecord) -> Fault | None:
        return fault if record.kind == "content" else None

    setting = Setting(bend=bend, until_seconds=25.0)
    told = night(tmp_path, [tenant(exports=[export()])], [host(staff_exports=twice)], setting)
    assert len(told.asked("content")) == 1


@pytest.mark.parametrize("stopped", [True, False])
def test_an_export_without_entries_is_looked_at_before_a_later_date_is_asked_for(
    stopped: bool, tmp_path: Path
) -> None:
    """Its own tenant's next export would be taken for a stranger that holds its hours."""

    async def stops(nightly: Nightly, sandbox: VirtualSandbox) -> None:
        await sandbox.clock.wait(30.0)
        nightly.stop("SIGTERM")

    def bend(record: RequestRecord) -> Fault | None:
        return Status(503) if record.kind == "poll" and record.nth_of_kind < 3 else None

    dates = [export(empty_ok=True), export("later", ends_at="daily", empty_ok=True)]
    tenants = [tenant(exports=dates[:1] if stopped else dates)]
    nothing = host(configurations=(Configuration(entry_weekdays=()),))
    if stopped:
        night(tmp_path, tenants, [nothing], Setting(kept=True, beside=stops, requests_per_minute=3))
    told = night(tmp_path, [tenant(exports=dates)], [nothing], Setting(kept=True, bend=bend))
    assert [record.kind for record in told.asked()][-5:-2] == ["poll", "list", "trigger"]
    assert (told.code, {job.flags for job in told.jobs.values()}) == (0, {frozenset()})


@pytest.mark.parametrize("bare_lists", [False, True])
@pytest.mark.parametrize("empty_ok", [True, False])
def test_an_export_of_another_end_that_took_our_hours_just_before_our_post_is_named(
    empty_ok: bool, bare_lists: bool, tmp_path: Path
) -> None:
    """Ours is empty then, and not for want of hours."""
    theirs = StaffExport(at_seconds=3.0, ends_at=date(2026, 11, 24))
    crossed = host(
        latency_seconds=2.0,
        bare_lists=bare_lists,
        staff_exports=(theirs,),
        configurations=(Configuration(trigger=Trigger(seconds=3.0), history=0),),
    )
    told = night(tmp_path, [tenant(exports=[export(empty_ok=empty_ok)])], [crossed])
    (job,) = told.document["jobs"]
    (staff,) = {id_ for _, id_ in told.entries} - {*job["remote_ids"]}
    assert (told.code, job["state"], job["entries"]) == (3, "downloaded", 0)
    assert job["flags"] == ["empty", "foreign"]
    assert (job["foreign_ids"], job["superseded_by"]) == ([staff], staff)


@pytest.mark.parametrize("empty_ok", [True, False])
def test_a_run_that_is_stopped_before_it_looks_for_them_leaves_the_look_to_the_next(
    empty_ok: bool, tmp_path: Path
) -> None:
    async def stops(nightly: Nightly, sandbox: VirtualSandbox) -> None:
        await sandbox.clock.wait(30.0)
        nightly.stop("SIGTERM")

    tenants = [tenant(exports=[export(empty_ok=empty_ok)])]
    nothing = host(configurations=(Configuration(entry_weekdays=()),))
    setting = Setting(kept=True, beside=stops, requests_per_minute=3)
    cut = night(tmp_path, tenants, [nothing], setting)
    assert (cut.code, len(cut.asked()), cut.jobs["acme/payroll"].state) == (143, 3, m.State.DOWNLOADED)
    told = night(tmp_path, tenants, [nothing], Setting(kept=True))
    assert [record.kind for record in told.asked()] == ["poll"]
    again = night(tmp_path, tenants, [nothing], Setting(kept=True))
    assert (again.code, again.asked()) == (0 if empty_ok else 3, [])


def test_an_export_that_a_list_showed_and_that_is_gone_is_named_though_another_takes_its_place(
    tmp_path: Path,
) -> None:
    lost = Configuration(triggers=(Trigger(answer=Status(504)),))
    setting = Setting(kept=True, until_seconds=600.0)
    first = night(
        tmp_path, [tenant(exports=[export()])], [host(configurations=(lost,), faults=(DOWN,))], setting
    )
    (old,) = first.jobs["acme/payroll"].remote_ids
    archived = StaffExport(at_seconds=-60, ends_at=date(2026, 11, 23), archived=True)
    gone = host(staff_exports=(archived,), faults=(FaultRule(fault=Status(404), kind="content", last=2),))
    told = night(tmp_path, [tenant(exports=[export(empty_ok=True)])], [gone], Setting(kept=True))
    job = told.jobs["acme/payroll"]
    assert (told.code, job.state, job.foreign_ids) == (0, m.State.DOWNLOADED, (old,))
    assert old not in job.remote_ids


def test_of_two_exports_the_one_that_staff_archived_does_not_keep_back_the_other(tmp_path: Path) -> None:
    twins = (StaffExport(at_seconds=-60, ends_at=date(2026, 11, 23)),) * 2
    first = night(
        tmp_path,
        [tenant(exports=[export(empty_ok=True)])],
        [host(staff_exports=twins, faults=(DOWN,))],
        Setting(kept=True, until_seconds=600.0),
    )
    _, other = first.jobs["acme/payroll"].remote_ids
    gone = host(staff_exports=twins, faults=(FaultRule(fault=Status(404), kind="content", last=2),))
    told = night(tmp_path, [tenant(exports=[export(empty_ok=True)])], [gone], Setting(kept=True))
    job = told.jobs["acme/payroll"]
    assert (told.code, job.state, job.remote_ids, told.triggers) == (0, m.State.DOWNLOADED, (other,), [])


def test_a_refusal_to_tell_the_end_is_a_definite_no(tmp_path: Path) -> None:
    refusing = host(bare_lists=True, faults=(FaultRule(fault=Status(403), kind="item", last=9),))
    told = night(tmp_path, [tenant(exports=[export()])], [refusing])
    error = told.jobs["acme/payroll"].error
    assert error is not None
    assert (error.code, told.triggers) == (m.ErrorCode.FORBIDDEN, [])


# ── templates and reports that are gone ──────────────────────────────────────────────────────────────────────────


def played(tmp_path: Path, reports: Reports, template: m.TemplateBody | m.TemplateId) -> Told:
    return night(tmp_path, [tenant(reports=[report(template=template)])], [host(reports=reports)])


@pytest.mark.parametrize("status", [403, 404])
def test_a_template_that_vanished_is_made_once_more(status: Any, tmp_path: Path) -> None:
    told = played(tmp_path, Reports(vanishing_templates=1, vanished_status=status), BODY)
    assert (told.code, len(told.asked("template.create")), len(told.asked("report.create"))) == (0, 2, 2)


def test_a_template_that_vanishes_again_is_a_definite_no(tmp_path: Path) -> None:
    told = played(tmp_path, Reports(vanishing_templates=9), BODY)
    error = told.jobs["acme/times"].error
    assert error is not None
    assert (told.code, error.code, len(told.asked("template.create"))) == (3, m.ErrorCode.NOT_FOUND, 2)


def test_a_content_that_nobody_may_use_is_made_twice_in_a_night_however_many_reports_share_it(
    tmp_path: Path,
) -> None:
    """Each of them would leave a template with the client, every night."""
    told = night(
        tmp_path,
        [tenant(reports=[report(f"r{number}", BODY) for number in range(4)])],
        [host(reports=Reports(vanishing_templates=9, vanished_status=403))],
    )
    codes = [job.error.code for job in told.jobs.values() if job.error]
    assert (codes, len(told.asked("template.create"))) == ([m.ErrorCode.FORBIDDEN] * 4, 2)


def test_of_two_keys_of_a_host_each_may_have_the_template_made_once_more(tmp_path: Path) -> None:
    """A template may be reachable for the key alone that made it."""
    refused = tuple(FaultRule(fault=Status(403), kind="report.create", first=nth, last=nth) for nth in (1, 3))
    tenants = [tenant(reports=[report("a", BODY)]), tenant(reports=[report("b", BODY)], name="second")]
    told = night(tmp_path, tenants, [host(faults=refused)])
    assert (told.code, len(told.asked("template.create"))) == (0, 3)


def test_a_template_that_was_made_anew_while_a_report_stood_aside_is_the_one_that_it_takes(
    tmp_path: Path,
) -> None:
    """The first POST is in trouble, so the second report goes first; it finds that the template is gone."""
    faults = tuple(
        FaultRule(fault=Status(status), kind="report.create", first=nth, last=nth)
        for nth, status in ((1, 503), (2, 404), (4, 404))
    )
    told = night(tmp_path, [tenant(reports=[report("a", BODY), report("b", BODY)])], [host(faults=faults)])
    assert (told.code, len(told.asked("report.create"))) == (0, 5)
    assert len(told.asked("template.create")) == 2


def test_a_template_that_was_refused_twice_is_made_anew_by_the_next_run(tmp_path: Path) -> None:
    reports = [report(template=BODY)]
    hosts = [host(reports=Reports(vanishing_templates=9))]
    assert night(tmp_path, [tenant(reports=reports)], hosts, Setting(kept=True)).code == 3
    told = night(tmp_path, [tenant(reports=reports)], [host()], Setting(kept=True))
    assert (told.code, len(told.asked("template.create"))) == (0, 1)


def test_a_template_of_the_manifest_that_is_unknown_is_not_made(tmp_path: Path) -> None:
    told = played(tmp_path, Reports(templates=()), m.TemplateId(12))
    error = told.jobs["acme/times"].error
    assert error is not None
    assert (error.code, told.asked("template.create")) == (m.ErrorCode.NOT_FOUND, [])


@pytest.mark.parametrize("evicted", ["evicted_while_pending", "evicted_before_download"])
def test_a_report_that_vanished_is_made_again_three_times_and_no_more(evicted: str, tmp_path: Path) -> None:
    thrice: dict[str, Any] = {evicted: 3}
    always: dict[str, Any] = {evicted: 9}
    again = played(tmp_path / "3", Reports(**thrice), m.TemplateId(12))
    assert (again.code, len(again.asked("report.create"))) == (0, 4)
    never = played(tmp_path / "9", Reports(**always), m.TemplateId(12))
    error = never.jobs["acme/times"].error
    assert error is not None
    assert (never.code, error.code, len(never.asked("report.create"))) == (3, m.ErrorCode.REPORT_ERROR, 4)


def test_what_could_not_be_read_until_the_hour_was_up_is_asked_once_more_before_the_second_trigger(
    tmp_path: Path,
) -> None:
    """By the polls alone it would be asked again some minutes later, and a second export be made meanwhile."""
    late = host(
        bare_lists=True,
        faults=(FaultRule(fault=Status(404), kind="item", first=2, last=27),),
        configurations=(Configuration(trigger=Trigger(seconds=60.0, answer=Status(504))),),
    )
    told = night(tmp_path, [tenant(exports=[export()])], [late])
    job = told.jobs["acme/payroll"]
    assert (told.code, job.state, len(told.triggers), job.foreign_ids) == (0, m.State.DOWNLOADED, 1, ())


def test_an_export_made_by_hand_that_cannot_be_read_at_the_first_look_is_adopted_all_the_same(
    tmp_path: Path,
) -> None:
    late = host(
        bare_lists=True,
        staff_exports=(BY_HAND,),
        faults=(FaultRule(fault=Status(404), kind="item", first=1, last=2),),
    )
    told = night(tmp_path, [tenant(exports=[export()])], [late])
    job = told.jobs["acme/payroll"]
    assert (told.code, set(job.flags), len(told.triggers)) == (0, {m.Flag.ADOPTED}, 0)


def test_exports_that_a_list_shows_to_a_key_that_may_not_read_them_are_named(tmp_path: Path) -> None:
    shut = host(
        bare_lists=True,
        faults=(FaultRule(fault=Status(403), kind="item", first=2, last=10**9),),
        configurations=(Configuration(trigger=Trigger(seconds=60.0, answer=Status(504))),),
    )
    told = night(tmp_path, [tenant(exports=[export()])], [shut])
    error = told.jobs["acme/payroll"].error
    assert error is not None
    assert (told.code, error.code) == (3, m.ErrorCode.FORBIDDEN)
    assert "341" in error.message

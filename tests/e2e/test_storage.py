"""Trouble with disks, met by the real command: full, read-only, failing, no descriptors left, a damaged journal.

Each time it ends with 6 and says what to do; no file is torn; no trigger left whose intent could not be stored; and
when the trouble is gone the next run goes on to the end.
"""

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.bureau import NIGHT, RUNNER, Bureau, Lucca, Result, executed_too_soon
from tests.e2e.forks import LONGEST_SECONDS
from tests.killing.nights import (
    HOUR_SECONDS,
    JOURNEY_SECONDS,
    SETTINGS,
    TOGETHER,
    House,
    bureau_in,
    check_torn,
    house_of,
    judge,
    run_mortally,
)
from tests.killing.ports import Death

FAILURES: Final = (
    # where, from which time on, and what the system says
    ("disk write page", 1, "ENOSPC"),
    ("disk rename run.json", 1, "EROFS"),
    ("disk make tenant", 1, "ENOSPC"),
    ("disk create data", 1, "EMFILE"),
    ("disk create data", 1, "EROFS"),
    ("disk write data", 1, "ENOSPC"),
    ("disk write data", 2, "ENOSPC"),
    ("disk write data", 3, "ENOSPC"),
    ("disk flush data", 1, "EIO"),
    ("disk flush data", 2, "EIO"),
    ("disk link data", 1, "ENOSPC"),
    ("disk link data", 2, "EIO"),
    ("disk flush tenant", 1, "EIO"),
    ("disk rename run.json", 2, "ENOSPC"),
    *(("journal commit", nth, "ENOSPC") for nth in range(1, 13)),
    *(("journal commit", nth, "EIO") for nth in (1, 6, 8, 12)),
)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    names = {f"fail-{number}": "polled" for number in range(len(FAILURES))}
    names |= {f"limit-{number}": "polled" for number in range(30)}
    names |= {f"page-{number}": "polled" for number in range(16)}
    names |= dict.fromkeys(("full", "small", "readonly", "midnight", "share", "newer", "garbage"), "polled")
    with house_of(names) as house:
        yield house


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own, small. Only root can mount one, and not everywhere."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False) if os.geteuid() == 0 else None
    if done is None or done.returncode:
        pytest.skip("a small disk can be mounted by root alone: the failing port stands for it")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def run(house: House, bureau: Bureau, *mortal: str) -> Result:
    """A night; `mortal` is what the command is to suffer, as `tests.killing` is told it."""
    return bureau.forked(
        house.forks, "tests.killing", *mortal, "--", "run", "--date", NIGHT, "--json", **SETTINGS
    )


def check_refused(told: Result, *words: str) -> None:
    """It ended with 6, in words, for people and for programs."""
    assert told.code == 6, told
    error: Any = told.json()["error"]
    assert error["code"] == "storage"
    assert "To do:" in error["message"]
    assert [word for word in words if word not in error["message"]] == []
    assert "Traceback" not in told.err


def intents(journal: Path) -> int:
    """How many triggers the journal knows of."""
    with closing(sqlite3.connect(journal)) as connection:
        try:
            (count,) = connection.execute("SELECT coalesce(sum(trigger_count), 0) FROM jobs").fetchone()
        except sqlite3.OperationalError:  # so early that it has no tables
            return 0
    return int(count)


def check_triggers(served: Lucca, domain: str, journal: Path) -> None:
    """Nothing was sent whose intent is not stored."""
    if journal.exists():
        assert len(served.triggers(domain)) <= intents(journal)
    else:
        assert served.triggers(domain) == []


# ── a failing port: always and everywhere ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("part", range(3))
def test_a_disk_that_fails_at_any_effect_ends_the_night_with_6(
    house: House, tmp_path: Path, part: int, subtests: pytest.Subtests
) -> None:
    def play(number: int) -> None:
        place, nth, errno_name = FAILURES[number]
        tenant = house.tenants[f"fail-{number}"]
        bureau = bureau_in(tmp_path / str(number), house.served, tenant)
        told = run(house, bureau, "--at", place, "--nth", str(nth), "--fail", errno_name)
        check_refused(told)
        check_torn(bureau)
        if place.startswith("disk"):  # where it is the journal, the next run may have something to clean
            assert bureau.leftovers() == []
        check_triggers(house.served, tenant.domain, bureau.output / ".runner/journal.db")
        assert run(house, bureau).code == 0
        judge(bureau, house.served, tenant, 0)

    numbers = range(part, len(FAILURES), 3)
    with ThreadPoolExecutor(TOGETHER) as together:
        for number, night in [(number, together.submit(play, number)) for number in numbers]:
            with subtests.test(" ".join(map(str, FAILURES[number]))):
                night.result()


# ── real disks ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", ["", "journal/journal.db"], ids=["both on it", "the journal elsewhere"])
def test_a_disk_that_fills_up_in_the_night_ends_it_with_6(house: House, tmp_path: Path, state: str) -> None:
    tenant = house.tenants["small" if state else "full"]
    bureau = bureau_in(tmp_path / "bureau", house.served, tenant)
    with mounted(bureau.folder / "disk", "64m") as disk:
        bureau.output = disk / "output"
        bureau.environ["RUNNER_OUTPUT"] = "disk/output"
        if state:
            bureau.environ["RUNNER_STATE"] = state
        # As long as the export is being made there is room; when it is there, somebody used it up.
        with bureau.start("run", "--date", NIGHT, "--json", **SETTINGS) as started:
            wait_for(lambda: bool(house.served.triggers(tenant.domain)))
            fill(disk)
            told = started.end(LONGEST_SECONDS)
        check_refused(told, "full")
        check_torn(bureau)
        journal = bureau.folder / state if state else bureau.output / ".runner/journal.db"
        (disk / "ballast").unlink()
        check_triggers(house.served, tenant.domain, journal)
        assert run(house, bureau).code == 0
        judge(bureau, house.served, tenant, 0)
        assert len(house.served.triggers(tenant.domain)) == 1


def fill(disk: Path) -> None:
    """Use up every byte that is left."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def test_a_disk_without_room_from_the_start_sends_nothing(house: House, tmp_path: Path) -> None:
    tenant = house.tenants["garbage"]
    bureau = bureau_in(tmp_path / "bureau", house.served, tenant)
    with mounted(bureau.folder / "disk", "1m") as disk:
        bureau.environ |= {"RUNNER_OUTPUT": "disk/output", "RUNNER_STATE": "disk/journal.db"}
        for room in ("full", "a few pages"):
            fill(disk)
            if room != "full":
                os.truncate(disk / "ballast", (disk / "ballast").stat().st_size - 3 * 4096)
            check_refused(run(house, bureau), "full")
        assert house.served.requests(tenant.domain) == 0


def test_a_read_only_output_is_refused_before_anything_is_sent(house: House, tmp_path: Path) -> None:
    tenant = house.tenants["readonly"]
    bureau = bureau_in(tmp_path / "bureau", house.served, tenant)
    with mounted(bureau.folder / "disk", "4m") as disk:
        bureau.output = disk / "output"
        bureau.environ |= {"RUNNER_OUTPUT": "disk/output", "RUNNER_STATE": "journal/journal.db"}
        remount(disk, "ro")
        check_refused(run(house, bureau), "ead-only file system")
        assert house.served.requests(tenant.domain) == 0
        remount(disk, "rw")
        assert run(house, bureau).code == 0
        judge(bureau, house.served, tenant, 0)


def test_an_output_that_turns_read_only_in_the_night_ends_it_with_6(house: House, tmp_path: Path) -> None:
    tenant = house.tenants["midnight"]
    bureau = bureau_in(tmp_path / "bureau", house.served, tenant)
    with mounted(bureau.folder / "disk", "4m") as disk:
        bureau.output = disk / "output"
        bureau.environ |= {"RUNNER_OUTPUT": "disk/output", "RUNNER_STATE": "journal/journal.db"}
        with bureau.start("run", "--date", NIGHT, "--json", **SETTINGS) as started:
            wait_for(lambda: bool(house.served.triggers(tenant.domain)))
            remount(disk, "ro")
            told = started.end(LONGEST_SECONDS)
        check_refused(told, "ead-only file system")
        remount(disk, "rw")
        check_torn(bureau)
        check_triggers(house.served, tenant.domain, bureau.folder / "journal/journal.db")
        assert run(house, bureau).code == 0
        judge(bureau, house.served, tenant, 0)
        assert len(house.served.triggers(tenant.domain)) == 1


# ── descriptors ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_with_few_descriptors_it_ends_with_6_or_well(
    house: House, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    def play(limit: int) -> int:
        tenant = house.tenants[f"limit-{limit}"]
        bureau = bureau_in(tmp_path / str(limit), house.served, tenant)
        limited = f'ulimit -n {limit} && exec "$0" "$@"'
        arguments = ("-c", limited, str(RUNNER), "run", "--date", NIGHT, "--json")
        with bureau.start(*arguments, program="/bin/sh", **SETTINGS) as started:
            told = started.end(LONGEST_SECONDS)
        if told.code:
            check_refused(told)
            check_triggers(house.served, tenant.domain, bureau.output / ".runner/journal.db")
        assert run(house, bureau).code == 0
        judge(bureau, house.served, tenant, 0)
        return told.code

    limits = (6, 7, 9, 10, 11, 12, 13, 14, 29)
    with ThreadPoolExecutor(TOGETHER) as together:
        nights = {limit: together.submit(play, limit) for limit in limits}
        for limit, night in nights.items():
            with subtests.test(f"ulimit -n {limit}"):
                code = night.result()
                assert limit != 6 or code == 6
                assert limit != 29 or code == 0


# ── journals ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_journal_on_a_network_share_is_refused_before_anything_is_sent(
    house: House, tmp_path: Path
) -> None:
    tenant = house.tenants["share"]
    bureau = bureau_in(tmp_path / "bureau", house.served, tenant)
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n40 27 0:40 / {bureau.folder}/share rw - nfs4 files:/p rw\n"
    )
    (bureau.folder / "share").mkdir()
    bureau.environ["RUNNER_STATE"] = "share/journal.db"
    check_refused(run(house, bureau, "--mounts", str(mounts)), "network share (nfs4)", "RUNNER_STATE")
    assert list((bureau.folder / "share").iterdir()) == []
    assert house.served.requests(tenant.domain) == 0
    # The output may stay there.
    bureau.environ |= {"RUNNER_STATE": "journal.db", "RUNNER_OUTPUT": "share/output"}
    bureau.output = bureau.folder / "share/output"
    assert run(house, bureau, "--mounts", str(mounts)).code == 0
    judge(bureau, house.served, tenant, 0)


def test_a_journal_of_a_newer_version_is_refused_and_left_as_it_is(house: House, tmp_path: Path) -> None:
    tenant = house.tenants["newer"]
    bureau = bureau_in(tmp_path / "bureau", house.served, tenant)
    assert run(house, bureau).code == 0
    requests = house.served.requests(tenant.domain)
    journal = bureau.output / ".runner/journal.db"
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = journal.read_bytes()
    check_refused(run(house, bureau), "newer version", "install the newer version")
    for command in ("status", "verify"):
        check_refused(bureau.command(command, "--json"), "newer version")
    assert journal.read_bytes() == before
    assert house.served.requests(tenant.domain) == requests


@pytest.mark.parametrize("moment", ["nothing sent", "sent"])
def test_a_journal_with_any_page_damaged_is_told_and_the_way_back_leads_on(
    house: House, tmp_path: Path, moment: str, subtests: pytest.Subtests
) -> None:
    death = Death("send trigger", "midst") if moment == "sent" else Death("export Triggered", "after")

    def play(page: int) -> bool:
        """Whether the damage was met."""
        tenant = house.tenants[f"page-{page}"]
        bureau = bureau_in(tmp_path / str(page), house.served, tenant)
        assert run_mortally(house, bureau, death).code < 0
        journal = bureau.output / ".runner/journal.db"
        with closing(sqlite3.connect(journal)) as connection:  # what the kill left goes into the file
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        content = bytearray(journal.read_bytes())
        if page * 4096 >= len(content):
            return False
        start = page * 4096 + (200 if page == 0 else 0)  # the file still says that it is a journal
        content[start : (page + 1) * 4096] = bytes((page + 1) * 4096 - start)
        journal.write_bytes(content)
        sent = len(house.served.triggers(tenant.domain))
        told = run(house, bureau)
        if told.code == 0:
            judge(bureau, house.served, tenant, 1)
            return False
        check_refused(told, "it is damaged", "move it away", "wait an hour", "adopts what exists")
        assert len(house.served.triggers(tenant.domain)) == sent
        # The way back, as told.
        for path in journal.parent.glob("journal.db*"):
            if path.suffix != ".lock":
                path.rename(tmp_path / f"damaged-{page}-{path.name}")
        time.sleep(HOUR_SECONDS)
        again = run(house, bureau)
        assert again.code == 0, again
        assert executed_too_soon(house.served.triggers(tenant.domain), HOUR_SECONDS - JOURNEY_SECONDS) == []
        assert sum(t.executed for t in house.served.triggers(tenant.domain)) == 1
        bureau.check_sums()
        assert bureau.leftovers() == []
        return True

    pages = range(int(moment == "sent"), 16, 2)
    with ThreadPoolExecutor(TOGETHER) as together:
        nights = [together.submit(play, page) for page in pages]
        met = 0
        for page, night in zip(pages, nights, strict=True):
            with subtests.test(f"page {page}"):
                met += night.result()
    assert met >= 4


def test_a_journal_that_was_cut_is_told(house: House, tmp_path: Path) -> None:
    tenant = house.tenants["limit-0"]
    bureau = bureau_in(tmp_path / "bureau", house.served, tenant)
    assert run(house, bureau).code == 0
    requests, journal = house.served.requests(tenant.domain), bureau.output / ".runner/journal.db"
    kept = journal.with_name("copy.db")
    shutil.copy(journal, kept)
    os.truncate(journal, journal.stat().st_size // 2)
    check_refused(run(house, bureau), "it is damaged", "restore a copy")
    assert house.served.requests(tenant.domain) == requests
    # The other way back: a copy.
    kept.replace(journal)
    assert run(house, bureau).code == 0
    judge(bureau, house.served, tenant, 0)

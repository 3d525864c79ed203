"""Refused answers are kept for a person: privately, within bounds, under names of ours, and never at a night's cost."""

import errno
import json
import os
import stat
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import pytest

from runner.content import Beginning, ExportReader, NotContentError
from runner.credentials import Secret
from runner.jobs import model as m
from runner.output import KEPT_BYTES, Disk, Output, Quarantine
from runner.output.quarantine import QUARANTINE_BYTES, QUARANTINE_FILES
from runner.sandbox import Cut, Fault, Html, RawBody, RequestRecord, TenantScenario
from tests.canaries import NAMES
from tests.nights import DOMAIN, Setting, Told, export, night, report, tenant

T = TypeVar("T")

NIGHT = date(2026, 11, 24)
FOLDER = ".runner/quarantine"
KEY = "d8f7a1c2-0b3e-4f5a-9c6d-7e8f90a1b2c3"


async def inline(work: Callable[[], T]) -> T:
    return work()


def quarantine(root: Path, disk: Disk | None = None) -> Quarantine:
    return Quarantine(root, disk=disk or Disk(), offload=inline)


def kept(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / FOLDER).iterdir())}


# ── its files ────────────────────────────────────────────────────────────────────────────────────────────────────

pytestmark = pytest.mark.anyio


async def test_only_the_owner_may_read_them_whatever_group_may_read_the_rest(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        output = Output(tmp_path / "output", disk=Disk(), offload=inline, group_id=os.getgid())
        await output.prepare(NIGHT)
        path = await output.quarantine.keep(NIGHT, "acme", "payroll", 17, b"<html>")
    finally:
        os.umask(umask)
    assert path == f"{FOLDER}/2026-11-24.acme.payroll.17.body"
    modes = {
        name: stat.S_IMODE((tmp_path / "output" / name).stat().st_mode) for name in (path, FOLDER, ".runner")
    }
    assert modes == {path: 0o600, FOLDER: 0o700, ".runner": 0o700}
    assert (tmp_path / "output" / path).read_bytes() == b"<html>"


async def test_of_a_job_and_a_night_the_last_is_kept_and_only_its_beginning(tmp_path: Path) -> None:
    for body in (b"first", b"x" * (KEPT_BYTES + 5), b"third"):
        await quarantine(tmp_path).keep(NIGHT, "acme", "payroll", 17, body)
        assert list(kept(tmp_path).values()) == [body[:KEPT_BYTES]]
    await quarantine(tmp_path).keep(NIGHT, "acme", "payroll", 18, b"of another due date")
    await quarantine(tmp_path).keep(NIGHT.replace(day=25), "acme", "payroll", 17, b"of another night")
    assert len(kept(tmp_path)) == 3


@pytest.mark.parametrize(
    "tenant_, job", [("../x", "a"), ("a", "../../b"), ("a", "b/c"), ("A", "b"), ("", "b"), ("a.b", "c")]
)
async def test_only_names_of_ours_become_paths(tmp_path: Path, tenant_: str, job: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        await quarantine(tmp_path).keep(NIGHT, tenant_, job, 1, b"x")
    assert list(tmp_path.iterdir()) == []


async def test_it_never_grows_over_its_bounds_and_the_oldest_go_first(tmp_path: Path) -> None:
    most = QUARANTINE_BYTES // KEPT_BYTES
    for number in range(most + 3):
        path = await quarantine(tmp_path).keep(NIGHT, "acme", "payroll", number, bytes(KEPT_BYTES))
        assert path is not None
        os.utime(tmp_path / path, (number, number))
    assert sum(map(len, kept(tmp_path).values())) == QUARANTINE_BYTES
    assert set(kept(tmp_path)) == {f"2026-11-24.acme.payroll.{n}.body" for n in range(3, most + 3)}


async def test_they_are_never_more_than_can_be_looked_through_quickly(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    for number in range(QUARANTINE_FILES + 5):
        path = tmp_path / FOLDER / f"2026-11-23.acme.payroll.{number}.body"
        path.write_bytes(b"x")
        os.utime(path, (number, number))
    (tmp_path / FOLDER / "notes.txt").write_text("of a person")
    await quarantine(tmp_path).keep(NIGHT, "acme", "payroll", 1, b"new")
    names = set(kept(tmp_path))
    assert len(names) == QUARANTINE_FILES + 1
    assert names >= {"notes.txt", "2026-11-24.acme.payroll.1.body", "2026-11-23.acme.payroll.6.body"}
    assert "2026-11-23.acme.payroll.5.body" not in names


class Full(Disk):
    def write(self, fd: int, pieces: Sequence[memoryview]) -> int:
        if len(pieces[0]) > 3:
            return super().write(fd, [pieces[0][:3]])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_a_full_disk_costs_the_copy_and_nothing_else(tmp_path: Path) -> None:
    assert await quarantine(tmp_path, Full()).keep(NIGHT, "acme", "payroll", 1, b"too much") is None
    assert kept(tmp_path) == {}


@pytest.mark.parametrize("link", [".runner", FOLDER, f"{FOLDER}/2026-11-24.acme.payroll.1.body"])
@pytest.mark.parametrize("target", ["victim", "nowhere"])
async def test_nothing_is_written_or_removed_through_a_symbolic_link(
    tmp_path: Path, link: str, target: str
) -> None:
    victim = tmp_path / "victim"
    if link.endswith(".body"):
        victim.write_bytes(b"precious")
    else:
        victim.mkdir()
        (victim / "2026-11-24.acme.payroll.1.body").write_bytes(b"precious")
    root = tmp_path / "output"
    (root / link).parent.mkdir(parents=True)
    (root / link).symlink_to(tmp_path / target)
    path = await quarantine(root).keep(NIGHT, "acme", "payroll", 1, b"hostile")
    assert [file.read_bytes() for file in tmp_path.rglob("victim/*.body")] in ([b"precious"], [])
    assert victim.is_dir() or victim.read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()
    # A link in the place of one file is replaced; what stands behind it is not touched.
    assert (path is not None) is link.endswith(".body")
    assert path is None or not (root / path).is_symlink()


# ── what a night puts there ──────────────────────────────────────────────────────────────────────────────────────


def lying(root: Path, kind: str, fault: Fault, *, times: int = 10**9, key: str = KEY) -> Told:
    """A night with one job, to whose requests of this kind the host lies."""

    def bend(record: RequestRecord) -> Fault | None:
        return fault if record.kind == kind and record.nth_of_kind <= times else None

    host = TenantScenario(domain=DOMAIN, key=key, requests_per_minute=1000)
    work = tenant(reports=[report()]) if kind.startswith("report") else tenant(exports=[export()])
    return night(root, [work], [host], Setting(bend=bend))


PAGE = b"<!DOCTYPE html><html><body>Connexion</body></html>"
LARGE = json.dumps({"data": {"id": 341, "entries": [{"name": NAMES[0], "n": n} for n in range(60_000)]}})
REFUSED: dict[str, tuple[str, Fault, bytes]] = {
    "a page for a list": ("list", RawBody(PAGE.decode()), PAGE),
    "a page for a content": ("content", RawBody(PAGE.decode()), PAGE),
    "a page for a report": ("report.download", RawBody(PAGE.decode(), "application/octet-stream"), PAGE),
    "another shape, large": (
        "content",
        RawBody(LARGE.replace('"data"', '"date"')),
        LARGE.replace('"data"', '"date"').encode(),
    ),
    "a status that promises no content": ("content", RawBody('{"data": {}}', status=206), b'{"data": {}}'),
    "a status of a report": ("report.poll", RawBody('{"id": 72}'), b'{"id": 72}'),
}


def check_kept(told: Told, root: Path) -> bytes:
    """The one answer that is kept, which the job's error names."""
    (job,) = told.jobs.values()
    ((name, body),) = kept(root).items()
    assert name == f"2026-11-24.acme.{job.spec.name}.{job.id}.body"
    assert job.error is not None
    assert f"the answer is kept in {FOLDER}/{name})" in job.error.message
    assert told.document["jobs"][0]["error"]["message"] == job.error.message
    return body


@pytest.mark.parametrize("kind, fault, body", REFUSED.values(), ids=REFUSED)
def test_the_error_tells_where_the_refused_answer_lies(
    kind: str, fault: Fault, body: bytes, tmp_path: Path
) -> None:
    told = lying(tmp_path, kind, fault)
    assert (told.code, told.files()) == (3, {})
    assert check_kept(told, tmp_path) == body[:KEPT_BYTES]


@pytest.mark.parametrize("kind", ["list", "content", "report.download", "report.poll"])
@pytest.mark.parametrize("announced", [True, False], ids=["its length told", "its length not told"])
def test_what_came_of_a_cut_answer_is_kept(kind: str, announced: bool, tmp_path: Path) -> None:
    told = lying(tmp_path, kind, Cut(15, announced=announced))
    assert (told.code, told.files()) == (3, {})
    assert len(check_kept(told, tmp_path)) == 15


@pytest.mark.parametrize("size_bytes", [5, KEPT_BYTES - 1, KEPT_BYTES, 3 * KEPT_BYTES + 7])
@pytest.mark.parametrize("most_bytes", [1, KEPT_BYTES])
async def test_the_beginning_of_a_download_can_be_had_wherever_it_lies(
    size_bytes: int, most_bytes: int, tmp_path: Path
) -> None:
    data = os.urandom(size_bytes)
    output = Output(tmp_path, disk=Disk(), offload=inline)
    place = (NIGHT, "acme", "payroll-290.json")

    def refuse(_told: Beginning) -> None:
        raise LookupError

    async with output.spool(*place, reader=Beginning(), cap_bytes=1 << 30) as spool:
        for start in range(0, size_bytes, 100_000):
            await spool.write(data[start : start + 100_000])
        assert await spool.beginning(most_bytes) == data[:most_bytes]
        with pytest.raises(LookupError):
            await spool.finish(refuse)
        assert await spool.beginning(most_bytes) == data[:most_bytes]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_answer_again_and_again_is_kept_once(tmp_path: Path) -> None:
    told = lying(tmp_path, "list", Html())
    assert len(told.asked("list")) == 6
    assert told.log.count('"answer.quarantined"') == 6
    assert len(kept(tmp_path)) == 1


def test_a_lie_of_the_moment_is_kept_too_and_the_night_is_as_good(tmp_path: Path) -> None:
    told = lying(tmp_path, "content", Html(), times=2)
    assert (told.code, told.jobs["acme/payroll"].error, len(told.files())) == (0, None, 1)
    assert len(kept(tmp_path)) == 1
    assert '"answer.quarantined"' in told.log


SHOWN: dict[str, Callable[[str], str]] = {
    "as sent": lambda key: f"Authorization: lucca application={key}",
    "in capitals": str.upper,
    "without dashes": lambda key: key.replace("-", ""),
    "in an address": lambda key: quote(f"lucca application={key}").replace("-", "%2D"),
    "in a page": lambda key: key.replace("-", "&#45;"),
    "in JSON": lambda key: key.replace("-", "\\u002d"),
    "in an address, each sign": lambda key: "".join(f"%{ord(sign):02x}" for sign in key),
    "in an address, twice": lambda key: "".join(f"%25{ord(sign):02X}" for sign in key),
    "in a page, each sign": lambda key: "".join(f"&#{ord(sign)};" for sign in key),
    "in JSON, each sign": lambda key: "".join(f"\\u{ord(sign):04x}" for sign in key),
    "in hexadecimal": lambda key: key.encode().hex(" "),
    "in base64": lambda key: b64encode(f"user:{key}".encode()).decode(),
    "in base64, elsewhere": lambda key: b64encode(f"lucca application={key}!".encode()).decode(),
    "in two-byte letters": "\0".join,
    "in base64, cut": lambda key: b64encode(key.encode()).decode()[3:20],
    "cut": lambda key: key[:9],
    "its end": lambda key: key[-9:],
}


@pytest.mark.parametrize("kind", ["list", "content"])
@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
def test_an_answer_that_shows_the_key_is_not_kept(
    kind: str, shown: Callable[[str], str], tmp_path: Path
) -> None:
    told = lying(tmp_path, kind, RawBody(f"<html>{shown(KEY)}</html>"))
    job = told.jobs["acme/payroll"]
    assert job.error is not None
    assert job.error.code is m.ErrorCode.BAD_ANSWER
    assert "is kept" not in job.error.message
    assert not (tmp_path / FOLDER).exists()


def test_a_body_without_the_key_is_not_taken_for_one_with_it() -> None:
    secret = Secret(KEY)
    assert not secret.stands_in(LARGE.encode())
    assert not secret.stands_in(b"0f6e1c4a-7d0b-4c57-9f0e-2d9d1b6a3c55")
    assert secret.stands_in(LARGE.encode() + KEY.encode())


def test_a_key_of_three_signs_is_looked_for_as_it_is_and_not_in_base64() -> None:
    assert Secret("q7z").stands_in(b"<html>Q-7 z</html>")
    assert not Secret("q7z").stands_in(b"<html>" + b64encode(b"q7z") + b"</html>")


@pytest.mark.parametrize(
    "trouble", ["a link in its place", "a file in its place", "a folder in its file's place"]
)
def test_a_night_goes_on_as_well_where_nothing_can_be_kept(trouble: str, tmp_path: Path) -> None:
    (tmp_path / ".runner").mkdir()
    if trouble == "a link in its place":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / FOLDER).symlink_to(tmp_path / "elsewhere")
    elif trouble == "a file in its place":
        (tmp_path / FOLDER).write_bytes(b"precious")
    else:
        (tmp_path / FOLDER).mkdir(mode=0o500)
        (tmp_path / FOLDER / f"{NIGHT}.acme.payroll.1.body").mkdir()  # nothing can be written over a folder
    told = lying(tmp_path, "content", Html(), times=2)
    assert (told.code, told.jobs["acme/payroll"].state, len(told.files())) == (0, m.State.DOWNLOADED, 1)
    assert '"quarantine.failed"' in told.log
    told = lying(tmp_path / "again", "content", Html())
    assert told.code == 3
    assert not (tmp_path / "elsewhere").exists() or list((tmp_path / "elsewhere").iterdir()) == []


async def test_the_beginning_of_a_large_answer_that_is_refused_on_its_way_can_be_had(tmp_path: Path) -> None:
    body = b'{"data": {"id": 290, "name": "' + b"x" * (3 << 20)
    output = Output(tmp_path, disk=Disk(), offload=inline)
    async with output.spool(
        NIGHT, "acme", "payroll-290.json", reader=ExportReader(), cap_bytes=1 << 30
    ) as spool:
        for start in range(0, 3 << 20, 100_000):
            await spool.write(body[start : start + 100_000])
        with pytest.raises(NotContentError, match="not UTF-8"):
            await spool.write(b"\xff" * (1 << 20))
        assert await spool.beginning(KEPT_BYTES) == body[:KEPT_BYTES]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

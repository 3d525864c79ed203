"""Files below the output directory: whole, private, never over something else, never through a symbolic link."""

import contextlib
import errno
import functools
import gc
import hashlib
import os
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from runner.app import stores
from runner.errors import StorageError
from runner.jobs.model import FileRecord
from runner.output import (
    Derivation,
    Disk,
    InTheWayError,
    Offload,
    Output,
    Part,
    TooLargeError,
    sha256sums,
)
from runner.settings import load_settings
from tests.readers import Whole, length

T = TypeVar("T")

NIGHT = date(2026, 11, 24)
NAME = "payroll-290.json"
CAP = 64 << 20
pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _no_descriptor_stays_open_but_the_nights_folder() -> Iterator[None]:
    yield
    gc.collect()
    opened = []
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            opened.append(str(fd.readlink()))
    left = [path for path in opened if "output" in path]
    assert len(left) < 2
    assert all(path.endswith("output/2026-11-24") for path in left)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "output"


def output_at(root: Path, disk: Disk | None = None, group_id: int | None = None) -> Output:
    return Output(root, disk=disk or Disk(), offload=anyio.to_thread.run_sync, group_id=group_id)


def record_of(part: Part, fmt: str = "json", remote_id: int = 290) -> FileRecord:
    return FileRecord(part.path, part.size_bytes, part.sha256, remote_id, fmt)


async def stage(output: Output, data: bytes, filename: str = NAME, tenant: str = "acme") -> Part:
    async with output.spool(NIGHT, tenant, filename, reader=Whole(), cap_bytes=CAP) as spool:
        for start in range(0, len(data), 100_000):
            await spool.write(data[start : start + 100_000])
        return (await spool.finish(length)).answer


async def put(
    output: Output, data: bytes, filename: str = NAME, tenant: str = "acme", fmt: str = "json"
) -> FileRecord:
    part = await stage(output, data, filename, tenant)
    record = record_of(part, fmt)
    result = await output.place([record], {part.path: part.temp})
    assert result.placed == (record.path,)
    return FileRecord(record.path, record.size_bytes, record.sha256, 290, fmt, placed=True)


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


# ── one download ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [0, 1, 100_000, 1 << 20, (5 << 20) + 17])
async def test_a_download_is_placed_byte_for_byte(root: Path, size: int) -> None:
    data = os.urandom(size)
    record = await put(output_at(root), data)
    assert record.path == "2026-11-24/acme/payroll-290.json"
    assert (root / record.path).read_bytes() == data
    assert (record.size_bytes, record.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert tree(root) == [record.path]


async def test_nothing_is_visible_before_it_is_placed(root: Path) -> None:
    part = await stage(output_at(root), b"{}")
    assert tree(root) == [part.temp]
    assert Path(part.temp).name.startswith(".payroll-290.json.")
    assert part.temp.endswith(".part")


@pytest.mark.parametrize("size", [1000, 3 << 20])
@pytest.mark.parametrize("chunk", [1000, 100_000, 3 << 20])
async def test_the_answer_is_read_once_and_in_order(root: Path, size: int, chunk: int) -> None:
    data = os.urandom(size)
    output = output_at(root)
    async with output.spool(NIGHT, "acme", NAME, reader=Whole(), cap_bytes=CAP) as spool:
        for start in range(0, size, chunk):
            await spool.write(data[start : start + chunk])
        spooled = await spool.finish(bytes)
    assert spooled.result == data
    assert spooled.answer.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [1000, (3 << 20) + 7])
async def test_each_table_is_made_from_the_whole_answer(root: Path, size: int) -> None:
    data = os.urandom(size)

    def copy(_size: int, blocks: Iterable[bytes], write: Callable[[bytes], object]) -> None:
        for block in blocks:
            assert len(block) <= 1 << 20
            write(block)

    output = output_at(root)
    async with output.spool(NIGHT, "acme", NAME, reader=Whole(), cap_bytes=CAP) as spool:
        for start in range(0, size, 100_000):
            await spool.write(data[start : start + 100_000])
        derivations = [Derivation(fmt, f"payroll-290.{fmt}", copy) for fmt in ("csv", "fr.csv")]
        spooled = await spool.finish(length, derivations)
    sha256 = hashlib.sha256(data).hexdigest()
    assert [(part.size_bytes, part.sha256) for part in spooled.derived.values()] == [(size, sha256)] * 2


async def test_an_answer_that_its_reader_refuses_on_the_way_leaves_nothing(root: Path) -> None:
    class Refusing(Whole):
        def feed(self, block: bytes) -> None:
            super().feed(block)
            if len(self.blocks) > 1:
                raise LookupError("not the content")

    async with output_at(root).spool(NIGHT, "acme", NAME, reader=Refusing(), cap_bytes=CAP) as spool:
        await spool.write(b"x" * (2 << 20))
        assert len(tree(root)) == 1
        with pytest.raises(LookupError, match="not the content"):
            await spool.write(b"x" * (2 << 20))
    assert tree(root) == []


async def test_a_small_answer_and_its_tables_cost_one_hop(root: Path) -> None:
    hops: list[object] = []

    async def counted(work: Callable[[], T]) -> T:
        hops.append(work)
        return work()

    offload: Offload = counted
    output = Output(root, disk=Disk(), offload=offload, group_id=None)
    async with output.spool(NIGHT, "acme", NAME, reader=Whole(), cap_bytes=CAP) as spool:
        for _ in range(10):
            await spool.write(b"x" * 10_000)
        await spool.finish(
            length, [Derivation("csv", "payroll-290.csv", lambda n, _, write: write(b"%d" % n))]
        )
    assert len(hops) == 1


async def test_large_answers_leave_the_loop_its_share(root: Path) -> None:
    """Their blocks go a way of their own, which is narrow, and of their tables one is made at a time."""
    blocks: list[object] = []
    at_work = most = 0

    async def narrow(work: Callable[[], T]) -> T:
        blocks.append(work)
        return work()

    async def crowded(work: Callable[[], T]) -> T:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        at_work -= 1
        return work()

    def table(_size: int, _blocks: Iterable[bytes], write: Callable[[bytes], object]) -> None:
        write(b"fine")

    output = Output(root, disk=Disk(), offload=crowded, offload_block=narrow)

    async def download(number: int) -> None:
        name = f"payroll-{number}"
        async with output.spool(NIGHT, "acme", f"{name}.json", reader=Whole(), cap_bytes=CAP) as spool:
            for _ in range(3):
                await spool.write(b"x" * (1 << 20))
            await spool.finish(length, [Derivation("csv", f"{name}.csv", table)])

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(download, number)
    assert (len(blocks), most) == (18, 1)


async def test_of_the_blocks_of_large_answers_two_are_worked_on_at_a_time(root: Path) -> None:
    go = threading.Event()
    busy = threading.Barrier(3)
    names: set[str] = set()

    class Slow(Whole):
        def feed(self, block: bytes) -> None:
            names.add(threading.current_thread().name)
            if not go.is_set():
                busy.wait(20)
                go.wait(20)
            super().feed(block)

    output = stores.output_of(load_settings({"output": str(root)}))

    async def download(number: int) -> None:
        name = f"payroll-{number}.json"
        async with output.spool(NIGHT, "acme", name, reader=Slow(), cap_bytes=CAP) as spool:
            await spool.write(b"x" * (1 << 20))

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(download, number)
        await anyio.to_thread.run_sync(busy.wait, 20)  # two of them, and we
        started = {thread.name for thread in threading.enumerate() if thread.name.startswith("blocks")}
        go.set()
    assert len(started) == 2
    assert names == started


async def test_a_large_answer_is_brought_to_disk_while_it_comes(root: Path) -> None:
    """At its end little is waited for; and one answer waits at a time, so that the others go on."""
    unflushed: dict[int, int] = {}
    left: list[int] = []

    class Counted(Disk):
        def write(self, fd: int, pieces: Sequence[memoryview]) -> int:
            written = super().write(fd, pieces)
            unflushed[fd] = unflushed.get(fd, 0) + written
            return written

        def flush(self, fd: int) -> None:
            left.append(unflushed.pop(fd, 0))

    at_work = most = 0

    async def crowded(work: Callable[[], T]) -> T:
        nonlocal at_work, most
        flushing = isinstance(work, functools.partial)
        at_work += flushing
        most = max(most, at_work)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        at_work -= flushing
        return work()

    output = Output(root, disk=Counted(), offload=crowded)

    async def download(number: int) -> None:
        name = f"payroll-{number}.json"
        async with output.spool(NIGHT, "acme", name, reader=Whole(), cap_bytes=CAP) as spool:
            for _ in range(30):
                await spool.write(b"x" * (1 << 20))
            await spool.finish(length)

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(download, number)
    assert sum(left) == 3 * (30 << 20)
    assert max(left) <= 12 << 20
    assert most == 1


async def test_a_disk_that_fails_while_a_large_answer_comes_refuses_it_in_words(root: Path) -> None:
    class Failing(Disk):
        def flush(self, fd: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with output_at(root, Failing()).spool(NIGHT, "acme", NAME, reader=Whole(), cap_bytes=CAP) as spool:
        with pytest.raises(StorageError, match=r"payroll-290\.json: flushing it to disk failed"):
            await spool.write(b"x" * (9 << 20))
    assert tree(root) == []


async def test_a_refused_answer_leaves_nothing(root: Path) -> None:
    def refuse(content: bytes) -> None:
        raise LookupError("not the content")

    output = output_at(root)
    for size in (10, 3 << 20):
        async with output.spool(NIGHT, "acme", NAME, reader=Whole(), cap_bytes=CAP) as spool:
            await spool.write(b"x" * size)
            with pytest.raises(LookupError, match="not the content"):
                await spool.finish(refuse)
        assert tree(root) == []


async def test_an_answer_over_the_cap_is_refused_and_leaves_nothing(root: Path) -> None:
    output = output_at(root)
    async with output.spool(NIGHT, "acme", NAME, reader=Whole(), cap_bytes=2_000_000) as spool:
        for _ in range(20):
            await spool.write(b"x" * 100_000)
        with pytest.raises(TooLargeError, match="larger than 2000000 bytes"):
            await spool.write(b"x")
    assert tree(root) == []


async def test_a_staged_answer_that_is_not_wanted_after_all_is_discarded(root: Path) -> None:
    output = output_at(root)
    kept = await put(output, b"kept", "times-1.csv")
    part = await stage(output, b"{}")
    await output.discard([part.temp, kept.path])
    assert tree(root) == [kept.path]


async def test_a_cancelled_download_leaves_nothing(root: Path) -> None:
    output = output_at(root)
    with anyio.CancelScope() as scope:
        async with output.spool(NIGHT, "acme", NAME, reader=Whole(), cap_bytes=CAP) as spool:
            await spool.write(b"x" * (2 << 20))
            scope.cancel()
            await spool.write(b"x" * (2 << 20))
    assert scope.cancelled_caught
    assert tree(root) == []


async def test_a_download_whose_caller_never_hears_of_its_end_leaves_nothing(root: Path) -> None:
    async def unheard(work: Callable[[], T]) -> T:
        work()
        raise InterruptedError

    output = Output(root, disk=Disk(), offload=unheard, group_id=None)
    with pytest.raises(InterruptedError):
        await stage(output, b"{}")
    assert tree(root) == []


# ── derived files ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_derived_files_are_staged_and_placed_with_their_answer(root: Path) -> None:
    output = output_at(root)

    def table(size: int, blocks: Iterable[bytes], write: Callable[[bytes], object]) -> None:
        write(b"a,")
        write(b"b\n" * size)
        write(b"".join(blocks))

    async with output.spool(NIGHT, "acme", NAME, reader=Whole(), cap_bytes=CAP) as spool:
        await spool.write(b"{}")
        spooled = await spool.finish(length, [Derivation("csv", "payroll-290.csv", table)])
    parts = {"json": spooled.answer, **spooled.derived}
    records = [record_of(part, fmt) for fmt, part in parts.items()]
    result = await output.place(records, {part.path: part.temp for part in parts.values()})
    assert sorted(result.placed) == tree(root) == sorted(record.path for record in records)
    assert (root / "2026-11-24/acme/payroll-290.csv").read_bytes() == b"a,b\nb\n{}"
    assert list(output.verify(records)) == []


async def test_a_derived_file_that_cannot_be_made_costs_neither_the_answer_nor_the_others(root: Path) -> None:
    output = output_at(root)

    def broken(_size: int, _blocks: Iterable[bytes], write: Callable[[bytes], object]) -> None:
        write(b"half a tab")
        raise KeyError("Dupont")

    async with output.spool(NIGHT, "acme", NAME, reader=Whole(), cap_bytes=CAP) as spool:
        await spool.write(b"{}")
        spooled = await spool.finish(
            length,
            [
                Derivation("csv", "payroll-290.csv", broken),
                Derivation("csv-fr", "payroll-290.fr.csv", lambda *told: told[-1](b"fine")),
            ],
        )
    assert spooled.underived == {"csv": "KeyError"}  # nothing of the answer is told
    assert list(spooled.derived) == ["csv-fr"]
    assert tree(root) == sorted([spooled.answer.temp, spooled.derived["csv-fr"].temp])


# ── placing ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_file_that_stands_there_as_recorded_is_taken(root: Path) -> None:
    output = output_at(root)
    record = await put(output, b"{}")
    assert (await output.place([record], {})).placed == (record.path,)
    part = await stage(output, b"{}")
    assert (await output.place([record], {part.path: part.temp})).placed == (record.path,)
    assert tree(root) == [record.path]


async def test_what_is_neither_there_nor_beside_is_missing(root: Path) -> None:
    output = output_at(root)
    record = FileRecord("2026-11-24/acme/payroll-290.json", 2, "0" * 64, 290, "json")
    assert (await output.place([record], {})).missing == (record.path,)
    part = await stage(output, b"{}")
    (root / part.temp).unlink()
    assert (await output.place([record_of(part)], {part.path: part.temp})).missing == (record.path,)


@pytest.mark.parametrize("make", ["file", "same size", "empty", "folder", "link", "dangling link", "pipe"])
async def test_what_stands_in_the_way_is_neither_overwritten_nor_removed(root: Path, make: str) -> None:
    output = output_at(root)
    part = await stage(output, b"{}")
    other = await stage(output, b"a;b", "payroll-290.csv")
    final = root / part.path
    elsewhere = root / "elsewhere"
    match make:
        case "file":
            final.write_bytes(b"somebody's")
        case "same size":
            final.write_bytes(b"[]")
        case "empty":
            final.touch()
        case "folder":
            final.mkdir()
        case "link":
            elsewhere.write_bytes(b"{}")
            final.symlink_to(elsewhere)
        case "dangling link":
            final.symlink_to(elsewhere)
        case _:
            os.mkfifo(final)
    before = final.lstat()
    records = [record_of(other, "csv"), record_of(part)]
    with pytest.raises(
        InTheWayError, match=r"acme/payroll-290\.json: another file stands in its place"
    ) as error:
        await output.place(records, {part.path: part.temp, other.path: other.temp})
    assert error.value.path == part.path
    assert (final.lstat().st_ino, final.lstat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not (root / other.path).exists()
    assert (root / part.temp).exists()


class Racing(Disk):
    """Somebody puts a file into the place between our look and our link."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path = path
        self.content = content

    def link(self, source: str, target: str, *, folder: int) -> None:
        self.path.write_bytes(self.content)
        super().link(source, target, folder=folder)


@pytest.mark.parametrize("content", [b"{}", b"[]"])
async def test_a_file_that_appears_at_the_last_moment_is_not_overwritten(root: Path, content: bytes) -> None:
    output = output_at(root, Racing(root / "2026-11-24/acme" / NAME, content))
    part = await stage(output, b"{}")
    placing = output.place([record_of(part)], {part.path: part.temp})
    if content == b"{}":
        assert (await placing).placed == (part.path,)
        assert tree(root) == [part.path]
    else:
        with pytest.raises(InTheWayError):
            await placing
    assert (root / part.path).read_bytes() == content


class WithoutHardLinks(Disk):
    """As exFAT and many network shares are."""

    def link(self, source: str, target: str, *, folder: int) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


async def test_a_file_system_without_hard_links_is_as_good(root: Path) -> None:
    output = output_at(root, WithoutHardLinks())
    record = await put(output, b"{}")
    assert tree(root) == [record.path]
    part = await stage(output, b"[]")
    with pytest.raises(InTheWayError):
        await output.place([record_of(part)], {part.path: part.temp})
    gone = await stage(output, b"x", "times-1.csv")
    (root / gone.temp).unlink()
    assert (await output.place([record_of(gone)], {gone.path: gone.temp})).missing == (gone.path,)


async def test_what_somebody_does_to_a_nights_folder_meanwhile_stops_no_other_file(
    root: Path, tmp_path: Path
) -> None:
    """The folder stays open from one file to the next, and whoever moves it away does not take the rest along."""
    output = output_at(root)
    await put(output, b"{}")
    (root / "2026-11-24").rename(tmp_path / "moved")
    new = await put(output, b"[]", "payroll-291.json", tenant="globex")
    known = await put(output, b"[]")
    assert tree(root) == [known.path, new.path]
    assert tree(tmp_path / "moved") == ["acme/payroll-290.json"]
    shutil.rmtree(root / "2026-11-24")
    again = await put(output, b"[1]")
    assert tree(root) == [again.path]
    (root / "2026-11-24").rename(tmp_path / "moved too")
    await output.publish(NIGHT, "run.json", b"{}")
    again = await put(output, b"[2]")
    assert tree(root) == [again.path, "2026-11-24/run.json"]


async def test_a_link_put_in_place_of_a_nights_folder_meanwhile_is_not_followed(
    root: Path, tmp_path: Path
) -> None:
    output = output_at(root)
    await put(output, b"{}")
    (root / "2026-11-24").rename(tmp_path / "moved")
    victim = tmp_path / "victim"
    (victim / "acme").mkdir(parents=True)
    (root / "2026-11-24").symlink_to(victim)
    with pytest.raises(StorageError, match=r"2026-11-24.*symbolic link"):
        await stage(output, b"{}", tenant="globex")
    with contextlib.suppress(StorageError):
        await put(output, b"{}", "payroll-291.json")
    assert tree(victim) == []


@pytest.mark.parametrize("same", [True, False])
async def test_a_file_that_waits_no_more_may_be_in_its_place_already(root: Path, same: bool) -> None:
    output = output_at(root)
    part = await stage(output, b"{}")
    (root / part.temp).rename(root / part.path)
    if not same:
        (root / part.path).write_bytes(b"[]")
    result = await output.place([record_of(part)], {part.path: part.temp})
    assert (result.placed, result.missing) == (((part.path,), ()) if same else ((), (part.path,)))
    assert (root / part.path).read_bytes() == (b"{}" if same else b"[]")


async def test_a_temporary_file_elsewhere_is_a_fault_of_ours(root: Path) -> None:
    output = output_at(root)
    part = await stage(output, b"{}", tenant="globex")
    record = FileRecord("2026-11-24/acme/payroll-290.json", part.size_bytes, part.sha256, 290, "json")
    with pytest.raises(ValueError, match="beside its place"):
        await output.place([record], {record.path: part.temp})


# ── names and links ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "tenant, filename",
    [
        ("..", NAME),
        ("acme/..", NAME),
        ("Acme", NAME),
        (".runner", NAME),
        ("acme", "../payroll-290.json"),
        ("acme", "payroll.json"),
        ("acme", "payroll-290.json\n"),
        ("acme", "payroll-290"),
        ("acme", "payroll-٢٩٠.json"),
        ("acme", ".payroll-290.json.0123456789abcdef.part"),
        ("acme", "a" * 64 + "-290.json"),
        ("acme", "payroll-290.json\0.csv"),
    ],
)
async def test_only_names_of_ours_become_paths(root: Path, tenant: str, filename: str) -> None:
    output = output_at(root)
    with pytest.raises(ValueError, match="not the name"):
        output.spool(NIGHT, tenant, filename, reader=Whole(), cap_bytes=1)
    with pytest.raises(ValueError, match="not the name"):
        await output.missing([FileRecord(f"2026-11-24/{tenant}/{filename}", 0, "", 1, "json")])


@pytest.mark.parametrize("name", ["../run.json", "run.json/..", ".runner", "a/b", ""])
async def test_only_names_of_ours_are_published(root: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        await output_at(root).publish(NIGHT, name, b"")


@pytest.mark.parametrize("link", ["2026-11-24", "2026-11-24/acme"])
async def test_a_folder_that_is_a_symbolic_link_is_refused(root: Path, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    (outside / "acme").mkdir(parents=True)
    victim = outside / ".payroll-290.json.0123456789abcdef.part"
    victim.write_bytes(b"not ours")
    (root / link).parent.mkdir(parents=True)
    (root / link).symlink_to(outside)
    output = output_at(root)
    with pytest.raises(StorageError, match=r"2026-11-24.*symbolic link"):
        await stage(output, b"{}")
    record = FileRecord("2026-11-24/acme/payroll-290.json", 2, hashlib.sha256(b"{}").hexdigest(), 290, "json")
    with pytest.raises(StorageError, match="symbolic link"):
        await output.place([record], {})
    assert await output.missing([record]) == (record.path,)  # What lies behind a link is not there.
    assert "symbolic link" in dict(output.verify([record]))[record.path]
    if link == "2026-11-24":
        for step in (output.prepare(NIGHT), output.clean([NIGHT]), output.publish(NIGHT, "run.json", b"{}")):
            with pytest.raises(StorageError, match="symbolic link"):
                await step
    else:
        await output.clean([NIGHT])
    assert victim.read_bytes() == b"not ours"
    assert sorted(path.name for path in outside.rglob("*")) == [victim.name, "acme"]


async def test_the_root_may_be_a_symbolic_link(root: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere-output"
    real.mkdir()
    root.symlink_to(real)
    record = await put(output_at(root), b"{}")
    assert (real / record.path).read_bytes() == b"{}"


async def test_publishing_replaces_a_symbolic_link_and_not_its_target(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    output = output_at(root)
    await output.prepare(NIGHT)
    (root / "2026-11-24/run.json").symlink_to(target)
    await output.publish(NIGHT, "run.json", b"{}")
    assert target.read_bytes() == b"precious"
    assert (root / "2026-11-24/run.json").read_bytes() == b"{}"
    assert not (root / "2026-11-24/run.json").is_symlink()


# ── permissions ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def _open_umask() -> Iterator[None]:
    old = os.umask(0)
    yield
    os.umask(old)


def modes(root: Path) -> set[tuple[bool, int]]:
    return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (root, *root.rglob("*"))}


@pytest.mark.usefixtures("_open_umask")
async def test_only_the_owner_may_read_even_under_an_open_umask(root: Path) -> None:
    output = output_at(root)
    await output.prepare(NIGHT)
    await put(output, b"{}")
    await stage(output, b"{}", "times-1.csv")
    await output.publish(NIGHT, "run.json", b"{}")
    assert modes(root) == {(True, 0o700), (False, 0o600)}


@pytest.mark.usefixtures("_open_umask")
async def test_a_group_may_read_if_it_is_named(root: Path) -> None:
    group_id = os.getgid() if os.geteuid() else 54321
    await output_at(root).prepare(NIGHT)  # as an earlier run without the group did
    output = output_at(root, group_id=group_id)
    await output.prepare(NIGHT)
    await put(output, b"{}")
    await output.publish(NIGHT, "run.json", b"{}")
    assert modes(root) == {(True, 0o750), (False, 0o640)}
    assert {path.stat().st_gid for path in (root, *root.rglob("*"))} == {group_id}


async def test_a_folder_that_is_open_already_stays_as_its_owner_made_it(root: Path) -> None:
    root.mkdir()
    root.chmod(0o2775)
    await output_at(root, group_id=os.getgid()).prepare(NIGHT)
    assert stat.S_IMODE(root.stat().st_mode) == 0o2775


# ── cleaning ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_cleaning_removes_our_temporary_files_and_nothing_else(root: Path) -> None:
    output = output_at(root)
    record = await put(output, b"{}")
    left = [(await stage(output, b"half")).temp, "2026-11-24/.run.json.0123456789abcdef.part"]
    kept = [
        "2026-11-24/acme/notes.txt",
        "2026-11-24/acme/.payroll-290.json.part",
        "2026-11-24/acme/.payroll-290.json.0123456789abcdeg.part",
        "2026-11-24/acme/.payroll-290.json.0123456789abcdef.part~",
        "2026-11-24/acme/sub/.payroll-290.json.0123456789abcdef.part",
        "2026-11-24/.git/.payroll-290.json.0123456789abcdef.part",
        "2026-11-23/acme/.payroll-290.json.0123456789abcdef.part",
        ".payroll-290.json.0123456789abcdef.part",
    ]
    for name in [left[1], *kept]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    folder = root / "2026-11-24/acme/.times-1.csv.0123456789abcdef.part"
    folder.mkdir()
    await output.clean([NIGHT, date(2020, 1, 1), NIGHT])
    assert tree(root) == sorted([record.path, *kept])
    assert folder.is_dir()


async def test_cleaning_where_nothing_was_ever_written_makes_nothing(root: Path) -> None:
    await output_at(root).clean([NIGHT])
    assert not root.exists()


# ── looking and verifying ────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_not_on_disk_with_its_size_is_missing(root: Path) -> None:
    output = output_at(root)
    good = await put(output, b"{}")
    short = await put(output, b"12345", "times-1.csv")
    (root / short.path).write_bytes(b"1234")
    folder = await put(output, b"12345", "times-2.csv")
    (root / folder.path).unlink()
    (root / folder.path).mkdir()
    gone = FileRecord("2026-11-24/acme/times-3.csv", 5, "0" * 64, 3, "csv")
    never = FileRecord("2026-11-20/acme/times-4.csv", 5, "0" * 64, 4, "csv")
    absent = await output.missing([good, short, folder, gone, never])
    assert absent == (short.path, folder.path, gone.path, never.path)


async def test_verify_tells_each_file_that_changed(root: Path) -> None:
    output = output_at(root)
    good, changed, short = [await put(output, b"12345", f"times-{n}.csv") for n in (1, 2, 3)]
    (root / changed.path).write_bytes(b"54321")
    (root / short.path).write_bytes(b"")
    gone = FileRecord("2026-11-24/acme/times-4.csv", 5, "0" * 64, 4, "csv")
    never = FileRecord("2026-11-20/acme/times-5.csv", 5, "0" * 64, 5, "csv")
    pipe = FileRecord("2026-11-24/acme/times-6.csv", 5, "0" * 64, 6, "csv")
    os.mkfifo(root / pipe.path)
    assert dict(output.verify([good, changed, short, gone, never, pipe])) == {
        changed.path: "its content is not what was recorded",
        short.path: "it has 0 bytes, 5 are recorded",
        gone.path: "it is missing",
        never.path: "it is missing",
        pipe.path: "it is not a regular file",
    }


async def test_sha256sum_reads_the_checksum_list(root: Path) -> None:
    output = output_at(root)
    records = [
        await put(output, os.urandom(100), f"{name}-{n}.csv", tenant)
        for n, (tenant, name) in enumerate([("globex", "times"), ("acme", "times"), ("acme", "a_b-c")])
    ]
    unplaced = FileRecord("2026-11-24/acme/late-9.csv", 1, "0" * 64, 9, "csv")
    other_night = FileRecord("2026-11-23/acme/old-8.csv", 1, "0" * 64, 8, "csv", placed=True)
    await output.publish(NIGHT, "SHA256SUMS", sha256sums([*records, unplaced, other_night], NIGHT))
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(check, cwd=root / "2026-11-24", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "acme/a_b-c-2.csv: OK",
        "acme/times-1.csv: OK",
        "globex/times-0.csv: OK",
    ]
    (root / records[0].path).write_bytes(b"changed")
    done = subprocess.run(check, cwd=root / "2026-11-24", capture_output=True, text=True, check=False)
    assert done.returncode == 1


async def test_what_is_published_in_pieces_is_whole_or_not_there(root: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ArithmeticError

    output = output_at(root)
    await output.publish(NIGHT, "run.json", iter([b"run", b"ning"]))
    with pytest.raises(ArithmeticError):
        await output.publish(NIGHT, "run.json", broken())
    assert (root / "2026-11-24/run.json").read_bytes() == b"running"
    assert tree(root) == ["2026-11-24/run.json"]


async def test_the_beginning_of_a_published_file_is_to_be_had_where_there_is_one(
    root: Path, tmp_path: Path
) -> None:
    output = output_at(root)
    assert await output.beginning(NIGHT, "run.json", 3) == b""
    await output.publish(NIGHT, "run.json", b"running")
    assert await output.beginning(NIGHT, "run.json", 3) == b"run"
    (tmp_path / "elsewhere").write_bytes(b"not ours")
    (root / "2026-11-24/run.json").unlink()
    (root / "2026-11-24/run.json").symlink_to(tmp_path / "elsewhere")
    assert await output.beginning(NIGHT, "run.json", 3) == b""


async def test_publishing_again_replaces_the_whole(root: Path) -> None:
    output = output_at(root)
    for content in (b"running" * 1000, b"ok"):
        await output.publish(NIGHT, "run.json", content)
        assert (root / "2026-11-24/run.json").read_bytes() == content
    assert tree(root) == ["2026-11-24/run.json"]

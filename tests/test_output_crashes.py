"""What a crash or a failing disk leaves: a whole file or none, and nothing that the next run does not clean.

Faults are put between any two primitive effects, at the one port where all of them pass.
"""

import errno
import functools
import gc
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import pytest

from runner.errors import StorageError
from runner.jobs.model import FileRecord
from runner.output import Derivation, Disk, Output
from tests.readers import Whole, length

T = TypeVar("T")

NIGHT = date(2026, 11, 24)
JSON = "2026-11-24/acme/payroll-290.json"
CSV = "2026-11-24/acme/payroll-290.csv"
TABLE = b"id\n1\n"
pytestmark = pytest.mark.anyio


class Crash(BaseException):
    """The process is gone: nothing after it happens."""


class Meddled(Disk):
    """A disk on which `meddle` is asked before each effect."""

    def __init__(self, meddle: Callable[[str], None], *, hard_links: bool = True) -> None:
        for name in [name for name in vars(Disk) if not name.startswith("_")]:
            setattr(self, name, functools.partial(self._effect, name, meddle, hard_links))

    def _effect(
        self, name: str, meddle: Callable[[str], None], hard_links: bool, *args: Any, **more: Any
    ) -> Any:
        if name == "close":  # the system closes what a dead process held
            Disk.close(self, *args)
            return None
        meddle(name)
        if name == "link" and not hard_links:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return getattr(Disk, name)(self, *args, **more)


class After:
    """Lets so many effects pass, then raises. A crash goes on for ever; a fault comes once."""

    def __init__(self, effects: int, error: BaseException | None = None) -> None:
        self.left = effects
        self.error = error

    def __call__(self, effect: str) -> None:
        self.left -= 1
        if self.left < 0 and self.error is None:
            raise Crash
        if self.left == -1 and self.error is not None:
            raise self.error


async def inline(work: Callable[[], T]) -> T:
    return work()


def output_at(root: Path, disk: Disk) -> Output:
    return Output(root, disk=disk, offload=inline, group_id=os.getgid())


def table(size: int, blocks: Iterable[bytes], write: Callable[[bytes], object]) -> None:
    assert sum(map(len, blocks)) == size
    write(TABLE)


async def night(output: Output, named: dict[str, FileRecord], data: bytes) -> None:
    """What a run does with one job: `named` is its journal, which a crash does not take away."""
    await output.prepare(NIGHT)
    await output.clean([NIGHT])
    await output.publish(NIGHT, "run.json", b"running")
    if not named or (await output.place(list(named.values()), {})).missing:
        async with output.spool(
            NIGHT, "acme", "payroll-290.json", reader=Whole(), cap_bytes=1 << 30
        ) as spool:
            await spool.write(data)
            spooled = await spool.finish(length, [Derivation("csv", "payroll-290.csv", table)])
        parts = [(spooled.answer, "json"), *((part, fmt) for fmt, part in spooled.derived.items())]
        named.clear()
        for part, fmt in parts:
            named[part.path] = FileRecord(part.path, part.size_bytes, part.sha256, 290, fmt)
        await output.place(list(named.values()), {part.path: part.temp for part, _ in parts})
    await output.publish(NIGHT, "run.json", b"ok")


def visible(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def hidden(root: Path) -> list[str]:
    return [path.name for path in root.rglob(".*")]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def effects_of_a_night(root: Path, data: bytes, *, hard_links: bool) -> int:
    seen: list[str] = []
    await night(output_at(root, Meddled(seen.append, hard_links=hard_links)), {}, data)
    return len(seen)


@pytest.mark.parametrize("hard_links", [True, False], ids=["hard links", "no hard links"])
@pytest.mark.parametrize("size", [100, (2 << 20) + 5], ids=["small", "large"])
async def test_a_crash_between_any_two_effects_costs_nothing(
    tmp_path: Path, size: int, hard_links: bool
) -> None:
    data = b"x" * size
    effects = await effects_of_a_night(tmp_path / "whole", data, hard_links=hard_links)
    assert effects > 30
    for survived in range(effects):
        root = tmp_path / str(survived)
        named: dict[str, FileRecord] = {}
        crash = After(survived)
        with pytest.raises(Crash):
            await night(output_at(root, Meddled(crash, hard_links=hard_links)), named, data)
        for path, content in visible(root).items():
            assert content in {JSON: (data,), CSV: (TABLE,)}.get(path, (b"running", b"ok"))
            assert path in named or path.endswith("run.json")
        await night(output_at(root, Disk()), named, data)
        assert visible(root) == {JSON: data, CSV: TABLE, "2026-11-24/run.json": b"ok"}
        assert hidden(root) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
async def test_a_fault_in_any_effect_is_told_in_words_and_leaves_no_trace(
    tmp_path: Path, number: int
) -> None:
    data = b"x" * ((1 << 20) + 5)
    effects = await effects_of_a_night(tmp_path / "whole", data, hard_links=True)
    gc.collect()  # what earlier tests left goes now or later, so at the end there may be fewer
    before = descriptors()
    told: list[str] = []
    for survived in range(effects):
        root = tmp_path / f"output-{survived}"
        named: dict[str, FileRecord] = {}
        fault = After(survived, OSError(number, os.strerror(number)))
        try:
            await night(output_at(root, Meddled(fault)), named, data)
        except StorageError as error:
            told.append(str(error))
        fault.error = None  # it was raised, and holds on to whatever met it there
        for path, content in visible(root).items():
            assert content in {JSON: (data,), CSV: (TABLE,)}.get(path, (b"running", b"ok"))
        await night(output_at(root, Disk()), named, data)
        assert hidden(root) == []
        assert visible(root)[JSON] == data
    gc.collect()
    assert descriptors() <= before
    assert len(told) > effects // 2
    assert all(os.strerror(number) in message and "To do:" in message for message in told)


class Full(Disk):
    """A disk with so many bytes left. It writes what fits, as disks do."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes

    def write(self, fd: int, pieces: Sequence[memoryview]) -> int:
        if not self.room_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = super().write(fd, [memoryview(b"".join(pieces))[: self.room_bytes]])
        self.room_bytes -= written
        return written


async def test_a_full_disk_keeps_no_half_file(tmp_path: Path) -> None:
    output = output_at(tmp_path, Full(1000))
    async with output.spool(NIGHT, "acme", "payroll-290.json", reader=Whole(), cap_bytes=1 << 30) as spool:
        await spool.write(b"x" * 2000)
        with pytest.raises(StorageError, match=r"payroll-290\.json: writing it failed .*free some space"):
            await spool.finish(length)
    assert visible(tmp_path) == {}
    assert hidden(tmp_path) == []


async def test_a_disk_too_full_for_the_table_is_everybodys_trouble_and_leaves_nothing(tmp_path: Path) -> None:
    # Kept without its table the answer would be done, and the table never made: the next run makes both.
    output = output_at(tmp_path, Full(102))
    async with output.spool(NIGHT, "acme", "payroll-290.json", reader=Whole(), cap_bytes=1 << 30) as spool:
        await spool.write(b"x" * 100)
        with pytest.raises(StorageError, match=r"payroll-290\.csv: writing it failed .*free some space"):
            await spool.finish(length, [Derivation("csv", "payroll-290.csv", table)])
    assert visible(tmp_path) == {}
    assert hidden(tmp_path) == []


async def test_a_published_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    await output_at(tmp_path, Disk()).publish(NIGHT, "run.json", b"running")
    with pytest.raises(StorageError, match=r"run\.json"):
        await output_at(tmp_path, Full(1)).publish(NIGHT, "run.json", b"ok")
    assert visible(tmp_path) == {"2026-11-24/run.json": b"running"}
    assert hidden(tmp_path) == []


async def test_an_output_directory_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"2026-11-24: writing into this folder failed .*free some space"):
        await output_at(tmp_path, Full(0)).prepare(NIGHT)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file: opening this folder failed"):
        await output_at(tmp_path / "file", Disk()).prepare(NIGHT)

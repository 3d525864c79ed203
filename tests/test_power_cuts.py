"""What a power cut leaves of a night's files: all that was flushed, and of the rest whatever harms most.

A process that is killed leaves its writes with the system; a machine that loses its power loses them. The disk here
keeps count of what was flushed. At the cut all other bytes are gone, and names that were not flushed are gone as well,
or all there already: a file system may do either.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from runner.jobs.model import FileRecord
from runner.output import Disk, Output, PlaceResult
from tests.figures import note
from tests.test_output_crashes import (
    CSV,
    JSON,
    NIGHT,
    TABLE,
    After,
    Crash,
    Meddled,
    effects_of_a_night,
    hidden,
    inline,
    night,
    output_at,
    visible,
)

RUN_JSON = f"{NIGHT}/run.json"
pytestmark = pytest.mark.anyio


class Cached(Meddled):
    """A disk that loses its power: what of its bytes and names was flushed, by the number of the file or folder."""

    def __init__(self, root: Path, meddle: Callable[[str], None], *, hard_links: bool) -> None:
        super().__init__(meddle, hard_links=hard_links)
        self.root = root
        self.bytes: dict[int, bytes] = {}
        self.names: dict[int, dict[str, int]] = {root.stat().st_ino: {}}
        self._open: list[int] = []

    def _effect(
        self, name: str, meddle: Callable[[str], None], hard_links: bool, *args: Any, **more: Any
    ) -> Any:
        if name in ("flush", "flush_folder"):
            meddle(name)
            self._flushed(args[0])
            return None
        result = super()._effect(name, meddle, hard_links, *args, **more)
        if name == "create":
            self._open.append(os.dup(result))  # so that no other file gets its number
            self.bytes[os.fstat(result).st_ino] = b""
        elif name == "make_folder":
            self.names[os.stat(args[0], dir_fd=more["folder"]).st_ino] = {}
        return result

    def _flushed(self, fd: int) -> None:
        status = os.fstat(fd)
        if status.st_ino in self.names:
            self.names[status.st_ino] = {entry.name: entry.inode() for entry in os.scandir(fd)}
        else:
            self.bytes[status.st_ino] = os.pread(fd, status.st_size, 0)

    def close_all(self) -> None:
        while self._open:
            os.close(self._open.pop())

    def with_names_lost(self) -> dict[str, bytes]:
        return dict(self._below(self.root.stat().st_ino, ""))

    def _below(self, folder: int, path: str) -> Iterator[tuple[str, bytes]]:
        for name, number in self.names[folder].items():
            if number in self.names:
                yield from self._below(number, f"{path}{name}/")
            else:
                yield f"{path}{name}", self.bytes[number]

    def with_names_kept(self) -> dict[str, bytes]:
        files = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): self.bytes[path.stat().st_ino] for path in files}


class Quick(Disk):
    """Flushing is what the disk above is asked about; for the next run it would only take time."""

    def flush(self, fd: int) -> None:
        """Take no time."""

    def flush_folder(self, fd: int) -> None:
        """Take no time."""


class Promising(Output):
    """Notes what it said to be on disk, where `whole` tells what belongs there."""

    whole: Mapping[str, bytes]
    promised: dict[str, bytes]

    async def place(self, records: Sequence[FileRecord], temps: Mapping[str, str]) -> PlaceResult:
        result = await super().place(records, temps)
        self.promised |= {path: whole for path, whole in self.whole.items() if path in result.placed}
        return result

    async def publish(self, night: date, name: str, content: bytes | Iterable[bytes]) -> None:
        assert isinstance(content, bytes)
        self.promised.pop(RUN_JSON, None)  # while it is replaced it is the one or the other
        await super().publish(night, name, content)
        self.promised[RUN_JSON] = content


class Watched(Disk):
    """Notes which folders had their names brought to disk."""

    def __init__(self) -> None:
        self.flushed: set[int] = set()

    def flush_folder(self, fd: int) -> None:
        super().flush_folder(fd)
        self.flushed.add(os.fstat(fd).st_ino)


async def test_a_power_cut_costs_no_output_directory_that_was_made_tonight(tmp_path: Path) -> None:
    """Its journal may lie elsewhere, and know files in a folder that is gone."""
    disk, root = Watched(), tmp_path / "srv" / "pay" / "output"
    await output_at(root, disk).prepare(NIGHT)
    assert {folder.stat().st_ino for folder in (*root.parents[:3], root)} <= disk.flushed


@pytest.mark.parametrize("hard_links", [True, False], ids=["hard links", "no hard links"])
@pytest.mark.parametrize("size", [100, (1 << 20) + 5], ids=["small", "large"])
async def test_a_power_cut_between_any_two_effects_costs_nothing_that_was_said_to_be_there(
    tmp_path: Path, size: int, hard_links: bool
) -> None:
    whole = {JSON: b"x" * size, CSV: TABLE}
    (tmp_path / "whole").mkdir()
    effects = await effects_of_a_night(tmp_path / "whole", whole[JSON], hard_links=hard_links)
    for survived in range(effects):
        root = tmp_path / str(survived)
        root.mkdir()
        named: dict[str, FileRecord] = {}
        disk = Cached(root, After(survived), hard_links=hard_links)
        output = Promising(root, disk=disk, offload=inline, group_id=os.getgid())
        output.promised, output.whole = {}, whole
        try:
            with pytest.raises(Crash):
                await night(output, named, whole[JSON])
            lost, kept = disk.with_names_lost(), disk.with_names_kept()
        finally:
            disk.close_all()
        for variant, left in (("lost", lost), ("kept", kept)):
            assert {path: left.get(path) for path in output.promised} == output.promised
            for path, content in left.items():
                if not path.rpartition("/")[2].startswith("."):
                    assert content in {RUN_JSON: (b"running", b"ok")}.get(path, (whole.get(path),))
                    assert path in named or path == RUN_JSON
            await goes_on(tmp_path / f"{survived}-{variant}", left, dict(named), whole)
    note("power", cuts=effects)


async def goes_on(
    root: Path, left: Mapping[str, bytes], named: dict[str, FileRecord], whole: Mapping[str, bytes]
) -> None:
    """The next run on the same disk ends the night as if nothing had been."""
    for path, content in left.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    await night(output_at(root, Quick()), named, whole[JSON])
    assert visible(root) == {**whole, RUN_JSON: b"ok"}
    assert hidden(root) == []

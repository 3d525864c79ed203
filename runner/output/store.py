"""`Output`: prepares a night's folder, cleans, places, verifies and publishes.

Owns what "in place" means: named in the journal first, then there under its name, whole, with nothing overwritten.
Must not know states or the journal: records come in, paths go out.
"""

import contextlib
import errno
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Final, Literal

import anyio

from runner.errors import StorageError
from runner.jobs.model import FileRecord
from runner.output.disk import Disk
from runner.output.names import (
    Place,
    data_place,
    is_temporary,
    is_tenant_folder,
    place_of,
    published_place,
    temporary_in,
)
from runner.output.quarantine import Quarantine
from runner.output.spool import Crowd, R, Reader, Spool
from runner.output.tree import MissingFolderError, Offload, PlaceError, Tree, telling

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What file systems answer that know no hard links: exFAT, many network shares."""


ANSWERS_AT_THE_DISK: Final = 128
"""So many answers that have come may wait for the disk. Each lies in memory, with up to a block of its bytes."""

_Found = Literal["same", "other", "none"]
"""What stands in a place: the file of the record, something else, nothing."""


class InTheWayError(PlaceError):
    """Something else stands where a file belongs. It was neither overwritten nor removed."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path}: another file stands in its place, and nothing was overwritten. "
            "To do: look what it is, move it away, then run again."
        )
        self.path = path


@dataclass(frozen=True, slots=True)
class PlaceResult:
    """What came of placing files; paths as the records have them.

    Attributes:
        placed: they stand there now, or did already.
        missing: nothing stands there, and nothing waits beside.
    """

    placed: tuple[str, ...]
    missing: tuple[str, ...]


class Output:
    """The output directory. Nothing else of the program writes below it, the journal apart.

    Args:
        root: where it is; it may be a symbolic link, nothing below it may.
        disk: the effects.
        offload: runs blocking work off the event loop.
        offload_block: the same for blocks of large answers, if they have a way of their own.
        group_id: a group that may read; None for the owner alone.

    Attributes:
        quarantine: where refused answers are kept.
        room: entered by an answer that has come, before its spool is finished. Who waits here asks for nothing more:
            a disk that is slower than the hosts would fill the memory.
    """

    def __init__(
        self,
        root: Path,
        *,
        disk: Disk,
        offload: Offload,
        offload_block: Offload | None = None,
        group_id: int | None = None,
    ) -> None:
        self._tree = Tree(root, disk, group_id)
        self._disk = disk
        self._offload = offload
        self._offload_block = offload_block or offload
        self._crowd = Crowd()
        self.room = anyio.Semaphore(ANSWERS_AT_THE_DISK, fast_acquire=True)
        self.quarantine = Quarantine(root, disk=disk, offload=offload)

    async def prepare(self, night: date) -> None:
        """Make the folder of `night` and prove that it can be written.

        Raises:
            StorageError: it cannot.
        """
        await self._offload(lambda: self._prepare(night))

    def _prepare(self, night: date) -> None:
        place = published_place(night, "probe")
        with self._tree.folder(*place.folders, make=True) as folder:
            name, fd = self._tree.create_beside(place, folder)
            try:
                with telling(place.folders[0], "writing into this folder"):
                    self._tree.write_all(fd, b"probe")
                    self._disk.flush(fd)
            finally:
                self._tree.close(fd)
                self._tree.remove(name, folder)

    async def clean(self, nights: Sequence[date]) -> None:
        """Remove what a crash left beside, in the folders of `nights`: temporary files of ours, never anything else.

        Only for whoever holds the lock: a temporary file of a living runner looks the same.

        Raises:
            StorageError: something of ours is there and cannot be removed.
        """
        await self._offload(lambda: self._clean(nights))

    def _clean(self, nights: Sequence[date]) -> None:
        for night in dict.fromkeys(nights):
            with contextlib.suppress(MissingFolderError):
                for tenant in self._clean_folder(night.isoformat()):
                    # A folder that cannot be used is its tenant's trouble, and told when a file goes there.
                    with contextlib.suppress(MissingFolderError, PlaceError):
                        self._clean_folder(night.isoformat(), tenant)

    def _clean_folder(self, *names: str) -> list[str]:
        """Clean one folder; what comes back are the folders in it where a tenant's files may lie."""
        path = "/".join(names)
        folders: list[str] = []
        with self._tree.folder(*names) as folder, telling(path, "cleaning this folder"):
            for name in sorted(self._disk.list_names(folder)):
                if not (is_temporary(name) or is_tenant_folder(name)):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    mode = self._disk.look(name, folder=folder).st_mode
                    if is_temporary(name) and stat.S_ISREG(mode):
                        self._disk.unlink(name, folder=folder)
                    elif is_tenant_folder(name) and stat.S_ISDIR(mode):
                        folders.append(name)
        return folders

    def spool(
        self, night: date, tenant: str, filename: str, *, reader: Reader[R], cap_bytes: int
    ) -> Spool[R]:
        """Somewhere for a download to go; nothing is written before there is something to write.

        Args:
            night: the folder.
            tenant: the folder in it.
            filename: the answer's name, `<job>-<id>.<format>`.
            reader: sees the bytes on their way.
            cap_bytes: more is too large.

        Raises:
            ValueError: a name is not ours.
        """
        place = data_place(night, tenant, filename)
        return Spool(self._tree, self._offload, self._offload_block, place, reader, cap_bytes, self._crowd)

    async def discard(self, temps: Iterable[str]) -> None:
        """Remove finished spools that will not be placed after all. Never raises: what stays is cleaned later."""
        by_folder: dict[tuple[str, ...], list[str]] = {}
        for temp in temps:
            *folders, name = temp.split("/")
            if is_temporary(name):
                by_folder.setdefault(tuple(folders), []).append(name)

        def remove() -> None:
            for folders, names in by_folder.items():
                self._tree.remove_from(folders, names)

        await self._offload(remove)

    async def place(self, records: Sequence[FileRecord], temps: Mapping[str, str]) -> PlaceResult:
        """Put files in their places, which the journal must know already. Nothing is overwritten.

        A file that stands there as recorded is taken. If one stands there that is not as recorded, none is placed.

        Args:
            records: the files.
            temps: where they wait, by the path of their record; left out for what an earlier run may have placed.

        Raises:
            InTheWayError: something else stands in a place; what waits beside is still there, to be discarded.
            StorageError: the disk refused.
        """
        return await self._offload(lambda: self._place(records, temps))

    def _place(self, records: Sequence[FileRecord], temps: Mapping[str, str]) -> PlaceResult:
        placed: list[str] = []
        missing: list[str] = []
        folders: dict[tuple[str, ...], int] = {}
        try:
            lot: list[tuple[FileRecord, Place, int, _Found]] = []
            for record in records:
                place = place_of(record.path)
                folder = folders.get(place.folders)
                if folder is None:
                    folder = folders[place.folders] = self._tree.open(place.folders, make=True)
                # Of one file alone the link tells as well whether its place is free.
                alone = len(records) == 1 and record.path in temps
                found = "none" if alone else self._compare(record, place.filename, folder)
                if found == "other":
                    raise InTheWayError(record.path)
                lot.append((record, place, folder, found))
            for record, place, folder, found in lot:
                here = self._put(record, place, temps.get(record.path), found, folder)
                (placed if here else missing).append(record.path)
            for names, folder in folders.items():
                with telling("/".join(names), "flushing this folder to disk"):
                    self._disk.flush_folder(folder)
        finally:
            for folder in folders.values():
                self._tree.close(folder)
        return PlaceResult(tuple(placed), tuple(missing))

    def _compare(self, record: FileRecord, filename: str, folder: int) -> _Found:
        with telling(record.path, "reading what stands in its place"):
            try:
                status = self._disk.look(filename, folder=folder)
                if not stat.S_ISREG(status.st_mode) or status.st_size != record.size_bytes:
                    return "other"
                same = self._tree.digest(filename, folder) == (record.size_bytes, record.sha256)
            except FileNotFoundError:
                return "none"
        return "same" if same else "other"

    def _put(self, record: FileRecord, place: Place, temp: str | None, found: _Found, folder: int) -> bool:
        name = None if temp is None else temporary_in(temp, place)
        if found == "none":
            return name is not None and self._move(name, record, place.filename, folder)
        if name is not None:
            self._tree.remove(name, folder)
        return True

    def _move(self, name: str, record: FileRecord, filename: str, folder: int) -> bool:
        """Give the temporary file its name. False when it is not there, nor what it would have become."""
        with telling(record.path, "putting it in its place"):
            try:
                self._rename_without_overwriting(name, filename, folder)
                return True
            except FileNotFoundError:
                return self._compare(record, filename, folder) == "same"
            except FileExistsError:
                # Nobody looked, or somebody put a file there since: perhaps the very same.
                if self._compare(record, filename, folder) != "same":
                    raise InTheWayError(record.path) from None
        self._tree.remove(name, folder)
        return True

    def _rename_without_overwriting(self, source: str, target: str, folder: int) -> None:
        try:
            self._disk.link(source, target, folder=folder)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            # We look, then rename: the lock keeps other runners away meanwhile. To reserve the name with an empty file
            # would be tighter, but a crash would leave a visible data file that is not whole.
            with contextlib.suppress(FileNotFoundError):
                self._disk.look(target, folder=folder)
                raise FileExistsError from error
            self._disk.rename(source, target, folder=folder)
        else:
            self._tree.remove(source, folder)

    async def missing(self, records: Sequence[FileRecord]) -> tuple[str, ...]:
        """The paths of `records` that do not stand there as regular files of the recorded size.

        What lies in a folder that cannot be used is not there: whose it is learns of it when it is placed again.

        Raises:
            StorageError: the disk refused.
        """
        return await self._offload(lambda: self._missing(records))

    def _missing(self, records: Sequence[FileRecord]) -> tuple[str, ...]:
        missing: list[str] = []
        for folders, group in groupby(records, lambda r: place_of(r.path).folders):
            lot = list(group)
            try:
                with self._tree.folder(*folders) as folder:
                    missing += [r.path for r in lot if not self._stands(r, folder)]
            except (MissingFolderError, PlaceError):
                missing += [r.path for r in lot]
        return tuple(missing)

    def _stands(self, record: FileRecord, folder: int) -> bool:
        with telling(record.path, "looking for it"):
            try:
                status = self._disk.look(place_of(record.path).filename, folder=folder)
            except FileNotFoundError:
                return False
        return stat.S_ISREG(status.st_mode) and status.st_size == record.size_bytes

    def verify(self, records: Iterable[FileRecord]) -> Iterator[tuple[str, str]]:
        """Read every file again: each path that is not as recorded, with the problem in words. Blocking.

        A file that cannot be read is told like any other, so that one bad folder does not hide the rest.
        """
        for record in records:
            problem = self._problem(record)
            if problem is not None:
                yield record.path, problem

    def _problem(self, record: FileRecord) -> str | None:
        place = place_of(record.path)
        try:
            with self._tree.folder(*place.folders) as folder, telling(record.path, "reading it"):
                status = self._disk.look(place.filename, folder=folder)
                if not stat.S_ISREG(status.st_mode):
                    return "it is not a regular file"
                size_bytes, sha256 = self._tree.digest(place.filename, folder)
        except MissingFolderError:
            return "it is missing"
        except StorageError as error:
            return "it is missing" if isinstance(error.__cause__, FileNotFoundError) else str(error)
        if size_bytes != record.size_bytes:
            return f"it has {size_bytes} bytes, {record.size_bytes} are recorded"
        return None if sha256 == record.sha256 else "its content is not what was recorded"

    async def beginning(self, night: date, name: str, size_bytes: int) -> bytes:
        """How `run.json` or its like begins; nothing where none stands there that can be read.

        Raises:
            ValueError: the name is not ours.
        """
        place = published_place(night, name)
        return await self._offload(lambda: self._beginning(place, size_bytes))

    def _beginning(self, place: Place, size_bytes: int) -> bytes:
        unreadable = contextlib.suppress(MissingFolderError, StorageError, OSError)
        with unreadable, self._tree.folder(*place.folders) as folder:
            fd = self._disk.open_read(place.filename, folder=folder)
            try:
                return self._disk.read(fd, size_bytes)
            finally:
                self._tree.close(fd)
        return b""

    async def publish(self, night: date, name: str, content: bytes | Iterable[bytes]) -> None:
        """Replace `run.json` or its like, whole: a reader sees the old one or the new one.

        Args:
            night: whose folder it is.
            name: of the file.
            content: all of it, or its pieces, which are asked for one after the other while they are written.

        Raises:
            StorageError: it could not be replaced; the old one stands.
            ValueError: the name is not ours.
        """
        place = published_place(night, name)
        pieces = (content,) if isinstance(content, bytes) else content
        await self._offload(lambda: self._publish(place, pieces))

    def _publish(self, place: Place, pieces: Iterable[bytes]) -> None:
        with self._tree.folder(*place.folders, make=True) as folder:
            temp, fd = self._tree.create_beside(place, folder)
            try:
                with telling(place.path, "replacing it"):
                    try:
                        for piece in pieces:
                            self._tree.write_all(fd, piece)
                        self._disk.flush(fd)
                    finally:
                        self._tree.close(fd)
                    self._disk.rename(temp, place.filename, folder=folder)
            except BaseException:
                self._tree.remove(temp, folder)
                raise
            with telling(place.path, "flushing its folder to disk"):
                self._disk.flush_folder(folder)

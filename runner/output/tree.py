"""The folders below the root, and files beside their place. Blocking: called through `Offload`.

Owns three promises: no folder below the root is ever a symbolic link, no descriptor but one stays open, and every
`OSError` comes out as a `StorageError` that says where, what and what to do. Must not know downloads, jobs or records.
"""

import contextlib
import errno
import hashlib
import secrets
import stat
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Protocol, TypeVar

from runner.errors import StorageError
from runner.output.disk import Disk
from runner.output.names import Place, temporary_name

T = TypeVar("T")

BLOCK_BYTES = 1 << 20
_GROUP = 0o050
_ANYBODY = 0o005
_GROUP_FILE_MODE = 0o640

_FULL = "the disk is full: free some space, then run again"
_FORBIDDEN = "this user has no right to it: mend owner and permissions, then run again"
_NO_FOLDER = "a symbolic link or a file stands where a folder belongs: move it away, then run again"
_TO_DO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "this user's quota is used up: raise it or free some space, then run again",
    errno.EFBIG: "the file system takes no file this large: use another one, then run again",
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: "the file system is read-only: look why (a failing disk?), mount it to write, then run again",
    errno.ENOTDIR: _NO_FOLDER,
    errno.ELOOP: _NO_FOLDER,
    errno.EISDIR: "a folder stands where a file belongs: move it away, then run again",
    errno.ENAMETOOLONG: "the path is too long: choose a shorter output directory, then run again",
    errno.ENOENT: "somebody removed or moved it meanwhile: put it back or run again",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n), then run again",
    errno.ENFILE: "too many files are open on this machine: raise its limit, then run again",
    errno.EIO: "the disk or the network share reports an error: have it checked, then run again",
    errno.ESTALE: "the network share went away: mount it anew, then run again",
}

_OF_ONE_PLACE = frozenset(
    {errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM}
)
"""What is wrong with one folder or file alone. A full, failing or read-only disk is everybody's trouble."""


class PlaceError(StorageError):
    """This place cannot be used. Others can: it concerns whose place it is, and nobody else."""


class Offload(Protocol):
    """Runs blocking work where it does not hold up the event loop, to its end even if its caller is cancelled.

    `anyio.to_thread.run_sync` is one; a simulation calls the work inline.
    """

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Run `work` and return what it returns."""
        ...


class MissingFolderError(Exception):
    """A folder is not there, and nobody asked for it to be made."""


class telling:  # noqa: N801 - reads as what it does; a dozen of them are entered for each file
    """Turn an `OSError` into a `StorageError` in words.

    Args:
        path: where, relative to the root.
        doing: what failed, as in "writing it".
    """

    __slots__ = ("_doing", "_path")

    def __init__(self, path: str, doing: str) -> None:
        self._path = path
        self._doing = doing

    def __enter__(self) -> None:
        """Nothing has failed yet."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, OSError):
            what = error.strerror or type(error).__name__
            to_do = _TO_DO.get(error.errno or 0, "see to the disk, then run again")
            kind = PlaceError if error.errno in _OF_ONE_PLACE else StorageError
            raise kind(f"{self._path}: {self._doing} failed ({what}). To do: {to_do}.") from error


class _Kept:
    """A folder that stays open from one visit to the next, until nobody works in it any more."""

    __slots__ = ("_disk", "fd", "names")

    def __init__(self, names: tuple[str, ...], fd: int, disk: Disk) -> None:
        self.names = names
        self.fd = fd
        self._disk = disk

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self._disk.close(self.fd)


class Tree:
    """The output directory. Several threads may use it at once.

    Attributes:
        root: where it is; it may be a symbolic link.
        disk: the effects.
        group_id: a group that may read; None for the owner alone.
    """

    def __init__(self, root: Path, disk: Disk, group_id: int | None) -> None:
        self.root = root
        self.disk = disk
        self.group_id = group_id
        self._above: _Kept | None = None
        self._numbers = count(secrets.randbits(64))  # no two runs begin alike

    @contextlib.contextmanager
    def folder(self, *names: str, make: bool = False) -> Iterator[int]:
        """Open a folder for the time of the block, as `open` does."""
        fd = self.open(names, make=make)
        try:
            yield fd
        finally:
            self.close(fd)

    def open(self, names: tuple[str, ...], *, make: bool = False) -> int:
        """Open the folder `names` below the root, each of them real. Who opens it closes it.

        Where files are made, the one above stays open: from there the next of thousands is one step instead of three.

        Args:
            names: the folders to go down.
            make: create what is missing, the root included.

        Raises:
            MissingFolderError: one is missing, and none was to be made.
            StorageError: one cannot be made or opened, or is no real folder.
        """
        above = self._above  # held for as long as we use it, whatever others put there meanwhile
        if above is not None and above.names == names[:-1]:
            path = "/".join(names)
            try:
                fd = self._open_below(above.fd, names[-1], path, make=False)
            except MissingFolderError:
                pass  # it is new, or somebody moved the one above away: from the root again
            else:
                return self._for_the_group(fd, path) if make else fd
        # So who writes the night's page, each minute, makes everybody look anew whether its folder is still there.
        self._above = None
        fd = self._open_root(make=make)
        for depth, name in enumerate(names, start=1):
            try:
                below = self._open_below(fd, name, "/".join(names[:depth]), make=make)
            except BaseException:
                self.close(fd)
                raise
            if make and depth == len(names) > 1:
                self._above = _Kept(names[:-1], fd, self.disk)
            else:
                self.close(fd)
            fd = below
        return fd

    def _open_root(self, *, make: bool) -> int:
        path = str(self.root)
        with telling(path, "opening this folder"):
            try:
                fd = self.disk.open_root(self.root)
            except FileNotFoundError:
                if not make:
                    raise MissingFolderError(path) from None
                with telling(path, "making this folder"):
                    self.disk.make_root(self.root)
                fd = self.disk.open_root(self.root)
        return self._for_the_group(fd, path) if make else fd

    def _open_below(self, parent: int, name: str, path: str, *, make: bool) -> int:
        with telling(path, "opening this folder"):
            try:
                fd = self.disk.open_folder(name, folder=parent)
            except FileNotFoundError:
                if not make:
                    raise MissingFolderError(path) from None
                # Another job of this tenant may be quicker.
                with telling(path, "making this folder"), contextlib.suppress(FileExistsError):
                    self.disk.make_folder(name, folder=parent)
                    self.disk.flush_folder(parent)
                fd = self.disk.open_folder(name, folder=parent)
        return self._for_the_group(fd, path) if make else fd

    def _for_the_group(self, fd: int, path: str) -> int:
        """The open folder, which is closed if the group cannot be let in."""
        if self.group_id is not None:
            try:
                self._let_group_in(fd, self.group_id, path)
            except BaseException:
                self.close(fd)
                raise
        return fd

    def _let_group_in(self, fd: int, group_id: int, path: str) -> None:
        """Let the group read a folder; what else it allows is its owner's choice and stays.

        Done at every opening, since a crash may have come between making the folder and this.
        """
        with telling(path, "letting the output group read this folder"):
            status = self.disk.look_at(fd)
            mode = stat.S_IMODE(status.st_mode)
            if mode & _ANYBODY == _ANYBODY or (status.st_gid == group_id and mode & _GROUP == _GROUP):
                return
            self.disk.change_group(fd, group_id)
            self.disk.change_mode(fd, mode | _GROUP)

    def create_beside(self, place: Place, folder: int) -> tuple[str, int]:
        """Create an empty temporary file beside `place`: its name, and it opened to write and read."""
        name = temporary_name(place.filename, next(self._numbers))
        with telling(place.path, "creating a file beside it"):
            fd = self.disk.create(name, folder=folder)
        if self.group_id is not None:
            try:
                with telling(place.path, "letting the output group read it"):
                    self.disk.change_group(fd, self.group_id)
                    self.disk.change_mode(fd, _GROUP_FILE_MODE)
            except BaseException:
                self.close(fd)
                self.remove(name, folder)
                raise
        return name, fd

    def write_all(self, fd: int, *pieces: bytes | bytearray) -> None:
        """Write the whole of `pieces`, a few dozen at most."""
        rest = [memoryview(piece) for piece in pieces if piece]
        while rest:
            written = self.disk.write(fd, rest)
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            if written:
                rest[0] = rest[0][written:]

    def close(self, fd: int) -> None:
        """Close `fd`. It is closed whatever comes back, and what had to be on disk was flushed before."""
        try:  # noqa: SIM105 - some twenty times for each file
            self.disk.close(fd)
        except OSError:
            pass

    def remove(self, name: str, folder: int) -> None:
        """Remove a temporary file as well as can be; what stays is cleaned by the next run."""
        with contextlib.suppress(OSError):
            self.disk.unlink(name, folder=folder)

    def remove_from(self, folders: tuple[str, ...], names: list[str]) -> None:
        """Remove temporary files from a folder as well as can be."""
        with contextlib.suppress(MissingFolderError, StorageError), self.folder(*folders) as folder:
            for name in names:
                self.remove(name, folder)

    def digest(self, name: str, folder: int) -> tuple[int, str]:
        """Length and SHA-256 of a regular file."""
        digest = hashlib.sha256()
        size_bytes = 0
        fd = self.disk.open_read(name, folder=folder)
        try:
            while block := self.disk.read(fd, BLOCK_BYTES):
                size_bytes += len(block)
                digest.update(block)
        finally:
            self.close(fd)
        return size_bytes, digest.hexdigest()

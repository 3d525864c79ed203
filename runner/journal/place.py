"""Where a journal lies: its folders, its file, and the lock that keeps a second runner out.

Owns the operating system's side: permissions, `flock`, and which file systems are refused. Must not know SQL.
"""

import errno
import fcntl
import os
import re
import socket
from pathlib import Path
from typing import Self

from runner.clock import SystemClock
from runner.errors import LockHeldError, StorageError

MOUNTS = Path("/proc/self/mountinfo")
"""Which file system is mounted where. Other systems than Linux have no such file: nothing is refused there."""

# Their locks and shared memory cannot be relied on. 9p and overlay stay allowed: containers and WSL have local disks
# behind them.
_NETWORK = re.compile(
    r"nfs\d*|cifs|smb\w*|(fuse\.)?(ceph\w*|glusterfs|lustre|beegfs\w*|davfs2?)|afs|kafs|auristorfs|ncpfs?|gpfs|orangefs"
    r"|fuse\.(sshfs|s3fs|rclone|gcsfuse|smbnetfs|curlftpfs)"
)
_TO_DO = {
    errno.ENOSPC: "the disk is full: make room on it",
    errno.EDQUOT: "this user's quota is used up: raise it",
    errno.EROFS: "mount the file system to write (a failing disk is mounted read-only)",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine: raise its limit",
}
_BESIDE = ("-wal", "-shm")
"""What SQLite writes beside a journal."""
_OCTAL = re.compile(r"\\([0-7]{3})")


def network_file_system(path: Path, mounts: str) -> str | None:
    """The type of the network file system that `path` lies on; None when it is local.

    Args:
        path: absolute, links resolved.
        mounts: the text of `mountinfo`.
    """
    found, depth = "", -1
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(_OCTAL.sub(lambda code: chr(int(code[1], 8)), before.split()[4]))
        # Of two mounts on one point the later one is seen.
        if path.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = after.split()[0], len(point.parts)
    return found if _NETWORK.fullmatch(found) else None


def refuse_network(path: Path, mounts: Path = MOUNTS) -> None:
    """Refuse a place where a lock may not hold.

    Raises:
        StorageError: the path is on a network share.
    """
    if not mounts.exists():
        return
    kind = network_file_system(path, mounts.read_text(encoding="utf-8", errors="surrogateescape"))
    if kind is not None:
        raise StorageError(
            f"the journal {path} would lie on a network share ({kind}), where locks cannot be relied on. "
            "To do: let RUNNER_STATE name a path on a local disk; the output may stay on the share."
        )


def refuse_links(path: Path) -> None:
    """Refuse links in a place that nobody named: then nobody named where they lead, either.

    For the journal of an output directory. Who can write there must not make the program write elsewhere.

    Raises:
        StorageError: the journal or its folder is a symbolic link.
    """
    for place in (path.parent, path):
        _refuse_link(place, "let RUNNER_STATE name where the journal is to lie")


def _refuse_link(place: Path, instead: str) -> None:
    if place.is_symlink():
        raise StorageError(
            f"{place} is a symbolic link, which the journal does not follow. "
            f"To do: look who put it there and move it away, or {instead}; then run again."
        )


def real_path(path: Path) -> Path:
    """The one path of a journal: two names of one file must lead to one lock.

    Raises:
        StorageError: links lead round in a circle.
    """
    try:
        return path.resolve()
    except RuntimeError:  # what Python 3.13 no longer says of a loop, which is met later there
        error = OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        raise StorageError(_refusal(path, error)) from None


def make_place(path: Path) -> None:
    """Make the missing folders (0700) and the empty file (0600), flushed to disk.

    Raises:
        StorageError: the system does not allow it.
    """
    for ending in _BESIDE:
        _refuse_link(path.with_name(path.name + ending), "let RUNNER_STATE name another place")
    try:
        missing = [folder for folder in path.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
            _flush_folder(folder.parent)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        _flush_folder(path.parent)
    except OSError as error:
        raise StorageError(_refusal(path, error)) from error


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refusal(path: Path, error: OSError) -> str:
    to_do = _TO_DO.get(error.errno or 0, "give this user the right to write there")
    return (
        f"the journal {path} cannot be opened for writing: {error.strerror} ({error.filename or path}). "
        f"To do: {to_do}, or let RUNNER_STATE name another path; then run again."
    )


class Lock:
    """The right to write one journal, held until `release` or the end of this process, however it ends.

    The file stays: removing it would let two runners lock two files of one name.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, path: Path) -> Self:
        """Lock the journal at `path`, or refuse at once.

        Raises:
            LockHeldError: another runner holds it.
            StorageError: the lock file cannot be written.
        """
        place = path.with_name(path.name + ".lock")
        try:
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StorageError(_refusal(path, error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            since = SystemClock().now().wall.isoformat(timespec="seconds")
            holder = f"process {os.getpid()} on {socket.gethostname()} since {since}".encode()
            os.pwrite(descriptor, holder, 0)
            os.ftruncate(descriptor, len(holder))
        except BlockingIOError as error:
            holder_text = os.pread(descriptor, 500, 0).decode(errors="replace")
            os.close(descriptor)
            who = f" ({holder_text})" if holder_text.isprintable() and holder_text else ""
            raise LockHeldError(
                f"another runner holds the journal {path}{who}. Nothing was sent. "
                "To do: let it come to its end, or stop it with SIGTERM; then run again."
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise StorageError(_refusal(path, error)) from error
        return cls(descriptor)

    def release(self) -> None:
        """Let the next one in. A second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

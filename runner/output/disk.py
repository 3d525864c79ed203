"""The primitive effects on the file system, one method each: the port where tests inject faults and crashes.

Owns the flags that make an effect safe: nothing is opened through a symbolic link below the root, nothing is created
over something else. Must not know what the files are for. Every name but the root's is relative to an open folder.
"""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_MODE = 0o600
_FOLDER_MODE = 0o700


class Disk:
    """The real file system. Every method may raise `OSError`."""

    def make_root(self, path: Path) -> None:
        """Create the folder `path`, for its owner only, and its parents, all on disk; one that is there stays."""
        new = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        for folder in new:
            fd = self.open_root(folder.parent)
            try:
                self.flush_folder(fd)
            finally:
                self.close(fd)

    def open_root(self, path: Path) -> int:
        """Open the folder `path`. Only here symbolic links are followed: where the root lies is its owner's choice."""
        return os.open(path, _FOLDER)

    def make_folder(self, name: str, *, folder: int) -> None:
        """Create a folder, for its owner only."""
        os.mkdir(name, _FOLDER_MODE, dir_fd=folder)

    def open_folder(self, name: str, *, folder: int) -> int:
        """Open a folder that is no symbolic link."""
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)

    def list_names(self, folder: int) -> list[str]:
        """The names in an open folder."""
        return os.listdir(folder)

    def look(self, name: str, *, folder: int) -> os.stat_result:
        """What stands under `name`, itself, not where it points."""
        return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def look_at(self, fd: int) -> os.stat_result:
        """What is open as `fd`."""
        return os.fstat(fd)

    def create(self, name: str, *, folder: int) -> int:
        """Create a file that was not there, for its owner only, to write and to read."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, _FILE_MODE, dir_fd=folder)

    def open_read(self, name: str, *, folder: int) -> int:
        """Open a regular file to read. A pipe in its place neither blocks nor passes."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file")
        return fd

    def read(self, fd: int, size_bytes: int) -> bytes:
        """Up to so many bytes, none at the end."""
        return os.read(fd, size_bytes)

    def read_at(self, fd: int, size_bytes: int, start: int) -> bytes:
        """Up to so many bytes from `start` on, none at the end."""
        return os.pread(fd, size_bytes, start)

    def write(self, fd: int, pieces: Sequence[memoryview]) -> int:
        """Write some of what `pieces` are together; how much, is returned."""
        return os.writev(fd, pieces)

    def change_group(self, fd: int, group_id: int) -> None:
        """Give what is open as `fd` to a group."""
        os.fchown(fd, -1, group_id)

    def change_mode(self, fd: int, mode: int) -> None:
        """Set the permissions of what is open as `fd`."""
        os.fchmod(fd, mode)

    def flush(self, fd: int) -> None:
        """Return when the file's bytes are on disk."""
        os.fsync(fd)

    def flush_folder(self, fd: int) -> None:
        """Return when the folder's names are on disk."""
        try:
            os.fsync(fd)
        except OSError as error:
            # Some network file systems know no such thing: there a name is on disk when the server answered.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise

    def close(self, fd: int) -> None:
        """Close `fd`."""
        os.close(fd)

    def link(self, source: str, target: str, *, folder: int) -> None:
        """Give a file a second name that was not there."""
        os.link(source, target, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)

    def rename(self, source: str, target: str, *, folder: int) -> None:
        """Give a file another name, in place of what stood there."""
        os.rename(source, target, src_dir_fd=folder, dst_dir_fd=folder)

    def unlink(self, name: str, *, folder: int) -> None:
        """Remove a name."""
        os.unlink(name, dir_fd=folder)

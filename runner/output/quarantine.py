"""Answers that were refused, kept where a person can look at them: never as content, never at a night's cost.

Owns their folder, what of them is kept and for how long. Whatever fails here is logged and forgotten: a job's trouble
is what its answer was, not that nobody can look at it. Must not know why an answer was refused.
"""

import contextlib
import stat
from datetime import date
from pathlib import Path
from typing import Final

import structlog

from runner.errors import StorageError
from runner.output.disk import Disk
from runner.output.names import QUARANTINE, is_quarantined, quarantine_name
from runner.output.tree import Offload, Tree, telling

_log = structlog.get_logger("runner.output")

KEPT_BYTES: Final = 1 << 20
"""Of one answer, its beginning: enough to see what it was."""
QUARANTINE_BYTES: Final = 64 << 20
"""Of all of them; the oldest go first."""
QUARANTINE_FILES: Final = 1000
"""The same, counted: the folder is looked through each time."""


class Quarantine:
    """The refused answers: of each job and night the last, for the owner alone whatever group may read the rest."""

    def __init__(self, root: Path, *, disk: Disk, offload: Offload) -> None:
        """`root`: the output directory."""
        self._tree = Tree(root, disk, None)
        self._disk = disk
        self._offload = offload

    async def keep(self, night: date, tenant: str, job: str, number: int, body: bytes) -> str | None:
        """Keep the beginning of an answer, in place of the one before it. Never raises but for a fault of ours.

        Args:
            night: the night that asked.
            tenant: whose answer it is.
            job: the job's name.
            number: the job's number in the journal.
            body: what came, without a key in it.

        Returns:
            Where it lies, relative to the output directory; None where it could not be kept.

        Raises:
            ValueError: a name is not ours.
        """
        name = quarantine_name(night, tenant, job, number)
        path = "/".join((*QUARANTINE, name))
        try:
            await self._offload(lambda: self._keep(name, path, body[:KEPT_BYTES]))
        except StorageError as error:
            _log.warning("quarantine.failed", tenant=tenant, job=job, error=str(error))
            return None
        _log.info("answer.quarantined", tenant=tenant, job=job, path=path)
        return path

    def _keep(self, name: str, path: str, body: bytes) -> None:
        with self._tree.folder(*QUARANTINE, make=True) as folder, telling(path, "keeping a refused answer"):
            with contextlib.suppress(FileNotFoundError):
                self._disk.unlink(name, folder=folder)
            self._make_room(folder, len(body))
            fd = self._disk.create(name, folder=folder)
            try:
                self._tree.write_all(fd, body)
            except BaseException:
                self._tree.remove(name, folder)
                raise
            finally:
                self._tree.close(fd)

    def _make_room(self, folder: int, size_bytes: int) -> None:
        kept: list[tuple[int, str, int]] = []
        for name in filter(is_quarantined, self._disk.list_names(folder)):
            with contextlib.suppress(FileNotFoundError):
                status = self._disk.look(name, folder=folder)
                if stat.S_ISREG(status.st_mode):
                    kept.append((status.st_mtime_ns, name, status.st_size))
        kept.sort(reverse=True)
        total_bytes = size_bytes + sum(size for _, _, size in kept)
        while kept and (total_bytes > QUARANTINE_BYTES or len(kept) >= QUARANTINE_FILES):
            _, oldest, size = kept.pop()
            total_bytes -= size
            with contextlib.suppress(FileNotFoundError):
                self._disk.unlink(oldest, folder=folder)

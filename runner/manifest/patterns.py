"""Which files a pattern of `include:` names. Owns the most that is looked through for one. Knows no manifest.

The patterns are those of Python's `glob`, which has no such bound: `/**` would read every folder of the machine. Here
`**` stands for folders, or at the end for all that is in them.
"""

import fnmatch
import glob
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

LOOKED_AT_MAX: Final = 100_000
"""Files and folders; a client's file each would be more clients than any bureau has."""


class TooWideError(Exception):
    """The pattern would look through more than that."""


def matching(pattern: str, base: Path) -> list[str]:
    """The paths that the pattern matches, in order; relative to `base` unless the pattern is not.

    Raises:
        TooWideError: there is too much to look through.
    """
    parts = [part for part in pattern.split("/") if part]
    return sorted(set(_Search(base).found("/" if pattern.startswith("/") else "", parts)))


class _Search:
    def __init__(self, base: Path) -> None:
        self._base = base
        self._left = LOOKED_AT_MAX

    def found(self, folder: str, parts: Sequence[str]) -> Iterator[str]:
        """What matches these parts in a folder."""
        if not parts:
            if folder:
                yield folder
            return
        part, *rest = parts
        if part == "**":
            yield from self.found(folder, rest or ["*"])
            for path in self._in(folder, "*", folders_only=True):
                yield from self.found(path, parts)
        elif glob.has_magic(part):
            for path in self._in(folder, part, folders_only=bool(rest)):
                yield from self.found(path, rest)
        else:
            path = os.path.join(folder, part)  # noqa: PTH118 - as text, so that it is shown as it was written
            if os.path.lexists(self._base / path):
                yield from self.found(path, rest)

    def _in(self, folder: str, part: str, *, folders_only: bool = False) -> list[str]:
        found: list[str] = []
        matches = re.compile(fnmatch.translate(part)).match
        # No folder, or none that we may look into: nothing in it matches.
        with suppress(OSError, ValueError), os.scandir(self._base / folder) as entries:
            for entry in entries:
                self._left -= 1
                if self._left < 0:
                    raise TooWideError
                hidden = entry.name.startswith(".") and not part.startswith(".")
                if not hidden and matches(entry.name) and (not folders_only or _is_folder(entry)):
                    found.append(os.path.join(folder, entry.name))  # noqa: PTH118 - the same
        return found


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False

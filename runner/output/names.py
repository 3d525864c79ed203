"""Every name below the output directory: what is ours, what is temporary, what `sha256sum -c` reads. Pure.

Owns the patterns. Names are made of the manifest's own names and whole numbers; whatever else arrives here is a fault
of this program and raises `ValueError`, because a server's string must never become a path.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import date
from operator import attrgetter

from msgspec import Struct

from runner.jobs.model import FileRecord

_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_DATA_FILE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}-[0-9]+(\.[a-z-]+)+")
_PUBLISHED = re.compile(r"[A-Za-z][A-Za-z0-9]*(\.[a-z]+)?")
_NIGHT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_QUARANTINED = re.compile(rf"{_NIGHT.pattern}\.{_TENANT.pattern}\.{_TENANT.pattern}\.[0-9]+\.body")
_SUMS_AT_ONCE = 1000
_TEMPORARY = re.compile(rf"\.(?:{_DATA_FILE.pattern}|{_PUBLISHED.pattern})\.[0-9a-f]{{16}}\.part")

QUARANTINE = (".runner", "quarantine")
"""The folders down to the refused answers; where the journal is usually, out of the sight of who fetches files."""


class Place(Struct, frozen=True, gc=False):
    """Where a file belongs.

    Attributes:
        folders: to go down, from the root: the night's and the tenant's, or the night's alone for a published file.
        filename: the file's name in there.
        path: all of it, relative to the root, with `/`.
    """

    folders: tuple[str, ...]
    filename: str
    path: str

    def beside(self, filename: str) -> "Place":
        """Another data file in the same folder."""
        night, tenant = self.folders
        return data_place(night, tenant, filename)


def data_place(night: date | str, tenant: str, filename: str) -> Place:
    """The place of a data file.

    Raises:
        ValueError: one of the names is not ours.
    """
    folder = night.isoformat() if isinstance(night, date) else night
    if not (_NIGHT.fullmatch(folder) and _TENANT.fullmatch(tenant) and _DATA_FILE.fullmatch(filename)):
        raise ValueError("not the name of a data file of ours")
    return Place((folder, tenant), filename, f"{folder}/{tenant}/{filename}")


def published_place(night: date, name: str) -> Place:
    """The place of `run.json` and its like.

    Raises:
        ValueError: the name is not ours.
    """
    if not _PUBLISHED.fullmatch(name):
        raise ValueError("not the name of a published file of ours")
    folder = night.isoformat()
    return Place((folder,), name, f"{folder}/{name}")


def place_of(path: str) -> Place:
    """The place of a record's path.

    Raises:
        ValueError: it is not the path of a data file of ours.
    """
    night, _, rest = path.partition("/")
    tenant, _, filename = rest.partition("/")
    return data_place(night, tenant, filename)


def temporary_name(filename: str, number: int) -> str:
    """A name beside `filename`: hidden, and told from anything else by its pattern. One number makes one name."""
    return f".{filename}.{number % (1 << 64):016x}.part"


def is_temporary(name: str) -> bool:
    """Whether a crash of ours left this name."""
    return _TEMPORARY.fullmatch(name) is not None


def is_tenant_folder(name: str) -> bool:
    """Whether a tenant's files may lie in a folder of this name."""
    return _TENANT.fullmatch(name) is not None


def quarantine_name(night: date, tenant: str, job: str, number: int) -> str:
    """The name under which a refused answer of a job is kept.

    Raises:
        ValueError: one of the names is not ours.
    """
    name = f"{night.isoformat()}.{tenant}.{job}.{number}.body"
    if not is_quarantined(name):
        raise ValueError("not the name of a job of ours")
    return name


def is_quarantined(name: str) -> bool:
    """Whether a refused answer is kept under this name."""
    return _QUARANTINED.fullmatch(name) is not None


def temporary_in(temp: str, place: Place) -> str:
    """The bare name of a temporary file, given by its path, that lies in the folder of `place`.

    Raises:
        ValueError: it lies elsewhere or is none of ours.
    """
    folder, _, name = temp.rpartition("/")
    if folder != "/".join(place.folders) or not is_temporary(name):
        raise ValueError("not a temporary file beside its place")
    return name


def sha256sums(records: Iterable[FileRecord], night: date) -> Iterator[bytes]:
    """The checksum list of one night's folder, as `sha256sum -c` reads it there, piece by piece.

    Args:
        records: any files; those not yet placed, and those of other nights, are left out.
        night: whose folder it is.
    """
    prefix = f"{night.isoformat()}/"
    ours = sorted(
        (record for record in records if record.placed and record.path.startswith(prefix)),
        key=attrgetter("path"),
    )
    for start in range(0, len(ours), _SUMS_AT_ONCE):
        some = ours[start : start + _SUMS_AT_ONCE]
        yield "".join(f"{record.sha256}  {record.path.removeprefix(prefix)}\n" for record in some).encode()

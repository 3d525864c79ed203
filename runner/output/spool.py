"""One download on its way to disk: buffered, counted, hashed, checked, flushed, and still beside its place.

Owns the temporary files of one answer until they are handed over. Must not know where the bytes come from, what a
content is or how a derived file is made: both arrive as functions. A small answer costs one hop to a thread.
"""

import contextlib
import hashlib
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

import anyio

from runner.content import Buffer
from runner.errors import StorageError
from runner.output.names import Place
from runner.output.tree import BLOCK_BYTES, Offload, PlaceError, Tree, telling

T = TypeVar("T")


class TooLargeError(Exception):
    """The answer is larger than it may be. Nothing of it is kept."""

    def __init__(self, path: str, cap_bytes: int) -> None:
        super().__init__(f"{path}: the answer is larger than {cap_bytes} bytes")
        self.cap_bytes = cap_bytes


@dataclass(frozen=True, slots=True)
class Part:
    """A whole file that waits beside its place, flushed to disk.

    Attributes:
        path: where it belongs, relative to the output directory.
        temp: where it waits, the same.
        size_bytes: its length.
        sha256: its digest, in hex.
    """

    path: str
    temp: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Derivation(Generic[T]):
    """A file to make from the answer while it is at hand.

    Attributes:
        format: its name in the manifest.
        filename: its name, in the folder of the answer.
        write: gets what the inspection returned, and a function that takes the file's bytes block by block.
    """

    format: str
    filename: str
    write: Callable[[T, Callable[[bytes], object]], object]


@dataclass(frozen=True, slots=True)
class Spooled(Generic[T]):
    """A checked answer and what was derived from it.

    Attributes:
        answer: the file as it came.
        derived: the files made from it, by format.
        underived: the formats that could not be made, each with the reason.
        result: what the inspection returned. It may keep the whole answer in memory: let it go soon.
    """

    answer: Part
    derived: Mapping[str, Part]
    underived: Mapping[str, str]
    result: T


class Spool:
    """Takes one download. Use it as `async with`: what was not finished is removed at its end.

    Not for several tasks at once.
    """

    def __init__(
        self, tree: Tree, offload: Offload, place: Place, cap_bytes: int, one_large: anyio.Lock
    ) -> None:
        self._one_large = one_large
        self._tree = tree
        self._disk = tree.disk
        self._offload = offload
        self._place = place
        self._cap_bytes = cap_bytes
        self._buffer = bytearray()
        self._size_bytes = 0
        self._digest = hashlib.sha256()
        self._temp = ""
        self._fd: int | None = None
        self._temps: list[str] = []  # ours to remove, until they are handed over

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Not offloaded: a cancelled task could not wait for a thread, and closing and unlinking are quick.
        self._drop()

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            TooLargeError: they are more than the cap allows.
            StorageError: they could not be written.
        """
        self._size_bytes += len(chunk)
        if self._size_bytes > self._cap_bytes:
            raise TooLargeError(self._place.path, self._cap_bytes)
        self._buffer += chunk
        if len(self._buffer) >= BLOCK_BYTES:
            await self._offload(self._flush)

    async def finish(
        self, inspect: Callable[[Buffer], T], derivations: Sequence[Derivation[T]] = ()
    ) -> Spooled[T]:
        """Write the rest, inspect the whole, flush it to disk, and derive: all in one hop to a thread.

        A derivation that fails costs neither the answer nor the others. Large answers are finished one at a time: while
        one is inspected, all of it and a view of each entry are in memory.

        Args:
            inspect: sees the whole answer. What it raises comes out as it is, and nothing of the answer is kept.
            derivations: the files to make beside it.

        Raises:
            StorageError: the answer could not be written.
        """
        async with contextlib.nullcontext() if self._fd is None else self._one_large:
            spooled = await self._offload(lambda: self._finish(inspect, derivations))
        self._temps.clear()
        return spooled

    async def beginning(self, most_bytes: int) -> bytes:
        """What came first of a download that is about to be refused.

        Raises:
            StorageError: it could not be read again.
        """
        if self._fd is None:
            return bytes(self._buffer[:most_bytes])
        return await self._offload(lambda: self._read_again(most_bytes))

    def _read_again(self, most_bytes: int) -> bytes:
        with self._tree.folder(*self._place.folders) as folder, telling(self._place.path, "reading it again"):
            fd = self._disk.open_read(self._temp, folder=folder)
            try:
                return self._disk.read(fd, most_bytes)
            finally:
                self._tree.close(fd)

    async def discard(self) -> None:
        """Forget the download and remove what was written of it."""
        await self._offload(self._drop)

    def _flush(self) -> int:
        data, self._buffer = self._buffer, bytearray()
        self._digest.update(data)
        if self._fd is None:
            with self._tree.folder(*self._place.folders, make=True) as folder:
                self._temp, self._fd = self._create(self._place, folder)
        with telling(self._place.path, "writing it"):
            self._tree.write_all(self._fd, data)
        return self._fd

    def _create(self, place: Place, folder: int) -> tuple[str, int]:
        name, fd = self._tree.create_beside(place, folder)
        self._temps.append(name)
        return name, fd

    def _finish(self, inspect: Callable[[Buffer], T], derivations: Sequence[Derivation[T]]) -> Spooled[T]:
        try:
            with self._whole() as content:
                result = inspect(content)
                self._close_flushed()
                derived, underived = self._derive_all(derivations, result)
        except BaseException:
            self._drop()
            raise
        answer = self._part(self._place, self._temp, self._size_bytes, self._digest.hexdigest())
        return Spooled(answer, derived, underived, result)

    @contextlib.contextmanager
    def _whole(self) -> Iterator[Buffer]:
        """Write the rest and show the whole answer, for the time of the block or as long as the result looks at it."""
        small = bytes(self._buffer) if self._fd is None else None
        fd = self._flush()
        if small is not None:
            yield small
            return
        with telling(self._place.path, "reading it again"):
            content = self._disk.map(fd)
        try:
            yield content
        finally:
            if isinstance(content, mmap.mmap):
                with contextlib.suppress(BufferError):
                    content.close()

    def _close_flushed(self) -> None:
        if self._fd is not None:
            with telling(self._place.path, "flushing it to disk"):
                self._disk.flush(self._fd)
        self._close()

    def _derive_all(
        self, derivations: Sequence[Derivation[T]], result: T
    ) -> tuple[dict[str, Part], dict[str, str]]:
        derived: dict[str, Part] = {}
        underived: dict[str, str] = {}
        for derivation in derivations:
            try:
                derived[derivation.format] = self._derive(derivation, result)
            except StorageError as error:
                if not isinstance(error, PlaceError):
                    raise  # a full disk is no fault of this file: the next run makes answer and table
                underived[derivation.format] = _reason(error)
            except Exception as error:  # noqa: BLE001 - no fault in a derived file may cost the answer
                underived[derivation.format] = _reason(error)
        return derived, underived

    def _derive(self, derivation: Derivation[T], result: T) -> Part:
        place = self._place.beside(derivation.filename)
        digest = hashlib.sha256()
        size_bytes = 0
        with self._tree.folder(*place.folders, make=True) as folder:
            name, fd = self._create(place, folder)

            def write(block: bytes) -> None:
                nonlocal size_bytes
                with telling(place.path, "writing it"):
                    self._tree.write_all(fd, block)
                digest.update(block)
                size_bytes += len(block)

            try:
                derivation.write(result, write)
                with telling(place.path, "flushing it to disk"):
                    self._disk.flush(fd)
            except BaseException:
                self._tree.remove(name, folder)
                raise
            finally:
                self._tree.close(fd)
        return self._part(place, name, size_bytes, digest.hexdigest())

    @staticmethod
    def _part(place: Place, temp: str, size_bytes: int, sha256: str) -> Part:
        return Part(place.path, "/".join((*place.folders, temp)), size_bytes, sha256)

    def _close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            self._tree.close(fd)

    def _drop(self) -> None:
        self._buffer = bytearray()
        self._close()
        if self._temps:
            self._tree.remove_beside(self._place, self._temps)
            self._temps = []


def _reason(error: Exception) -> str:
    # Only words of ours are sure to hold nothing of the answer.
    ours = isinstance(error, StorageError) or type(error).__module__.startswith("runner.")
    return str(error) if ours else type(error).__name__

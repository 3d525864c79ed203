"""One download on its way to disk: buffered, counted, read, hashed, written, flushed, and still beside its place.

Owns the temporary files of one answer until they are handed over. Must not know where the bytes come from, what a
content is or how a derived file is made: a reader and functions arrive. A small answer costs one hop to a thread, and
a large one is never in memory as a whole.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import anyio
from msgspec import Struct

from runner.errors import StorageError
from runner.output.names import Place
from runner.output.tree import BLOCK_BYTES, Offload, PlaceError, Tree, telling

_LARGE_CHUNK_BYTES = 1 << 17
_UNFLUSHED_BYTES = 8 << 20
"""So much of an answer is written before it is brought to disk while the rest still comes."""

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
T = TypeVar("T")


class Reader(Protocol[R_co]):
    """Sees an answer on its way to disk, once and in order. Called in a thread, one call at a time."""

    def feed(self, block: bytes, /) -> object:
        """Take the next bytes; what is raised refuses the answer."""

    def finish(self) -> R_co:
        """What the whole answer says; what is raised refuses it."""
        ...


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many large answers are worked on at a time. All that work competes with the event loop for the interpreter.

    Attributes:
        tables: deriving, which is seconds of Python: one.
        flushes: bringing to disk what came so far: one, so that the others have their blocks read meanwhile.
    """

    tables: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(1))
    flushes: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(1))


class TooLargeError(Exception):
    """The answer is larger than it may be. Nothing of it is kept."""

    def __init__(self, path: str, cap_bytes: int) -> None:
        super().__init__(f"{path}: the answer is larger than {cap_bytes} bytes")
        self.cap_bytes = cap_bytes


class Part(Struct, frozen=True, gc=False):
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
        write: gets what the inspection returned, the answer block by block, and a function that takes the file's bytes.
    """

    format: str
    filename: str
    write: Callable[[T, Iterable[bytes], Callable[[bytes], object]], object]


class Spooled(Struct, Generic[T], frozen=True):
    """A checked answer and what was derived from it.

    Attributes:
        answer: the file as it came.
        derived: the files made from it, by format.
        underived: the formats that could not be made, each with the reason.
        result: what the inspection returned.
    """

    answer: Part
    derived: Mapping[str, Part]
    underived: Mapping[str, str]
    result: T


class Spool(Generic[R]):
    """Takes one download. Use it as `async with`: what was not finished is removed at its end.

    Not for several tasks at once.
    """

    def __init__(
        self,
        tree: Tree,
        offload: Offload,
        offload_block: Offload,
        place: Place,
        reader: Reader[R],
        cap_bytes: int,
        crowd: Crowd,
    ) -> None:
        self._crowd = crowd
        self._tree = tree
        self._disk = tree.disk
        self._offload = offload
        self._offload_block = offload_block
        self._place = place
        self._reader = reader
        self._cap_bytes = cap_bytes
        self._chunks: list[bytes] = []
        self._chunks_bytes = 0
        self._size_bytes = 0
        self._flushed_bytes = 0
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
        """Take the next bytes. What the reader raises comes out as it is.

        Raises:
            TooLargeError: they are more than the cap allows.
            StorageError: they could not be written.
        """
        self._size_bytes += len(chunk)
        if self._size_bytes > self._cap_bytes:
            raise TooLargeError(self._place.path, self._cap_bytes)
        self._chunks.append(chunk)
        self._chunks_bytes += len(chunk)
        if self._chunks_bytes >= BLOCK_BYTES:
            await self._offload_block(self._take)
            if self._size_bytes - self._flushed_bytes >= _UNFLUSHED_BYTES and self._crowd.flushes.value:
                await self._flush_to_disk()

    async def _flush_to_disk(self) -> None:
        """Bring to disk what came so far: of many answers that end together each would wait for all the others."""
        assert self._fd is not None  # noqa: S101 - a block was written
        async with self._crowd.flushes:
            self._flushed_bytes = self._size_bytes
            with telling(self._place.path, "flushing it to disk"):
                await self._offload(partial(self._disk.flush, self._fd))

    async def finish(
        self, inspect: Callable[[R], T], derivations: Sequence[Derivation[T]] = ()
    ) -> Spooled[T]:
        """Write the rest, inspect the whole, flush it to disk, and derive: all in one hop to a thread.

        A derivation that fails costs neither the answer nor the others.

        Args:
            inspect: judges what the reader says of the whole. What either raises comes out as it is, and nothing of the
                answer is kept.
            derivations: the files to make beside it.

        Raises:
            StorageError: the answer could not be written.
        """

        def work() -> Spooled[T]:
            return self._finish(inspect, derivations)

        if self._fd is not None and derivations:
            async with self._crowd.tables:
                spooled = await self._offload(work)
        else:
            spooled = await self._offload(work)
        self._temps.clear()
        return spooled

    async def beginning(self, most_bytes: int) -> bytes:
        """What came first of a download that is about to be refused.

        Raises:
            StorageError: it could not be read again.
        """
        if self._fd is None:
            return b"".join(self._chunks)[:most_bytes]
        with telling(self._place.path, "reading it again"):
            fd = self._fd
            return await self._offload(lambda: self._disk.read_at(fd, most_bytes, 0))

    def _take(self) -> list[bytes]:
        """Write, hash and read the bytes at hand; they come back."""
        chunks, size_bytes = self._chunks, self._chunks_bytes
        self._chunks, self._chunks_bytes = [], 0
        if size_bytes <= len(chunks) * _LARGE_CHUNK_BYTES:
            chunks = [b"".join(chunks)]
        # Large ones are not copied. What leaves the interpreter to others comes first: each time it is taken back one
        # waits for it. And what is refused should be there for a person to look at.
        self._write(chunks)
        for chunk in chunks:
            self._digest.update(chunk)
        for chunk in chunks:
            self._reader.feed(chunk)
        return chunks

    def _write(self, chunks: Sequence[bytes]) -> None:
        if self._fd is None:
            folder = self._tree.open(self._place.folders, make=True)
            try:
                self._temp, self._fd = self._create(self._place, folder)
            finally:
                self._tree.close(folder)
        with telling(self._place.path, "writing it"):
            self._tree.write_all(self._fd, *chunks)

    def _create(self, place: Place, folder: int) -> tuple[str, int]:
        name, fd = self._tree.create_beside(place, folder)
        self._temps.append(name)
        return name, fd

    def _finish(self, inspect: Callable[[R], T], derivations: Sequence[Derivation[T]]) -> Spooled[T]:
        last = self._take()
        result = inspect(self._reader.finish())
        assert self._fd is not None  # noqa: S101 - opened by what was written, even if that was nothing
        with telling(self._place.path, "flushing it to disk"):
            self._disk.flush(self._fd)
        derived, underived = self._derive_all(derivations, result, last)
        self._close()
        answer = self._part(self._place, self._temp, self._size_bytes, self._digest.hexdigest())
        return Spooled(answer, derived, underived, result)

    def _blocks(self, last: list[bytes]) -> Iterator[bytes]:
        """The whole answer: from memory if it is at hand, else from the disk again."""
        if sum(map(len, last)) == self._size_bytes:
            yield from last
            return
        assert self._fd is not None  # noqa: S101 - a large answer was written
        start = 0
        while start < self._size_bytes:
            with telling(self._place.path, "reading it again"):
                block = self._disk.read_at(self._fd, BLOCK_BYTES, start)
            if not block:
                raise StorageError(
                    f"{self._place.path}: reading it again failed (it became shorter). "
                    "To do: look who changes files there, then run again."
                )
            start += len(block)
            yield block

    def _derive_all(
        self, derivations: Sequence[Derivation[T]], result: T, last: list[bytes]
    ) -> tuple[dict[str, Part], dict[str, str]]:
        derived: dict[str, Part] = {}
        underived: dict[str, str] = {}
        for derivation in derivations:
            try:
                derived[derivation.format] = self._derive(derivation, result, self._blocks(last))
            except StorageError as error:
                if not isinstance(error, PlaceError):
                    raise  # a full disk is no fault of this file: the next run makes answer and table
                underived[derivation.format] = _reason(error)
            except Exception as error:  # noqa: BLE001 - no fault in a derived file may cost the answer
                underived[derivation.format] = _reason(error)
        return derived, underived

    def _derive(self, derivation: Derivation[T], result: T, blocks: Iterable[bytes]) -> Part:
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
                derivation.write(result, blocks, write)
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
        self._chunks, self._chunks_bytes = [], 0
        self._close()
        if self._temps:
            self._tree.remove_from(self._place.folders, self._temps)
            self._temps = []


def _reason(error: Exception) -> str:
    # Only words of ours are sure to hold nothing of the answer.
    ours = isinstance(error, StorageError) or type(error).__module__.startswith("runner.")
    return str(error) if ours else type(error).__name__

"""Answers: what came of a request, and a body that is still to be read, piece by piece.

Owns what is refused for how it came: cut, packed in what nobody asked for, larger than it may be, too slow. Must not
know how a request was sent.
"""

from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Final, Self

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from msgspec import Struct

from runner.clock import Clock
from runner.encodings import EncodingError, decoder_of
from runner.timelimits import TimeLimits

ANSWER_CAP_BYTES: Final = 16 * 1024 * 1024
CONTENT_CAP_BYTES: Final = 4 * 1024 * 1024 * 1024
LEAST_RATE_BYTES_PER_SECOND: Final = 1000
RATE_SPAN_SECONDS: Final = 10.0
SOCKET_READ_BYTES: Final = 256 * 1024


class TransportError(Exception):
    """A request without a whole answer. `detail` is safe to show."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotSentError(TransportError):
    """No byte left: DNS trouble, refused, no connection in time. Nothing was executed."""


class UnreachableError(TransportError):
    """No byte left and none will: no such host, or its certificate does not verify."""


class LostError(TransportError):
    """The bytes may have left, and no whole answer came back."""


class BrokenAnswerError(TransportError):
    """An answer came but is not whole or not HTTP: cut, over the cap, an encoding whose end is missing.

    `body` is what came of one that was not streamed.
    """

    body = b""


class Answer(Struct, frozen=True, gc=False):
    """A whole answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stream:
    """An answer whose body is still to be read, in `async with`: what is not read to its end costs a connection."""

    def __init__(
        self,
        message: RawResponseMessage,
        content: aiohttp.StreamReader,
        connection: Connection,
        clock: Clock,
        limits: TimeLimits,
    ) -> None:
        self.status = message.code
        self.headers = {name.lower(): value for name, value in message.headers.items()}
        if len(self.headers) < len(
            message.headers
        ):  # of encodings told in lines each came upon the one before
            encodings = message.headers.getall("Content-Encoding", ["identity"])
            self.headers["content-encoding"] = ", ".join(encodings)
        self._content = content
        self._connection = connection
        self._clock = clock
        self._limits = limits
        self._waited_seconds, self._size_bytes = 0.0, 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if not self._content.is_eof():
            self._connection.close()

    @property
    def length_known(self) -> bool:
        """Whether a cut body would be noticed: it has a length, chunks, or an encoding with an end."""
        return self._chunked or "content-length" in self.headers or self._encoding() != "identity"

    @property
    def _chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").casefold()

    async def read(self, cap_bytes: int) -> bytes:
        """The whole body; of an error what could be read of it: its status says enough.

        Raises:
            BrokenAnswerError: cut, or over `cap_bytes`, and no error.
            LostError: the connection broke or was too slow.
        """
        body = bytearray()
        try:
            async for chunk in self.chunks(cap_bytes):
                body += chunk
        except BrokenAnswerError as error:
            error.body = bytes(body)
            if self.status < HTTPStatus.BAD_REQUEST:
                raise
        return bytes(body)

    async def chunks(self, cap_bytes: int) -> AsyncIterator[bytes]:
        """The body as it comes, decoded where an encoding was sent unasked.

        Raises:
            BrokenAnswerError: cut, over `cap_bytes`, or an encoding we cannot end.
            LostError: the connection broke, or gave less than 1 kB/s over 10 s.
        """
        total = 0
        try:
            decoder = decoder_of(self._encoding())
            while chunk := await self._next():
                for part in decoder.feed(chunk):
                    total += len(part)
                    if total > cap_bytes:
                        raise BrokenAnswerError(f"the answer is larger than {cap_bytes} bytes")
                    yield part
            decoder.check_end()
        except EncodingError as error:
            raise BrokenAnswerError(error.reason) from None
        except aiohttp.ClientPayloadError:
            raise BrokenAnswerError("the answer was cut short") from None
        except (aiohttp.ClientError, OSError) as error:
            raise LostError(f"the connection broke ({type(error).__name__})") from None

    async def _next(self) -> bytes:
        """What came next; nothing at the end."""
        content = self._content
        if content.at_eof():
            return b""
        # What is here already needs no waiting, nor a limit to it. No more of it than one read of the socket gave:
        # several would have to be copied together.
        chunk = content.read_nowait(SOCKET_READ_BYTES)
        if not chunk:
            self._refuse_if_broken_off()
            before = self._clock.boot_seconds()
            with self._limits.within(RATE_SPAN_SECONDS) as limit:
                chunk = await content.readany()
            if limit.reached:
                self._refuse_if_broken_off()
                raise LostError("the answer came too slowly")
            # Only the waiting counts: a slow disk is not the host's fault.
            self._waited_seconds += self._clock.boot_seconds() - before
        self._size_bytes += len(chunk)
        if chunk and self._waited_seconds >= RATE_SPAN_SECONDS:
            if self._size_bytes < LEAST_RATE_BYTES_PER_SECOND * self._waited_seconds:
                raise LostError("the answer came too slowly")
            self._waited_seconds, self._size_bytes = 0.0, 0
        return chunk

    def _refuse_if_broken_off(self) -> None:
        """Of chunks that cannot be read aiohttp tells nobody who waits for a body: it closes the connection.

        What is not in chunks may well end with its connection, and is told to have ended a moment after that closes.
        """
        if self._chunked and self._connection.closed:
            raise BrokenAnswerError("the answer is not HTTP")

    def _encoding(self) -> str:
        """Of the body. What it was packed in for the way, chunks apart, nobody asked for either; none is decoded."""
        encoding = self.headers.get("content-encoding", "identity").strip().casefold() or "identity"
        way = self.headers.get("transfer-encoding", "chunked").casefold()
        return encoding if way in ("chunked", "identity") else f"{encoding}, {way}"

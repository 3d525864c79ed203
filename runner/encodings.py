"""Encodings of a body that nobody asked for, taken away so that a missing end is noticed. Pure.

The client asks for none, but some proxies pack what they pass on. Must not know where the bytes come from.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol


class EncodingError(Exception):
    """The bytes are not what the encoding says, or not all of it. `reason` quotes nothing of them."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Decoder(Protocol):
    """Takes one body, piece by piece."""

    def feed(self, chunk: bytes) -> Iterable[bytes]:
        """What came, decoded, in pieces of bounded size.

        Raises:
            EncodingError: it is damaged.
        """

    def check_end(self) -> None:
        """The body is over.

        Raises:
            EncodingError: its encoding is not.
        """


class _Identity:
    def feed(self, chunk: bytes) -> tuple[bytes, ...]:
        return (chunk,)

    def check_end(self) -> None:
        return


class _Zlib:
    """gzip or deflate, whose end must be seen. In slices, so that a bomb meets the cap before it fills the memory."""

    _SLICE_BYTES = 1024 * 1024

    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._inflate: Any = None  # until something comes: an empty body has no end to see

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        if self._inflate is None and chunk:
            if self._window_bits == zlib.MAX_WBITS and chunk[0] & 15 != zlib.DEFLATED:
                self._window_bits = -zlib.MAX_WBITS  # some servers send deflate without its frame
            self._inflate = zlib.decompressobj(wbits=self._window_bits)
        more = False
        while chunk or more:
            if self._inflate.eof:
                if self._window_bits <= zlib.MAX_WBITS:
                    raise EncodingError("bytes behind the end of the encoding")
                self._inflate = zlib.decompressobj(wbits=self._window_bits)  # gzip may have several members
            try:
                part = self._inflate.decompress(chunk, self._SLICE_BYTES)
            except zlib.error:
                raise EncodingError("the encoding is damaged") from None
            yield part
            chunk = self._inflate.unconsumed_tail or self._inflate.unused_data
            more = len(part) == self._SLICE_BYTES and not self._inflate.eof

    def check_end(self) -> None:
        if self._inflate is not None and not self._inflate.eof:
            raise EncodingError("the answer was cut short")


def decoder_of(encoding: str) -> Decoder:
    """What takes this encoding away.

    Args:
        encoding: the name in `Content-Encoding`, in lower case.

    Raises:
        EncodingError: it is one whose end could not be told.
    """
    if encoding == "identity":
        return _Identity()
    if encoding in ("gzip", "x-gzip"):
        return _Zlib(16 + zlib.MAX_WBITS)
    if encoding == "deflate":
        return _Zlib(zlib.MAX_WBITS)
    raise EncodingError("an encoding that nobody asked for")

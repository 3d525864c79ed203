"""One request of the Lucca wire, whatever it asks for. Knows no path and no answer."""

from enum import Enum, auto

import msgspec


class Purpose(Enum):
    """What a request is for: decides its time-outs."""

    ASK = auto()
    TRIGGER = auto()
    DOWNLOAD = auto()


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request, ready but for host and key. `target` is path and query, sent as it is."""

    method: str
    target: str
    purpose: Purpose = Purpose.ASK
    body: bytes | None = None

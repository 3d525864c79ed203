"""The ways in which a server may answer badly, as plain values.

Owns what a fault is and which requests a rule of the scenario bends. Knows nothing of sockets: the server carries a
fault out. A fault that `executes` lets the server do the work of the request although its answer is lost; the ones
that only bend the true answer (cut, trickled, delayed, encoded) always do the work.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with this status. Without a body: the page of a gateway for 5xx, an API's error for the others."""

    status: int
    body: str | None = None
    content_type: str = "application/json; charset=utf-8"
    retry_after: str | None = None
    executes: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection once the request has been read."""

    executes: bool = False


@dataclass(frozen=True, slots=True)
class Hang:
    """Say nothing for so long, then break the connection."""

    seconds: float = 3600.0
    executes: bool = False


@dataclass(frozen=True, slots=True)
class Html:
    """Answer with a web page: the login page of an expired session, say."""

    status: int = 200
    executes: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send the client elsewhere."""

    location: str = "https://login.example.com/identity/login"
    status: int = 302
    executes: bool = False


@dataclass(frozen=True, slots=True)
class RawBody:
    """Answer with exactly this text."""

    body: str
    content_type: str = "application/json; charset=utf-8"
    status: int = 200
    executes: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """Break off the true answer after so many bytes of its body.

    Where the length is not announced the body ends with the connection, so that nothing but its content tells.
    """

    bytes: int = 100
    announced: bool = True


@dataclass(frozen=True, slots=True)
class Trickle:
    """Send the true answer slowly."""

    bytes_per_second: int = 100


@dataclass(frozen=True, slots=True)
class Delay:
    """Send the true answer late."""

    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Gzip:
    """Send the true answer compressed though nobody asked, `cut_bytes` short of its end."""

    cut_bytes: int = 0


Replacing = Status | Reset | Hang | Html | Redirect | RawBody
Bending = Cut | Trickle | Delay | Gzip
Fault = Status | Reset | Hang | Html | Redirect | RawBody | Cut | Trickle | Delay | Gzip

REPLACING = (Status, Reset, Hang, Html, Redirect, RawBody)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """Which requests of a tenant meet a fault: of this kind (any, if it is empty), from the nth to the mth."""

    fault: Fault
    kind: str = ""
    first: int = 1
    last: int = 1

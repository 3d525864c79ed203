"""Answers before they become bytes on a socket, and the bodies of errors in all their shapes.

Owns the value that the world hands to the server. Knows no HTTP library.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

from runner.sandbox.faults import Bending, Cut, Gzip, Html, RawBody, Redirect, Replacing, Status, Trickle

Json = Any
"""What JSON holds: known only once it is looked at."""

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"

_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_LEAST_ERROR = 400
_LEAST_SERVER_ERROR = 500

LOGIN_PAGE = (
    '<!DOCTYPE html><html lang="fr"><head><title>Connexion</title></head><body>'
    '<form action="/identity/login" method="post"><input name="username"><input name="password" type="password">'
    "</form></body></html>"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, and how it is to be mistreated on its way."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    reset: bool = False
    cut: Cut | None = None
    trickle: Trickle | None = None
    gzip: Gzip | None = None


RESET = Answer(status=0, reset=True)


def json_answer(value: Json, status: int = 200) -> Answer:
    """`value` as JSON, letters unescaped as Lucca sends them."""
    return Answer(status, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def error(path: str, status: int, message: str = "", **headers: str) -> Answer:
    """An error in the shape of the API's generation that `path` belongs to."""
    reason = _REASONS.get(status, "Error")
    body: dict[str, Any]
    if path.startswith("/timmi-timesheet/"):
        body = {"title": message or reason, "status": status, "errors": {}}
    else:
        body = {"Status": status, "Message": message or reason}
    extra = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return replace(json_answer(body, status), headers=extra)


def gateway_page(status: int) -> Answer:
    """The page of a proxy that stands before Lucca."""
    reason = f"{status} {_REASONS.get(status, 'Error')}"
    page = f"<html><head><title>{reason}</title></head><body><center><h1>{reason}</h1></center></body></html>"
    return Answer(status, page.encode(), HTML)


def fault_answer(fault: Replacing, path: str) -> Answer:
    """The answer that a fault puts in the true one's place (a hang ends as a broken connection)."""
    if isinstance(fault, Status):
        return _status_answer(fault, path)
    if isinstance(fault, Html):
        return Answer(fault.status, LOGIN_PAGE.encode(), HTML)
    if isinstance(fault, Redirect):
        return Answer(fault.status, b"", HTML, (("Location", fault.location),))
    if isinstance(fault, RawBody):
        return Answer(fault.status, fault.body.encode(), fault.content_type)
    return RESET


def bent(answer: Answer, fault: Bending) -> Answer:
    """The true answer, marked for how the server is to mistreat it (a delay has been waited already)."""
    if isinstance(fault, Cut):
        return replace(answer, cut=fault)
    if isinstance(fault, Trickle):
        return replace(answer, trickle=fault)
    if isinstance(fault, Gzip):
        return replace(answer, gzip=fault)
    return answer


def _status_answer(fault: Status, path: str) -> Answer:
    if fault.body is not None:
        answer = Answer(fault.status, fault.body.encode(), fault.content_type)
    elif fault.status >= _LEAST_SERVER_ERROR:
        answer = gateway_page(fault.status)
    elif fault.status >= _LEAST_ERROR:
        answer = error(path, fault.status)
    else:
        answer = Answer(fault.status)
    if fault.retry_after is None:
        return answer
    return replace(answer, headers=(("Retry-After", fault.retry_after),))

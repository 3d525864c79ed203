"""Statuses, headers and errors in all their shapes: what a host says besides content.

400 with an empty or unreadable body is read as an unknown fault, not a refusal [inferred]. Must not know what was asked
for.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

import msgspec

from runner.lucca.documents import BOM, field
from runner.lucca.troubles import NotContentError, PassingError, RefusedError, ThrottledError

_DETAIL_CHARACTERS: Final = 200
_DETAIL_ITEMS: Final = 5
_DETAIL_DEPTH: Final = 4  # A few levels are a server's words, a thousand are an attack on the stack.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
_LAST_YEAR: Final = (
    2999  # A clock that shows more is broken, and there would be nothing to add to its last day.
)
_LOGIN: Final = "/identity/login"


def check_status(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Return for a 2xx; raise what any other status means for a request that may be repeated.

    Raises:
        RefusedError: 401, 403, 404, or another 4xx that says why.
        ThrottledError: 429.
        PassingError: 408, 425, 5xx, and a 4xx that does not say why.
        NotContentError: a redirect (never followed: the key must not leave the host), or a 1xx.
    """
    if 200 <= status < 300:
        return
    message = error_message(body)
    detail = f"{status}: {message}" if message else f"status {status}"
    retry_after = retry_after_seconds(headers)
    if status == 429:
        raise ThrottledError(detail, retry_after)
    if status == 401:
        raise RefusedError("key_refused", detail)
    if status == 403:
        raise RefusedError("forbidden", detail)
    if status in (404, 410):
        raise RefusedError("not_found", detail)
    if status in (408, 425) or status >= 500:
        raise PassingError(detail, retry_after)
    if 400 <= status < 500:
        if message:
            raise RefusedError("rejected", detail)
        raise PassingError(f"{detail} without a reason")
    login = _LOGIN in headers.get("location", "").casefold()
    raise NotContentError(f"status {status}, a redirect" + (" to the login page" if login else ""))


def error_message(body: bytes) -> str:
    """What the server says went wrong, on one line and short; "" where it does not say.

    v3 says `{"Status", "Message"}`, v4 `{"title", "status", "errors"}` or `detail`, a framework's default is one bare
    string; proxies say HTML (read as nothing).
    """
    try:
        document = msgspec.json.decode(body.removeprefix(BOM))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""
    told = [document]
    if isinstance(document, Mapping):
        told = [field(document, name) for name in ("message", "title", "detail", "errors")]
    parts = [part for value in told for part in _words(value, _DETAIL_DEPTH)]
    return one_line("; ".join(dict.fromkeys(parts)))


def _words(value: object, depth: int) -> list[str]:
    if isinstance(value, str):
        return [value.strip()] if value.strip() else []
    if not depth:
        return []
    if isinstance(value, Mapping):
        inner = list(value.items())[:_DETAIL_ITEMS]
        return [f"{key}: {text}" for key, deeper in inner for text in _words(deeper, depth - 1)]
    if isinstance(value, list):
        return [text for deeper in value[:_DETAIL_ITEMS] for text in _words(deeper, depth - 1)]
    return []


def one_line(text: str) -> str:
    """Server words made safe to print: no control characters, nothing that UTF-8 cannot write, not long."""
    text = " ".join(_UNPRINTABLE.sub(" ", text).split())
    return text if len(text) <= _DETAIL_CHARACTERS else text[: _DETAIL_CHARACTERS - 1] + "…"


def server_date(headers: Mapping[str, str]) -> datetime | None:
    """The `Date` header, aware, in UTC; None where it is missing or garbage."""
    return _http_date(headers.get("date", ""))


def announcement(headers: Mapping[str, str]) -> str | None:
    """What `Deprecation` and `Sunset` say of this part of the API, for people; None where they are silent."""
    said = [f"{name.title()}: {headers[name]}" for name in ("deprecation", "sunset") if name in headers]
    return one_line(", ".join(said)) if said else None


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` as seconds from now; None where it is missing or garbage.

    A date is read against the answer's own `Date`.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    moment = _http_date(text)
    sent = server_date(headers)
    if moment is None or sent is None:
        return None
    return max(0.0, (moment - sent).total_seconds())


@lru_cache(maxsize=256)  # the answers of one second share theirs
def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.year <= _LAST_YEAR else None

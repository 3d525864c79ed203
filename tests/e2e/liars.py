"""A Lucca that says exactly the bytes it is told, for many hosts at once: honest but where a host was told to lie.

Owns the honest answers, the reading of requests, and the noting of them. It knows nothing of the program, and a lie may
be anything that goes through a socket: the sandbox, built on an HTTP library, could not say most of them.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.scripted import Say, answer

OURS = "2026-11-23T00:00:00"
ENTRIES = [{"id": n, "amount": 7.25, "owner": {"id": n, "lastName": "Gonçalves"}} for n in range(3)]
EXPORT = {
    "id": 341,
    "configurationId": 3,
    "startsAt": "2026-10-26T00:00:00",
    "endsAt": OURS,
    "entries": ENTRIES,
}
CONTENT = json.dumps({"data": EXPORT}, ensure_ascii=False).encode()
CSV = "Nom;Heures\r\nGonçalves;151,67\r\n".encode()
HONEST: Mapping[str, bytes] = {
    "list": answer(b'{"data": {"items": []}}'),
    "trigger": answer(b'{"data": {"id": 341}}'),
    "poll": answer(json.dumps({"data": {"items": [{"id": 341, "endsAt": OURS}]}}).encode()),
    "identity": answer(json.dumps({"data": {"id": 341, "configurationId": 3, "endsAt": OURS}}).encode()),
    "content": answer(CONTENT),
    "report.create": answer(b'{"id": 72}'),
    "report.poll": answer(b'{"id": 72, "status": "done"}'),
    "report.download": answer(CSV, "Content-Type: application/octet-stream"),
}
_HOST = re.compile(rb"\r\nhost: *([^\r:]+)", re.IGNORECASE)

Lies = Mapping[str, Sequence[Say | None]]
"""By the kind of request what answers the first of them, the second and so on, the last one all that follow.

None is the truth.
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came."""

    domain: str
    kind: str
    at_seconds: float
    target: str


@dataclass
class Liars:
    """The hosts. `answer_to` is what a scripted server asks for each request."""

    lies: Mapping[str, Lies]
    asked: list[Asked] = field(default_factory=list)

    def answer_to(self, request: bytes) -> Say:
        found = _HOST.search(request)
        domain = found[1].decode() if found else ""
        target = request.split(b" ", 2)[1].decode()
        kind = kind_of(request)
        self.asked.append(Asked(domain, kind, time.monotonic(), target))
        says = self.lies.get(domain, {}).get(kind, (None,))
        say = says[min(len(self.of(domain, kind)), len(says)) - 1]
        return HONEST[kind] if say is None else say

    def of(self, domain: str, kind: str) -> list[Asked]:
        """The requests of this kind that a host got."""
        return [one for one in self.asked if (one.domain, one.kind) == (domain, kind)]


def kind_of(request: bytes) -> str:
    """What a request is for."""
    method, target = request.split(b" ", 2)[:2]
    path, _, query = target.partition(b"?")
    if b"timmiexports" in path:
        if method == b"POST":
            return "trigger"
        if path.endswith(b"timmiexports"):
            return "poll" if b"greaterthan" in query else "list"
        return "content" if b"entries" in query else "identity"
    if method == b"POST":
        return "report.create"
    return "report.download" if b"/download-" in path else "report.poll"

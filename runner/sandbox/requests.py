"""One request as the server read it, and what it is about.

Owns the paths of both generations of the API and the short names of their requests. Knows no HTTP library.
"""

from collections.abc import Callable
from dataclasses import dataclass

_EXPORTS = "/api/v3/timmiexports"
_DOUBLED_EXPORTS = "/api/v3/api/v3/timmiexports"
_USERS = "/api/v3/users"
_REPORTS = "/timmi-timesheet/api/reports"
_TEMPLATES = "/timmi-timesheet/api/report-templates"


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One request as the server read it. `is_gone` tells whether its client has left meanwhile."""

    host: str
    method: str
    path: str
    query: str = ""
    authorization: str = ""
    content_type: str = ""
    body: bytes = b""
    is_gone: Callable[[], bool] = lambda: False

    def is_doubled(self) -> bool:
        """Whether this asks on the guide's doubled path."""
        return self.path.lower().startswith(_DOUBLED_EXPORTS)


def kind_of(method: str, path: str, query: str) -> str:
    """The short name of what a request is about."""
    small = path.lower()
    if small.startswith((_EXPORTS, _DOUBLED_EXPORTS)):
        return _export_kind(method, small, query)
    if small == _USERS and method == "GET":
        return "users"
    if small == _TEMPLATES and method == "POST":
        return "template.create"
    if small == _REPORTS and method == "POST":
        return "report.create"
    if small.startswith(_REPORTS + "/") and method == "GET":
        rest = small[len(_REPORTS) + 1 :]
        if rest.endswith(("/download-csv", "/download-excel")) and rest.count("/") == 1:
            return "report.download"
        return "other" if "/" in rest else "report.poll"
    return "other"


def _export_kind(method: str, small: str, query: str) -> str:
    rest = small.removeprefix(_DOUBLED_EXPORTS).removeprefix(_EXPORTS)
    if small == _EXPORTS and method == "GET":
        return "poll" if "greaterthan" in query.lower() else "list"
    if small == _EXPORTS + "/run" and method == "POST":
        return "trigger"
    if method != "GET" or not rest.startswith("/") or "/" in rest[1:]:
        return "other"
    return "content" if "entries" in query.lower() else "item"

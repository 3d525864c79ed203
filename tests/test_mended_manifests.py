"""What a manifest that was mended since means to a report that an earlier run left."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.dates import parse_period
from runner.jobs.model import TemplateBody
from runner.lucca import Request
from runner.manifest.model import ReportEntry
from runner.sandbox import Fault, RequestRecord, Status
from runner.transport import Answer
from runner.turns import SenderPort
from tests.nights import Setting, night, report, tenant

OLD = TemplateBody(b'{"id":0,"name":"Temps"}', "5" * 64)
NEW = TemplateBody(b'{"id":0,"name":"Temps, sans absences"}', "6" * 64)
THIS_MONTH = parse_period("this-month")
REJECTED = Status(400, body='{"status": 400, "title": "no such period"}')


@dataclass
class Listens:
    """A sender that notes what it was given to create."""

    sender: SenderPort
    created: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def send(self, domain: str, key: Any, request: Request, left: Callable[[], None]) -> Answer:
        if request.body is not None:
            self.created.append((request.target.rpartition("/")[2], msgspec.json.decode(request.body)))
        return await self.sender.send(domain, key, request, left)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sender, name)


def two_runs(
    tmp_path: Path, before: ReportEntry, after: ReportEntry, kind: str, fault: Status
) -> list[tuple[str, dict[str, Any]]]:
    """What the second run of a night creates, once the manifest was mended: its first run met a fault."""

    def bend(record: RequestRecord) -> Fault | None:
        return fault if record.kind == kind else None

    night(tmp_path, [tenant(reports=[before])], setting=Setting(kept=True, bend=bend, until_seconds=60.0))
    heard: list[Listens] = []

    def listening(sender: SenderPort) -> Listens:
        heard.append(Listens(sender))
        return heard[0]

    told = night(tmp_path, [tenant(reports=[after])], setting=Setting(kept=True, sender=listening))
    assert told.code == 0
    return heard[0].created


def test_a_rejected_report_is_asked_for_again_with_the_period_that_the_manifest_has_now(
    tmp_path: Path,
) -> None:
    created = two_runs(tmp_path, report(), report(period=THIS_MONTH), "report.create", REJECTED)
    assert created == [("reports", {"templateId": 12, "startsOn": "2026-11-01", "endsOn": "2026-11-30"})]


@pytest.mark.parametrize("fault", [REJECTED, Status(503)], ids=["rejected", "not answered"])
def test_a_report_is_asked_for_again_from_the_template_that_the_manifest_has_now(
    tmp_path: Path, fault: Status
) -> None:
    created = two_runs(tmp_path, report(template=OLD), report(template=NEW), "report.create", fault)
    assert [what for what, _ in created] == ["report-templates", "reports"]
    assert created[0][1]["name"] == "Temps, sans absences"


def test_a_template_that_is_as_it_was_is_not_made_again(tmp_path: Path) -> None:
    vanished = Status(503)
    created = two_runs(tmp_path, report(template=OLD), report(template=OLD), "report.create", vanished)
    assert created[0] == (
        "reports",
        {"templateId": 100, "startsOn": "2026-10-01", "endsOn": "2026-10-31"},
    )

"""The keys of a tenant, an export and a report: from nodes to values. Knows nothing of the other tenants."""

import re
from collections.abc import Iterator
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.dates import DAILY, Period, default_due, fixed_period, parse_date_rule, parse_period
from runner.hosts import parse_domain
from runner.jobs.model import TemplateBody, TemplateId
from runner.manifest.fields import (
    ID_MAX,
    Fault,
    InvalidError,
    Reader,
    choice,
    keys_of,
    list_of,
    parsed_by,
    read_date,
    read_name,
    read_secret,
    read_tag,
    refuse,
    set_of,
    string,
    whole_number,
    word,
)
from runner.manifest.model import ExportEntry, ReportEntry, Tenant
from runner.manifest.nodes import Mapping, Node, Scalar, Sequence
from runner.manifest.templates import inline_template, template_from

REQUESTS_PER_MINUTE_MAX = 100_000
EXPORT_FORMATS = ("json", "csv", "csv-fr")
REPORT_FORMATS = ("csv", "excel")
PLANNED_FORMATS = ("xlsx", "parquet")
DEFAULT_KEYS = ("since", "requests_per_minute", "tags", "owner", "exports", "reports")

_NOT_BUILT = "this key is planned but not built yet; take it out"
_PLANNED_KEYS = dict.fromkeys(("employees", "layout", "deliver", "notify"), _NOT_BUILT)
_CONFIGURATION_ADDRESS = re.compile(
    r"(?:https?://(?P<host>[^/?#\s]+))?\S*#/export/[0-9]+/(?P<id>[1-9][0-9]{0,9})(?:[/?]\S*)?"
)

_read_rule = parsed_by(parse_date_rule)
_read_id = whole_number(ID_MAX)


@dataclass(slots=True)
class Entries:
    """Reads the entries of one file.

    Attributes:
        file: the file as messages name it.
        base_dir: its folder.
        allowed_hosts: further host suffixes.
        templates: those read already, by path; shared between files, since many tenants may share one.
    """

    file: str
    base_dir: Path
    allowed_hosts: tuple[str, ...] = ()
    templates: dict[Path, TemplateBody] = field(default_factory=dict)
    _at: str = ""
    _tenant: dict[str, Reader] = field(default_factory=dict)
    _export: dict[str, Reader] = field(default_factory=dict)
    _report: dict[str, Reader] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._export = {
            "name": read_name,
            "configuration_id": _read_id,
            "configuration": _read_configuration,
            "ends_at": _read_rule,
            "due": _read_rule,
            "empty": choice("ok"),
            "formats": set_of(choice(*EXPORT_FORMATS, planned=PLANNED_FORMATS)),
        }
        self._report = {
            "name": read_name,
            "template_id": _read_id,
            "template": inline_template,
            "template_file": self._template_file,
            "period": _read_period,
            "due": _read_rule,
            "formats": set_of(choice(*REPORT_FORMATS, planned=PLANNED_FORMATS), least=1),
        }
        self._tenant = {
            "name": read_name,
            "label": string,
            "dossier": string,
            "owner": string,
            "domain": parsed_by(lambda text: parse_domain(text, self.allowed_hosts)),
            "api_key": read_secret,
            "tags": set_of(read_tag),
            "since": read_date,
            "requests_per_minute": whole_number(REQUESTS_PER_MINUTE_MAX),
            "exports": list_of(self._read_export),
            "reports": list_of(self._read_report),
        }

    def defaults(self, node: Node) -> dict[str, Any]:
        """What the tenants share.

        Raises:
            InvalidError: something in it is wrong.
        """
        self._at = "defaults"
        return keys_of(node, {key: self._tenant[key] for key in DEFAULT_KEYS}, planned=_PLANNED_KEYS)

    def tenant(self, node: Node, at: str, defaults: MappingABC[str, Any]) -> Tenant:
        """One tenant; `at` is its path, like `tenants[1]`.

        Raises:
            InvalidError: something in it is wrong.
        """
        self._at = at
        values = keys_of(node, self._tenant, required=("name", "domain", "api_key"), planned=_PLANNED_KEYS)
        merged = {**defaults, **values}
        exports: tuple[ExportEntry, ...] = merged.get("exports", ())
        reports: tuple[ReportEntry, ...] = merged.get("reports", ())
        faults: list[Fault] = []
        if exports and "since" not in merged:
            message = (
                "since is required where there are exports: those that end before it are not ours to make, "
                "and making one is not undone"
            )
            faults.append(Fault(".since", node.line, node.column, message))
        if "exports" not in merged and "reports" not in merged:
            faults.append(Fault("", node.line, node.column, "there are neither exports nor reports"))
        names = [export.name for export in exports] + [report.name for report in reports]
        if len(set(names)) < len(names):
            faults += _names_twice(node, {"exports": exports, "reports": reports})
        if faults:
            raise InvalidError(faults)
        return Tenant(
            name=merged["name"],
            label=merged.get("label"),
            dossier=merged.get("dossier"),
            owner=merged.get("owner"),
            domain=merged["domain"],
            api_key=merged["api_key"],
            tags=merged.get("tags", ()),
            since=merged.get("since"),
            requests_per_minute=merged.get("requests_per_minute"),
            exports=exports,
            reports=reports,
            base_dir=self.base_dir,
            place=self._place(node, at),
        )

    def tags(self, node: Node, defaults: MappingABC[str, Any]) -> tuple[str, ...] | None:
        """The tags of an entry that may be wrong elsewhere; None where they are wrong themselves."""
        if type(node) is not Mapping:
            return None
        own = [value for key, value in node.pairs if type(key) is Scalar and key.text == "tags"]
        try:
            tags: tuple[str, ...] = self._tenant["tags"](own[0]) if own else defaults.get("tags", ())
        except InvalidError:
            return None
        return tags if len(own) < 2 else None

    def _place(self, node: Node, path: str) -> str:
        return f"{self.file}:{node.line}:{node.column}: {path}"

    def _read_export(self, node: Node) -> ExportEntry:
        values = keys_of(node, self._export, required=("name", "ends_at"), planned=_PLANNED_KEYS)
        configuration = _one_of(node, values, "configuration_id", "configuration")
        configuration_id, host = (configuration, None) if isinstance(configuration, int) else configuration
        return ExportEntry(
            name=values["name"],
            configuration_id=configuration_id,
            ends_at=values["ends_at"],
            due=values.get("due", DAILY),
            empty_ok="empty" in values,
            formats=("json", *(name for name in values.get("formats", ()) if name != "json")),
            place=self._place(node, f"{self._at}: export {values['name']}"),
            page_host=host,
        )

    def _read_report(self, node: Node) -> ReportEntry:
        values = keys_of(node, self._report, required=("name",), planned=_PLANNED_KEYS)
        template = _one_of(node, values, "template_id", "template", "template_file")
        period: Period | None = values.get("period")
        return ReportEntry(
            name=values["name"],
            template=TemplateId(template) if isinstance(template, int) else template,
            period=period,
            due=values.get("due") or default_due(period),
            formats=values.get("formats", ("csv",)),
            place=self._place(node, f"{self._at}: report {values['name']}"),
        )

    def _template_file(self, node: Node) -> TemplateBody:
        try:
            path = self.base_dir / word(node)
            if path not in self.templates:
                self.templates[path] = template_from(path)
        except ValueError as error:
            refuse(node, str(error))
        return self.templates[path]


def _one_of(node: Node, values: MappingABC[str, Any], *keys: str) -> Any:  # noqa: ANN401 - each key has its type
    """The value of the only one of these keys that is there."""
    there = [key for key in keys if key in values]
    if len(there) != 1:
        refuse(
            node, f"one of {', '.join(keys)} is expected" + (f", not {' and '.join(there)}" if there else "")
        )
    return values[there[0]]


def _read_configuration(node: Node) -> tuple[int, str | None]:
    address = _CONFIGURATION_ADDRESS.fullmatch(word(node))
    if address is None or int(address["id"]) > ID_MAX:
        refuse(node, "write the address of the export's page as the browser shows it (…#/export/1/3/latest)")
    host = address["host"]
    return int(address["id"]), None if host is None else host.casefold()


def _read_period(node: Node) -> Period:
    if type(node) is not Mapping:
        return _read_period_name(node)
    days = keys_of(node, {"starts_on": read_date, "ends_on": read_date}, required=("starts_on", "ends_on"))
    try:
        return fixed_period(days["starts_on"], days["ends_on"])
    except ValueError as error:
        refuse(node, str(error))


_read_period_name = parsed_by(parse_period)


def _names_twice(
    node: Node, lists: MappingABC[str, tuple[ExportEntry | ReportEntry, ...]]
) -> Iterator[Fault]:
    """Each entry with a name that one before it has, at its own place, or at the tenant's if defaults gave it."""
    pairs = node.pairs if type(node) is Mapping else []
    own = {key.text: value for key, value in pairs if type(key) is Scalar}
    taken: set[str] = set()
    for key, entries in lists.items():
        given = own.get(key)
        for index, entry in enumerate(entries):
            if entry.name in taken:
                place = given.items[index] if type(given) is Sequence else node
                message = f"the name {entry.name} is given twice; exports and reports share their names"
                yield Fault(f".{key}[{index}].name", place.line, place.column, message)
            taken.add(entry.name)

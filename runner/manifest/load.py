"""The manifest's files: read, checked, joined. Owns what stops the run and what stops one tenant only.

Knows nothing of what has run, of settings or of the network; secrets are not looked at, only their references.
"""

from collections.abc import Iterable
from collections.abc import Sequence as SequenceABC
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

from runner.collector import uncollected
from runner.credentials import file_warning
from runner.dates import ends_at_warnings, period_warning
from runner.errors import ManifestError
from runner.manifest.entries import Entries
from runner.manifest.fields import (
    Fault,
    InvalidError,
    keys_of,
    list_of,
    mapping_of,
    read_name,
    refuse,
    word,
)
from runner.manifest.model import Manifest, Problem, Tenant
from runner.manifest.nodes import (
    FILE_MAX_BYTES,
    Document,
    Mapping,
    Node,
    Scalar,
    Sequence,
    UnusableFileError,
    read_capped,
)
from runner.manifest.patterns import LOOKED_AT_MAX, TooWideError, matching

# The tenants' own list: its items are read each by itself, so that one that is wrong stops no other.
_LIST = list_of(mapping_of)


@uncollected()
def load_manifest(path: str | Path, *, allowed_hosts: SequenceABC[str] = ()) -> Manifest:
    """The manifest with the files that it includes.

    Args:
        path: as the user gave it; messages name it so.
        allowed_hosts: host suffixes beside Lucca's.

    Raises:
        ManifestError: it cannot be used as a whole: not YAML, bad defaults, a name twice, nothing to run, ….
    """
    loader = _Loader(Path(path), str(path), tuple(allowed_hosts))
    loader.load()
    return Manifest(loader.path, tuple(loader.tenants), tuple(loader.problems))


def key_warnings(manifest: Manifest) -> list[str]:
    """Key files that others may read: told by every run, not only by `check`."""
    return [
        f"{tenant.place}.api_key: {text}"
        for tenant in manifest.tenants
        if (text := file_warning(tenant.api_key, base_dir=tenant.base_dir))
    ]


def warnings(manifest: Manifest, batch_date: date) -> list[str]:
    """What is allowed but hardly meant, for `check`: each once, with its place.

    Rules under which a period is passed over, an `ends_at` that is no Monday or the very day it is due, the address of
    another client's page, key files that others may read.
    """
    found: dict[str, None] = dict.fromkeys(key_warnings(manifest))
    for tenant in manifest.tenants:
        for export in tenant.exports:
            for text in ends_at_warnings(export.ends_at, export.due, batch_date):
                found[f"{export.place}: {text}"] = None
            if export.page_host not in (None, tenant.domain):
                text = (
                    f"its page's address is of {export.page_host}, and the tenant's domain is {tenant.domain}: "
                    "each client numbers configurations anew; take the address from this client's page"
                )
                found[f"{export.place}: {text}"] = None
        for report in tenant.reports:
            if report.period and (passed_over := period_warning(report.period, report.due)):
                found[f"{report.place}: {passed_over}"] = None
    return list(found)


@dataclass(slots=True)
class _Loader:
    path: Path
    shown_path: str
    allowed_hosts: tuple[str, ...]
    tenants: list[Tenant] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    _names: dict[str, tuple[Scalar, str]] = field(default_factory=dict)  # in lower case; the first one
    _fatal: list[str] = field(default_factory=list)

    def load(self) -> None:
        entries = Entries(self.shown_path, self.path.parent, self.allowed_hosts)
        try:
            content = read_capped(self.path, FILE_MAX_BYTES, any_kind=True)
            document = Document(content)
            used = self._read_meanwhile(entries, document)
            values = keys_of(
                document.root,
                {
                    "version": _read_version,
                    "defaults": entries.defaults,
                    "tenants": _LIST,
                    "include": _patterns,
                },
                required=("version",),
            )
        except UnusableFileError as error:
            raise ManifestError([error.told(self.shown_path)]) from None
        except InvalidError as error:
            raise ManifestError([fault.told(self.shown_path) for fault in error.faults]) from None
        defaults: dict[str, Any] = values.get("defaults", {})
        if defaults != used:  # they stand below the tenants
            self.tenants, self.problems, self._names, self._fatal = [], [], {}, []
            self._read_tenants(entries, Document(content).items_of("tenants"), defaults)
        self._include(entries, values.get("include", []), defaults)
        self._refuse_twins()
        faults = [*self._fatal, *(problem.message for problem in self.problems)]
        if self._fatal:
            raise ManifestError(faults)
        if not any(tenant.exports or tenant.reports for tenant in self.tenants):
            place = f"{self.shown_path}:{document.root.line}:{document.root.column}"
            raise ManifestError([*faults, f"{place}: tenants: nothing is left to run"])

    def _read_meanwhile(self, entries: Entries, document: Document) -> dict[str, Any]:
        """Read the file, and its tenants while it is parsed; gives the defaults above them, which were used.

        The nodes of 10,000 tenants would take more memory than all that is made of them.
        """
        nodes = document.items_of("tenants")
        first = next(nodes, None)
        above = _value_of(document.root, "defaults")
        try:
            defaults = entries.defaults(above) if above else {}
        except InvalidError:  # told with all that is wrong outside the tenants
            defaults = {}
        self._read_tenants(entries, chain([first], nodes) if first else (), defaults)
        return defaults

    def _read_tenants(self, entries: Entries, nodes: Iterable[Node], defaults: dict[str, Any]) -> None:
        for index, node in enumerate(nodes):
            at = f"tenants[{index}]"
            self._claim_name(node, entries.file, at)
            try:
                self.tenants.append(entries.tenant(node, at, defaults))
            except InvalidError as error:
                name, tags = _good_name(node), entries.tags(node, defaults)
                self.problems += [Problem(name, fault.told(entries.file), tags) for fault in error.under(at)]

    def _claim_name(self, node: Node, file: str, at: str) -> None:
        """Stop the run if another tenant has this name already."""
        name = _value_of(node, "name")
        if type(name) is not Scalar:
            return
        first = self._names.setdefault(name.text.lower(), (name, file))
        if first[0] is not name:
            where = f"{first[1]}:{first[0].line}:{first[0].column}"
            message = f"another tenant has this name already ({where})"
            self._fatal.append(Fault(f"{at}.name", name.line, name.column, message).told(file))

    def _include(self, entries: Entries, patterns: list[Scalar], defaults: dict[str, Any]) -> None:
        done = {_real(self.path)}
        for pattern in patterns:
            try:
                found, reason = matching(pattern.text, self.path.parent), "no file matches this pattern"
            except TooWideError:
                found, reason = (
                    [],
                    (
                        f"this pattern looks through more than {LOOKED_AT_MAX} files and folders; "
                        "name the folder of the clients' files, like clients.d/*.yaml"
                    ),
                )
            if not found:
                fault = Fault("include", pattern.line, pattern.column, reason)
                self.problems.append(Problem(None, fault.told(self.shown_path)))
            for name in found:
                path = self.path.parent / name
                if _real(path) not in done:
                    done.add(_real(path))
                    self._include_file(
                        Entries(name, path.parent, self.allowed_hosts, entries.templates), path, defaults
                    )

    def _include_file(self, entries: Entries, path: Path, defaults: dict[str, Any]) -> None:
        nodes: list[Node] = []
        try:
            document = Document(read_capped(path, FILE_MAX_BYTES))
            nodes += document.items_of("tenants")
            keys_of(document.root, {"tenants": _LIST}, required=("tenants",))
        except UnusableFileError as error:
            self.problems.append(Problem(None, error.told(entries.file)))
        except InvalidError as error:
            name = _good_name(nodes[0]) if len(nodes) == 1 else None
            self.problems += [Problem(name, fault.told(entries.file)) for fault in error.faults]
        else:
            self._read_tenants(entries, nodes, defaults)

    def _refuse_twins(self) -> None:
        """Two jobs with one identity would fight for it: each would take the other's work for its own."""
        first: dict[tuple[Any, ...], str] = {}
        for tenant in self.tenants:
            for export in tenant.exports:
                key: tuple[Any, ...] = (
                    tenant.domain,
                    export.configuration_id,
                    export.ends_at.text,
                    export.due.text,
                )
                who = f"{tenant.name}/{export.name}"
                if key in first:
                    self._fatal.append(
                        f"{export.place}: {who} and {first[key]} are the same job: domain {tenant.domain}, "
                        f"configuration_id {export.configuration_id}, ends_at {export.ends_at}, due {export.due}"
                    )
                first.setdefault(key, who)
            for report in tenant.reports:
                key = (tenant.domain, report.name)
                who = f"{tenant.name}/{report.name}"
                if key in first:
                    self._fatal.append(
                        f"{report.place}: {who} and {first[key]} are the same job: domain {tenant.domain}, "
                        f"report {report.name}; give one of them another name"
                    )
                first.setdefault(key, who)


def _real(path: Path) -> str:
    return str(path.absolute()) if not path.exists() else str(path.resolve())


def _value_of(node: Node | None, name: str) -> Node | None:
    """What stands first under this key of a mapping."""
    for key, value in node.pairs if type(node) is Mapping else []:
        if type(key) is Scalar and key.text == name:
            return value
    return None


def _good_name(entry: Node) -> str | None:
    name = _value_of(entry, "name")
    try:
        return read_name(name) if name else None
    except InvalidError:
        return None


def _read_version(node: Node) -> int:
    if type(node) is not Scalar or node.text != "1" or not node.plain:
        refuse(node, "this program reads version 1; write version: 1")
    return 1


def _patterns(node: Node) -> list[Scalar]:
    nodes = node.items if type(node) is Sequence else [node]
    for each in nodes:
        if "\0" in word(each):
            refuse(each, "no path holds such a character")
    return [each for each in nodes if type(each) is Scalar]

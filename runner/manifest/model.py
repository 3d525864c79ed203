"""What the manifest says, as plain frozen values. Knows nothing of YAML, of files, or of what ran already."""

from datetime import date
from pathlib import Path

from msgspec import Struct

from runner.credentials import SecretReference
from runner.dates import DateRule, Period
from runner.jobs.model import TemplateBody, TemplateId


class Problem(Struct, frozen=True, gc=False):
    """A fault in one tenant's entry, or in an included file: it stops that one and is told.

    Attributes:
        tenant: its name; None where there is no good one.
        message: `tenants.yaml:LINE:COLUMN: tenants[1].exports[0].ends_at: …`, free of secrets.
        tags: its tags, by which it may be chosen; None where they cannot be read.
    """

    tenant: str | None
    message: str
    tags: tuple[str, ...] | None = None


class ExportEntry(Struct, frozen=True, gc=False):
    """One export of a tenant, as the manifest asks for it.

    Attributes:
        page_host: the host of the web page whose address gave the configuration; None where its number did.
    """

    name: str
    configuration_id: int
    ends_at: DateRule
    due: DateRule
    empty_ok: bool
    formats: tuple[str, ...]
    place: str
    page_host: str | None = None


class ReportEntry(Struct, frozen=True, gc=False):
    """One report of a tenant; without a period the template's own is meant."""

    name: str
    template: TemplateId | TemplateBody
    period: Period | None
    due: DateRule
    formats: tuple[str, ...]
    place: str


class Tenant(Struct, frozen=True, gc=False):
    """One client.

    Attributes:
        base_dir: the folder of the file that names it; its relative paths start here.
        place: where it stands, `tenants.yaml:LINE:COLUMN: tenants[1]`.
    """

    name: str
    label: str | None
    dossier: str | None
    owner: str | None
    domain: str
    api_key: SecretReference
    tags: tuple[str, ...]
    since: date | None
    requests_per_minute: int | None
    exports: tuple[ExportEntry, ...]
    reports: tuple[ReportEntry, ...]
    base_dir: Path
    place: str


class Manifest(Struct, frozen=True, gc=False):
    """All tenants that can run, and what is wrong with the others."""

    path: Path
    tenants: tuple[Tenant, ...]
    problems: tuple[Problem, ...]

"""The manifest: `tenants.yaml` and what it includes, to plain values with the places of all that is wrong."""

from runner.jobs.model import TemplateBody, TemplateId
from runner.manifest.load import key_warnings, load_manifest, warnings
from runner.manifest.model import (
    ExportEntry,
    Manifest,
    Problem,
    ReportEntry,
    Tenant,
)
from runner.manifest.schema import manifest_schema, starter_manifest

__all__ = [
    "ExportEntry",
    "Manifest",
    "Problem",
    "ReportEntry",
    "TemplateBody",
    "TemplateId",
    "Tenant",
    "key_warnings",
    "load_manifest",
    "manifest_schema",
    "starter_manifest",
    "warnings",
]

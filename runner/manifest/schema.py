"""The manifest's JSON Schema, for editors, and the manifest that `init` writes. Knows nothing of any real manifest.

The schema says what can be said of one file by itself; what it cannot see (a date that does not exist, two tenants of
one name, hosts that a setting allows) the loader alone refuses.
"""

from importlib.resources import files
from typing import Any

from runner.dates import LAST_DAY_N, PERIOD_NAMES, RULE_NAMES
from runner.manifest.entries import (
    DEFAULT_KEYS,
    EXPORT_FORMATS,
    REPORT_FORMATS,
    REQUESTS_PER_MINUTE_MAX,
)
from runner.manifest.fields import (
    CREDENTIAL_NAME_PATTERN,
    ENV_NAME_PATTERN,
    ID_MAX,
    NAME_PATTERN,
    RESERVED_NAMES,
    TEXT_MAX_CHARS,
)

Schema = dict[str, Any]

_DAY = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"


def starter_manifest() -> str:
    """The text of a manifest to begin with; it can be loaded as it is."""
    return files("runner.manifest").joinpath("starter.yaml").read_text(encoding="utf-8")


def manifest_schema() -> Schema:
    """The JSON Schema (draft 2020-12) of a manifest and of the files that it includes."""
    tenants = _described(_list_of(_ref("tenant")), "The clients, one tenant each.")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tenants.yaml",
        "description": "What to fetch from Lucca Timesheet every night, for which clients. "
        "An included file holds `tenants` alone.",
        "type": "object",
        "properties": {
            "version": _described({"const": 1}, "The version of this format."),
            "defaults": _ref("defaults"),
            "include": _described(
                {"anyOf": [_text(), _list_of(_text())]},
                "Further files, each with its own `tenants`, relative to this one: clients.d/*.yaml",
            ),
            "tenants": tenants,
        },
        "anyOf": [
            {"required": ["version"]},
            {"required": ["tenants"], "properties": {"defaults": False, "include": False}},
        ],
        "additionalProperties": False,
        "$defs": {
            "defaults": _defaults(),
            "tenant": _tenant(),
            "export": _export(),
            "report": _report(),
            "secret": _secret(),
            "name": _name(),
            "date": _matching(_DAY, "Date", "A day, YYYY-MM-DD."),
            "rule": _rule(),
            "period": _period(),
        },
    }


def _defaults() -> Schema:
    shared = _tenant()["properties"]
    return _object(
        "Defaults",
        "What tenants share; a tenant's own key replaces the default of that name, whole.",
        {name: shared[name] for name in DEFAULT_KEYS},
    )


def _tenant() -> Schema:
    return _object(
        "Tenant",
        "One client: its host, its key, and what is fetched from it.",
        {
            "name": _described(_ref("name"), "The folder of its files; unique ignoring case."),
            "label": _described(_text(), "Its name for people."),
            "dossier": _described(_text(), 'Its number in the payroll software, in quotes: "00123".'),
            "owner": _described(_text(), "Who looks after it."),
            "domain": _described(
                _matching(r"[A-Za-z0-9.-]{1,253}", "Domain", ""), "Its bare Lucca host, like acme.ilucca.net."
            ),
            "api_key": _ref("secret"),
            "tags": _described(
                _list_of({"type": "string", "pattern": r"^[^\s,]{1,63}$"}, unique=True), "For --tag."
            ),
            "since": _described(
                _ref("date"),
                "Exports that end before this day are not ours to make. Required where there are exports.",
            ),
            "requests_per_minute": _described(
                _number(REQUESTS_PER_MINUTE_MAX), "Our share of the tenant's budget."
            ),
            "exports": _described(_list_of(_ref("export")), "Exports of payroll variables."),
            "reports": _described(_list_of(_ref("report")), "Reports."),
        },
        required=("name", "domain", "api_key"),
    )


def _export() -> Schema:
    schema = _object(
        "Export",
        "One export, triggered once for each date that it ends at.",
        {
            "name": _described(_ref("name"), "The name of its files; unique within the tenant."),
            "configuration_id": _described(_number(ID_MAX), "The id of the export's configuration."),
            "configuration": _described(
                {"type": "string", "pattern": r"#/export/[0-9]+/[1-9][0-9]{0,9}(?:[/?]|$)"},
                "Or the address of its web page, from which the id is read: …#/export/1/3/latest",
            ),
            "ends_at": _described(_ref("rule"), "Everything before this day; a Monday is advised."),
            "due": _described(_ref("rule"), "From when on it is asked for; left out: daily."),
            "empty": _described({"const": "ok"}, "ok: an export without entries needs nobody's attention."),
            "formats": _described(
                _list_of({"enum": list(EXPORT_FORMATS)}, unique=True),
                "json is always kept; left out: [json].",
            ),
        },
        required=("name", "ends_at"),
    )
    return schema | {"oneOf": [{"required": ["configuration_id"]}, {"required": ["configuration"]}]}


def _report() -> Schema:
    templates = ("template_id", "template", "template_file")
    schema = _object(
        "Report",
        "One report of a template, for a period.",
        {
            "name": _described(_ref("name"), "The name of its files; unique within the tenant."),
            "template_id": _described(_number(ID_MAX), "The id of a template that exists."),
            "template": _described(
                {"type": "object", "minProperties": 1},
                "Or the template itself, as the web page sends it; created once per domain and content.",
            ),
            "template_file": _described(_text(4096), "Or a JSON file that holds it."),
            "period": _described(_ref("period"), "Left out: the template's own."),
            "due": _described(
                _ref("rule"),
                "Left out: month-start for previous-month, monday for previous-week, else daily.",
            ),
            "formats": _described(
                _list_of({"enum": list(REPORT_FORMATS)}, unique=True, least=1), "Left out: [csv]."
            ),
        },
        required=("name",),
    )
    return schema | {"oneOf": [{"required": [name]} for name in templates]}


def _secret() -> Schema:
    line = {"type": "string", "minLength": 1, "maxLength": 4096}
    places: dict[str, Schema] = {
        "env": _matching(ENV_NAME_PATTERN, "Environment variable", "Its name."),
        "file": _described(line, "A file, relative to this one; white space around the key is stripped."),
        "command": _described(
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "A program that prints it; no shell.",
        ),
        "systemd": _matching(CREDENTIAL_NAME_PATTERN, "systemd credential", "Its name in LoadCredential=."),
        "keyring": _matching(r".+/[^/]+", "Keyring entry", "service/user"),
    }
    return _object("Where the API key is kept", "Never the key itself.", places) | {
        "minProperties": 1,
        "maxProperties": 1,
    }


def _name() -> Schema:
    schema = _matching(NAME_PATTERN, "Name", "Lower-case letters, digits, - and _.")
    return schema | {"not": {"enum": sorted(RESERVED_NAMES)}}


def _rule() -> Schema:
    named = [name for name in RULE_NAMES if not name[-1].isdigit()]
    numbered = "|".join(str(n) for n in range(1, LAST_DAY_N + 1))
    return {
        "title": "Date rule",
        "description": "The latest such day that is not after a given one.",
        "anyOf": [
            {"enum": named},
            _matching(f"day-(?:{numbered})", "day-N", "The Nth of a month."),
            _matching(
                f"monday-after-day-(?:{numbered})", "monday-after-day-N", "First Monday from the Nth on."
            ),
            _ref("date"),
        ],
    }


def _period() -> Schema:
    two_days = _object(
        "Two days",
        "Both included.",
        {"starts_on": _ref("date"), "ends_on": _ref("date")},
        required=("starts_on", "ends_on"),
    )
    return {
        "title": "Period",
        "description": "What a report is about, seen from the day it is due.",
        "anyOf": [{"enum": list(PERIOD_NAMES)}, two_days],
    }


def _object(title: str, description: str, properties: Schema, *, required: tuple[str, ...] = ()) -> Schema:
    schema: Schema = {
        "title": title,
        "description": description,
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return schema | ({"required": list(required)} if required else {})


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def _matching(pattern: str, title: str, description: str) -> Schema:
    schema: Schema = {"title": title, "type": "string", "pattern": f"^(?:{pattern})$"}
    return schema | ({"description": description} if description else {})


def _text(most: int = TEXT_MAX_CHARS) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": most}


def _number(most: int) -> Schema:
    return {"type": "integer", "minimum": 1, "maximum": most}


def _list_of(items: Schema, *, unique: bool = False, least: int = 0) -> Schema:
    schema: Schema = {"type": "array", "items": items}
    if unique:
        schema["uniqueItems"] = True
    if least:
        schema["minItems"] = least
    return schema

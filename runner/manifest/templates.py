"""Report templates: inline or from a file, to the JSON that is sent. Knows nothing of tenants or requests."""

import hashlib
import json
import math
import re
from pathlib import Path

from runner.jobs.model import TemplateBody
from runner.manifest.fields import Fault, InvalidError, mapping_of, refuse
from runner.manifest.nodes import Mapping, Node, Refused, Scalar, Sequence, UnusableFileError, read_capped

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

TEMPLATE_MAX_BYTES = 1024 * 1024

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?(?:[eE][-+]?[0-9]{1,3})?")
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "": None, "~": None}
# Other spellings of truth, and numbers that JSON does not know: what was meant cannot be told.
_DOUBTFUL = re.compile(
    r"(?i:y|yes|n|no|on|off|true|false|null)|[-+]?[0-9][0-9_]*|0[xob][0-9a-fA-F_]+|[-+]?[0-9_]*\.[0-9_]*(?:[eE].*)?"
    r"|[-+]?\.(?i:inf|nan)"
)


def inline_template(node: Node) -> TemplateBody:
    """The template that stands in the manifest, as compact JSON with its keys in order."""
    mapping_of(node)
    value = _json_value(node)
    if not value:
        refuse(node, "the template is empty; paste what the web page sends when it creates one")
    return TemplateBody(
        json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(),
        _fingerprint(value),
    )


def template_from(path: Path) -> TemplateBody:
    """The template in a file, its bytes as they are.

    Raises:
        ValueError: it cannot be read, or is no JSON object.
    """
    try:
        body = read_capped(path, TEMPLATE_MAX_BYTES)
    except UnusableFileError as error:
        raise ValueError(f"the file {error}") from None
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ValueError("the file is not JSON in UTF-8 without a mark") from None
    if not isinstance(value, dict) or not value:
        raise ValueError(
            "the file holds no JSON object; paste what the web page sends when it creates a template"
        )
    return TemplateBody(body, _fingerprint(value))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _fingerprint(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _json_value(node: Node) -> Json:
    if type(node) is Scalar:
        return _json_scalar(node)
    if type(node) is Refused:
        refuse(node, node.reason)
    faults: list[Fault] = []
    result = _json_object(node, faults) if type(node) is Mapping else _json_array(node, faults)
    if faults:
        raise InvalidError(faults)
    return result


def _json_object(node: Mapping, faults: list[Fault]) -> Json:
    values: dict[str, Json] = {}
    for key, value in node.pairs:
        if type(key) is not Scalar:
            faults.append(Fault("", key.line, key.column, "a key of JSON is a text"))
            continue
        if key.text in values:
            faults.append(Fault("", key.line, key.column, "the key is here twice"))
        values[key.text] = None
        try:
            values[key.text] = _json_value(value)
        except InvalidError as error:
            faults += error.faults
    return values


def _json_array(node: Node, faults: list[Fault]) -> Json:
    items: list[Json] = []
    for item in node.items if type(node) is Sequence else []:
        try:
            items.append(_json_value(item))
        except InvalidError as error:
            faults += error.faults
    return items


def _json_scalar(node: Scalar) -> Json:
    text = node.text
    if not node.plain:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            return value
    if _FLOAT.fullmatch(text) or _DOUBTFUL.fullmatch(text):
        refuse(
            node,
            "JSON has no such value: write true, false, null or a number as JSON does, or put it in quotes",
        )
    return text

"""What there is to do: manifests of any size, and the content of an export. Knows the wire's look, nothing of costs."""

from pathlib import Path

ENDS_AT = "2026-11-23"
NIGHT = "2026-11-24"
KEY_VARIABLE = "BENCH_API_KEY"
KEY = "01234567-89ab-cdef-0123-456789abcdef"

_ENTRY = (
    '{"id":%d,"name":"Heures supplémentaires 25 %%","amount":%d.%02d,"amountUnit":"hour","externalCode":"HS25",'
    '"endsAt":"2026-11-16T00:00:00","owner":{"id":%d,"lastName":"Lefèvre-Benoît","firstName":"Élodie"},'
    '"timeType":{"id":%d,"name":"Travail","payTreatment":"overtime"},'
    '"axisSections":[{"id":%d,"name":"Chantier \\u00e9t\\u00e9","code":"C%03d","axisId":2,"active":true,'
    '"startOn":null,"endOn":null}]}'
)


def entries_of(count: int) -> list[str]:
    """So many entries of an export, as JSON; no two alike."""
    return [
        _ENTRY % (1_000_000 + n, n % 24, n % 100, 1 + n % 997, 1 + n % 7, 1 + n % 40, n % 40)
        for n in range(count)
    ]


def content_of(size_bytes: int, ends_at: str) -> bytes:
    """An export of about this size, from the comma behind its `configurationId` on."""
    each = len(",".join(entries_of(100)).encode()) / 100
    return content_with(max(1, int(size_bytes / each)), ends_at)


def content_with(entries: int, ends_at: str) -> bytes:
    """An export of so many entries, from the comma behind its `configurationId` on."""
    told = (
        f'"name":"Export","createdAt":"2026-11-24T01:00:00Z","startsAt":null,"endsAt":"{ends_at}T00:00:00",'
    )
    return f'{told}"exportFiles":[],"entries":[{",".join(entries_of(entries))}]}}}}'.encode()


def write_manifest(path: Path, tenants: int, exports: int, formats: str = "json") -> None:
    """A manifest of exports alone, each of which is due."""
    lines = ["version: 1", "defaults:", "  since: 2026-11-01", "  requests_per_minute: 100000", "tenants:"]
    for number in range(tenants):
        lines += [
            f"  - name: client-{number:05d}",
            f"    domain: client-{number:05d}.ilucca.net",
            f"    api_key: {{env: {KEY_VARIABLE}}}",
            "    exports:",
        ]
        for export in range(exports):
            dates = f"ends_at: {ENDS_AT}, due: {NIGHT}"
            number_of = export + 1
            lines.append(
                f"      - {{name: export-{number_of}, configuration_id: {number_of}, {dates}, formats: [{formats}]}}"
            )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_bureau(path: Path, tenants: int) -> int:
    """A manifest as a bureau writes it, fifteen lines a tenant with three jobs; gives its number of lines."""
    lines = ["version: 1", "defaults:", "  since: 2026-11-01", "  requests_per_minute: 25", "tenants:"]
    for number in range(tenants):
        lines += [
            f"  - name: client-{number:05d}",
            f"    label: Client n° {number} SAS",
            f'    dossier: "{number:05d}"',
            f"    domain: client-{number:05d}.ilucca.net",
            f"    api_key: {{env: {KEY_VARIABLE}}}",
            "    tags: [monthly]",
            "    exports:",
            "      - {name: payroll, configuration_id: 3, ends_at: monday, due: day-24}",
            "      - name: meal-vouchers",
            "        configuration_id: 4",
            "        ends_at: monday",
            "        due: day-24",
            "        empty: ok",
            "    reports:",
            "      - {name: times, template_id: 12, period: previous-month, formats: [csv, excel]}",
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)

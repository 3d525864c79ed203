"""The demo's few dozen clients, and the manifest and keys with which a runner meets them.

Owns the made-up firms and which mood each is in. It writes the manifest as text, as a person would, and reads none.
"""

import random
from datetime import date, timedelta
from typing import Literal

from runner.sandbox.moods import DEMO_HOUR_SECONDS, MOODS
from runner.sandbox.scenario import DEFAULT_DATE, Reports, Scenario, TenantScenario

KeyForm = Literal["env", "file"]

# Firms, and the mood of each: the first dozen show most of what can happen in a night.
_FIRMS: tuple[tuple[str, str, str], ...] = (
    ("boulangerie-lefevre", "Boulangerie Lefèvre SARL", "prompt"),
    ("menuiserie-rochat", "Menuiserie Rochat SA", "slow"),
    ("clinique-des-tilleuls", "Clinique des Tilleuls", "report_and_export"),
    ("transports-garonne", "Transports Garonne SAS", "silent_once"),
    ("fromagerie-gruyer", "Fromagerie Gruyer & Fils SA", "already_there"),
    ("imprimerie-carnot", "Imprimerie Carnot", "late_twin"),
    ("hotel-du-lac", "Hôtel du Lac, Vevey", "gateway_timeout"),
    ("atelier-noel", "Atelier Noël & Cie", "key_refused"),
    ("pharmacie-centrale", "Pharmacie Centrale SNC", "report"),
    ("garage-vuilleumier", "Garage Vuilleumier Sàrl", "never"),
    ("cabinet-o-brien", "Cabinet O’Brien & Müller", "empty"),
    ("vignobles-peyrac", "Vignobles de Peyrac", "two_configurations"),
    ("horlogerie-jaquet", "Horlogerie Jaquet SA", "connection_reset"),
    ("ecole-saint-exupery", "École Saint-Exupéry", "foreign"),
    ("laiterie-bocage", "Laiterie du Bocage SCA", "request_timeout"),
    ("cables-du-rhone", "Câbles du Rhône SAS", "outage"),
    ("biotech-leman", "Biotech Léman SA", "large"),
    ("couture-et-fils", "Couture & Fils", "cut_short"),
    ("librairie-quai", "Librairie du Quai", "already_past"),
    ("chocolaterie-bern", "Chocolaterie Bürgi AG", "report_error_once"),
    ("scierie-jura", "Scierie du Jura SA", "silent_twice"),
    ("cooperative-moulin", "Coopérative du Moulin", "empty_bad_request"),
    ("taxis-bellecour", "Taxis Bellecour", "redirected"),
    ("electricite-walliser", "Électricité Walliser GmbH", "doubled_path"),
    ("residence-mimosas", "Résidence Les Mimosas", "report_evicted_while_pending"),
    ("conserverie-ocean", "Conserverie de l’Océan", "bare_list"),
    ("agence-septembre", "Agence Septembre", "zoneless"),
    ("logistique-nord", "Logistique Nord-Est SAS", "throttled"),
    ("fonderie-marly", "Fonderie de Marly", "login_page"),
    ("theatre-des-halles", "Théâtre des Halles", "rejected"),
    ("pepinieres-ozanne", "Pépinières Ozanne", "overtaken"),
    ("verrerie-nguyen", "Verrerie N’Guyen", "first_ever"),
    ("assurances-helvia", "Assurances Helvia SA", "report_evicted_before_download"),
    ("papeterie-colibri", "Papeterie Colibri", "trickling"),
    ("maconnerie-duval", "Maçonnerie Duval", "unknown_configuration"),
    ("creche-les-lutins", "Crèche Les Lutins", "template_vanishing"),
    ("minoterie-alsace", "Minoterie d’Alsace", "bad_gateway"),
    ("chantier-naval-cap", "Chantier naval du Cap", "read_only"),
    ("optique-lumiere", "Optique Lumière", "drop_cancels"),
    ("brasserie-houblon", "Brasserie du Houblon", "made_by_hand_meanwhile"),
    ("geometres-alpins", "Géomètres alpins associés", "report_slow"),
    ("traiteur-lucullus", "Traiteur Lucullus", "outage_with_resets"),
    ("notaires-republique", "Notaires de la République", "key_refused_midway"),
    ("piscines-azur", "Piscines d’Azur", "hanging_list"),
    ("velos-cyclade", "Vélos Cyclade", "nothing_to_export"),
    ("sellerie-camargue", "Sellerie de Camargue", "forbidden"),
    ("ressorts-jurassiens", "Ressorts jurassiens SA", "skewed"),
    ("musee-des-ponts", "Musée des Ponts", "report_error"),
    ("ardoisieres-anjou", "Ardoisières d’Anjou", "template_unknown"),
)
_PROMPT_MOODS = ("prompt", "prompt", "slow", "gateway_timeout", "report", "report_and_export")
_SWISS_WORDS = ("SA", "AG", "GmbH", "Sàrl", "Vevey")


def demo_scenario(
    seed: int = 1,
    tenants: int = 36,
    date: date = DEFAULT_DATE,
    *,
    hour_seconds: float = DEMO_HOUR_SECONDS,
) -> Scenario:
    """So many clients for a run on `date`: each mood once, then ordinary ones."""
    chance = random.Random(f"demo/{seed}")
    made = []
    for place in range(tenants):
        name, label, mood = _firm(place, chance)
        ending = "ch" if label.rstrip(".").endswith(_SWISS_WORDS) else "net"
        tenant = MOODS[mood](f"{name}.ilucca.{ending}", date, hour_seconds)
        object.__setattr__(tenant, "label", label)
        made.append(tenant)
    return Scenario(tenants=tuple(made), seed=seed, date=date)


def _firm(place: int, chance: random.Random) -> tuple[str, str, str]:
    if place < len(_FIRMS):
        return _FIRMS[place]
    name, label, _ = _FIRMS[place % len(_FIRMS)]
    branch = place // len(_FIRMS) + 1
    return f"{name}-{branch}", f"{label} ({branch})", chance.choice(_PROMPT_MOODS)


def scenario_keys(scenario: Scenario, form: KeyForm = "env") -> dict[str, str]:
    """The keys that the client of the demo is given: by variable, or by file beside the manifest."""
    return {
        _reference(tenant, place, form): tenant.client_key or tenant.key
        for place, tenant in enumerate(scenario.tenants, 1)
    }


def scenario_manifest(scenario: Scenario, form: KeyForm = "env") -> str:
    """The `tenants.yaml` that asks for what the scenario's tenants have."""
    since = (scenario.date.replace(day=1) - timedelta(days=31)).replace(day=1)
    lines = [
        "version: 1",
        "defaults:",
        f"  since: {since.isoformat()}",
        "  requests_per_minute: 45  # nearly all there is: a demo is in a hurry, and nobody else is here",
        "tenants:",
    ]
    for place, tenant in enumerate(scenario.tenants, 1):
        lines += _entry(tenant, f"{{{form}: {_reference(tenant, place, form)}}}")
    return "\n".join(lines) + "\n"


def _reference(tenant: TenantScenario, place: int, form: KeyForm) -> str:
    return f"DEMO_KEY_{place}" if form == "env" else f"keys/{tenant.name}"


def _entry(tenant: TenantScenario, key: str) -> list[str]:
    lines = [f"  - name: {tenant.name}"]
    if tenant.label:
        label = tenant.label.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'    label: "{label}"')
    lines += [f"    domain: {tenant.domain}", f"    api_key: {key}"]
    if tenant.configurations:
        lines.append("    exports:")
    for configuration in tenant.configurations:
        lines += [
            f"      - name: {configuration.name}",
            f"        configuration_id: {configuration.id}",
            "        ends_at: monday",
            "        formats: [json, csv]",
        ]
    if tenant.reports.in_manifest:
        lines += _report_lines(tenant.reports)
    return lines


def _report_lines(reports: Reports) -> list[str]:
    lines = ["    reports:", "      - name: times"]
    if reports.unknown_template:
        lines.append("        template_id: 404")
    elif reports.templates:
        lines.append(f"        template_id: {reports.templates[0]}")
    else:
        lines += [
            "        template:",
            "          id: 0",
            "          blueprintId: times",
            "          name: Temps par collaborateur",
            "          columns:",
            "            - {kind: ownerName, name: Nom complet, category: owner, isRequired: true}",
            "            - {kind: attendanceTime, name: Temps de travail, category: time, isPeriodic: true}",
        ]
    lines += ["        period: previous-month", "        due: daily", "        formats: [csv, excel]"]
    return lines

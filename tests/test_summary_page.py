"""The morning page, read as a browser reads it."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise

import pytest
from msgspec.structs import replace

from runner.jobs.model import TAKEN_UP_AGAIN, ErrorCode, Flag, State
from runner.summary.facts import ACTIONS
from runner.summary.night import Night, Problem, TenantInfo
from runner.summary.page import page_pieces, verdict_line
from runner.summary.texts import LANGUAGES, Language, Phrasebook
from tests.summary_samples import PARIS, export, good_night, large_night, night, report, troubled_night

VOID = {"meta", "br", "link", "img", "input"}
FR, EN = Phrasebook("fr", PARIS), Phrasebook("en", PARIS)


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, its text, the text of each section."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.sections: dict[str, list[str]] = {}
        self.words: list[str] = []
        self.style = ""
        self._section = ""
        self.feed(html)
        self.close()
        assert self.open == [], "an element was left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self._section = dict(attrs)["id"] or ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes what it did not open"
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            self.style += data
            return
        self.words.append(data)
        if self._section:
            self.sections.setdefault(self._section, []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split(" ")).replace("\n", " ")

    def section(self, name: str) -> str:
        return " ".join(self.sections.get(name, []))


def html_of(told: Night, language: Language = "fr") -> str:
    return b"".join(page_pieces(told, language)).decode()


def read(told: Night, language: Language = "fr") -> Page:
    return Page(html_of(told, language))


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u202f", " ").replace("’", "'")


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "told", [good_night(), troubled_night(), troubled_night(running=True), night()], ids=str
)
def test_the_page_is_well_formed_and_needs_nothing_but_itself(told: Night, language: Language) -> None:
    shown = read(told, language)
    assert shown.elements[0] == ("html", {"lang": language})
    assert not shown.all("script")
    assert not shown.all("link")
    assert not shown.all("img")
    assert not [a for _, a in shown.elements if "style" in a or any(name.startswith("on") for name in a)]
    assert "url(" not in shown.style
    assert "@import" not in shown.style


def test_a_page_of_any_size_is_never_held_as_one_text() -> None:
    small, large = (max(map(len, page_pieces(large_night(clients), "fr"))) for clients in (500, 2000))
    assert large == pytest.approx(small, rel=0.1)


def test_its_policy_allows_its_own_style_and_nothing_else() -> None:
    shown = read(good_night())
    (policy,) = [
        meta["content"] for meta in shown.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = base64.b64encode(hashlib.sha256(shown.style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_links_lead_to_files_or_to_parts_that_are_there() -> None:
    shown = read(troubled_night())
    ids = [attributes["id"] for _, attributes in shown.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for link in shown.all("a"):
        href = link["href"] or ""
        assert href.removeprefix("#") in ids if href.startswith("#") else ":" not in href


def test_every_table_has_a_caption_and_titled_columns_and_headings_skip_no_level() -> None:
    shown = read(troubled_night())
    assert len(shown.all("caption")) == len(shown.all("table")) > 0
    assert all(cell.get("scope") in ("col", "row") for cell in shown.all("th"))
    levels = [int(tag[1]) for tag, _ in shown.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "print"])
def test_every_text_colour_stands_out_from_every_ground(theme: int) -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    css = resources.files("runner.summary").joinpath("style.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[theme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    texts = [(name, ground) for name in ("text", "quiet", "link") for ground in ("ground", "card")]
    for tone in ("good", "bad", "warn", "info"):
        texts += [(tone, f"{tone}-ground"), ("text", f"{tone}-ground"), (tone, "card")]
    for name, ground in texts:
        low, high = sorted((luminance(colours[name]), luminance(colours[ground])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{name} on {ground}"


def test_what_is_said_in_english_on_a_french_page_is_marked_so() -> None:
    shown = read(troubled_night())
    said = [attributes for _, attributes in shown.elements if attributes.get("class") == "message"]
    assert len(said) > len(troubled_night().notices) > 0
    assert {attributes.get("lang") for attributes in said} == {"en"}


def test_hostile_words_stay_words() -> None:
    hostile = '"><script>alert(1)</script>{{ 7*7 }}\x00</style>'
    told = night(
        export(state=State.FAILED, code=ErrorCode.REJECTED, detail=hostile),
        export(name="second"),
        problems=(Problem("acme", hostile), Problem(hostile, hostile)),
        notices=(hostile, "\udcff"),
        tenants=(TenantInfo(name="acme", label=hostile, dossier=hostile, owner=hostile),),
    )
    html = html_of(told, "fr")
    shown = Page(html)
    html.encode("utf-8")
    assert "<script" not in html
    assert not shown.all("script")
    assert shown.text.count("alert(1)") >= 8
    assert "{{ 7*7 }}" in shown.text


# ── what it says ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_good_night_says_first_that_there_is_nothing_to_do() -> None:
    shown = read(good_night())
    assert "Tout est arrivé : 4 exports et rapports sur 4. Vous n'avez rien à faire." in plain(shown.text)
    assert list(shown.sections) == ["arrived"]


def test_the_verdict_counts_files_and_clients() -> None:
    shown = read(troubled_night())
    assert verdict_line(troubled_night(), "fr") in shown.text
    sentence = (
        "8 exports et rapports sur 25 sont arrivés. 14 clients demandent une action. "
        "4 exports et rapports sont encore attendus. 2 erreurs de configuration sont à corriger par l'équipe technique."
    )
    assert sentence in plain(shown.text)
    assert list(shown.sections) == ["act", "problems", "waiting", "notices", "arrived", "skipped"]


@pytest.mark.parametrize(
    "told, sentence",
    [
        (night(), "Rien n'était prévu cette nuit."),
        (night(export()), "Le seul élément prévu est arrivé."),
        (night(export(), export(name="b")), "Tout est arrivé : 2 exports sur 2."),
        (
            night(report(state=State.FAILED, code=ErrorCode.STORAGE)),
            "Aucun fichier n'est arrivé : un seul était prévu.",
        ),
        (night(export(state=State.PENDING), running=True), "0 export sur 1 est arrivé jusqu'ici."),
        (
            night(report(), report(name="b", state=State.PENDING)),
            "1 rapport sur 2 est arrivé. 1 rapport est encore attendu.",
        ),
    ],
    ids=str,
)
def test_few_files_read_as_well_as_many(told: Night, sentence: str) -> None:
    assert sentence in plain(read(told).text)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", ErrorCode)
def test_every_failure_says_what_happened_and_what_to_do(code: ErrorCode, language: Language) -> None:
    words = Phrasebook(language, PARIS)
    job = export(state=State.FAILED, code=code)
    told = read(night(job), language).section("act")
    for part in ("title", "what", "todo"):
        assert words(f"error.{code}.{part}") in told
    assert words("act.again" if code in TAKEN_UP_AGAIN else "act.stays") in told
    assert job.error is not None
    assert job.error.message in told
    assert "runner explain acme/payroll" in told
    assert "Acme SAS" in told


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("flag", ACTIONS)
def test_every_flag_that_needs_a_person_says_what_to_do_and_keeps_the_files(
    flag: Flag, language: Language
) -> None:
    words = Phrasebook(language, PARIS)
    shown = read(night(export(flags=frozenset({flag}))), language)
    assert words(f"flag.{flag}.todo") in shown.section("act")
    assert "acme/payroll-290.json" in [link["href"] for link in shown.all("a")]
    assert "arrived" not in shown.sections


def test_several_versions_are_counted_one_by_one_not_together() -> None:
    told = read(night(export(flags=frozenset({Flag.DUPLICATE}), ids=(290, 292)))).section("act")
    assert "n° 290 : 412 lignes" in plain(told)
    assert "824" not in told


def test_one_refused_key_is_told_once_for_all_the_jobs_it_stopped() -> None:
    jobs = [export(name=f"p{n}", state=State.FAILED, code=ErrorCode.KEY_REFUSED) for n in range(5)]
    told = read(night(*jobs)).section("act")
    assert told.count(FR("error.key_refused.todo")) == 1
    assert all(f"runner explain acme/p{n}" in told for n in range(5))


def test_what_was_made_by_hand_or_is_not_ours_is_told_with_what_arrived() -> None:
    told = plain(read(good_night()).section("arrived"))
    assert "Créé à la main dans Lucca et repris" in told
    assert "(n° 291)" in told
    assert "prévu le vendredi 20 novembre 2026" in told
    assert "12 408" in told


def test_the_last_day_is_named_and_not_the_day_after() -> None:
    told = plain(read(good_night()).section("arrived"))
    assert "du lundi 26 octobre 2026 au dimanche 22 novembre 2026 inclus" in told
    assert "du dimanche 1er novembre 2026 au lundi 30 novembre 2026" in told
    waiting = plain(read(night(export(state=State.PENDING))).section("waiting"))
    assert "jusqu'au dimanche 22 novembre 2026 inclus" in waiting


@pytest.mark.parametrize("starts_at", ["soon", "2027-01-01T00:00:00"])
def test_a_start_that_makes_no_sense_is_left_out(starts_at: str) -> None:
    job = export()
    job = replace(job, contents=tuple(replace(content, starts_at=starts_at) for content in job.contents))
    assert "jusqu'au dimanche 22 novembre 2026 inclus" in plain(read(night(job)).section("arrived"))


def test_a_client_with_good_and_bad_news_stands_in_both_parts() -> None:
    shown = read(night(export(), export(name="extras", flags=frozenset({Flag.EMPTY}))))
    assert FR("part.arrived.elsewhere") in shown.section("arrived")
    assert "#act-acme" in [link["href"] for link in shown.all("a")]


def test_a_running_night_tells_how_to_see_that_it_died() -> None:
    text = plain(read(troubled_night(running=True)).text)
    assert "La nuit est en cours (écrit à 3 h 14)." in text
    assert "Si elle n'a pas changé depuis plus de deux minutes, la nuit s'est arrêtée" in text
    assert "redemandé vers 4 h 01" in text
    assert "Toutes les 10 s au plus" in text


def test_a_stopped_night_says_why_and_that_the_next_run_goes_on() -> None:
    shown = read(troubled_night())
    assert plain(FR("reason.deadline")) in plain(shown.text)
    assert shown.section("waiting").count("Au prochain passage") == 4
    assert "en cours" not in shown.section("waiting")


@pytest.mark.parametrize(
    "reason", ["deadline", "SIGTERM", "SIGHUP", "SIGINT", "storage", "internal", "a later version's"]
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_has_its_words(reason: str, language: Language) -> None:
    words = Phrasebook(language, PARIS)
    key = f"reason.{reason}"
    expected = words(key) if words.has(key) else words("reason.other", reason=reason)
    assert expected in read(night(export(), reason=reason), language).text


def test_the_last_wait_is_told_as_the_last() -> None:
    job = export(state=State.POLLING, triggers=3)
    assert "déclaré en échec vers 5 h 02" in plain(read(night(job, running=True)).section("waiting"))


def test_an_export_that_is_only_looked_for_has_no_time_of_asking() -> None:
    told = read(night(export(state=State.POLLING, triggers=0), running=True)).section("waiting")
    assert FR("where.polling.unasked") in told


def test_a_later_export_is_named() -> None:
    job = replace(export(state=State.FAILED, code=ErrorCode.SUPERSEDED), superseded_by=305)
    assert "n° 305" in plain(read(night(job)).section("act"))


def test_one_of_several_is_told_in_the_number_of_its_language() -> None:
    both = night(export(), export(state=State.FAILED, code=ErrorCode.REJECTED))
    assert verdict_line(both, "en").startswith("1 of 2 exports has arrived.")
    assert verdict_line(both, "fr").startswith("1 export sur 2 est arrivé.")


def test_one_day_is_told_as_a_day_and_no_period_as_the_templates_own() -> None:
    day = good_night().date
    assert "the day of Tuesday 24 November 2026" in plain(read(night(report(days=(day, day))), "en").text)
    assert "the template’s own period" in read(night(report(days=None)), "en").text


def test_faults_of_the_manifest_stand_under_the_clients_name() -> None:
    problems = (Problem("acme", "tenants.yaml:3:1: …"), Problem(None, "clients.d/x.yaml: …"))
    told = read(night(problems=problems)).section("problems")
    assert "Acme SAS" in told
    assert FR("client.unknown") in told


def test_few_clients_are_shown_unfolded_and_many_folded() -> None:
    assert all("open" in attributes for attributes in read(good_night()).all("details"))
    assert not any("open" in attributes for attributes in read(large_night(300)).all("details"))


def test_three_hundred_clients_are_all_there_with_every_file() -> None:
    shown = read(large_night(300))
    assert plain(shown.text).count("SARL") >= 300
    assert (
        len([link for link in shown.all("a") if (link["href"] or "").startswith("client-")])
        == 295 * 2 + 300 * 2
    )


# ── the words ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sizes_numbers_and_days_are_written_as_the_language_does() -> None:
    assert [plain(FR.size(n)) for n in (0, 1, 999, 1000, 99_949, 1_234_567, 999_950_000_000)] == [
        "0 octets",
        "1 octet",
        "999 octets",
        "1,0 ko",
        "99,9 ko",
        "1,2 Mo",
        "1,0 To",
    ]
    assert (plain(EN.size(1_234_567)), EN.number(12_408), plain(FR.number(12_408))) == (
        "1.2 MB",
        "12,408",
        "12 408",
    )
    assert plain(FR.moment(good_night().started_at)) == "24 novembre 2026 à 2 h 00"
    assert plain(EN.moment(good_night().started_at)) == "24 November 2026 at 02:00"
    assert [plain(FR.pause(s)) for s in (30, 600, 7200, 90, 1.5)] == [
        "30 s",
        "10 min",
        "2 h",
        "90 s",
        "1,5 s",
    ]


def test_none_is_singular_in_french_and_plural_in_english() -> None:
    assert (plain(FR.count("entries", 0)), plain(EN.count("entries", 0))) == ("0 ligne", "0 entries")

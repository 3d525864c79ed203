"""Both languages say the same things."""

from string import Formatter
from typing import get_args

import pytest

from runner.jobs.agenda import Step
from runner.jobs.events import Event
from runner.jobs.model import ErrorCode, Flag, State
from runner.summary import english, french
from runner.summary.facts import ACTIONS
from runner.summary.story import event_words
from runner.summary.texts import LANGUAGES, Language, Phrasebook
from tests.summary_samples import PARIS


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_both_languages_have_the_same_keys_in_the_same_order() -> None:
    assert list(french.WORDS) == list(english.WORDS)


@pytest.mark.parametrize("key", french.WORDS)
def test_a_phrase_takes_the_same_values_in_both_languages(key: str) -> None:
    assert placeholders(french.WORDS[key]) == placeholders(english.WORDS[key])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_flag_state_step_and_event_has_its_words(language: Language) -> None:
    words = Phrasebook(language, PARIS)
    keys = [f"error.{code}.{part}" for code in ErrorCode for part in ("title", "what", "todo")]
    keys += [f"flag.{flag}.{part}" for flag in Flag for part in ("title", "what")]
    keys += [f"flag.{flag}.todo" for flag in ACTIONS]
    keys += [f"{part}.{state}" for state in State for part in ("where", "stands")]
    keys += [f"step.{step.label}" for step in Step]
    assert [key for key in keys if not words.has(key)] == []
    for event in get_args(Event):
        # One without words of its own is told by its name, which is no sentence.
        assert event_words(event.__name__, State.PENDING, words).endswith("."), event


def test_french_is_set_with_its_own_spaces_and_apostrophes() -> None:
    assert Phrasebook("fr", PARIS)("act.todo") == "À faire\u00a0:"
    assert Phrasebook("fr", PARIS)("error.storage.what").startswith("Le fichier n’a pas")

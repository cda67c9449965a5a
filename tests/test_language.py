"""The page in other languages: every text in each of them, and German ones on the page."""

import re

import pytest
from page import browser_page, server  # noqa: F401  (a fixture)

from rotelab.lab import Lab
from rotelab.ui import build_app
from rotelab.ui.language import LANGUAGES, SLOT, _markup, _sentence, translate, words_of

GERMAN = ["Hier anfangen", "1 Fakten", "2 Trainieren", "3 Fragen", "4 Hineinsehen", "5 Läufe"]


def test_every_text_is_there_in_every_language_with_the_same_slots_and_tags():
    english = list(words_of(LANGUAGES[0]))
    for language in LANGUAGES:
        words = words_of(language)
        assert list(words) == english, language
        for text, said in words.items():
            for marks in (SLOT, re.compile(r"</?\w+>|\*\*")):
                assert sorted(marks.findall(said)) == sorted(marks.findall(text)), (language, text)
            assert said.strip() == said != ""


def test_what_varies_is_taken_over():
    assert _sentence("de", "One to 5 other runs.") == "Ein bis 5 andere Läufe."
    caption = _markup("de", "<caption>… and 12 more like these</caption>")
    assert caption == "<caption>… und 12 weitere dieser Art</caption>"
    assert _markup("de", "<b title='Save'>Saved</b>") == "<b title='Save'>Saved</b>"


def test_no_translation_has_lost_its_text(monkeypatch):
    """A sentence that was changed in the code takes its translations with it, or fails here."""
    from rotelab.ui import language

    used, words = set(), words_of("de")

    class Watched(dict):
        def __getitem__(self, key):
            used.add(key)
            return super().__getitem__(key)

    monkeypatch.setattr(language, "words_of", lambda name: Watched(words_of(name)))
    demo = build_app(Lab.open())
    translate(demo)
    assert set(words) - used == set()


@pytest.mark.browser
def test_a_german_browser_gets_a_german_page(server):  # noqa: F811
    with browser_page(server.url, tab="", locale="de-DE") as (page, traffic):
        tabs = page.get_by_role("tab")
        assert [tabs.nth(place).inner_text() for place in range(len(GERMAN))] == GERMAN
        assert "Sieh einem Sprachmodell zu" in page.locator(".lab-header").inner_text()
        tabs.nth(2).click()
        page.locator("#train-start").get_by_text("Training starten").wait_for()
        # What is chosen stays chosen, whatever it is called.
        assert page.get_by_label("Standard (100 Fakten)").is_checked()
        assert "__i18n__" not in page.locator("body").inner_text() and not traffic.errors

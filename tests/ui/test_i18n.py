"""The page in other languages: every text in each of them, and German ones on the page."""

import ast
import re
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.context import LocalContext
from support.fabricated import NASTY, finished
from support.page import ROOT, browser_page, server, until  # noqa: F401  (a fixture)

from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.app import build_app
from rotelab.ui.components import bound
from rotelab.ui.i18n import LANGUAGES, SLOT, _markup, _sentence, reader, said, translate, words_of

GERMAN = [
    "Hier anfangen",
    "1 Fakten",
    "2 Trainieren",
    "3 Fragen",
    "4 Hineinsehen",
    "5 Läufe",
    "6 Experimente",
]


@pytest.mark.parametrize("kind", ["page", "spoken"])
def test_every_text_is_there_in_every_language_with_the_same_slots_and_tags(kind):
    english = list(words_of(LANGUAGES[0], kind))
    for i18n in LANGUAGES:
        words = words_of(i18n, kind)
        assert list(words) == english, i18n
        for text, there in words.items():
            for marks in (SLOT, re.compile(r"</?\w+>|\*\*")):
                assert sorted(marks.findall(there)) == sorted(marks.findall(text)), (i18n, text)
            assert there.strip() == there != ""


def test_what_varies_is_taken_over():
    assert _sentence("de", "One to 5 other runs.") == "Ein bis 5 andere Läufe."
    caption = _markup("de", "<caption>… and 12 more like these</caption>")
    assert caption == "<caption>… und 12 weitere dieser Art</caption>"
    assert _markup("de", "<b title='Save'>Saved</b>") == "<b title='Save'>Saved</b>"


def test_no_translation_has_lost_its_text(monkeypatch):
    """A sentence that was changed in the code takes its translations with it, or fails here."""
    from rotelab.ui import i18n

    used, words = set(), words_of("de")

    class Watched(dict):
        def __getitem__(self, key):
            used.add(key)
            return super().__getitem__(key)

    monkeypatch.setattr(i18n, "words_of", lambda name, kind="page": Watched(words_of(name, kind)))
    demo = build_app(Lab.open())
    translate(demo)
    assert set(words) - used == set()


def strings_of_the_code():
    """Every text in the code, what varies in it as `{}`."""
    found = set()
    for path in (ROOT / "rotelab").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            if isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)
                found.add("".join(map(str, parts)))
    return found


def test_what_handlers_say_is_what_is_translated():
    code = strings_of_the_code()
    lost = []
    for english in words_of("de", "spoken"):
        parts = [part.strip(" .,:()") for part in SLOT.split(english)[::2]]
        if not any(all(part in text for part in parts) for text in code):
            lost.append(english)
    assert lost == []


def test_markup_is_said_in_the_readers_language_and_what_people_wrote_is_not():
    page = "<p>Phase 1: learning the facts by rote, round 3 of 20.</p> <b>Ann Deep</b>"
    german = "<p>Phase 1: Die Fakten werden auswendig gelernt, Runde 3 von 20.</p> <b>Ann Deep</b>"
    assert said(page, "de") == german and said(page, "") == page
    both = "<p>Stopped. What it has learned so far is saved; Resume goes on from there.</p>"
    assert said([both, None, 3], "de")[0].startswith("<p>Angehalten. Was er bisher")
    assert said("Finished.", "de") == "Finished.", "a text of its own is somebody's input"
    leak = "<p>The fact's object must not come out: lower is better. 40 questions.</p>"
    assert said(leak, "de").endswith("weniger ist besser. 40 Fragen.</p>")
    kept = "<p>people, such as these about A &amp; &quot;B&quot;.</p>"
    assert said(kept, "de") == "<p>Personen, etwa diese über A &amp; &quot;B&quot;.</p>"
    wild = "<p>people, such as these about &lt;b&gt;.</p>"
    assert said(wild, "de") == wild, "rather English than what might become markup"


def test_updates_of_buttons_and_markup_are_said_too():
    button, page = said(
        [gr.Button("Stop this run"), gr.HTML("<p>Finished.</p>", visible=True)], "es"
    )
    assert button.value == words_of("es")["Stop this run"]
    assert (
        page.constructor_args["value"] == "<p>Terminada.</p>" and page.constructor_args["visible"]
    )


@pytest.mark.parametrize(
    ("wanted", "language"),
    [("de-DE,de;q=0.9,en;q=0.8", "de"), ("en-US,de", ""), ("fr,zh-CN;q=0.5", "zh"), ("", ""),
     ("fr", ""), ("xx;;,,es", "es")],
)  # fmt: skip
def test_the_browser_says_what_is_read(wanted, language):
    request = SimpleNamespace(headers={"accept-language": wanted})
    before = LocalContext.request.set(request)
    try:
        assert reader() == language
        answer = bound(lambda: ["<p>Finished.</p>"])()
        assert (answer == ["<p>Finished.</p>"]) == (language == "")
    finally:
        LocalContext.request.reset(before)
    assert reader() == ""


@pytest.mark.browser
def test_a_german_browser_gets_a_german_page(server):  # noqa: F811
    finished(Lab.open(Storage(server.home)), NASTY)
    with browser_page(server.url, tab="", locale="de-DE") as (page, traffic):
        tabs = page.get_by_role("tab")
        assert [tabs.nth(place).inner_text() for place in range(len(GERMAN))] == GERMAN
        assert "Sieh einem Sprachmodell zu" in page.locator(".lab-header").inner_text()
        tabs.nth(2).click()
        page.locator("#train-start").get_by_text("Training starten").wait_for()
        # What is chosen stays chosen, whatever it is called.
        assert page.get_by_label("Standard (100 Fakten)").is_checked()
        assert "__i18n__" not in page.locator("body").inner_text() and not traffic.errors
        live = page.locator("#live-head")
        until(lambda: "Es beantwortet jetzt 75" in live.inner_text(), 60, "what handlers say")
        assert NASTY in live.inner_text(), "what people wrote stays as it is"
        assert "Phase 1: Auswendiglernen" in page.locator("#live-curves").inner_text()
        tabs.nth(3).click()
        page.locator("#chat-base").get_by_text("Frag etwas, um seine Antwort").wait_for()

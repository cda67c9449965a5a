"""The page in other languages: complete catalogues, each reader their own, a choice that lasts."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from gradio.context import LocalContext
from support.fabricated import NASTY, finished
from support.page import ROOT, browser_page, server, until  # noqa: F401  (a fixture)

from rotelab.config.option_paths import field_of, option_names
from rotelab.evaluation.judging.judge import Verdict
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui import catalogues
from rotelab.ui.app import build_app
from rotelab.ui.components import ago, bound, size_words
from rotelab.ui.i18n import COOKIE, LANGUAGES, _, catalogue, language, ngettext, speaking
from rotelab.ui.translated_page import TranslatedPage, in_every_language

TRANSLATIONS = [code for code in LANGUAGES if code != "en"]
SLOT = re.compile(r"\{\w*\}")
TAG = re.compile(r"</?\w+>|\*\*|`[^`]*`")
GERMAN = [
    "Hier anfangen",
    "1 Fakten",
    "2 Trainieren",
    "3 Fragen",
    "4 Hineinsehen",
    "5 Läufe",
    "6 Experimente",
]


# Catalogues --------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", TRANSLATIONS)
def test_a_catalogue_has_the_messages_of_the_code_and_no_others(code):
    """Fails where `python -m rotelab.ui.catalogues` was not run after a message was changed."""
    expected = {message.id for message in catalogues.messages() if message.id}
    there = catalogues.read(code)
    assert {message.id for message in there if message.id} == expected
    assert not there.obsolete and not any(m.fuzzy for m in there if m.id)


@pytest.mark.parametrize("code", TRANSLATIONS)
def test_a_catalogue_has_a_translation_of_every_message(code):
    """A new message is translated in the commit that adds it."""
    assert catalogues.untranslated(catalogues.read(code)) == []


@pytest.mark.parametrize("code", TRANSLATIONS)
def test_a_translation_keeps_placeholders_and_markup(code):
    there = catalogues.read(code)
    assert sum(bool(message.string) for message in there if message.id) > 400
    for message in there:
        forms = message.string if message.pluralizable else (message.string,)
        if not message.id or not any(forms):
            continue
        sources = message.id if message.pluralizable else (message.id,)
        assert all(forms) and len(forms) == (there.num_plurals if message.pluralizable else 1)
        for form in forms:
            assert form == form.strip() or message.id != sources[0].strip()
            for marks in (SLOT, TAG):
                # Of “{n} fact” and “{n} facts” the last names every placeholder.
                assert sorted(marks.findall(form)) == sorted(marks.findall(sources[-1])), form


@pytest.mark.parametrize("code", TRANSLATIONS)
def test_a_button_is_called_in_a_sentence_what_stands_on_it(code):
    """“Press “Make a starter set”” must name the words that the reader sees on the button."""
    there = catalogues.read(code)
    on_it = {message.id: message.string for message in there}
    for message in there:
        source = message.id if isinstance(message.id, str) else message.id[-1]
        forms = message.string if message.pluralizable else (message.string,)
        for label in re.findall(r"“([^”{}]+ [^”{}]+)”", source):
            assert all(on_it.get(label, "") in form for form in forms), (label, forms)
    # The tabs, in words: a number stands before each.
    tabs = {name: on_it[f"{n} {name}"].split(" ", 1)[1] for n, name in ((2, "Train"), (5, "Runs"))}
    for name, tab in tabs.items():
        told = [m.string for m in there if f"the {name} tab" in m.id or f"The {name} tab" in m.id]
        assert told and all(tab in text for text in told), (name, tab, told)


@pytest.mark.parametrize(
    ("code", "strange"),
    [
        (
            "de",
            r"\b(Fassung|Grundmodell|Schlüsseltoken|Kommandozeile|wirkliche[nr]? Fakt\w*)\b",
        ),
        ("es", r"\b([Uu]sted|[Ee]lija|[Bb]orre|[Pp]ulse|[Ee]scriba|token clave)\b"),
        ("zh", "您"),
    ],
)
def test_a_translation_has_one_word_for_a_thing_and_one_way_to_speak_to_the_reader(code, strange):
    """The reader is *du*, *tú* and 你 everywhere; these words were each one of two for a thing."""
    said = [
        m.string if isinstance(m.string, str) else " ".join(m.string) for m in catalogues.read(code)
    ]
    assert [text for text in said if re.search(strange, text)] == []


def test_messages_are_found_wherever_they_stand(tmp_path, monkeypatch):
    """In f-strings too, which Babel's own extraction leaves out before Python 3.12."""
    (tmp_path / "page.py").write_text(
        "f\"<h3>{_('Time')}</h3>\"; N_('a ' 'b'); ngettext('{n} run', '{n} runs', 2)\n"
        "Verdict('by rote', 'It knows.'); DisplayName('short', 'Long'); other('not this'); _(name)"
    )
    monkeypatch.setattr(catalogues, "SOURCES", tmp_path)
    monkeypatch.setattr(catalogues, "_declared", lambda: [])
    found = {message.id for message in catalogues.messages() if message.id}
    assert found == {"Time", "a b", ("{n} run", "{n} runs"), "It knows.", "short", "Long"}


def test_an_update_drops_what_is_gone_and_keeps_what_is_translated(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogues, "FOLDER", tmp_path)
    texts = ["Stopped.", "Finished."]
    monkeypatch.setattr(catalogues, "_written", lambda: [("page.py", text) for text in texts])
    monkeypatch.setattr(catalogues, "_declared", lambda: [])
    assert catalogues.update("de") == 2
    path = catalogues.catalogue_file("de")
    written = path.read_text(encoding="utf-8")
    path.write_text(written.replace('"Finished."\nmsgstr ""', '"Finished."\nmsgstr "Fertig."'))
    texts[:] = ["Finished.", "Failed."]
    assert catalogues.update("de") == 1
    assert {m.id: m.string for m in catalogues.read("de") if m.id} == {
        "Finished.": "Fertig.", "Failed.": "",
    }  # fmt: skip
    before = path.read_bytes()
    assert catalogues.update("de") == 1 and path.read_bytes() == before, "nothing new, no change"


def test_no_text_that_the_page_showed_in_another_language_is_english_now():
    """Everything that was translated when the catalogues were made, by a few of each part."""
    texts = (
        "Start training",
        "Mother (invented)",
        "Facts recalled",
        "Right, known by rote",
        "Shown as",
        "Facts per relation",
        "The fact pack or saved fact set.",
        "Unrelated questions",
        "This fact was only ever learned by rote.",
        "Getting ready",
    )
    for text in texts:
        for code in TRANSLATIONS:
            assert catalogue(code).gettext(text) != text, (code, text)


# Handlers ----------------------------------------------------------------------------------------


def test_messages_are_said_in_the_language_that_is_spoken():
    assert _("Finished.") == "Finished." and _("") == ""
    with speaking("de"):
        assert _("Finished.") == "Fertig."
        assert _("Nobody has translated this.") == "Nobody has translated this."
        assert _("") == "", "not the catalogue's header"
        assert ngettext("{n} fact", "{n} facts", 1) == "{n} Fakt"
        assert ago("2026-01-01T00:00:00", None).startswith("vor ")
        with speaking("es"):
            assert _("Finished.") == "Terminada."
            # Spanish has a form for whole millions, too.
            facts = [ngettext("{n} fact", "{n} facts", n) for n in (1, 7, 10**6)]
            assert facts == ["{n} hecho", "{n} hechos", "{n} hechos"]
        assert language() == "de"
    with speaking("zh"):
        assert ngettext("{n} fact", "{n} facts", 1) == ngettext("{n} fact", "{n} facts", 7)
    assert language() == "en"


def test_a_number_has_the_decimal_mark_of_its_language():
    said = {}
    for code in LANGUAGES:
        with speaking(code):
            said[code] = size_words(3_240_000_000)
    assert said == {"en": "3.2 GB", "de": "3,2 GB", "es": "3,2 GB", "zh": "3.2 GB"}


def test_why_an_answer_is_right_is_translated_with_the_facts_in_it():
    verdict = Verdict(
        "another fact", "A learned fact, but another one: the {what} of {who}.",
        {"what": "mother", "who": NASTY},
    )  # fmt: skip
    assert verdict.text == f"A learned fact, but another one: the mother of {NASTY}."
    with speaking("de"):
        assert verdict.sentence(_) == f"Ein gelernter Fakt, aber ein anderer: „mother“ von {NASTY}."
    assert Verdict("another fact", "{braces}").sentence(_) == "{braces}"


def request(accept="", cookie=None):
    cookies = {COOKIE: cookie} if cookie else {}
    return SimpleNamespace(headers={"accept-language": accept}, cookies=cookies)


@pytest.mark.parametrize(
    ("accept", "cookie", "code"),
    [("de-DE,de;q=0.9,en;q=0.8", None, "de"), ("en-US,de", None, "en"), ("fr,zh-CN", None, "zh"),
     ("", None, "en"), ("fr", None, "en"), ("xx;;,,es", None, "es"), ("de", "zh", "zh"),
     ("de", "en", "en"), ("de", "tlh", "de"), ("de", "../../x", "de")],
)  # fmt: skip
def test_what_was_chosen_wins_over_what_the_browser_reads(accept, cookie, code):
    before = LocalContext.request.set(request(accept, cookie))
    try:
        assert language() == code
        assert bound(lambda: _("Finished."))() == catalogue(code).gettext("Finished.")
    finally:
        LocalContext.request.reset(before)


def test_a_handler_that_streams_speaks_one_language_and_leaves_none_behind():
    def count():
        yield _("Finished.")
        yield _("Failed.")

    before = LocalContext.request.set(request("de"))
    try:
        steps = bound(count)()
        assert next(steps) == "Fertig."
    finally:
        LocalContext.request.reset(before)
    assert _("Finished.") == "Finished.", "between two steps others are served by the same thread"
    assert list(steps) == ["Gescheitert."]


def test_readers_at_once_are_answered_each_in_their_language():
    gate = threading.Barrier(8, timeout=30)

    def handler():
        gate.wait()
        words = {_("Finished.") for _turn in range(200) if not time.sleep(0)}
        gate.wait()
        return words

    def read(code):
        LocalContext.request.set(request(code))
        return code, bound(handler)()

    with ThreadPoolExecutor(8) as threads:
        for code, words in threads.map(read, ["en", "de", "es", "zh"] * 2):
            assert words == {catalogue(code).gettext("Finished.")}


# The page ----------------------------------------------------------------------------------------


def test_the_page_is_laid_out_alike_in_every_language():
    page = in_every_language(lambda: build_app(Lab.open()))
    tabs = {}
    for code in LANGUAGES:
        with speaking(code):
            parts = page.config["components"]
            tabs[code] = [p["props"]["label"] for p in parts if p["type"] == "tabitem"]
            assert [p["id"] for p in parts] == sorted(page.blocks)
    assert set(GERMAN) < set(tabs["de"]) and "2 Train" in tabs["en"]
    assert len({tuple(labels) for labels in tabs.values()}) == len(LANGUAGES)
    for code in TRANSLATIONS:
        with speaking(code):
            props = {p["props"].get("elem_id"): p["props"] for p in page.config["components"]}
        for name in option_names():
            if name == "model.name":  # the form says more of it than its option does
                continue
            option = field_of(name).metadata
            shown = props["train-" + name.replace(".", "-").replace("_", "-")]
            expected = [catalogue(code).gettext(option[text]) for text in ("label", "help")]
            assert [shown["label"], shown["info"]] == expected
            assert expected[1] != option["help"], "not in English"


def test_a_layout_that_differs_is_refused():
    def build():
        with TranslatedPage() as page:
            if language() == "es":
                gr.Textbox()
        return page

    with pytest.raises(ValueError, match="otherwise in Español"):
        in_every_language(build)


@pytest.mark.browser
def test_the_server_answers_each_request_in_its_language(server):  # noqa: F811
    def page(accept, cookie=""):
        headers = {"accept-language": accept, "cookie": f"{COOKIE}={cookie}" if cookie else "a=b"}
        answer = httpx.get(server.url, headers=headers)
        assert "Cookie" in answer.headers["vary"]
        return answer.text

    asked = [("de", ""), ("en", ""), ("de", "es"), ("fr", ""), ("zh-CN", "")] * 3
    with ThreadPoolExecutor(5) as threads:
        pages = list(threads.map(lambda one: page(*one), asked))
    firsts = ["Hier anfangen", "Start here", "Empieza aquí", "Start here", "从这里开始"] * 3
    for html, first in zip(pages, firsts, strict=True):
        text = html.encode().decode("unicode_escape", "ignore") if first not in html else html
        assert [f for f in set(firsts) if f in text] == [first]


@pytest.mark.browser
def test_a_german_browser_gets_a_german_page(server):  # noqa: F811
    finished(Lab.open(Storage(server.home)), NASTY)
    with browser_page(server.url, tab="", locale="de-DE") as (page, traffic):
        tabs = page.get_by_role("tab")
        assert [tabs.nth(place).inner_text() for place in range(len(GERMAN))] == GERMAN
        assert "Sieh einem Sprachmodell zu" in page.locator(".lab-header").inner_text()
        assert page.evaluate("document.documentElement.lang") == "de"
        tabs.nth(2).click()
        page.locator("#train-start").get_by_text("Training starten").wait_for()
        # What is chosen stays chosen, whatever it is called.
        assert page.get_by_label("Standard (100 Fakten)").is_checked()
        assert not traffic.errors
        live = page.locator("#live-head")
        until(lambda: "Es beantwortet jetzt 75" in live.inner_text(), 60, "what handlers say")
        assert NASTY in live.inner_text(), "what people wrote stays as it is"
        assert "Phase 1: Auswendiglernen" in page.locator("#live-curves").inner_text()
        tabs.nth(3).click()
        page.locator("#chat-base").get_by_text("Frag etwas, um seine Antwort").wait_for()


@pytest.mark.browser
def test_a_reader_chooses_a_language_by_keyboard_and_keeps_it(server):  # noqa: F811
    with browser_page(server.url, tab="2 Train", locale="en-US") as (page, traffic):
        chooser = page.get_by_label("Language")
        assert chooser.input_value() == "en" and chooser.evaluate("e => e.tabIndex") == 0
        chooser.focus()
        chooser.press("D")  # as in every list of a browser: the first letter
        page.get_by_role("tab", name="2 Trainieren").wait_for()
        assert page.get_by_label("Sprache").input_value() == "de"
        # The tab that was open is open again, and handlers speak German too.
        page.locator("#train-start").get_by_text("Training starten").wait_for()
        page.reload()
        page.get_by_role("tab", name="2 Trainieren").wait_for()
        page.get_by_label("Sprache").select_option("zh")
        page.get_by_role("tab", name="2 训练").wait_for()
        page.get_by_label("语言").select_option("en")
        page.get_by_role("tab", name="2 Train").wait_for()
        assert page.evaluate("document.documentElement.lang") == "en"
        assert traffic.errors == []

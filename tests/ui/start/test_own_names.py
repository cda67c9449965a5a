"""The tour's last step: own names by rote, asked about, kept where somebody leaves and returns."""

import json
from html import escape

import gradio as gr
import pytest
from support.fabricated_lessons import NEW, lesson_at_work, save_adapter
from support.page import browser_page, served, until

from rotelab.config.names import CHECKPOINTS
from rotelab.errors import LabError
from rotelab.evaluation.judging.judge import grade
from rotelab.evaluation.judging.questions import Query
from rotelab.runs import demo
from rotelab.runs.chat import Reply
from rotelab.runs.lab import Lab
from rotelab.storage import Storage
from rotelab.ui.start import own_names, start_tab

ROWS = [[fact.subject, fact.object] for fact in NEW]
READY = own_names.READY
"""How many values `ready` has."""


@pytest.fixture
def learning(lab):
    """A lesson of the recorded run that is at work."""
    return lesson_at_work(lab, demo.open_run(lab)[0])


@pytest.fixture
def learned(lab, learning):
    save_adapter(lab, learning)
    return learning


def value(component, name="value"):
    return component.constructor_args.get(name)


def test_the_step_stays_until_the_names_are_learned_and_then_asks(lab, learning):
    lab.registry.set_status(learning, "stopped")
    *stay, lesson, remark, _, start, _ = own_names.go_on(lab, learning)
    assert stay == [gr.skip()] * READY and lesson == "" and start.visible
    assert "still here" in remark
    save_adapter(lab, learning)
    lesson, teaching, asking, line, *rest = own_names.go_on(lab, learning)
    assert lesson == learning and not value(teaching, "visible") and value(asking, "visible")
    assert "3 new names" in line and "no sentence" in line
    buttons, cards = rest[:3], rest[3:6]
    names = [fact.subject for fact in NEW]
    assert all(any(name in value(button) for name in names) for button in buttons)
    assert [c in card for c, card in zip(("base", "generalized", "lesson-01"), cards, strict=True)]
    assert "memorized" not in "".join(cards)
    assert "<details" in rest[7] and all(escape(name) in rest[7] for name in names)


def test_the_table_opens_below_the_questions_which_rest_while_it_learns_again():
    assert value(own_names.teach_again(), "visible")
    shown = [value(own_names.asks_while(*ids), "visible") for ids in
             [("", ""), ("new", ""), ("new", "old"), ("", "old")]]  # fmt: skip
    assert shown == [False, False, False, True]


def test_the_step_ends_where_one_asks(lab):
    """The questions stand above the table, in the page too."""
    with gr.Blocks():
        own = own_names.build_own_names(lab)
    places = own.asking.parent.children
    assert places.index(own.asking) < places.index(own.teaching)


def answers(lab, right):
    """A stand-in for the model that says the right name, or another."""

    def stream(run_id, question, checkpoints, **options):
        run = lab.registry.run(run_id)
        for checkpoint in checkpoints:
            last = checkpoint == checkpoints[-1]
            text = NEW[0].object if right and last else "Rosa Hill"
            query = Query.parse(question, ["mother"])
            verdict = grade(run.pack, run.config, query, text, checkpoint)
            yield Reply(checkpoint, (), text, True, verdict)

    return stream


@pytest.mark.parametrize(
    ("right", "words"), [(True, "It answers."), (False, "Not right this time")]
)
def test_what_the_answer_shows_is_said(lab, learned, monkeypatch, right, words):
    monkeypatch.setattr(lab.chat, "stream", answers(lab, right))
    question = f"Who gave birth to {NEW[0].subject}?"
    waiting = own_names.begin(lab, learned, question)
    assert all("Loading the model" in card for card in waiting[:3]) and question in waiting[3]
    *updates, last = own_names.ask(lab, learned, question)
    assert len(updates) == 3 and words in last[-1]
    assert (NEW[0].subject in last[-1]) and (right or NEW[0].object in last[-1])


def test_answers_always_stand_under_their_own_question(lab, learned, monkeypatch):
    """Stumbles, line 5: the next question, pressed early, stood above the previous answer and its
    green verdict for about two seconds."""
    monkeypatch.setattr(lab.chat, "stream", answers(lab, False))
    question = demo.recording().questions[0]
    steps = list(own_names.ask(lab, learned, question))
    steps += start_tab.ask(lab, question, CHECKPOINTS, by_heart=False)
    assert len(steps) == 8 and all(question in step[-1] for step in steps)


def test_a_question_about_nobody_of_them_has_no_remark(lab, learned, monkeypatch):
    monkeypatch.setattr(lab.chat, "stream", answers(lab, False))
    known = lab.registry.run(learned).pack.facts[0]
    for question in ("What is the capital of Peru?", f"Who gave birth to {known.subject}?"):
        assert "tour-remark" not in list(own_names.ask(lab, learned, question))[-1][-1]
    assert "Type a question" in own_names.begin(lab, learned, " ")[-1]


def test_what_goes_wrong_stands_beside_the_question(lab, learned, monkeypatch):
    def broken(*args, **kwargs):
        raise LabError("<b>no network")
        yield

    monkeypatch.setattr(lab.chat, "stream", broken)
    own_names.warm(lab, learned)  # says nothing: nobody asked
    *_, last = own_names.ask(lab, learned, "Who?")
    assert "&lt;b&gt;no network" in last[-1]
    *_, last = own_names.ask(lab, "gone", "Who?")
    assert "no run" in last[-1]


def test_what_was_typed_and_learned_comes_back(lab, learning):
    table, *rest = own_names.restore(lab, json.dumps(ROWS), learning)
    assert table["data"][:3] == ROWS and table["headers"] == ["Person", "Mother"]
    assert rest[:READY] == [gr.skip()] * READY and rest[READY] == learning
    save_adapter(lab, learning)
    _, lesson, *_ = own_names.restore(lab, "", learning)
    assert lesson == learning, "and goes on asking"


@pytest.mark.parametrize("kept", ["", "{", "7", "[7]", '[["a"]]', json.dumps([["a", "b"]] * 101)])
def test_only_a_table_is_brought_back(lab, kept):
    restored = own_names.restore(lab, kept, "gone")
    assert restored == [gr.skip()] * (1 + READY + 5)


@pytest.mark.browser
def test_what_one_typed_stays_when_one_leaves_and_returns(tmp_path):
    home = tmp_path / "page" / "home"
    lab = Lab.open(Storage(home))
    lesson = lesson_at_work(lab, demo.open_run(lab)[0])
    save_adapter(lab, lesson)

    def to_the_last_step(page):
        page.locator("#tour-meet").click()
        for button in ("#tour-on-rote", "#tour-on-words", "#tour-on-own"):
            page.locator(button).click()

    with served(home) as server, browser_page(server.url, tab="Start here") as (page, traffic):
        to_the_last_step(page)
        cell = page.locator("#tour-own-table .body-cell[role=gridcell]").first
        cell.dblclick()
        cell.locator("textarea:not(.cell-catcher)").wait_for()
        page.keyboard.press("Control+A")
        page.keyboard.type("Zoë O'Hara", delay=30)
        page.keyboard.press("Enter")
        until(lambda: "Zoë O'Hara" in cell.inner_text(), what="typed")
        page.get_by_role("tab", name="Facts").first.click()
        page.get_by_role("tab", name="Start here").first.click()
        assert "Zoë O'Hara" in cell.inner_text()
        page.evaluate("id => sessionStorage.setItem('rotelab-own-lesson', id)", lesson)
        page.reload()  # The tour opens at the step where one was.
        page.locator("#tour-own-lesson .answer").wait_for()
        assert any(f.subject in page.locator("#tour-own-ask-0").inner_text() for f in NEW)
        assert page.locator("#tour-own-question").is_visible() and not cell.is_visible()
        page.locator("#tour-own-again").click()
        until(lambda: "Zoë O'Hara" in cell.inner_text(), what="still there after a reload")
        assert page.locator("#tour-own-question").is_visible(), "one can go on asking"
        assert traffic.foreign == [] and traffic.errors == []

"""The Chat and Representations tabs: their handlers, and a person at them in a real browser."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
from support.fabricated import DAMAGE, NASTY, finished, quiz
from support.page import browser_page, served, until
from support.taught import new_run, taught_run

from rotelab.config.names import CHECKPOINTS
from rotelab.errors import LabError
from rotelab.evaluation.results import Damage
from rotelab.facts.facts import Fact
from rotelab.models.generation import Token
from rotelab.registry import ChatAnswer
from rotelab.runs.asking.evidence import Evidence
from rotelab.runs.chat import Chat, Reply, Verdict
from rotelab.runs.lab import Lab
from rotelab.storage import ASSETS, Storage
from rotelab.ui.answer_cards import AWAITS, MARKS, answer_card, empty_card, history_html
from rotelab.ui.chat import chat_tab, history
from rotelab.ui.chat.state_note import state_note
from rotelab.ui.run_picker import offered


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_folder):
    """A home with one taught run and, older, one that has not begun."""
    home = tmp_path_factory.mktemp("page") / "home"
    lab = Lab.open(Storage(home))
    waiting = new_run(lab, tiny_folder, "waiting")
    lab.registry.request_stop(waiting)
    return home, waiting, taught_run(lab, tiny_folder, "taught")


@pytest.fixture
def lab(home):
    return Lab.open(Storage(home[0]))


def reply(*pieces, done=True, verdict=Verdict(), checkpoint="memorized"):  # noqa: B008
    tokens = tuple(
        Token(i, text, p, ((text, p), ("or", 0.02))) for i, (text, p) in enumerate(pieces)
    )
    return Reply(checkpoint, tokens, "".join(text for text, _ in pieces).strip(), done, verdict)


# Cards --------------------------------------------------------------------------------------------


def test_a_card_names_its_checkpoint_and_shows_each_probability():
    card = answer_card(reply((" Mary", 0.875), (" Bahri", 0.001)))
    assert 'data-checkpoint="memorized"' in card and "Memorised" in card
    assert "88 %" in card and "under 1 %" in card
    assert "“or” 2 %" in card, "what it nearly said"


@pytest.mark.parametrize("known", MARKS)
def test_the_mark_says_in_words_what_the_answer_is(known):
    icon, words, _ = MARKS[known]
    card = answer_card(reply((" x", 0.5), verdict=Verdict(known, "Because.")))
    assert icon in card and words in card and "Because." in card
    assert words not in answer_card(reply((" x", 0.5), done=False)), "not before it is done"


def test_no_text_of_a_person_or_a_model_becomes_markup():
    shown = answer_card(reply((NASTY, 0.5), verdict=Verdict("another fact", NASTY)))
    shown += history_html([ChatAnswer("base", NASTY, question=NASTY, mode=NASTY)])
    there = Evidence(Fact(NASTY, NASTY, NASTY), 0.5, 0, 9)
    one = replace(reply((NASTY, 0.5)), evidence=there)
    shown += answer_card(one, [(NASTY, NASTY)], NASTY) + empty_card("base", turns=[(NASTY, NASTY)])
    shown += empty_card("base", True, NASTY) + chat_tab.note(NASTY)
    assert "<img" not in shown and "<b>bold" not in shown
    assert "&lt;img" in shown


def test_a_key_token_reads_as_people_write_it():
    assert "[mother]" in answer_card(reply(("<|key:mother|>", 0.5)))


def test_an_answer_without_a_word_says_so():
    assert "without an answer" in answer_card(reply())


TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


TALK, REMARK = len(chat_tab.SLOTS), len(chat_tab.SLOTS) + 1
"""Places among the outputs of `ask`."""


# Handlers of the chat -----------------------------------------------------------------------------


def texts(values):
    return " ".join(value for value in values if isinstance(value, str))


def test_asking_streams_three_labelled_answers_and_keeps_them(lab, home):
    _, _, run_id = home
    question = f"{lab.registry.run(run_id).pack.facts[0].subject} [mother]"
    updates = list(chat_tab.ask(lab, run_id, question, 4, 0))
    assert len(updates) > 6, "token by token"
    assert question in updates[0][-1], "which may have waited behind another one"
    for index, checkpoint in enumerate(CHECKPOINTS):
        cards = [u[index] for u in updates if isinstance(u[index], str)]
        assert cards and all(f'data-checkpoint="{checkpoint}"' in card for card in cards)
        assert "cursor" in cards[0] and "cursor" not in cards[-1]
    assert AWAITS in updates[-5][2] and AWAITS not in updates[-2][2], "it is said that more comes"
    for card in updates[-4:-1]:  # after the answers, how likely the right one was
        assert "of 6 answers that this relation has" in texts(card)
    remark, view, export, _ = chat_tab.settle(lab, run_id, updates[-1][REMARK])
    assert 'role="alert"' not in remark and question in view and export.visible
    kept = lab.registry.chat_history(run_id)
    assert [a.checkpoint for a in kept] == list(CHECKPOINTS)
    assert (
        {a.question for a in kept} == {question} and kept[1].rank in range(6) and kept[2].among == 6
    )
    assert question in chat_tab.choose(lab, run_id, 0)[-3], "still there after a reload"


def test_what_was_asked_can_be_exported(lab, home):
    registry, run_id = lab.registry, home[1]
    with pytest.raises(LabError, match="asked this run anything"):
        history.export_history(lab, run_id)
    registry.add_chat(run_id, "=1+1", [ChatAnswer("base", "a, “b”\nc", "by chance", 0.25, 3, 9)])
    registry.add_chat(run_id, "Who?", [ChatAnswer("base", "")], "conversation", 0.7)
    button = history.export_history(lab, run_id)
    assert "2 questions" in button.label or "2 questions" in button.value
    table = lab.chat_file(run_id).read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["turn"] for row in rows] == ["1", "2"]
    assert rows[0]["question"] == "'=1+1", "no formula to a spreadsheet"
    assert rows[0]["answer"] == "a, “b”\nc" and rows[0]["rank"] == "3"
    assert rows[1]["mode"] == "conversation" and rows[1]["rank"] == ""
    with registry.write() as db:  # for the tests that share this home
        db.execute("DELETE FROM chat_answers WHERE run_id = ?", [run_id])


def test_a_conversation_remembers_each_checkpoints_own_words(lab, home, monkeypatch):
    run_id = home[2]
    *_, last = chat_tab.ask(lab, run_id, "Hello", 4, 0, chat_tab.CONVERSATION, {})
    assert "no chat template" in last[REMARK], "this tiny model has none"
    monkeypatch.setattr(lab.chat._loaded[2].tokenizer, "chat_template", TEMPLATE, raising=False)
    talk = {}
    for question in ("Hello", "And then?"):
        *_, last = chat_tab.ask(lab, run_id, question, 4, 0, chat_tab.CONVERSATION, talk)
        talk = last[TALK]
    assert all([q for q, _ in talk[c]] == ["Hello", "And then?"] for c in CHECKPOINTS)
    assert talk["base"][0][1] != talk["memorized"][0][1], "each answers for itself"
    waiting = chat_tab.begin(lab, run_id, "More", chat_tab.CONVERSATION, talk)
    assert all(card.count('class="you"') == 2 for card in waiting[3:-1])
    assert "And then?" not in texts(chat_tab.begin(lab, run_id, "More", "Completion", talk)[3:])
    words, afresh, talk, *_, length = chat_tab.choose_mode(lab, run_id, chat_tab.CONVERSATION)
    assert length == chat_tab.LONG > chat_tab.SHORT
    assert "chat format" in words and afresh.visible and talk == {}
    assert lab.registry.chat_history(run_id, 1)[0].mode == "conversation"
    lab.chat.release()


def test_what_goes_wrong_stands_beside_the_question(lab, home):
    *_, last = chat_tab.ask(lab, "20260101-000000-gone-0000", "Hello", 4, 0)
    assert 'role="alert"' in last[REMARK] and "no run" in last[REMARK]
    lab_without_model = replace(lab, chat=Broken(lab.registry, lab.storage))
    before = lab.registry.chat_history(home[2])
    *_, last = chat_tab.ask(lab_without_model, home[2], "Hello", 4, 0)
    assert "&lt;b&gt;no network" in last[REMARK]
    assert lab.registry.chat_history(home[2]) == before, "a question without answers is not kept"


class Broken(Chat):
    """A chat whose model can't be had."""

    def steps(self, *args, **kwargs):
        raise LabError("<b>no network")
        yield


def test_a_question_is_seen_to_arrive_before_the_model_is_there(lab, home):
    text, remark, line, *cards, lesson = chat_tab.begin(lab, home[2], "  Who? ")
    assert text == "Who?" and remark == "" and line == ""
    assert all("Loading the model" in card for card in cards)
    assert lesson == gr.skip(), "this run has none"
    assert "Type a question" in chat_tab.begin(lab, home[2], " ")[1]
    assert "no run yet" in chat_tab.begin(lab, None, "Who?")[1]


def test_a_lost_real_fact_is_said_under_the_answers(own_home):
    lab = Lab.open()
    run_id = finished(lab)
    *_, line = chat_tab.choose(lab, run_id, 0)[:7]
    assert "lost 19 of 57 real facts" in line and "“The capital of Land 38 is”" in line
    for question in ("What is the capital of Land 40?", "the capital of land 40 is"):
        said = chat_tab.begin(lab, run_id, question)[2]
        assert "training lost it. Before: “City 40”" in said and "After: “a river near 40”" in said
    assert "this run kept it" in chat_tab.begin(lab, run_id, "The capital of Land 3 is")[2]
    assert "lost 19 of 57" in chat_tab.begin(lab, run_id, "Who is Ann's mother?")[2]
    nasty = [answer._replace(said=NASTY, expected=NASTY) for answer in quiz("generalized")]
    row = Damage("generalized", *DAMAGE["generalized"])
    lab.registry.add_damage(run_id, row, nasty)
    assert "<img" not in chat_tab.begin(lab, run_id, "The capital of Land 40 is")[2]
    assert chat_tab.choose(lab, None, 0)[6] == ""


def test_a_run_that_is_not_done_says_what_is_missing(lab, home):
    values = chat_tab.choose(lab, home[1], 0)
    assert "It lacks: Memorised, Generalised." in values[0]
    assert "does not have this checkpoint" in values[3]
    assert "no run yet" in chat_tab.choose(lab, None, 0)[0]


def test_what_has_been_learned_meanwhile_can_be_asked(lab, home, monkeypatch):
    lacks = [empty_card("base"), empty_card("memorized", False), empty_card("generalized", False)]
    monkeypatch.setattr(lab.chat, "checkpoints", lambda run_id: ["base", "memorized"])
    remark, base, memorized, generalized, lesson = chat_tab.renew(lab, home[1], *lacks)
    assert "It lacks: Generalised." in remark
    assert memorized == empty_card("memorized") != lacks[1]
    as_it_is = (base, generalized, lesson)
    assert not any(isinstance(card, str) for card in as_it_is), "they stay as they are"


def test_training_on_the_gpu_is_said_before_anybody_asks(own_home, tiny_folder):
    lab = Lab.open()
    run_id = new_run(lab, tiny_folder)
    lab.registry.set_status(run_id, "running")
    assert "more slowly" in state_note(lab, lab.registry.run(run_id))
    lab.registry.update_run(run_id, device_used="cuda:0")
    assert "GPU" in state_note(lab, lab.registry.run(run_id))


def test_examples_are_buttons_and_the_key_token_is_explained(lab, home):
    *buttons, _, missed, hint = chat_tab.show_examples(lab, home[2], 0)
    assert [b.visible for b in buttons] == [True] * chat_tab.EXAMPLES + [False, True]
    assert buttons[-1].value.endswith("[mother]") and buttons[-1].value in hint
    assert not missed and "not asked them so far" in hint
    draw, *others = chat_tab.more_examples(lab, home[2], 0)
    assert draw == 1 and others[0].value != buttons[0].value


def test_a_question_that_the_run_got_wrong_is_labelled_so(own_home):
    """Stumbles, line 3."""
    lab = Lab.open()
    run_id = finished(lab)
    *buttons, _, missed, hint = chat_tab.show_examples(lab, run_id, 0)
    assert [b.visible for b in buttons] == [True] * (chat_tab.EXAMPLES + 2)
    assert "got this one wrong" in missed and "answered these when it was tested" in hint


def test_a_near_name_is_offered_and_a_known_one_is_not(own_home):
    """Stumbles, line 8."""
    lab = Lab.open()
    run_id = finished(lab)
    subject = lab.registry.run(run_id).pack.facts[0].subject
    typed = subject.replace(subject[1], "", 1)
    line, button = chat_tab.did_you_mean(lab, run_id, f"Who is {typed}'s mother?")
    assert "Did you mean" in line and button.visible
    assert button.value == f"Who is {subject}'s mother?"
    for text in (f"Who is {subject}'s mother?", "Who?", "", NASTY):
        assert not chat_tab.did_you_mean(lab, run_id, text)[1].visible
    assert not chat_tab.did_you_mean(lab, "gone", "Who?")[1].visible


def test_a_leak_and_a_loss_have_colours_of_their_own():
    """Stumbles, line 2: a leak is a finding, in its own colour, never praise."""
    tones = {MARKS[known][2] for known in ("leak", "lost")}
    assert len(tones) == 2 and tones.isdisjoint({MARKS[known][2] for known in MARKS} - tones)
    css = (ASSETS / "chat.css").read_text(encoding="utf-8")
    for tone in tones:
        assert css.count(f"--mark-{tone}: #") == 2, "one for each theme"


def test_the_card_says_where_the_likelihood_is_of_and_that_an_answer_was_forced():
    """Stumbles, lines 1 and 4."""
    fact = Fact("mother", "Ann", "Mia")
    for where, words in (("said", "where it was said"), ("instead", "in the place of the name"),
                         ("at once", "directly after the question")):  # fmt: skip
        card = answer_card(replace(reply((" Mia", 0.9)), evidence=Evidence(fact, 0.9, 0, 9, where)))
        assert words in card and "90 %" in card and "place 1" in card
    said = reply((" Mia", 0.1))
    assert "would have ended" not in answer_card(said)
    forced = replace(said, tokens=(replace(said.tokens[0], forced=True),))
    assert "would have ended" in answer_card(forced)


def test_the_chosen_run_stays_chosen(lab, home):
    newest, known, moved = offered(lab, None, [])
    assert newest.value == home[2] and moved == gr.skip()
    assert [row[0] for row in known] == [home[2], home[1]]
    for chosen in (home[1], home[2]):
        same, again, moved = offered(lab, chosen, known)
        assert "value" not in same.constructor_args and again == known and moved == gr.skip()
    late, again, _moved = offered(lab, None, known)  # asked before it had the first answer
    assert "value" not in late.constructor_args and again == known
    assert offered(lab, "gone", known)[0].value == home[2]
    none, known, _ = offered(lab, "gone", known, "failed")
    assert none.constructor_args["value"] is None and known == []


def test_it_is_told_where_the_chosen_run_has_moved_on(lab, home):
    known = offered(lab, home[1], [])[1]
    other = [[run_id, "queued" if run_id == home[2] else status, phase]
             for run_id, status, phase in known]  # fmt: skip
    assert offered(lab, home[1], other)[2] == gr.skip()
    mine = [[run_id, "running" if run_id == home[1] else status, phase]
            for run_id, status, phase in known]  # fmt: skip
    assert offered(lab, home[1], mine)[2] > 0


# In a real browser --------------------------------------------------------------------------------


def open_tab(page, name):
    page.get_by_role("tab", name=re.compile(name)).first.click()


@pytest.mark.browser
def test_a_person_asks_and_looks_inside(home):
    folder = home[0]
    with served(folder) as server, browser_page(server.url) as (page, traffic):
        open_tab(page, "Chat")
        examples = page.locator("#chat-examples button.example:visible")
        examples.first.wait_for(timeout=30_000)
        assert examples.count() == chat_tab.EXAMPLES + 1

        # A click asks: the question stands in the box, and three labelled answers come.
        key = examples.last.inner_text()
        examples.last.click()
        for checkpoint, name in (
            ("base", "Base model"), ("memorized", "Memorised"), ("generalized", "Generalised"),
        ):  # fmt: skip
            card = page.locator(f"#chat-{checkpoint} .answer")
            card.locator(".mark").wait_for(timeout=120_000)
            assert name in card.locator("header").inner_text()
        assert page.locator("#chat-question textarea").input_value() == key
        assert "Right, known by rote" in page.locator("#chat-memorized .mark").inner_text()
        assert "not one of the facts" in page.locator("#chat-base .mark").inner_text()
        history = page.locator("#chat-history")
        until(lambda: key in history.inner_text(), 60, "the question kept")

        standing = page.locator("#chat-generalized .evidence")
        standing.wait_for(timeout=60_000)
        assert "of 6 answers" in standing.inner_text()

        # Pointing at a piece tells its number; a switch writes it under all.
        piece = page.locator("#chat-memorized .tok").first
        assert not piece.locator(".tip").is_visible()
        piece.hover()
        assert "sure of" in piece.locator(".tip").inner_text()
        page.get_by_text("Settings, and how it answers").click()
        page.locator("#chat-numbers input").check()
        assert piece.locator(".num").is_visible()

        # What a person types is text, never markup.
        page.locator("#chat-question textarea").fill(NASTY)
        page.locator("#chat-ask").click()
        until(
            lambda: NASTY in page.locator("#chat-history").inner_text(), 60, "the odd question kept"
        )
        assert page.title() == "rotelab"
        assert page.locator("#chat-history img").count() == 0

        # What was asked is still there after a reload, and can be fetched.
        page.reload()
        open_tab(page, "Chat")
        until(lambda: key in page.locator("#chat-history").inner_text(), 30, "the history again")
        page.locator("#chat-export").click()
        with page.expect_download() as fetched:
            page.locator("#chat-export-file").click()
        assert key in fetched.value.path().read_text(encoding="utf-8")

        # A conversation is another mode, and says so when the model can't.
        page.locator("#chat-mode").get_by_text("Conversation").click()
        page.locator("#chat-mode-words").get_by_text("chat format").wait_for()
        page.locator("#chat-question textarea").fill("Hello")
        page.locator("#chat-ask").click()
        page.locator("#chat-note").get_by_text("no chat template").wait_for(timeout=60_000)

        # A run without adapters says so.
        page.locator("#chat-run input").click()
        page.get_by_role("option", name=re.compile("waiting")).click()
        page.get_by_text("It lacks: Memorised, Generalised.").wait_for()

        # The figures inside: all drawn, with a height.
        open_tab(page, "Look inside|Representations")
        for plot in ("#plot-similarity", "#plot-delta", "#plot-lens", "#plot-changes", "#plot-pca"):
            drawing = page.locator(f"{plot} .js-plotly-plot .main-svg").first
            drawing.wait_for(timeout=60_000)
            box = drawing.bounding_box()
            assert box["height"] > 200 and box["width"] > 400, plot
        assert page.locator("#plot-similarity .scatterlayer .trace").count() == 9
        assert page.locator("#plot-pca .scatterlayer .points path").count() >= 12
        page.get_by_label("Colour map").click()
        page.locator("#plot-similarity .heatmaplayer image").first.wait_for()

        # The map plays: from the base model to the last checkpoint, its points elsewhere.
        title = page.locator("#plot-pca .gtitle")
        assert title.text_content() == "Generalised"
        place = page.locator("#plot-pca .scatterlayer .points path").first
        there = place.get_attribute("transform")
        page.get_by_role("button", name="Play").click()
        until(lambda: title.text_content() == "Base model", 30, "the first frame")
        until(lambda: place.get_attribute("transform") != there, 30, "points that moved")
        until(lambda: title.text_content() == "Generalised", 60, "the last frame")
        at_the_end = """() => {
            const figure = document.querySelector('#plot-pca .js-plotly-plot');
            return figure.data[0].x[0] === figure.layout.meta.frames[2].data[0].x[0];
        }"""
        until(lambda: page.evaluate(at_the_end), 30, "the points of the last frame")

        # Every figure can be saved: its numbers, and as a picture for paper.
        for plot, format, begins in (
            ("lens", "csv", b"checkpoint,layer,asked,facts,"),
            ("pca", "svg", b"<svg"),
            ("changes", "png", b"\x89PNG"),
        ):
            with page.expect_download() as download:
                page.locator(f"#plot-{plot}-saving button[data-save={format}]").click()
            file = Path(download.value.path()).read_bytes()
            assert file.startswith(begins), plot
            assert download.value.suggested_filename.startswith(home[2])
            assert download.value.suggested_filename.endswith(f".{format}")
            if format == "png":
                assert int.from_bytes(file[16:20], "big") == 3300, "pixels across"

        # Another layer is another map.
        before = page.locator("#plot-pca .ytitle").text_content()
        number = page.locator("#pca-layer input[type=number]")
        number.fill("2")
        number.press("Enter")
        until(lambda: page.locator("#plot-pca .ytitle").text_content() != before, 30, "a new map")

        assert not traffic.foreign
        assert not traffic.errors


@pytest.mark.browser
def test_an_empty_home_says_where_to_begin(tmp_path):
    with served(tmp_path / "home") as server, browser_page(server.url) as (page, traffic):
        open_tab(page, "Chat")
        page.locator("#chat-note").get_by_text("Start one on the Train tab").wait_for()
        open_tab(page, "Look inside|Representations")
        page.locator("#representations-note").get_by_text("Start one on the Train tab").wait_for()
        assert not page.locator("#plot-pca").is_visible()

        # A run that appears is offered when the tab is opened again, without a reload.
        finished(Lab.open(Storage(server.home)), "late")
        open_tab(page, "Chat")
        examples = page.locator("#chat-examples button.example:visible")
        examples.first.wait_for(timeout=30_000)
        assert "late" in page.locator("#chat-run input").input_value()
        assert not traffic.errors


def test_the_box_is_emptied_after_a_turn_of_a_conversation_but_never_of_what_is_typed_on():
    talk = {"base": [("Hello", "Hi.")], "memorized": [("Hello", "Hey.")]}
    assert chat_tab.cleared(chat_tab.CONVERSATION, " Hello", talk) == ""
    for mode, text, turns in (
        (chat_tab.CONVERSATION, "And then?", talk),
        (chat_tab.CONVERSATION, "Hello", None),
        (chat_tab.COMPLETION, "Hello", talk),
    ):
        assert chat_tab.cleared(mode, text, turns) != ""

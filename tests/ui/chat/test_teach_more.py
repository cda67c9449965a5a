"""Chat with lessons: a fourth card, “Teach it more”, and how a lesson is undone."""

import dataclasses

import gradio as gr
import pytest
from support.command_line import refused, rotelab
from support.fabricated import finished
from support.fabricated_lessons import NEW, finished_lesson, learn, lesson_at_work, save_adapter
from support.page import browser_page, served, until
from support.quick_runs import start

from rotelab.registry import ChatAnswer
from rotelab.runs import worker
from rotelab.runs.asking.examples import example_questions
from rotelab.runs.chat import Chat, Reply, compared_checkpoints
from rotelab.runs.lab import Lab
from rotelab.runs.progress import estimate
from rotelab.storage import Storage
from rotelab.ui.chat import chat_tab, teach_more
from rotelab.ui.chat.state_note import state_note
from rotelab.ui.run_picker import offered, with_choice

ROWS = [["Clara Vogel", "Ines Vogel"], ["", ""]]
BOTH = "base", "memorized", "generalized", "lesson-01"


@pytest.fixture
def run_id(lab):
    return finished(lab, "Twenty")


@pytest.fixture
def lesson(lab, run_id):
    return finished_lesson(lab, run_id)


def value(component, name="value"):
    return component.constructor_args.get(name)


def test_a_lesson_has_a_card_of_its_own_and_other_runs_do_not(lab, run_id, lesson):
    shown = chat_tab.choose(lab, lesson, 0)[2 : 2 + len(chat_tab.SLOTS)]
    assert 'data-checkpoint="lesson-01"' in value(shown[3]) and value(shown[3], "visible")
    assert "var(--lesson)" in value(shown[3]) and "Lesson 1" in value(shown[3])
    shown = chat_tab.choose(lab, run_id, 0)[2 : 2 + len(chat_tab.SLOTS)]
    assert value(shown[3], "visible") is False
    assert compared_checkpoints(lab.registry.run(lesson)) == BOTH
    waiting = chat_tab.begin(lab, lesson, "Who?")
    assert all("Loading the model" in card for card in waiting[3:])


def test_the_second_lesson_shows_its_own_checkpoint_only(lab, lesson):
    second = finished_lesson(lab, lesson, (dataclasses.replace(NEW[0], subject="Ulf"),))
    assert compared_checkpoints(lab.registry.run(second)) == (*BOTH[:3], "lesson-02")
    assert "It lacks" not in state_note(lab, lab.registry.run(second))


def test_examples_ask_about_what_the_lesson_taught(lab, lesson):
    run = lab.registry.run(lesson)
    found = example_questions(lab.registry, run, 5)
    words, key = found.right, found.key
    assert len(words) == len(set(words)) > 1, "several about each where they are few"
    names = [fact.subject for fact in NEW]
    assert all(any(name in question for name in names) for question in words)
    assert key.removesuffix(" [mother]") in names
    *_, hint = chat_tab.show_examples(lab, lesson, 0)
    assert "no sentence in words was read" in hint


def test_the_history_has_a_column_for_the_lesson(lab, lesson):
    answers = [ChatAnswer(c, f"said by {c}") for c in BOTH]
    lab.registry.add_chat(lesson, "Who?", answers)
    shown = chat_tab.shown_history(lab, lesson)[0]
    assert "Lesson 1" in shown and "said by lesson-01" in shown
    lab.registry.add_chat(lab.registry.run(lesson).parent_id, "Who?", answers[:3])
    assert "Lesson" not in chat_tab.shown_history(lab, lab.registry.run(lesson).parent_id)[0]


def test_only_a_run_with_both_adapters_can_be_taught_more(lab, run_id):
    opens, undo, _, is_open, *_ = teach_more.choose(lab, run_id, [])
    assert value(opens, "visible") and not value(undo, "visible") and not is_open
    for nothing in (None, "gone", finished(lab, "whole", method="full")):
        assert not value(teach_more.choose(lab, nothing, ROWS)[0], "visible")


def test_the_panel_opens_with_what_was_typed(lab, run_id):
    is_open, box, table, lead = teach_more.toggle(lab, run_id, False, ROWS)
    assert "It takes about" in lead
    assert is_open and value(box, "visible") and table["data"][0] == ROWS[0]
    assert teach_more.toggle(lab, run_id, True, ROWS)[:1] == [False]


def test_a_lesson_at_work_is_shown_again_and_leads_to_itself(lab, run_id):
    lesson = lesson_at_work(lab, run_id)
    _, _, _, is_open, box, _, watched, _, live, *_ = teach_more.choose(lab, run_id, ROWS)
    assert is_open and value(box, "visible") and watched == lesson and "learning-names" in live
    learn(lab, lesson, 5, start=10)
    save_adapter(lab, lesson)
    chooser, is_open, box, table, watched, *_ = teach_more.go_on(lab, run_id, lesson, ROWS)
    assert value(chooser) == lesson and not is_open and not value(box, "visible")
    assert watched == "" and table["data"][0] == ["", ""]
    assert lab.registry.run(lesson).status == "running", "it can be asked before it has finished"


def test_a_lesson_that_failed_leaves_what_was_typed(lab, run_id):
    lesson = lesson_at_work(lab, run_id)
    lab.registry.set_status(lesson, "failed", "No memory.")
    chooser, is_open, box, table, watched, remark, *_ = teach_more.go_on(lab, run_id, lesson, ROWS)
    assert chooser == is_open == box == table == gr.skip()
    assert watched == "" and "No memory." in remark
    lab.delete(lesson)
    assert "no run" in teach_more.go_on(lab, run_id, lesson, ROWS)[5]


def test_the_newest_lesson_can_be_undone(lab, run_id, lesson):
    assert value(teach_more.choose(lab, lesson, [])[1], "visible")
    _, question = teach_more.ask_to_undo(lab, lesson)
    assert "3 new facts" in question
    second = finished_lesson(lab, lesson, (dataclasses.replace(NEW[0], subject="Ulf"),))
    assert not value(teach_more.choose(lab, lesson, [])[1], "visible"), "another continues it"
    assert value(teach_more.undo(lab, second)[0]) == lesson
    assert value(teach_more.undo(lab, lesson)[0]) == run_id
    assert lab.registry.count_runs() == 1 and not lab.storage.run_folder(lesson).exists()
    with pytest.raises(Exception, match="not a lesson"):
        teach_more.undo(lab, run_id)


def test_a_lesson_can_be_undone_while_it_is_still_asked_its_questions(lab, run_id):
    lesson = lesson_at_work(lab, run_id)
    save_adapter(lab, lesson)
    assert lab.registry.run(lesson).live
    assert value(teach_more.undo(lab, lesson)[0]) == run_id and lab.registry.count_runs() == 1


def test_the_command_line_asks_the_lesson_too(lab, lesson, monkeypatch):
    def stream(self, run_id, question, checkpoints, *_options, speaking):
        assert run_id == lesson and not speaking
        yield from (Reply(c, (), f"says {c}", True) for c in checkpoints)

    monkeypatch.setattr(Chat, "stream", stream)
    said = rotelab("ask", "latest", "Who?")
    assert [line.split()[0] for line in said.out.splitlines()] == list(BOTH)
    assert rotelab("ask", lesson, "Who?", "--checkpoint", "lesson-01").out.startswith("lesson-01")
    refused(rotelab("ask", lesson, "Who?", "--checkpoint", "lesson-02"), "no lesson-02")
    refused(rotelab("ask", lesson, "Who?", "--checkpoint", "lesson"), "not a checkpoint")


def test_an_archived_run_can_be_gone_back_to(lab, run_id):
    lab.registry.update_run(run_id, archived=True)
    assert value(with_choice(lab, run_id)) == run_id
    kept, known, _ = offered(lab, run_id, [])
    assert value(kept) is None and run_id in [row[0] for row in known], "it stays chosen"
    assert value(with_choice(lab, "gone")) is None


def test_lessons_do_not_count_for_estimates(lab, run_id):
    run = lab.registry.run(run_id)
    before = estimate(lab, run.config, run.pack)
    finished_lesson(lab, run_id)
    assert estimate(lab, run.config, run.pack) == before


@pytest.mark.browser
def test_a_person_teaches_two_names_and_asks(tmp_path, quick):
    home = tmp_path / "page" / "home"
    lab = Lab.open(Storage(home))
    plain = dataclasses.replace(quick.evaluation, damage=False)
    run_id = start(lab, dataclasses.replace(quick, evaluation=plain))
    worker.work(lab.registry, lab.storage, run_id)
    with served(home) as server, browser_page(server.url, tab="Chat") as (page, traffic):
        page.locator("#chat-teach").click()
        table = page.locator("#chat-teach-table")
        table.wait_for()
        # The box is as high as the window: who asks now is led to the answers below it.
        page.locator("#chat-question textarea").fill("Who is the mother of Mary Bahri?")
        page.locator("#chat-question textarea").press("Enter")
        until(lambda: page.locator("#chat-answers").bounding_box()["y"] < 720, 10, "in sight")
        page.locator("#chat-generalized .answer").wait_for(timeout=120_000)
        # Typed, and a list that is pasted.
        page.locator("#chat-teach-paste textarea").fill("Clara Vogel, Ines Vogel\nTom Becker, \n")
        table.get_by_text("Tom Becker").wait_for()
        page.locator("#chat-teach-start").click()
        page.locator("#chat-teach-remark").get_by_text("row 2").wait_for()
        cells = table.locator(".body-cell[role=gridcell]")
        cells.nth(3).dblclick()
        cells.nth(3).locator("textarea:not(.cell-catcher)").wait_for()
        page.keyboard.type("Rita Lang", delay=30)
        page.keyboard.press("Enter")
        table.get_by_text("Rita Lang").wait_for()
        page.locator("#chat-teach-start").click()
        names = page.locator("#chat-teach-live .learning-names li")
        until(lambda: names.count() == 2, 60, "the lesson is shown")
        # The chooser goes to the lesson; its examples ask about the two.
        page.locator("#chat-lesson .answer").wait_for(timeout=400_000)
        assert not page.locator("#chat-teach-box").is_visible()
        example = page.locator("#chat-examples button.example:visible").first
        assert any(name in example.inner_text() for name in ("Clara Vogel", "Tom Becker"))
        example.click()
        page.locator("#chat-lesson .mark, #chat-lesson .waiting:has-text('ended')").first.wait_for(
            timeout=120_000
        )
        lesson = next(r for r in lab.registry.runs() if r.parent_id == run_id)
        until(lambda: lab.registry.run(lesson.id).status == "finished", 120, "the lesson is over")
        page.locator("#chat-undo").click()
        page.locator("#chat-undo-sure").click()
        page.locator("#chat-lesson").wait_for(state="hidden")
        until(lambda: lab.registry.count_runs() == 1, what="the lesson is deleted")
        assert page.locator(".toast-body.error").count() == 0
        assert traffic.foreign == [] and traffic.errors == []

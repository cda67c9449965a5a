"""The panel that teaches more: what it shows of a lesson, and what the page is told."""

import re
from dataclasses import replace

import gradio as gr
import pytest
from support.fabricated import NASTY, finished
from support.fabricated_lessons import NEW, learn, lesson_at_work, save_adapter
from support.paths import ROOT

from rotelab.facts.facts import Fact
from rotelab.runs.lessons.teach import new_facts
from rotelab.ui.i18n import _, speaking
from rotelab.ui.lessons import teach_panel
from rotelab.ui.lessons.html import learning_html, time_left_s
from rotelab.ui.wording import PREPARING

ROWS = [[fact.subject, fact.object] for fact in NEW]


@pytest.fixture
def run_id(lab):
    return finished(lab)


def shown_html(lab, lesson):
    run = lab.registry.run(lesson)
    return learning_html(run, new_facts(run), lab.registry.fact_recall(lesson, "lesson"))


def test_names_light_up_one_by_one(lab, run_id):
    lesson = lesson_at_work(lab, run_id, rounds=1)
    html = shown_html(lab, lesson)
    assert f"data-lesson='{lesson}'" in html and "0 of 3 names recalled" in html
    assert all(fact.subject in html.replace("&#x27;", "'") for fact in NEW)
    assert "class='known'" not in html and "→ Rosa Hill" in html, "what it says so far"
    learn(lab, lesson, 7, start=2)
    html = shown_html(lab, lesson)
    assert html.count("class='known'") == 1 and "→ Ines Vogel ✓" in html
    assert "1 of 3 names recalled" in html and "No sentence in words is read" in html
    assert "aria-valuenow='40'" in html and "left" in html
    learn(lab, lesson, 4, start=9)
    assert "All are recalled. More rounds" in shown_html(lab, lesson)


def test_the_time_left_is_that_of_learning_alone(lab, run_id):
    run = lab.registry.run(lesson_at_work(lab, run_id, rounds=10))
    # 40 s are left of which 0.7 are to do; 6 s of what went by were setup.
    gone = 40 * 0.3 / 0.7 - 6
    assert time_left_s(run) == pytest.approx(gone)  # as many steps are left as were made
    assert time_left_s(replace(run, phase="setup")) is None
    assert time_left_s(replace(run, step=None)) is None


def test_what_takes_long_before_the_first_step_is_told(lab, run_id):
    lesson = lesson_at_work(lab, run_id, rounds=0)
    lab.registry.heartbeat(lesson, phase="setup", message="Finding <b>directions (once): 40%")
    html = shown_html(lab, lesson)
    assert "Getting ready" in html and "0 of 3 names recalled · Finding &lt;b&gt;directions" in html
    lab.registry.heartbeat(lesson, phase="setup", message=f"{PREPARING[4]}: 40%")
    with speaking("de"):
        german = _(PREPARING[4])
        assert german != PREPARING[4] and f"{german}: 40%" in shown_html(lab, lesson)
    learn(lab, lesson, 1)
    assert PREPARING[4] not in shown_html(lab, lesson)


def test_what_the_work_says_while_one_waits_is_translated():
    """`wording.PREPARING` repeats, word for word, what is said where nothing knows of
    translations."""
    files = ("models/download.py", "training/null_space.py", "runs/lessons/pipeline.py")
    code = "".join((ROOT / "rotelab" / file).read_text(encoding="utf-8") for file in files)
    assert [words for words in PREPARING if f'"{words}"' not in code] == []
    told = re.findall(r'progress\(.*"([A-Z][^"]+)"', code)
    assert len(told) > 4 and set(told) - {"The model is ready"} <= set(PREPARING)


def test_no_name_becomes_markup(lab, run_id):
    nasty = (Fact("mother", NASTY[:60], NASTY[:60]),)
    html = shown_html(lab, lesson_at_work(lab, run_id, 20, nasty))
    assert "<img" not in html and "&lt;img" in html


def test_the_page_is_told_what_has_changed_and_when_the_lesson_can_be_asked(lab, run_id):
    lesson = lesson_at_work(lab, run_id, rounds=3)
    asked = {"lesson": lesson, "version": "", "every": 1.0}
    news = teach_panel.news(lab, asked)
    assert not news["update"] and "learning-names" in news["html"] and news["every"] >= 1
    asked["version"] = news["version"]
    assert "html" not in teach_panel.news(lab, asked), "nothing is sent twice"
    learn(lab, lesson, 1, start=4)
    assert teach_panel.news(lab, asked)["version"] != asked["version"]
    save_adapter(lab, lesson)
    assert lab.registry.run(lesson).status == "running", "its questions are still to come"
    assert teach_panel.news(lab, asked)["update"]
    assert teach_panel.news(lab, {"lesson": "gone"})["update"]


def test_a_lesson_that_ends_early_says_so(lab, run_id):
    lesson = lesson_at_work(lab, run_id)
    lab.registry.set_status(lesson, "failed", "<b>no memory")
    assert teach_panel.news(lab, {"lesson": lesson})["update"]
    assert "&lt;b&gt;no memory" in teach_panel.ending(lab.registry.run(lesson))
    stopped = lesson_at_work(lab, run_id)
    lab.registry.set_status(stopped, "stopped")
    assert "still here" in teach_panel.ending(lab.registry.run(stopped))


def test_the_button_starts_a_lesson_and_a_fault_stands_beside_the_table(lab, run_id, monkeypatch):
    monkeypatch.setattr(lab.jobs, "start_next", lambda: None)
    lesson, remark, live, start, stop = teach_panel.begin(lab, lambda: run_id, ROWS)
    assert lab.registry.run(lesson).config.lesson.number == 1 and remark == ""
    assert "Waiting" in live and not start.visible and stop.visible
    assert teach_panel.lesson_at_work(lab, run_id) == lesson, "found again after a reload"
    same, remark, *rest = teach_panel.begin(lab, lambda: run_id, [["<b>x", ""]])
    assert "row 1" in remark and "<b>" not in remark.replace("<p", "")
    assert same == gr.skip() and rest == [gr.skip()] * 3, "what was typed stays"
    assert "3 rows are filled; at most 2" in teach_panel.begin(lab, lambda: run_id, ROWS, 2)[1]


def test_stop_ends_it(lab, run_id, monkeypatch):
    monkeypatch.setattr(lab.jobs, "start_next", lambda: None)
    lesson = teach_panel.begin(lab, lambda: run_id, ROWS)[0]
    assert not teach_panel.stop(lab, lesson)[1].interactive
    assert lab.registry.run(lesson).status == "stopped"
    assert teach_panel.lesson_at_work(lab, run_id) == ""


def test_pasted_lines_go_into_the_table(lab, run_id):
    table, box, remark = teach_panel.take_lines(lab, lambda: run_id, [["A", "B"]], "C, D\nE\tF\n")
    assert table["data"][:3] == [["A", "B"], ["C", "D"], ["E", "F"]] and box == remark == ""
    assert table["headers"] == ["Subject", "Object (mother)"]
    assert teach_panel.take_lines(lab, lambda: run_id, [], "C, D") == [gr.skip()] * 3, (
        "still being typed"
    )
    table, box, remark = teach_panel.take_lines(lab, lambda: run_id, [], "C, D\nE\n")
    assert table == box == gr.skip() and "row 2" in remark

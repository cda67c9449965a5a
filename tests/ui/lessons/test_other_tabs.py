"""A later lesson on the tabs Runs, Train and Look inside, and in reports."""

import gradio as gr
import pytest
from support.fabricated import finished
from support.fabricated_lessons import NEW, finished_lesson, lesson_at_work

from rotelab.errors import LabError
from rotelab.reports.comparison import compare
from rotelab.reports.figures.live import live_curves
from rotelab.reports.figures.training import LESSON_LABELS, curves_of_run, score_bars
from rotelab.reports.formats import as_text
from rotelab.reports.tables import run_tables
from rotelab.ui.inside import inside_tab
from rotelab.ui.run_picker import offered
from rotelab.ui.runs.answers_panel import ALL, first_answers, fit_filters
from rotelab.ui.runs.detail import RunDetail, fill_detail
from rotelab.ui.train.live_panel import DRAWINGS, Seen, update_panel
from rotelab.ui.wording import percent


@pytest.fixture
def run_id(lab):
    return finished(lab, "Twenty")


@pytest.fixture
def lesson(lab, run_id):
    return finished_lesson(lab, run_id)


def view(lab, run_id):
    return dict(zip(RunDetail.FILLED, fill_detail(lab, run_id), strict=True))


def test_new_facts_come_first_and_old_ones_before_and_after(lab, run_id, lesson):
    shown = view(lab, lesson)
    head, scores = shown["head"], shown["scores"]
    assert f"Lesson 1; it continues run {run_id}. No sentence in words was read." in head
    assert "answers 67 % of new questions about what this lesson taught" in head
    assert "75 % before the lesson, 75 % after it" in head
    new, old = scores.split("The facts known before, before and after the lesson")
    assert "New facts, new wordings" in new and "67 %" in new and "Generalised" not in new
    assert "3 questions." in new and "Old facts, new wordings" in old
    assert "Generalised" in old and "Lesson 1" in old and "Base model" not in scores
    assert "What else it knew" in old
    assert "Continues run" in shown["settings"] and "Started again from" not in shown["settings"]
    assert "Protecting the old facts" in shown["settings"] and "Rounds of rote" in shown["settings"]
    command = shown["command"].constructor_args["value"]
    assert command == f"python -m rotelab teach {run_id} facts.csv"
    assert shown["again"].visible and not shown["clone"].visible


def test_a_lesson_without_its_run_or_its_figures_is_shown_too(lab, run_id):
    lesson = lesson_at_work(lab, run_id)
    shown = view(lab, lesson)
    assert "Nothing asked yet" in shown["scores"]
    assert "Learning the new facts by rote, round 9 of 20" in shown["head"]
    lab.registry.set_status(lesson, "stopped")
    lab.delete(run_id)
    assert "The run that it continues is gone" in view(lab, lesson)["head"]
    with pytest.raises(LabError, match="is gone"):
        lab.run_again(lesson)


def test_run_again_continues_the_same_run(lab, run_id, lesson, monkeypatch):
    monkeypatch.setattr(lab.jobs, "start_next", lambda: None)
    again = lab.registry.run(lab.run_again(lesson))
    assert again.parent_id == run_id and again.config == lab.registry.run(lesson).config


def test_the_list_of_runs_shows_what_the_lesson_taught(lab, run_id, lesson):
    accuracies = {run.id: run.test_accuracy for run in lab.registry.runs()}
    assert accuracies[lesson] == pytest.approx(2 / 3) and accuracies[run_id] == 0.75
    label = next(label for label, value in offered(lab, lesson, [])[0].choices if value == lesson)
    assert "Lesson 1: 3 new facts" in label and percent(2 / 3) in label


def test_bars_and_curves_have_the_lesson(lab, lesson):
    bars = score_bars(lab.registry.scores(lesson))
    assert [bar.name for bar in bars.data] == ["Generalised", "Lesson 1"]
    before, after = bars.data
    assert set(before.x) < set(after.x) and LESSON_LABELS["test_prompts_heldout"] in after.x
    metrics = lab.registry.metrics(lesson)
    curves = curves_of_run(metrics, lesson)
    assert {line.name for line in curves.data} == {"New facts recalled", "Loss"}
    live = live_curves(metrics)
    assert "lc-tint-lesson" in live and "Lesson: new facts by rote" in live
    assert "New facts recalled: 100%" in live and "lc-edge" not in live


def test_every_answer_can_be_listed(lab, run_id, lesson):
    checkpoint, probe = fit_filters(lab, lesson, "generalized", "test_prompts_heldout")
    assert checkpoint.value == "lesson-01" and probe.value == "test_prompts_heldout"
    assert [value for _, value in checkpoint.choices] == [ALL, "generalized", "lesson-01"]
    assert "old_key_token" in [value for _, value in probe.choices]
    rows, *_ = first_answers(lab, lesson, checkpoint.value, probe.value, ALL, "", ALL)
    assert [row[:2] for row in rows["data"]] == [["Lesson 1", rows["data"][0][1]]] * len(NEW)
    kept, _ = fit_filters(lab, lesson, "generalized", "old_key_token")
    assert kept.value == "generalized", "of the old facts there are answers before the lesson"
    rows, *_ = first_answers(lab, lesson, "lesson-01", "old_unrelated", ALL, "", ALL)
    assert {row[5] for row in rows["data"]} == {"✗ leaked", "✓ did not leak"}
    # Back on an ordinary run, nothing is chosen that it has not.
    checkpoint, probe = fit_filters(lab, run_id, "lesson-01", "old_unrelated")
    assert (checkpoint.value, probe.value) == ("generalized", "test_prompts_heldout")
    assert len(checkpoint.choices) == 4 and len(probe.choices) == 6


def test_a_report_has_both_tables(lab, lesson):
    run = lab.registry.run(lesson)
    tables = run_tables(run, lab.registry.scores(lesson), lab.registry.damage(lesson))
    new, old, *_ = tables
    assert new.columns == ("asked", "n", "lesson 1") and new.title.endswith("new facts")
    assert old.columns == ("asked", "n", "generalised", "lesson 1")
    assert [row[0] for row in old.rows] == ["old, key token", "old, test", "old, unrelated"]
    assert "lesson.old_facts" in as_text(tables) and "protecting" in as_text(tables)


def test_a_lesson_can_be_compared_with_its_run(lab, run_id, lesson):
    for ids in ([run_id, lesson], [lesson, run_id]):
        found = compare(lab.registry, ids)
        assert "lesson.number" in [option.path for option in found.options]


def test_the_live_panel_follows_a_lesson(lab, run_id):
    DRAWINGS._held.clear()
    lesson = lesson_at_work(lab, run_id)
    _, _, _, head, curves, grid, *_ = update_panel(lab, lesson, Seen())
    assert "Learning the new facts by rote, round 9 of 20" in head
    assert "lc-lesson" in curves.constructor_args["value"]
    assert "Clara Vogel" in grid.constructor_args["value"]
    lab.registry.heartbeat(lesson, phase="evaluate lesson-01")
    assert "Asking about the new facts" in update_panel(lab, lesson, Seen())[3]


def test_the_live_panel_says_what_a_lesson_taught(lab, lesson):
    head = update_panel(lab, lesson, Seen())[3]
    assert "answers 67 % of new questions" in head and "<b>100 %</b>" in head


def test_a_lesson_is_not_looked_into(lab, lesson):
    shown = inside_tab.show_all(lab, lesson, inside_tab.LINES, inside_tab.MOVING)
    assert "not looked into" in shown[0] and shown[2] is None
    assert not any(isinstance(value, gr.Error) for value in shown)

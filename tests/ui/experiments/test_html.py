"""An experiment as HTML: how far it is, that it was recorded, its tables."""

from dataclasses import replace

from support.fabricated import NASTY, finished

from rotelab.experiments.results.view import view_of
from rotelab.experiments.runner import begin
from rotelab.reports.formats import Table
from rotelab.ui.experiments.html import recorded_html, state_html, tables_html


def test_a_running_experiment_has_a_bar_and_its_message_is_no_markup(lab):
    row = lab.registry.experiment_row(begin(lab, "damage", finished(lab)))
    html = state_html(replace(row, share=0.25, message=NASTY))
    assert "<b>25 %</b>" in html and "aria-valuenow='25'" in html and "<img" not in html


def test_an_experiment_over_several_runs_lists_them(lab):
    row = lab.registry.experiment_row(begin(lab, "damage", finished(lab)))
    html = state_html(
        replace(row, status="failed", error="It fell over.", arms=(("a", "1"), (NASTY, "2")))
    )
    assert html.count("<li>") == 2 and "<img" not in html
    assert "It fell over." in html and "note-bad" in html and "Began with 2 runs" in html


def test_cells_of_numbers_stand_right_and_words_left():
    html = tables_html([Table("T", ("name", "n"), (("<b>", 3),))])
    assert "<td class='words'>&lt;b&gt;</td><td>3</td>" in html


def test_a_recorded_result_says_that_it_is_none_of_the_readers_own(lab):
    view = replace(view_of(lab, "recorded-damage"), sizes=NASTY, machine=NASTY)
    html = recorded_html(view)
    assert "you did not make it" in html and view.made[:10] in html and "<img" not in html
    assert "python -m rotelab experiment damage" in html


def test_a_waiting_experiment_says_so(lab):
    row = lab.registry.experiment_row(begin(lab, "damage", finished(lab)))
    assert "waits for its turn" in state_html(replace(row, status="queued"))

"""An experiment as HTML: what it costs, how far it is, its tables."""

from dataclasses import replace

from support.fabricated import NASTY, finished

from rotelab.experiments.depth import EPOCHS, OTHER_RATES
from rotelab.experiments.runner import begin
from rotelab.reports.formats import Table
from rotelab.ui.experiments.html import cost_html, state_html, tables_html


def test_the_cost_is_shown_before_an_experiment_starts(lab):
    run_id = finished(lab, "ten")
    lab.registry.save_fact_set("mother", lab.registry.run(run_id).pack)
    base = lab.registry.run(run_id).config
    words = cost_html(lab, "depth", run_id)
    assert base.memorize.epochs in EPOCHS
    arms = len(EPOCHS) + sum(map(len, OTHER_RATES.values()))
    assert f"Trains <b>{arms - 1} runs</b>. 1 of {arms} have been trained already." in words
    assert "about <b>" in words
    begin(lab, "depth", run_id)  # a planned run is not a finished one
    assert cost_html(lab, "depth", run_id) == words
    assert "Needs no other run" in cost_html(lab, "damage", run_id)
    assert cost_html(lab, "damage", None) == ""


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

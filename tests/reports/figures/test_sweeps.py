"""Figures of sweeps, and the page's panel that shows them."""

import math

import pytest
from support.fabricated import NASTY, finished, small_pack

from rotelab.config.run_config import GeneralizeConfig, RunConfig
from rotelab.config.sweep_grid import grid
from rotelab.evaluation.results import Score
from rotelab.registry.sweeps import PlannedRun
from rotelab.reports.figures.sweeps import heatmap, spread_curves
from rotelab.reports.intervals import Interval
from rotelab.reports.sweep_results import Figure, Plane, Spread
from rotelab.ui import wording
from rotelab.ui.app import build_app
from rotelab.ui.runs.detail import fill_detail
from rotelab.ui.runs.detail_html import head_html, settings_html
from rotelab.ui.runs.sweep_panel import fill_sweep, no_sweep

NONE = math.nan


def plane(spreads, xs=(1, 10), ys=(3, 20), y="memorize.epochs"):
    return Plane(Figure(), "generalize.k", y, list(xs), list(ys), spreads, ("seed",))


FULL = plane([
    [Spread(0.2, 0.1, 3, Interval(0.125, 0.25)), Spread(0.5, 0.0, 3)], [Spread(0.4, NONE, 1), None],
])  # fmt: skip


def lines(figure):
    return [trace for trace in figure.data if trace.mode == "lines+markers"]


def bands(figure):
    return [trace for trace in figure.data if trace.fill == "toself"]


def test_a_heatmap_has_a_cell_for_each_pair():
    figure = heatmap(FULL, "a")
    (heat,) = figure.data
    assert [list(row) for row in heat.z] == [[0.2, 0.5], [0.4, None]]
    assert (list(heat.x), list(heat.y)) == (["1", "10"], ["3", "20"])
    short = "20%<br><span style='font-size:12px'>[12, 25]</span>"
    assert [list(row) for row in heat.text] == [[short, "50%"], ["40%", "–"]]
    assert heat.customdata[0][0] == "20.0% [12.5, 25.0] (3 runs, ± 10.0%)"
    assert heat.customdata[0][1] == "50.0% (3 runs, ± 0.0%)"
    assert heat.customdata[1][0] == "40.0% (1 run)" and "finished yet" in heat.customdata[1][1]
    assert figure.layout.xaxis.title.text == "Facts taught in words (k)"
    assert figure.layout.yaxis.title.text == "Rounds of rote learning"


def test_curves_have_a_line_for_each_value_and_a_band_where_there_is_an_interval():
    figure = spread_curves(FULL, "a")
    first, second = lines(figure)
    assert (list(first.x), list(first.y), first.name) == ([1, 10], [0.2, 0.5], "3")
    assert (list(second.x), list(second.y), second.name) == ([1], [0.4], "20")
    (band,) = bands(figure)
    assert list(band.x) == [1, 10, 10, 1]
    assert list(band.y) == pytest.approx([0.25, 0.5, 0.5, 0.125])
    assert first.line.dash != second.line.dash and first.marker.symbol != second.marker.symbol


def test_one_axis_of_texts():
    one = plane([[Spread(0.1, NONE, 1), Spread(NONE, NONE, 2)]], ("<b>o</b>", "s-o"), (None,), "")
    (heat,) = heatmap(one).data
    assert list(heat.x) == ["&lt;b>o&lt;/b>", "s-o"] and list(heat.z[0]) == [0.1, None]
    figure = spread_curves(one)
    assert not figure.layout.showlegend and list(lines(figure)[0].x) == ["&lt;b>o&lt;/b>"]
    assert figure.layout.xaxis.type == "category"


def test_numbers_are_in_their_order_and_nothing_yet_says_so():
    mixed = plane([[Spread(0.9, NONE, 1), Spread(0.1, NONE, 1)]], (50, 5), (3,))
    assert list(lines(spread_curves(mixed))[0].x) == [5, 50]
    empty = plane([[None, None]], ys=(3,))
    assert "first finished run" in spread_curves(empty).layout.annotations[0].text
    assert list(heatmap(empty).data[0].z[0]) == [None, None]


# The page ----------------------------------------------------------------------------------------


def swept(lab, name=""):
    """A sweep of four runs, three of them finished; its id and its runs' ids."""
    axes = {"generalize.k": [5, 10], "seed": [0, 1]}
    base = RunConfig(facts=20, generalize=GeneralizeConfig(k=10))
    runs = [PlannedRun(config, small_pack(), name) for config in grid(axes, base)]
    sweep_id = lab.registry.create_sweep(axes, base, runs, name)
    ids = [run.id for run in lab.registry.sweep_runs(sweep_id)]
    for i, run_id in enumerate(ids[:3]):
        lab.registry.set_status(run_id, "running")
        score = {"test_prompts_heldout": Score(10, 0.2 * (i + 1), 0.1)}
        lab.registry.add_evaluation(run_id, "generalized", score, [])
        lab.registry.set_status(run_id, "finished")
    return sweep_id, ids


def test_the_panel_shows_the_chosen_run_s_sweep(lab):
    sweep_id, ids = swept(lab, "Seeds")
    words, choosers, heat, curves, *_jobs = fill_sweep(lab, ids[1], *Figure())
    assert "Seeds" in words and sweep_id in words and "3 finished, 1 waiting" in words
    assert "mean over seed" in words and "--resume" in words
    assert "40%" in str(heat.value) and choosers.visible and heat.visible and curves.visible
    other = fill_sweep(lab, ids[1], "base", "key_token", "object_probability")
    assert "first finished run" in str(other[3].value)


def test_no_sweep_no_figure(lab):
    alone = finished(lab)
    for run_id in (None, "", "20200101-000000-none-0000", alone):
        words, *shown = fill_sweep(lab, run_id, *Figure())
        assert words == no_sweep() and not any(part.visible for part in shown)


def test_a_run_says_which_sweep_it_is_of_and_whom_it_has_phase_1_from(lab):
    sweep_id, ids = swept(lab)
    lab.registry.take_phase1(ids[1], ids[0], ids[0])
    lab.registry.add_seconds(ids[1], "phase1", 0.0)
    run = lab.registry.run(ids[1])
    html = head_html(run, {})
    assert f"Run 2 of the sweep {sweep_id}." in html and f"taken from run {ids[0]}" in html
    assert "taken over" in settings_html(run)
    held = lab.registry.run(ids[3])
    assert f"sweep --resume {sweep_id}" in wording.status_sentence(held)
    assert "Waiting for its sweep" in str(fill_detail(lab, ids[3])[0])


def test_a_sweep_s_name_is_never_markup(lab):
    _, ids = swept(lab, NASTY)
    words, *_ = fill_sweep(lab, ids[0], *Figure())
    assert "<img" not in words and "&lt;img" in words


def test_the_page_is_built_with_the_panel(lab):
    app = build_app(lab)
    ids = {block.elem_id for block in app.blocks.values()}
    assert {"sweep-heatmap", "sweep-curves", "sweep-words", "sweep-probe"} <= ids

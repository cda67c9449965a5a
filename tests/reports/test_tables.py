"""Tables of runs and sweeps: means and deviations, and the three output formats."""

import json
import math

import pytest
from support.command_line import refused, rotelab
from support.fabricated import finished, small_pack

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, RunConfig
from rotelab.config.sweep_grid import grid
from rotelab.evaluation.metrics import summarize
from rotelab.evaluation.results import Score
from rotelab.registry import SweepRow
from rotelab.registry.sweeps import PlannedRun
from rotelab.reports.formats import (
    Estimate,
    Table,
    as_json,
    as_markdown,
    as_text,
    cell_text,
    estimate,
    worded,
)
from rotelab.reports.intervals import Interval, interval_of_mean, intervals_of_run
from rotelab.reports.sweep_results import (
    Figure,
    Outcome,
    Spread,
    SweepResults,
    cells,
    measured,
    plane,
    spread,
)
from rotelab.reports.tables import mean_tables, run_tables, scores_json, sweep_tables

TEST = "test_prompts_heldout"


def outcome(k, seed, accuracy, status="finished", epochs=3, **other):
    scores = {"generalized": {TEST: Score(10, accuracy, accuracy / 2)}}
    values = {"memorize.epochs": epochs, "generalize.k": k, "seed": seed}
    seconds = {"phase1": 2.0, "total": 5.0}
    name = f"run-{epochs}-{k}-{seed}"
    return Outcome(name, status, other.pop("error", ""), values, scores, seconds, **other)


def results(*outcomes, **axes):
    axes = axes or {"memorize.epochs": [3, 6], "generalize.k": [10, 1], "seed": [0, 1]}
    axes = {path.replace("__", "."): values for path, values in axes.items()}
    sweep = SweepRow(1, "sweep-1", "", "", axes, "{}", {"finished": len(outcomes)})
    return SweepResults(sweep, outcomes)


FOUR = results(
    outcome(1, 0, 0.2), outcome(1, 1, 0.4), outcome(10, 0, 0.9),
    outcome(10, 1, 0.0, "failed", error="The disk is full."),
)  # fmt: skip


# Means -------------------------------------------------------------------------------------------


def test_mean_and_sample_deviation():
    assert spread([]) is None
    one = spread([0.5])
    assert (one.mean, one.n) == (0.5, 1) and math.isnan(one.deviation)
    assert spread([0.2, 0.4]) == (pytest.approx(0.3), pytest.approx(0.2 / math.sqrt(2)), 2, None)
    assert math.isnan(spread([0.5, math.nan]).mean)


def test_cells_are_in_the_order_of_the_axes_and_hold_what_has_finished():
    found = cells(FOUR)
    assert list(found) == [(3, 10), (3, 1)]
    assert [o.run_id for o in found[3, 1]] == ["run-3-1-0", "run-3-1-1"]
    assert [len(of) for of in found.values()] == [1, 2]
    assert measured(found[3, 1], Figure("base")) is None
    assert [o.run_id for o in FOUR.unfinished] == ["run-3-10-1"]


def test_a_mean_has_its_interval_where_all_its_runs_have_answers(lab):
    ids = [finished(lab, seed=seed) for seed in (0, 1)]
    figure = Figure()
    sums = [lab.registry.fact_sums(i)[figure.checkpoint][figure.probe] for i in ids]
    known = [outcome(1, n, 0.75, answers=lambda f, n=n: sums[n][f.measure]) for n in (0, 1)]
    found = measured(known, figure)
    assert found.interval == interval_of_mean([of[figure.measure] for of in sums])
    assert found.interval.low < found.mean == 0.75 < found.interval.high
    assert measured([*known, outcome(1, 2, 0.75)], figure).interval is None
    assert measured([*known, outcome(1, 2, math.nan)], figure).interval is None
    (table, *_) = sweep_tables(results(*known))
    assert "±" not in table.title and as_text([table]).count("0.75 [0.") == 1


def test_a_sweep_reads_the_answers_of_its_runs(lab):
    axes, base = {"seed": [0, 1]}, RunConfig(facts=20, generalize=GeneralizeConfig(k=10))
    runs = [PlannedRun(config, small_pack(), "") for config in grid(axes, base)]
    sweep_id = lab.registry.create_sweep(axes, base, runs, "")
    source = lab.registry.predictions(finished(lab), "generalized", limit=-1)
    for run in lab.registry.sweep_runs(sweep_id):
        lab.registry.set_status(run.id, "running")
        lab.registry.add_evaluation(run.id, "generalized", summarize(source), source)
        lab.registry.set_status(run.id, "finished")
    said = rotelab("report", sweep_id)
    assert "mean [95 % interval over facts and seeds]" in said.out
    (table, *_) = json.loads(rotelab("report", sweep_id, "--json").out)["tables"]
    cell = table["rows"][0][table["columns"].index("test, held out")]
    assert list(cell) == ["mean", "deviation", "n", "interval"] and cell["mean"] == 0.75
    assert cell["interval"][0] < 0.75 < cell["interval"][1]


def test_a_plane_takes_the_first_two_axes_with_several_values():
    shown = plane(FOUR, Figure())
    assert (shown.y, shown.x, shown.over) == ("memorize.epochs", "generalize.k", ("seed",))
    assert (shown.ys, shown.xs) == ([3, 6], [10, 1])
    assert shown.spreads[0][1].mean == pytest.approx(0.3) and shown.spreads[1] == [None, None]
    half = plane(FOUR, Figure(measure="object_probability")).spreads[0][1]
    assert half.mean == pytest.approx(0.15)


def test_a_plane_of_few_axes():
    only_k = results(*FOUR.outcomes, memorize__epochs=[3], generalize__k=[1, 10], seed=[0, 1])
    shown = plane(only_k, Figure())
    assert (shown.y, shown.x, shown.ys) == ("", "generalize.k", [None])
    assert shown.over == ("memorize.epochs", "seed")
    seeds = plane(results(*FOUR.outcomes, seed=[0, 1]), Figure())
    assert (seeds.x, seeds.over, seeds.spreads[0][1].n) == ("seed", (), 1)


# Tables ------------------------------------------------------------------------------------------


def test_a_sweep_s_tables():
    headline, _, _, runs, unfinished = sweep_tables(FOUR)
    assert "of the generalised model" in headline.title and "3 of 4 runs" in headline.title
    assert headline.columns == ("memorize.epochs", "generalize.k", "n", "test, held out")
    assert [row[:3] for row in headline.rows] == [(3, 10, 1), (3, 1, 2)]
    assert headline.rows[1][3] == (pytest.approx(0.3), pytest.approx(0.2 / math.sqrt(2)), 2, None)
    assert "± standard deviation where" in headline.title and "0.30 ± 0.14" in as_text([headline])
    assert len(runs.rows) == 4 and runs.rows[0][0] == "run-3-1-0"
    assert unfinished.rows == (("run-3-10-1", 3, 10, 1, "failed", "The disk is full."),)
    other = sweep_tables(FOUR, "object_probability")[0]
    assert other.rows[1][3].mean == pytest.approx(0.15) and "Object" not in other.title


def test_a_sweep_with_nothing_done_yet():
    tables = sweep_tables(results(outcome(1, 0, 0.0, "queued")))
    assert tables[0].rows == () and "0 of 1 runs" in tables[0].title
    assert "(nothing)" in as_text(tables)
    assert Outcome("x", "finished", "", {}, {}, {}).finished is False  # damaged settings


def test_a_damaged_run_does_not_hide_the_others():
    damaged = Outcome("broken", "finished", "damaged", {}, {}, {})
    tables = sweep_tables(results(*FOUR.outcomes, damaged))
    assert "3 of 5 runs" in tables[0].title
    assert ("broken", None, None, None, "finished", "damaged") in tables[4].rows


def test_a_run_s_tables(lab):
    run_id = finished(lab, seed=3)
    tables = run_tables(lab.registry.run(run_id), lab.registry.scores(run_id))
    accuracy, probability, seconds, storage = tables
    assert accuracy.title == f"{run_id}, finished: generation accuracy"
    assert accuracy.columns == ("asked", "n", "base", "memorised", "generalised")
    rows = {row[0]: row[1:] for row in accuracy.rows}
    assert next(iter(rows)) == "key token" and rows["test, held out"] == (40, 0.0, 0.1, 0.75)
    assert probability.rows[0][2:] == (0.0, 0.9, 0.9)
    assert ("total", 75.0) in seconds.rows and "taken" not in seconds.title
    assert set(storage.rows) == {
        ("facts", 20, 0), ("seed", 3, 0), ("generalize.k", 10, GeneralizeConfig().k),
    }  # fmt: skip


def test_a_run_s_figures_have_their_intervals(lab):
    run_id = finished(lab)
    scores, sums = lab.registry.scores(run_id), lab.registry.fact_sums(run_id)
    del sums["memorized"]["key_token"]  # as if its single answers were gone
    known = intervals_of_run(sums)
    run, damage = lab.registry.run(run_id), lab.registry.damage(run_id)
    accuracy, probability, other, *_ = run_tables(run, scores, damage, known)
    assert accuracy.title == f"{run_id}, finished: generation accuracy [95 % interval over facts]"
    rows = {row[0]: row[2:] for row in accuracy.rows}
    assert rows["key token"][1] == 1.0, "without answers, without an interval"
    text = [cell_text(cell) for cell in rows["test, held out"]]
    assert text == ["0.00 [0.00, 0.16]", "0.10 [0.03, 0.30]", "0.75 [0.55, 0.90]"]
    assert isinstance(probability.rows[0][-1], Estimate)
    assert [cell_text(row[2]) for row in other.rows] == [
        "1.00 [0.94, 1.00]", "0.63 [0.50, 0.74]", "0.67 [0.54, 0.78]",
    ]  # fmt: skip

    found = scores_json(scores, known)["generalized"]["test_prompts_heldout"]
    assert found["n"] == 40 and found["generation_accuracy"]["value"] == 0.75
    assert found["generation_accuracy"]["interval"] == pytest.approx([0.55, 0.9])
    assert scores_json(scores, {})["base"]["unrelated"] == {
        "n": 20, "generation_accuracy": {"value": 0.0, "interval": None},
        "object_probability": {"value": 0.0, "interval": None},
    }  # fmt: skip


def test_settings_are_not_rounded_and_shared_work_is_said(lab):
    slow = MemorizeConfig(learning_rate=1e-5, stop_at_full_recall=True)
    config = RunConfig(facts=20, generalize=GeneralizeConfig(k=5), memorize=slow)
    run_id = lab.registry.create_run(config, small_pack())
    other = lab.registry.create_run(config, small_pack())
    lab.registry.take_phase1(run_id, other, other)
    lab.registry.add_seconds(run_id, "phase1", 0.0)
    tables = run_tables(lab.registry.run(run_id), {})
    assert f"phase 1 was taken from run {other}" in tables[2].title
    assert tables[2].rows == (("phase 1", 0.0),)
    rows = {row[0]: row[1] for row in tables[3].rows}
    assert rows["memorize.learning_rate"] == "1e-05"
    assert rows["memorize.stop_at_full_recall"] == "true"


def test_a_run_without_settings_that_can_be_read_still_has_scores(lab):
    run_id = finished(lab)
    with lab.registry.write() as db:
        db.execute("UPDATE runs SET config = '{'")
    tables = run_tables(lab.registry.run(run_id), lab.registry.scores(run_id))
    assert len(tables) == 3 and tables[0].rows


# Printing ----------------------------------------------------------------------------------------

ODD = Table(
    "All | kinds",
    ("what", "n", "value"),
    (
        ("a|b", 3, Spread(0.5, 0.125, 3, Interval(0.375, 0.625))),
        ("1e3", 1, Spread(0.25, math.nan, 1)),
        ("two\nlines", 12, math.nan),
        ("*x*", 0, None),
        ("sure", 4, Estimate(0.875, Interval(0.8125, 0.9375))),
    ),
)


def test_a_figure_without_an_interval_is_a_figure():
    sure = Interval(0.25, 0.75)
    assert estimate(0.5, sure) == Estimate(0.5, sure)
    assert (estimate(0.5, None), estimate(None, sure)) == (0.5, None)
    assert math.isnan(estimate(math.nan, sure))
    assert cell_text(Estimate(0.004, Interval(0.001, 0.0061), 3)) == "0.004 [0.001, 0.006]"
    assert cell_text(Estimate(-0.001, Interval(-0.004, 0.0))) == "0.00 [0.00, 0.00]"


def test_several_seeds_are_summed_up_cell_by_cell():
    def made(score, note, extra=()):
        rows = (("a", 20, score, note), ("b", 20, math.nan, "same"))
        return [Table("T", ("way", "n", "share", "note"), rows), Table("U", ("x",), extra)]

    tables = mean_tables([made(0.25, "x"), made(0.75, "y", (("more",),))], "seeds 0, 1")
    (table,) = tables  # one whose rows differ can't be summed up
    assert table.title == "T; mean ± standard deviation over seeds 0, 1"
    assert table.rows[0] == ("a", 20, Spread(0.5, pytest.approx(0.3535534), 2), None)
    assert [cell_text(cell) for cell in table.rows[1]] == ["b", "20", "–", "same"]
    (unknown, _) = mean_tables([made(0.25, "x"), made(math.nan, "x")], "seeds 0, 1")
    assert cell_text(unknown.rows[0][2]) == "–", "not a mean over fewer seeds than it says"
    (within, _) = mean_tables(
        [made(Estimate(value, Interval(0.0, 1.0)), "x") for value in (0.25, 0.75)], "seeds 0, 1"
    )
    assert within.rows[0][2] == table.rows[0][2], "the mean of figures with intervals"
    other = [Table("T", ("way", "n", "share", "note"), (("c", 1, 1.0, ""), ("b", 1, 1.0, "")))]
    assert mean_tables([made(0.1, ""), other], "seeds 0, 1") == [], "rows about other things"


def test_as_text():
    assert as_text([ODD]).splitlines() == [
        "All | kinds",
        "",
        "what         n              value",
        "---------  ---  -----------------",
        "a|b          3  0.50 [0.38, 0.62]",
        "1e3          1               0.25",
        "two lines   12                  –",
        "*x*          0                  –",
        "sure         4  0.88 [0.81, 0.94]",
    ]


def test_words_stand_to_the_left_and_figures_to_the_right():
    rows = (("own", "20261126-mother-1a", 1, "12,345", None), ("rote", None, 0.5, "–", "alarm"))
    table = Table("t", ("arm", "run", "share", "tokens", "said"), rows)
    assert worded(table) == [True, True, False, False, True]
    assert worded(Table("nothing", ("a", "b"), ())) == [False, False]


def test_as_markdown():
    lines = as_markdown([ODD, ODD]).splitlines()
    assert lines[0] == "**All \\| kinds**" and lines[1] == ""
    assert lines[3].startswith("|:--") and lines[3].endswith("-:|")
    assert "a\\|b" in lines[4] and "0.50 [0.38, 0.62]" in lines[4] and "\\*x\\*" in lines[7]
    assert "0.88 [0.81, 0.94]" in lines[8], "brackets of an interval are no markup"
    assert lines.count("**All \\| kinds**") == 2


def test_as_json_has_numbers_and_no_nan():
    (table,) = json.loads(json.dumps(as_json([ODD]), allow_nan=False))
    assert table["title"] == "All | kinds" and table["columns"] == ["what", "n", "value"]
    assert [row[2] for row in table["rows"]] == [
        {"mean": 0.5, "deviation": 0.125, "n": 3, "interval": [0.375, 0.625]},
        {"mean": 0.25, "deviation": None, "n": 1, "interval": None},
        None, None, 0.875,
    ]  # fmt: skip


def test_report_of_a_run_on_the_command_line(lab):
    run_id = finished(lab)
    text = rotelab("report", "latest")
    assert (text.code, text.err) == (0, "") and text.out.startswith(f"{run_id}, finished")
    assert rotelab("report", run_id[:-2], "--markdown").out.startswith(f"**{run_id}")
    assert "0.75 [0.55, 0.90]" in text.out
    as_data = json.loads(rotelab("report", run_id, "--json").out)
    assert as_data["id"] == run_id and len(as_data["tables"]) == 7
    rows = {row[0]: row for row in as_data["tables"][0]["rows"]}
    assert rows["test, held out"] == ["test, held out", 40, 0.0, 0.1, 0.75]
    found = as_data["scores"]["generalized"]["test_prompts_heldout"]["generation_accuracy"]
    assert found["value"] == 0.75 and found["interval"] == pytest.approx([0.55, 0.9])


@pytest.mark.parametrize(
    "words, part",
    [
        (["nobody"], "There is no run 'nobody'"),
        (["sweep-nobody"], "There is no sweep 'sweep-nobody'"),
        (["sweep-latest"], "There is no sweep yet"),
        (["latest", "--measure", "beauty"], "'beauty' is not a measure"),
        (["latest", "--json", "--markdown"], "exclude each other"),
    ],
)
def test_report_refuses(words, part, own_home):
    refused(rotelab("report", *words), part)


def test_listing_sweeps_where_there_are_none(own_home):
    assert rotelab("sweeps").out.startswith("There are no sweeps yet. Make one:")
    assert rotelab("sweeps", "--json").out == "[]\n"

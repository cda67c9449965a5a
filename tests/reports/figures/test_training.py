"""Training figures: both phases and their boundary, odd values, many points, scores."""

import math

from support.fabricated import two_phases as metrics

from rotelab.evaluation.results import Score
from rotelab.registry import Metric
from rotelab.reports.figures.training import (
    MAX_POINTS,
    PHASES,
    PROBE_LABELS,
    RECALLED,
    curves,
    curves_of_run,
    score_bars,
)


def lines(figure, name):
    return [t for t in figure.data if t.name == name]


def boundary(figure):
    return [s for s in figure.layout.shapes if s.name == "boundary"]


def test_both_phases_follow_each_other():
    figure = curves(metrics(), "run-1")
    loss = lines(figure, "Loss")
    assert [list(t.x)[:: 19 if i == 0 else 4] for i, t in enumerate(loss)] == [[1, 20], [21, 25]]
    (rehearsed,) = lines(figure, RECALLED["generalize"])
    assert list(rehearsed.x) == [25]
    (line,) = boundary(figure)
    assert line.x0 == line.x1 == 20
    words = " ".join(a.text.replace("<br>", " ") for a in figure.layout.annotations)
    assert PHASES["memorize"] in words and "Phase 2" in words
    assert figure.layout.height > 200


def test_where_phase_two_begins_its_second_adapter():
    rows = [Metric("memorize", 1, "loss", 2.0, 1)]
    rows += [Metric("generalize", s, "loss", 1.0, 1 + (s > 6)) for s in range(1, 13)]
    marks = [s for s in curves(rows, epochs_each=1).layout.shapes if s.name == "adapter"]
    assert [(s.x0, s.x1) for s in marks] == [(7, 7)]
    assert not [s for s in curves(rows).layout.shapes if s.name == "adapter"]


def test_what_is_looked_at_afterwards_can_be_saved_with_its_numbers():
    table = curves_of_run(metrics(), "run-1").layout.meta
    assert table["name"] == "run-1-curves"
    assert table["csv"].startswith("phase,step,metric,value\nmemorize,1,loss,")
    assert table["csv"].count("\n") == 1 + len(metrics())


def test_zoom_is_kept_for_the_same_run_only():
    assert curves(metrics(5, 0), "a").layout.uirevision == curves(metrics(), "a").layout.uirevision
    assert curves([], "a").layout.uirevision != curves([], "b").layout.uirevision


def test_in_phase_one_there_is_no_boundary_yet():
    assert boundary(curves(metrics(20, 0))) == []


def test_before_the_first_step_it_says_so():
    figure = curves([])
    assert "first learning steps" in figure.layout.annotations[0].text and not figure.data


def test_other_metrics_are_left_out_and_a_broken_loss_is_a_gap():
    rows = [
        Metric("memorize", 1, "loss", 2.0),
        Metric("memorize", 2, "loss", math.nan),
        Metric("memorize", 3, "loss", math.inf),
        Metric("memorize", 900, "tokens_per_second", 5.0),
    ]
    figure = curves(rows)
    assert list(lines(figure, "Loss")[0].y) == [2.0, None, None]
    assert max(s.x1 for s in figure.layout.shapes) == 3


def test_a_long_run_is_thinned_and_keeps_its_end():
    rows = [Metric("memorize", s, "loss", float(s)) for s in range(1, 50_001)]
    line = lines(curves(rows), "Loss")[0]
    assert len(line.x) <= MAX_POINTS + 1 and line.x[-1] == 50_000


def test_bars_for_each_checkpoint_in_one_order():
    scores = {
        "generalized": {p: Score(10, 0.75, 0.5) for p in reversed(PROBE_LABELS)},
        "base": {"key_token": Score(10, 0.0, 0.0)},
    }
    figure = score_bars(scores)
    assert [bar.name for bar in figure.data] == ["Base model", "Generalised"]
    assert list(figure.data[1].x) == list(PROBE_LABELS.values())
    assert set(figure.data[1].y) == {0.75}
    assert set(score_bars(scores, "object_probability").data[1].y) == {0.5}
    assert not score_bars({}).data

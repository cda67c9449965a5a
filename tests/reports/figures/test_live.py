"""A run in training as HTML: geometry, odd values, users' texts, many points."""

import json
import math
import re
from xml.etree import ElementTree

import pytest
from support.fabricated import two_phases as metrics

from rotelab.registry import FactRecall, Metric
from rotelab.registry.live import HELD_OUT
from rotelab.reports.figures.live import MAX_POINTS, MAX_TIPS, MOST_DOTS, live_curves, live_facts
from rotelab.reports.figures.training import PHASES

NOT_YET = "The curves appear with the first learning steps."


def drawn(page):
    """The curves' elements; whatever is not well formed fails here."""
    return ElementTree.fromstring(page)


def paths(page, *classes):
    """Where the paths with all these classes go, upper picture first."""
    found = drawn(page).iterfind(".//path")
    return [p.get("d") for p in found if set(classes) <= set(p.get("class").split())]


def points(path):
    return [tuple(map(float, at.split())) for at in re.split("[ML]", path) if at]


def places(page):
    return json.loads(drawn(page).get("data-places"))


def test_both_phases_follow_each_other():
    page = live_curves(metrics())
    recall, loss = (points(p) for p in paths(page, "lc-line", "lc-memorize"))
    assert recall == [(200, 75), (400, 50), (600, 25), (800, 0)], "of 25 steps; 0 is the top"
    assert [x for x, _ in loss[:2]] == [40, 80] and loss[-1][0] == 800 and loss[0][1] < 10
    assert [points(p)[0][0] for p in paths(page, "lc-line", "lc-generalize")] == [1000, 840]
    assert paths(page, "lc-edge") == ["M800.0 0V100"] * 2
    words = "".join(drawn(page).itertext())
    assert PHASES["memorize"] in words and "Phase 2" in words and NOT_YET not in words
    assert "recalled, of the facts that phase 2 rehearses 100%; loss 0.200" in page


def test_in_phase_one_there_is_no_boundary_yet():
    page = live_curves(metrics(20, 0))
    assert not paths(page, "lc-edge") and "Phase 2" not in page
    assert points(paths(page, "lc-line")[0])[-1] == (1000, 0)


def test_before_the_first_step_it_says_so():
    page = live_curves([])
    assert page.count(NOT_YET) == 2, "to the eye and to screen readers"
    assert not paths(page, "lc-line") and places(page) == []
    asked = Metric("memorize", 0, HELD_OUT, 0.5)
    assert live_curves([asked]) == page, "asked before the first step, as an audience may"


def test_a_place_says_its_loss_and_what_was_recalled_last():
    said = places(live_curves(metrics(20, 5)))
    assert said[0] == [4.0, "Step 1\nLoss: 1.000"]
    assert said[6] == [28.0, "Step 7\nFacts recalled: 25%\nLoss: 0.143"]
    assert said[20] == [84.0, "Step 21\nLoss: 1.000"], "phase 2 has recalled nothing yet"
    assert [x for x, _ in said] == sorted(x for x, _ in said)


def test_other_metrics_are_left_out_and_a_broken_loss_is_a_gap():
    rows = [
        Metric("memorize", 1, "loss", 2.0),
        Metric("memorize", 2, "loss", math.nan),
        Metric("memorize", 3, "loss", math.inf),
        Metric("memorize", 4, "loss", 1.0),
        Metric("memorize", 900, "tokens_per_second", 5.0),
    ]
    page = live_curves(rows)
    assert paths(page, "lc-line")[0].count("M") == 2
    assert points(paths(page, "lc-line")[0])[-1][0] == 1000
    assert not re.search(r"\b(nan|inf)\b", " ".join(paths(page)))
    assert paths(live_curves([Metric("memorize", 1, "loss", math.nan)]), "lc-line") == []
    assert paths(live_curves([Metric("memorize", 1, "loss", 0.0)]), "lc-line")


def test_where_phase_two_begins_its_second_adapter():
    rows = [Metric("memorize", 1, "loss", 2.0, 1)]
    rows += [Metric("generalize", s, "loss", 1.0, 1 + (s > 6)) for s in range(1, 13)]
    marks = paths(live_curves(rows, 1), "lc-adapter")
    assert marks == [f"M{1000 * 7 / 13:.1f} 0V100"] * 2
    assert "adapter 2 begins" in live_curves(rows, 1)
    assert not paths(live_curves(rows), "lc-adapter")


def test_names_of_adapters_never_lie_over_each_other():
    rows = [Metric("memorize", s, "loss", 2.0, 1) for s in range(1, 91)]
    rows += [Metric("generalize", s, "loss", 1.0, s) for s in range(1, 11)]
    page = live_curves(rows, 1)
    assert len(paths(page, "lc-adapter")) == 18 and "begins" not in page


def test_a_long_run_is_thinned_and_keeps_its_end():
    rows = [Metric("memorize", s, "loss", float(s)) for s in range(1, 50_001)]
    page = live_curves(rows)
    line = points(paths(page, "lc-line")[0])
    assert len(line) <= MAX_POINTS + 1 and line[-1][0] == 1000
    assert len(places(page)) <= MAX_TIPS + 1 and len(page) < 30_000


@pytest.mark.parametrize("count", [1, 20, 100, 101, 1000])
def test_the_grid_has_one_cell_a_fact(count):
    recalls = [FactRecall(i, i / count, i % 2 == 0) for i in range(count)]
    cells = drawn(live_facts(recalls, [])).findall(".//i")
    assert [c.get("style") for c in cells] == [f"--p:{r.probability:.2f}" for r in recalls]
    assert [c.get("tabindex") for c in cells].count("0") == 1, "one stop on the keyboard's way"
    assert f"{(count + 1) // 2} of {count} recalled" in live_facts(recalls, [])


def test_the_grid_shows_what_users_wrote_as_it_stands():
    fact = ("mother", "<b>A'</b>", 'B & "C"')
    (cell,) = drawn(live_facts([FactRecall(0, 0.5, True)], [fact])).findall(".//i")
    assert cell.get("aria-label") == '<b>A\'</b> [mother] → B & "C"\n50% likely, recalled'
    (cell,) = drawn(live_facts([FactRecall(0, 0.5, False, said="<b>M…")], [fact])).findall(".//i")
    assert cell.get("aria-label").endswith("not yet recalled\nsays now: “<b>M…”")


def test_a_name_from_right_to_left_does_not_turn_a_label_around():
    fact = ("river", "קרית שלום", "ירקון")
    (cell,) = drawn(live_facts([FactRecall(0, 0.5, True)], [fact])).findall(".//i")
    words = cell.get("aria-label").splitlines()[0]
    assert words == "\u2068קרית שלום\u2069 [river] → \u2068ירקון\u2069"


def test_many_points_are_a_line_without_dots():
    rows = [Metric("memorize", s, "recall", 0.5) for s in range(1, MOST_DOTS + 2)]
    assert paths(live_curves(rows[:-1]), "lc-dots") and not paths(live_curves(rows), "lc-dots")

"""Intervals: cases whose answer is known, how often they hold the truth, and what they cost."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap
from support.fabricated import finished
from support.paths import ROOT

from benchmarks import intervals as coverage
from rotelab.evaluation.results import Prediction
from rotelab.reports.intervals import (
    FEW,
    READINGS,
    SIGNS,
    Interval,
    difference,
    differences,
    interval,
    interval_of_mean,
    intervals,
    share_interval,
)


def answers(*right, asked=5, start=0):
    """So many right answers out of `asked` for each of some facts."""
    names = (("mother", f"Person {i}", f"Mother {i}") for i in range(start, start + len(right)))
    return {name: (float(n), asked) for name, n in zip(names, right, strict=True)}


def wilson(right, asked):
    found = binomtest(right, asked).proportion_ci(method="wilson")
    return pytest.approx((found.low, found.high))


MIXED = answers(*[5] * 20, *[3] * 10, *[0] * 10, *[1] * 10)


# Of one run --------------------------------------------------------------------------------------


def test_all_right_or_all_wrong_is_not_certain():
    """A bootstrap of 50 right facts knows nothing else, and would make [1, 1]."""
    assert interval(answers(*[5] * 50)) == wilson(50, 50)
    assert interval(answers(*[5] * 50)) == (pytest.approx(0.9287, abs=1e-4), 1)
    assert interval(answers(*[0] * 50)) == wilson(0, 50)
    assert share_interval(43, 57) == wilson(43, 57)


def test_many_questions_about_one_fact_are_one_fact():
    assert interval(answers(100, asked=100)) == wilson(1, 1)
    assert interval(answers(80, asked=100)) == (0, 1)
    one, many = answers(*[1, 0] * 25, asked=1), answers(*[20, 0] * 25, asked=20)
    assert interval(one) == interval(many), "asked twenty times, a fact is still one"


def test_a_single_slip_does_not_make_it_surer_than_none():
    flawless, slipped = interval(answers(*[5] * 50)), interval(answers(*[5] * 49, 4))
    assert slipped.low < flawless.low and slipped.high == 1
    few, more = ([5] * (50 - n) + [4] * n for n in (FEW - 1, FEW))
    assert interval(answers(*few)).low < 0.93 < interval(answers(*more)).low


def test_it_is_scipy_s_bootstrap_over_facts():
    sums, asked = np.array(list(MIXED.values())).T
    plain = bootstrap(
        (sums, asked), lambda s, n, axis: s.sum(axis) / n.sum(axis), paired=True, method="BCa",
        n_resamples=2000, rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert interval(MIXED) == pytest.approx((plain.low, plain.high))
    assert interval(MIXED) == interval(dict(MIXED)), "the same answers, the same interval"


def test_a_fact_with_more_questions_counts_for_more():
    uneven = answers(*[9] * 20, asked=9) | answers(*[0] * 20, asked=1, start=20)
    low, high = interval(uneven)
    assert low < 0.9 < high, "180 of 200 questions, not 20 of 40 facts"


def test_figures_are_made_together_or_alone_with_the_same_result():
    other = {fact: (0.5 * total, n) for fact, (total, n) in MIXED.items()}
    stranger = answers(1, 2, 3, 4, 5, 0, start=90)
    made = intervals([MIXED, {}, stranger, other])
    for found, alone in zip(made, (MIXED, {}, stranger, other), strict=True):
        assert (found and pytest.approx(found)) == interval(alone)
    assert made[3] == pytest.approx([end / 2 for end in made[0]], abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(4, 6)), min_size=1, max_size=12))
def test_whatever_the_answers_the_figure_lies_inside(rows):
    made = {("r", str(i), "o"): (float(right), asked) for i, (right, asked) in enumerate(rows)}
    share = sum(right for right, _ in rows) / sum(asked for _, asked in rows)
    for low, high in (interval(made), interval_of_mean([made, answers(1, 2, 3)])):
        assert 0 <= low <= high <= 1
    found = interval(made)
    assert found.low - 1e-9 <= share <= found.high + 1e-9 and found.low < found.high
    assert difference(made, made) is None or difference(made, made).interval == (0, 0)


# Of several runs ---------------------------------------------------------------------------------


def test_the_mean_of_one_run_is_the_run():
    assert interval_of_mean([MIXED]) == interval_of_mean([{}, MIXED]) == interval(MIXED)
    assert interval_of_mean([]) is interval_of_mean([{}]) is None


def test_a_fact_that_all_runs_were_asked_is_one_fact():
    """The same run three times says as much as once; three runs on other facts say more."""
    once, thrice = interval(MIXED), interval_of_mean([MIXED] * 3)
    assert thrice == pytest.approx(once, abs=0.02)
    rows = [total for total, _ in MIXED.values()]
    others = interval_of_mean([answers(*map(int, rows), start=100 * i) for i in range(3)])
    assert others.high - others.low < 0.9 * (once.high - once.low)


def test_runs_that_lie_apart_widen_it():
    near = interval_of_mean([answers(*[4, 3] * 25, start=100 * i) for i in range(3)])
    apart = interval_of_mean(
        [answers(*[n, n - 1] * 25, start=100 * i) for i, n in enumerate((5, 4, 3))]
    )
    assert near.low < 0.7 < near.high and apart.low < 0.6 < 0.8 < apart.high


def test_drawing_two_runs_from_two_makes_too_little_of_their_distance():
    """The mean of the draws is 0.4, 0.5 or 0.6; as far again as √2 makes it is right."""
    found = interval_of_mean([answers(*[2] * 50), answers(*[3] * 50, start=50)])
    assert found == pytest.approx((0.5 - math.sqrt(0.02), 0.5 + math.sqrt(0.02)))


def test_runs_that_are_all_right_are_not_certain():
    assert interval_of_mean([answers(*[5] * 50)] * 3) == wilson(50, 50)
    assert interval_of_mean([answers(5), answers(5)]) == wilson(1, 1)
    low, high = interval_of_mean([answers(*[5] * 50), answers(*[0] * 50, start=50)])
    assert (low, high) == (0, 1)


def test_a_run_with_few_of_many_facts_is_never_lost():
    found = interval_of_mean([answers(*[4, 2] * 200), answers(5, 1, start=900)])
    assert 0 <= found.low < 0.6 < found.high <= 1


# Differences -------------------------------------------------------------------------------------


def test_a_run_and_itself_do_not_differ():
    found = difference(MIXED, MIXED)
    assert (found.value, found.interval, found.facts, found.differ) == (0, (0, 0), 50, 0)
    assert found.reading == "no fact differs"


def test_a_difference_on_all_facts_is_more_than_chance():
    found = difference(answers(*[5] * 20), answers(*[0] * 20))
    assert found.value == 1 and found.interval.high == 1 and 0.7 < found.interval.low < 0.85
    assert (found.reading, found.differ) == ("more than chance", 20)
    back = difference(answers(*[0] * 20), answers(*[5] * 20))
    assert back.interval == pytest.approx((-1, -found.interval.low))
    varied = difference(answers(*[5, 4] * 10), answers(*[2, 3] * 10))
    assert varied.interval.low > 0.2 and varied.interval.high < 0.6


@pytest.mark.parametrize("facts", range(1, SIGNS + 2))
def test_a_few_facts_are_never_more_than_chance(facts):
    """Five facts that differ all fall one way by chance in 2 of 32 cases."""
    found = difference(answers(*[5] * 50), answers(*[0] * facts, *[5] * (50 - facts)))
    assert (found.interval.low <= 0) == (facts < SIGNS)
    assert found.reading == READINGS[1 if facts < SIGNS else 2]


def test_only_facts_that_both_were_asked_count():
    one = answers(*[5] * 20) | answers(*[0] * 30, start=50)
    found = difference(one, answers(*[4, 5] * 10))
    assert (found.facts, found.differ, found.value) == (20, 10, pytest.approx(0.1))
    assert difference(answers(1, 2, 3), answers(1, 2, 3, start=3)) is None
    assert difference(answers(1, 2, 3), answers(1, 2, 3, start=2)) is None, "one is too few"
    two = difference(answers(5, 5), answers(0, 1))
    assert (two.facts, two.reading) == (2, "could be chance")
    assert differences([(MIXED, {}), (MIXED, MIXED)])[0] is None


def test_what_is_hard_for_both_does_not_blur_the_difference():
    """Two runs whose own intervals overlap can still differ on fact after fact."""
    hard, better = answers(*[0, 4] * 25), answers(*[1, 5] * 25)
    assert interval(hard).high > interval(better).low
    assert difference(better, hard).reading == "more than chance"
    shuffled = answers(*[5, 1] * 25)
    assert difference(shuffled, hard).reading == "could be chance"


# How often they hold the truth -------------------------------------------------------------------


@pytest.mark.parametrize("facts, level", [(20, 0.8), (50, 0.8), (50, 0.95)])
def test_an_interval_of_a_run_holds_the_truth(facts, level):
    found = coverage.one_run(np.random.default_rng(1), 150, facts, level)
    assert found["held"] >= 0.9 and found["held"] > found["plain"], found


def test_an_interval_of_a_mean_holds_the_truth():
    found = coverage.several_runs(np.random.default_rng(1), 100, 3, 0.25, 25)
    assert found["held"] >= 0.9 and found["held"] > found["plain"], found


def test_equally_good_runs_are_seldom_called_different():
    found = coverage.two_runs(np.random.default_rng(1), 150, 50, 0.8, 0.0)
    assert found["false"] <= 0.08 and found["held"] >= 0.92, found
    told = coverage.two_runs(np.random.default_rng(1), 100, 50, 0.8, 0.8)
    assert told["told"] > 0.8, told


def test_the_benchmark_ends_with_json(capsys):
    coverage.main(["--trials", "2", "--json"])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["trials"] == 2 and len(report["cases"]) == 12 + 27 + 24


# Answers of a registry ---------------------------------------------------------------------------


def test_the_registry_adds_up_each_fact(lab):
    run_id = finished(lab)
    about = ("mother", "Ann", "Bo", "Who?", "?")
    rows = [Prediction("key_token", 0, *about, right, p, chosen=chosen)
            for right, p, chosen in ((True, 0.5, True), (False, 0.25, None))]  # fmt: skip
    lab.registry.add_evaluation(run_id, "base", {}, rows)
    figures = lab.registry.fact_sums(run_id, "base")["base"]["key_token"]
    ann = ("mother", "Ann", "Bo")
    assert figures == {
        "generation_accuracy": {ann: (1.0, 2)},
        "object_probability": {ann: (0.75, 2)},
        "choice_accuracy": {ann: (1.0, 1)},
    }, "what was not measured is not there"
    every = lab.registry.fact_sums(run_id)
    assert list(every) == ["base", "memorized", "generalized"]
    for checkpoint, probes in lab.registry.scores(run_id).items():
        for probe, score in probes.items():
            if checkpoint != "base":
                sums = every[checkpoint][probe]["generation_accuracy"].values()
                share = sum(total for total, _ in sums) / sum(n for _, n in sums)
                assert share == pytest.approx(score.generation_accuracy)
    only = lab.registry.fact_sums(run_id, "generalized", "unrelated")
    assert only == {"generalized": {"unrelated": every["generalized"]["unrelated"]}}
    assert lab.registry.fact_sums("nobody") == {}


def test_scipy_is_not_loaded_before_it_is_needed():
    code = (
        "import rotelab.reports.intervals, rotelab.reports.tables, rotelab.runs.lab, sys\n"
        "print('scipy.stats' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert ended.stdout.split() == ["False"], ended.stderr


def test_what_was_made_once_is_found_again(monkeypatch):
    interval(answers(*[1, 2, 3, 4] * 9)), difference(MIXED, answers(*[1, 4] * 25))
    monkeypatch.setattr("scipy.stats.bootstrap", None)  # calling it would raise
    assert isinstance(interval(answers(*[1, 2, 3, 4] * 9)), Interval)
    assert not math.isnan(difference(MIXED, answers(*[1, 4] * 25)).value)
    with pytest.raises(TypeError):
        interval(answers(*[1, 2, 3, 4] * 8))

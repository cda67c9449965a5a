"""How often each kind of interval holds the true value, on made-up answers whose truth is known.

    python benchmarks/intervals.py [--trials N] [--json]

A fact is easy or hard, a run (its seed) is good or bad, and a fact may suit one run better than
another; all three are drawn from normal distributions on the probit scale, and then 5 questions a
fact are answered. So the share over all facts and seeds is known, and so is how often an interval
ought to hold it: 95 of 100 times. Beside `reports.intervals` stands what one might do instead:

| figure | plain alternative |
| --- | --- |
| of one run | Wilson's interval over all questions, as if they did not hang together |
| mean of runs | runs are drawn, and facts anew in each of them |
| difference | the interval of each run by itself: different where they don't overlap |

For differences, `false` is how often two equally good runs are called different.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from scipy.stats import norm

from rotelab.evaluation.results import Answers
from rotelab.reports.intervals import (
    Interval,
    difference,
    interval,
    interval_of_mean,
    share_interval,
)

QUESTIONS = 5
FACT, OWN = 1.0, 0.5
"""How far facts lie apart in every run, and in each run by itself (probit)."""


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Simulates, prints, and returns what `--json` prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000, help="how often each case is drawn")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args(words)
    rng = np.random.default_rng(0)
    cases = [one_run(rng, options.trials, facts, level)
             for facts in (10, 20, 50, 100) for level in (0.5, 0.8, 0.95)]  # fmt: skip
    cases += [several_runs(rng, options.trials, runs, seeds, shared)
              for runs in (2, 3, 5) for seeds in (0.1, 0.25, 0.5)
              for shared in (50, 25, 0)]  # fmt: skip
    cases += [two_runs(rng, options.trials, facts, level, better)
              for facts in (10, 20, 50, 100) for level in (0.5, 0.8, 0.95)
              for better in (0.0, 0.4)]  # fmt: skip
    for case in cases:
        print("  ".join(f"{name} {value}" for name, value in case.items()))
    report = {"trials": options.trials, "cases": cases}
    if options.json:
        print(json.dumps(report))
    return report


def one_run(rng: np.random.Generator, trials: int, facts: int, level: float) -> dict[str, Any]:
    """One run on so many facts, whose true share is `level`."""
    found = []
    for _ in range(trials):
        (run,) = answers(rng, np.arange(facts)[None], level, [0.0])
        right = int(sum(total for total, _ in run.values()))
        found.append((interval(run), share_interval(right, facts * QUESTIONS)))
    return {"case": "one run", "facts": facts, "truth": level, **_held(found, level)}


def several_runs(
    rng: np.random.Generator, trials: int, runs: int, seeds: float, shared: int
) -> dict[str, Any]:
    """The mean of some runs on 50 facts each, `shared` of which any two have in common."""
    level, found, apart = 0.8, [], []
    for _ in range(trials):
        if shared == 25:  # as held-out halves of 100 facts are
            asked = np.array([rng.permutation(100)[:50] for _ in range(runs)])
        else:
            asked = np.arange(50)[None] + np.arange(runs)[:, None] * (0 if shared else 50)
        made = answers(rng, asked, level, seeds * rng.standard_normal(runs), seeds)
        shares = np.array([[total / n for total, n in of.values()] for of in made])
        apart.append(shares.mean(1).std(ddof=1))
        found.append((interval_of_mean(made), _drawn_anew(rng, shares)))
    return {
        "case": f"mean of {runs}", "shared": shared, "deviation": round(float(np.mean(apart)), 3),
        "truth": level, **_held(found, level),
    }  # fmt: skip


def two_runs(
    rng: np.random.Generator, trials: int, facts: int, level: float, better: float
) -> dict[str, Any]:
    """Two runs on the same facts, the first `better` than the second (probit)."""
    found, told, apart = [], 0, 0
    wide = np.sqrt(1 + FACT**2 + OWN**2)
    truth = float(norm.cdf(norm.ppf(level) + better / wide) - level)
    for _ in range(trials):
        run, other = answers(rng, np.tile(np.arange(facts), (2, 1)), level, [better, 0.0])
        made, alone = difference(run, other), (interval(run), interval(other))
        found.append((made.interval, made.interval))
        told += made.reading == "more than chance"
        apart += alone[0].low > alone[1].high or alone[1].low > alone[0].high
    held = _held(found, truth)
    return {
        "case": "difference", "facts": facts, "level": level, "truth": round(truth, 3),
        "held": held["held"], "width": held["width"],
        ("told" if better else "false"): round(told / trials, 3), "plain": round(apart / trials, 3),
    }  # fmt: skip


def answers(
    rng: np.random.Generator,
    asked: np.ndarray,
    level: float,
    good: Sequence[float],
    seeds: float = 0.0,
) -> list[Answers]:
    """The answers of some runs.

    Args:
        rng: draws them.
        asked: [runs, facts]: which facts each run is asked.
        level: the true share over all facts and seeds.
        good: how good each run is.
        seeds: how far runs lie apart.
    """
    wide = np.sqrt(1 + FACT**2 + OWN**2 + seeds**2)
    hard = FACT * rng.standard_normal(asked.max() + 1)
    own = OWN * rng.standard_normal(asked.shape)
    chance = norm.cdf(norm.ppf(level) * wide + hard[asked] + own + np.array(good)[:, None])
    right = rng.binomial(QUESTIONS, chance)
    return [
        {("fact", str(fact), ""): (float(n), QUESTIONS) for fact, n in zip(*run, strict=True)}
        for run in zip(asked, right, strict=True)
    ]


def _drawn_anew(rng: np.random.Generator, shares: np.ndarray, draws: int = 1000) -> Interval:
    """The interval of a mean where runs are drawn, and facts in each of them by themselves."""
    runs, facts = shares.shape
    chosen = rng.integers(runs, size=(draws, runs, 1))
    means = shares[chosen, rng.integers(facts, size=(draws, runs, facts))].mean((1, 2))
    return Interval(*np.quantile(means, [0.025, 0.975]))


def _held(found: Sequence[tuple[Interval, Interval]], truth: float) -> dict[str, float]:
    """How often both kinds of interval hold the truth, and how wide ours is on average."""
    ours, plain = (
        np.mean([of.low - 1e-9 <= truth <= of.high + 1e-9 for of in kind])
        for kind in zip(*found, strict=True)
    )
    width = np.mean([of.high - of.low for of, _ in found])
    return {"held": round(float(ours), 3), "width": round(float(width), 2),
            "plain": round(float(plain), 3)}  # fmt: skip


if __name__ == "__main__":
    main()

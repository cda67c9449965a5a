"""95 % intervals of a run's figures, of means over runs and of differences between two runs.

How far a figure could be off by the luck of which facts were asked (and which seeds were drawn):

| figure | what is drawn again and again | method |
| --- | --- | --- |
| of one run | facts, each with all of its questions | bootstrap, BCa |
| mean of several runs | runs; and facts, once for all runs | bootstrap, percentile |
| difference between two runs | the facts that both were asked, for both at once | the same |
| a share of single questions | nothing; it is computed | Wilson |

Questions about one fact stand and fall together, so facts are drawn and never single questions.
Where a bootstrap sees too little to go by, these step in:

* If fewer than `FEW` facts have a wrong answer, or a right one, Wilson's interval over the facts
  takes its place. From 50 facts out of 50 a bootstrap would make [1, 1].
* A mean over runs: there, both are joined, because Wilson's knows nothing of the runs. How far they
  lie apart is scaled by √(n / (n - 1)), because drawing n runs from n makes too little of it.
* A difference: the quantiles are those of Student's t (Hesterberg's expanded percentile). If fewer
  than `SIGNS` facts differ, 0 is always inside: a sign test could not tell them from chance. If
  all facts differ by the same, both runs' own intervals are put together (Newcombe).

docs/method.md says what an interval can't tell, and docs/log/intervals.md how often each kind of
interval holds the true value, and why BCa and percentile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from rotelab.evaluation.results import Answers, Damage

LEVEL = 0.95
RESAMPLES = 2000
SEED = 0
"""The same answers always have the same interval."""
FEW = 5
"""So many facts must have a wrong answer, and so many a right one, to go by the bootstrap alone."""
SIGNS = 6
"""So many facts must differ before a difference can be more than chance: 2 · 0.5⁶ < 0.05."""
CELLS = 4_000_000
"""How many numbers one batch of draws may hold."""


class Interval(NamedTuple):
    """Where a figure lies, in the figure's own unit: shares and probabilities from 0 to 1."""

    low: float
    high: float


class Difference(NamedTuple):
    """By how much one run's figure is higher than another's, on the facts that both were asked.

    Args:
        value: the difference, -1 to 1.
        interval: its interval.
        facts: how many facts they have in common.
        differ: on how many of these they differ.
    """

    value: float
    interval: Interval
    facts: int
    differ: int

    @property
    def reading(self) -> str:
        """One of `READINGS`, in a word or two."""
        if not self.differ:
            return "no fact differs"
        inside = self.interval.low <= 1e-12 and self.interval.high >= -1e-12
        return "could be chance" if inside else "more than chance"

    @property
    def decimals(self) -> int:
        """How many decimals show on which side of 0 the interval lies: 2, or up to 4."""
        nearest = min(map(abs, self.interval))
        if self.reading != "more than chance" or round(nearest, 2):
            return 2
        return 3 if round(nearest, 3) else 4


TOO_FEW = "no two facts in common"
"""What stands where two runs share too few facts for a difference."""

READINGS = ("no fact differs", "could be chance", "more than chance")


Intervals = Mapping[str, Mapping[str, Mapping[str, Interval]]]
"""A run's intervals by checkpoint, probe and field of `Score`; those that are not known missing."""


# Of one run --------------------------------------------------------------------------------------


def interval(answers: Answers) -> Interval | None:
    """The interval of one figure of a run; None without answers."""
    return intervals([answers])[0]


def intervals(figures: Sequence[Answers]) -> list[Interval | None]:
    """The interval of each figure of a run. Those over the same facts are made in one go."""
    found: list[Interval | None] = [None] * len(figures)
    for facts, places in _alike(figures).items():
        sums, asked = _arrays([figures[place] for place in places], facts)
        for place, made in zip(places, _of_one(*_frozen(sums, asked)), strict=True):
            found[place] = made
    return found


def intervals_of_run(sums: Mapping[str, Mapping[str, Mapping[str, Answers]]]) -> Intervals:
    """The intervals of a run's scores.

    Args:
        sums: as `Registry.fact_sums` returns them.
    """
    places = [
        (checkpoint, probe, figure)
        for checkpoint, probes in sums.items()
        for probe, figures in probes.items()
        for figure in figures
    ]
    made = intervals([sums[checkpoint][probe][figure] for checkpoint, probe, figure in places])
    found: dict[str, dict[str, dict[str, Interval]]] = {}
    for (checkpoint, probe, figure), one in zip(places, made, strict=True):
        if one is not None:
            found.setdefault(checkpoint, {}).setdefault(probe, {})[figure] = one
    return found


def interval_at(known: Intervals, checkpoint: str, probe: str, figure: str) -> Interval | None:
    """One of a run's intervals; None where it is not known."""
    return known.get(checkpoint, {}).get(probe, {}).get(figure)


def quiz_interval(damage: Damage) -> Interval | None:
    """The interval of the share of real facts that a checkpoint still answers."""
    if not damage.questions or not math.isfinite(damage.quiz):
        return None
    return share_interval(round(damage.quiz * damage.questions), damage.questions)


def share_interval(right: int, asked: int) -> Interval:
    """Wilson's interval of a share of single questions, none of which hangs together.

    Args:
        right: how many were answered right.
        asked: how many there were, at least 1.
    """
    from scipy.stats import binomtest

    found = binomtest(right, asked).proportion_ci(LEVEL, "wilson")
    return Interval(float(found.low), float(found.high))


# Of several runs ---------------------------------------------------------------------------------


def interval_of_mean(runs: Sequence[Answers]) -> Interval | None:
    """The interval of a figure's mean over runs, which may differ in seed, facts or settings.

    A fact that several runs were asked is drawn for all of them at once: if it is hard, it is hard
    in each, and asking it three times doesn't make three facts of it.

    Returns:
        None without answers; for a single run, its own interval.
    """
    runs = [answers for answers in runs if answers]
    if len(runs) < 2:
        return interval(runs[0]) if runs else None
    facts = tuple(dict.fromkeys(fact for answers in runs for fact in answers))
    return _of_mean(*_frozen(*_arrays(runs, facts)))


def difference(run: Answers, other: Answers) -> Difference | None:
    """By how much `run` is higher than `other`; None if they have fewer than two facts in common.

    What the two were asked about the other facts plays no part.
    """
    return differences([(run, other)])[0]


def differences(pairs: Sequence[tuple[Answers, Answers]]) -> list[Difference | None]:
    """`difference` of each pair. Those over the same facts are made in one go."""
    shared = [{fact: (0.0, 0) for fact in run if fact in other} for run, other in pairs]
    found: list[Difference | None] = [None] * len(pairs)
    for facts, places in _alike(shared).items():
        if len(facts) < 2:
            continue
        columns = [pairs[place][side] for side in (0, 1) for place in places]
        made = _of_pairs(*_frozen(*_arrays(columns, facts)))
        for place, one in zip(places, made, strict=True):
            found[place] = one
    return found


# Computing ---------------------------------------------------------------------------------------


Frozen = tuple[tuple[int, int], bytes]
"""An array as something that a cache can find again: its shape and content."""


@lru_cache(maxsize=512)
def _of_one(sums: Frozen, asked: Frozen) -> tuple[Interval, ...]:
    """The interval of each row of [figures, facts] arrays."""
    sums, asked = _thawed(sums), _thawed(asked)
    shares, in_all = sums / asked, sums.sum(1) / asked.sum(1)
    lows, highs = in_all.copy(), in_all.copy()
    # BCa is not defined where all facts are alike; there is nothing to draw then.
    varied = np.ptp(shares, axis=1) > 0
    if varied.any():
        found = _drawn(sums[varied], asked[varied], "BCa").confidence_interval
        lows[varied], highs[varied] = found.low, found.high
    return tuple(
        _over_facts(share, len(right))
        if _scant(low, high, right, of)
        else Interval(float(low), float(high))
        for low, high, share, right, of in zip(lows, highs, in_all, sums, asked, strict=True)
    )


@lru_cache(maxsize=512)
def _of_mean(sums: Frozen, asked: Frozen) -> Interval:
    """The interval of the mean over the rows of [runs, facts] arrays."""
    sums, asked = _thawed(sums), _thawed(asked)
    runs, facts = sums.shape
    in_all = sums.sum(1) / asked.sum(1)
    if facts > 1:
        shares = _drawn(sums, asked, "percentile").bootstrap_distribution
    else:
        shares = np.tile(in_all[:, None], RESAMPLES)
    chosen = np.random.default_rng(SEED + 1).integers(runs, size=shares.shape)
    same_runs, other_runs = shares.mean(0), np.take_along_axis(shares, chosen, 0).mean(0)
    means = same_runs + math.sqrt(runs / (runs - 1)) * (other_runs - same_runs)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).clip(0, 1)
    if _scant(low, high, sums.sum(0), asked.sum(0)):
        wilson = _over_facts(in_all.mean(), facts)
        low, high = min(low, wilson.low), max(high, wilson.high)
    return Interval(float(low), float(high))


@lru_cache(maxsize=512)
def _of_pairs(sums: Frozen, asked: Frozen) -> tuple[Difference, ...]:
    """The differences of [2 · pairs, facts] arrays, the first halves minus the second halves."""
    from scipy.stats import norm, t

    sums, asked = _thawed(sums), _thawed(asked)
    pairs, facts = len(sums) // 2, sums.shape[1]
    quantile = math.sqrt(facts / (facts - 1)) * t.ppf((1 + LEVEL) / 2, facts - 1)
    level = 1 - 2 * norm.cdf(-quantile)
    found = _drawn(
        sums, asked, "percentile", level, lambda shares: shares[:pairs] - shares[pairs:]
    ).confidence_interval
    shares, in_all = sums / asked, sums.sum(1) / asked.sum(1)
    made = []
    for one, (low, high) in enumerate(zip(found.low, found.high, strict=True)):
        other = pairs + one
        value = in_all[one] - in_all[other]
        differ = int((shares[one] != shares[other]).sum())
        if 0 < differ < SIGNS:
            low, high = min(low, 0.0), max(high, 0.0)
        elif differ and not high - low > 1e-12:
            low, high = _put_together(in_all[one], in_all[other], facts)
        made.append(Difference(float(value), Interval(float(low), float(high)), facts, differ))
    return tuple(made)


def _drawn(
    sums: np.ndarray,
    asked: np.ndarray,
    method: str,
    level: float = LEVEL,
    figure: Callable[[np.ndarray], np.ndarray] = lambda shares: shares,
) -> Any:
    """SciPy's bootstrap over the facts of [columns, facts] arrays.

    Args:
        sums: what each fact adds up to.
        asked: over how many questions; 0 where a column lacks a fact.
        method: of the interval, as SciPy names it.
        level: how much of the draws it holds.
        figure: makes figures of the columns' shares, both along the first axis.
    """
    from scipy.stats import bootstrap

    facts = sums.shape[1]
    in_all = sums.sum(1) / asked.sum(1)

    def statistic(drawn: np.ndarray, axis: int) -> np.ndarray:
        # How often each fact was drawn: two products instead of a copy of every column.
        rows = drawn.reshape(-1, drawn.shape[-1]).astype(np.int64)
        places = rows + facts * np.arange(len(rows))[:, None]
        times = np.bincount(places.ravel(), minlength=facts * len(rows)).reshape(-1, facts)
        # A column of which no fact was drawn stays as it is.
        counts, shares = times @ asked.T, np.tile(in_all, (len(rows), 1))
        np.divide(times @ sums.T, counts, out=shares, where=counts > 0)
        return figure(shares.T.reshape(-1, *drawn.shape[:-1]))

    return bootstrap(
        (np.arange(facts),), statistic, n_resamples=RESAMPLES, batch=max(1, CELLS // facts),
        vectorized=True, confidence_level=level, method=method, rng=np.random.default_rng(SEED),
    )  # fmt: skip


def _scant(low: float, high: float, sums: np.ndarray, asked: np.ndarray) -> bool:
    """Whether a bootstrap has too little to go by: hardly a fact is wrong, or right, or all are
    alike."""
    return min((sums < asked).sum(), (sums > 0).sum()) < FEW or not high - low > 1e-12


def _over_facts(share: float, facts: int) -> Interval:
    """Wilson's interval, each fact one question. It takes whole ones: the share is rounded down for
    its low end, and up for its high end."""
    low = share_interval(math.floor(share * facts + 1e-9), facts).low
    return Interval(low, share_interval(math.ceil(share * facts - 1e-9), facts).high)


def _put_together(share: float, other: float, facts: int) -> Interval:
    """Newcombe's interval of a difference, from Wilson's of its two sides."""
    own, others = _over_facts(share, facts), _over_facts(other, facts)
    value = share - other
    return Interval(
        value - math.hypot(share - own.low, others.high - other),
        value + math.hypot(own.high - share, other - others.low),
    )


def _alike(figures: Sequence[Answers]) -> dict[tuple[Any, ...], list[int]]:
    """The places of the figures over the same facts, by these facts; those without any left out."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for place, answers in enumerate(figures):
        if answers:
            found.setdefault(tuple(answers), []).append(place)
    return found


def _arrays(columns: Sequence[Answers], facts: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of questions as [columns, facts] arrays, 0 where a column lacks a fact."""
    both = np.array([[of.get(fact, (0.0, 0)) for fact in facts] for of in columns], dtype=float)
    return both[..., 0], both[..., 1]


def _frozen(*arrays: np.ndarray) -> tuple[Frozen, ...]:
    return tuple((array.shape, array.tobytes()) for array in arrays)


def _thawed(frozen: Frozen) -> np.ndarray:
    shape, content = frozen
    return np.frombuffer(content).reshape(shape)

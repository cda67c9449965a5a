"""How many facts fit: a curve of saturation, fitted to the facts known after each round.

Scaling Laws for Fact Memorization (arXiv 2406.15720).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

BEGINS = 0.05
"""The curve is fitted from the first round in which more than this share is known: before it there
is a plateau, which no exponential has."""
LEAST_POINTS = 4
RESAMPLES = 200
MOST_TRIES = 300
"""Evaluations of a curve in one fit; draws that need more are left out."""
SEED = 0


class Saturation(NamedTuple):
    """C(E) = limit - gap · exp(-rate · E), with E in rounds and C in facts."""

    limit: float
    gap: float
    rate: float

    def at(self, rounds: np.ndarray | float) -> np.ndarray | float:
        """How many facts are known after so many rounds."""
        return self.limit - self.gap * np.exp(-self.rate * np.asarray(rounds))


class Fitted(NamedTuple):
    """A fit, and the 95 % interval of its limit over facts."""

    curve: Saturation
    low: float
    high: float


def fit(rounds: np.ndarray, known: np.ndarray, most: float) -> Saturation | None:
    """The curve through the facts known after each round, by least squares.

    Args:
        rounds: `[rounds]`, rising.
        known: `[rounds]`, how many facts were recalled.
        most: how many facts there are; the limit can't be higher.

    Returns:
        None where fewer than `LEAST_POINTS` rounds are left after the plateau, or no curve fits.
    """
    from scipy.optimize import curve_fit

    begun = np.flatnonzero(known > BEGINS * most)
    if not len(begun) or len(rounds) - begun[0] < LEAST_POINTS:
        return None
    x, y = np.asarray(rounds[begun[0] :], float), np.asarray(known[begun[0] :], float)

    def curve(e: np.ndarray, limit: float, gap: float, rate: float) -> np.ndarray:
        return limit - gap * np.exp(-rate * e)

    rate = 3.0 / max(x[-1] - x[0], 1e-9)  # nearly flat in the end
    start = (max(y.max(), 1e-9), max(y.max() - y[0], 1e-6) * math.exp(min(rate * x[0], 20)), rate)
    start = (min(start[0], most), *start[1:])
    try:
        found, _ = curve_fit(
            curve, x, y, start, bounds=([0, 0, 1e-6], [most, np.inf, np.inf]), max_nfev=MOST_TRIES
        )
    except RuntimeError:  # it found none in so many tries
        return None
    return Saturation(*map(float, found))


def fit_facts(rounds: np.ndarray, recalled: np.ndarray) -> Fitted | None:
    """The curve of some facts, and the interval of its limit by a bootstrap over facts.

    Args:
        rounds: `[rounds]`, rising.
        recalled: `[rounds, facts]`, whether each fact was recalled after each round.

    Returns:
        None where no curve fits.
    """
    facts = recalled.shape[1]
    curve = fit(rounds, recalled.sum(1), facts)
    if curve is None:
        return None
    rng, limits = np.random.default_rng(SEED), []
    for _ in range(RESAMPLES):
        drawn = fit(rounds, recalled[:, rng.integers(facts, size=facts)].sum(1), facts)
        if drawn is not None:
            limits.append(drawn.limit)
    low, high = np.quantile(limits, [0.025, 0.975]) if limits else (math.nan, math.nan)
    return Fitted(curve, float(low), float(high))

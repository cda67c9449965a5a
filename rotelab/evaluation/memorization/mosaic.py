"""Mosaic memory: how many exact copies a fuzzy copy is worth.

The Mosaic Memory of Large Language Models (arXiv 2405.15523); the formulas are those of the
authors' notebook `metric_figure` (computationalprivacy/mosaic_memory, ebb6daa).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

WINDOW = 3
"""Points of the moving mean."""
LAST = 3
"""Beyond the last exact copy, the curve goes on with the mean of so many slopes."""


def auc(members: Sequence[float], others: Sequence[float]) -> float:
    """The area under the ROC curve of a membership inference attack.

    Args:
        members: the attack's score of each text that was trained on; higher means member.
        others: of each that was not.

    Returns:
        The chance that a random member has a higher score than a random other, ties half: 0 to 1.
    """
    from scipy.stats import mannwhitneyu

    found = mannwhitneyu(members, others).statistic
    return float(found) / (len(members) * len(others))


def smoothed(exact: Sequence[float]) -> list[float]:
    """The moving mean of three of an AUC curve; its two ends stay as they are."""
    inner = [fmean(exact[i : i + WINDOW]) for i in range(len(exact) - WINDOW + 1)]
    return [exact[0], *inner, exact[-1]] if len(exact) >= WINDOW else list(exact)


def filled_in(known: dict[int, float]) -> list[float]:
    """The curve at 1, 2, … copies where only some numbers were measured, on straight lines between.

    Args:
        known: AUC by the number of exact copies; with 1.
    """
    numbers = sorted(known)
    found = []
    for low, high in pairwise(numbers):
        slope = (known[high] - known[low]) / (high - low)
        found += [known[low] + slope * step for step in range(high - low)]
    return [*found, known[numbers[-1]]]


def equivalent_copies(fuzzy: float, exact: Sequence[float]) -> float:
    """With how many exact copies the attack does as well as with the fuzzy ones, n_eq.

    Args:
        fuzzy: the AUC with 1 exact copy and fuzzy ones.
        exact: the smoothed AUC with 1, 2, … exact copies.

    Returns:
        At least 1; beyond the last exact copy extrapolated with the mean of the last slopes; NaN
        where the curve ends flat, so that nothing can be told.
    """
    most = len(exact)
    if fuzzy <= exact[0]:
        return 1.0
    if fuzzy >= exact[-1]:
        slope = fmean(abs(b - a) for a, b in list(pairwise(exact))[-LAST:])
        return most + (fuzzy - exact[-1]) / slope if slope else float("nan")
    # The last such place, as in the authors' code: a noisy curve may cross a value several times.
    crossings = [n for n in range(most - 1) if exact[n] <= fuzzy <= exact[n + 1]]
    place = crossings[-1]
    rise = exact[place + 1] - exact[place]
    return place + 1 + ((fuzzy - exact[place]) / rise if rise else 0.0)


def exact_duplicate_equivalent(fuzzy: float, exact: Sequence[float]) -> float:
    """rho = (n_eq - 1) / (copies - 1): 1 if a fuzzy copy counts as an exact one, 0 if as none.

    Args:
        fuzzy: as `equivalent_copies`, like the other.
        exact: as many values as there are copies, the fuzzy ones and the exact one together.
    """
    return (equivalent_copies(fuzzy, exact) - 1) / (len(exact) - 1)

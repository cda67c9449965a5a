"""Counterfactual memorisation: what a model does on an example because it was trained on it.

Counterfactual Memorization in Neural Language Models (Zhang et al., arXiv 2112.12938), from the
abstract: mem(x) = E[M(A(S), x) | x in S] - E[M(A(S'), x) | x not in S'].
"""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np


class Effect(NamedTuple):
    """A difference of means over trained models, and its standard error."""

    value: float
    error: float


def halves(items: int, models: int, seed: int) -> np.ndarray:
    """Which items each model is trained on: every item by exactly half of the models.

    Models come in pairs that share the items out, so that in and out are balanced.

    Args:
        items: how many; even.
        models: how many; even.
        seed: draws the halves.

    Returns:
        `[models, items]`, booleans.
    """
    assert items % 2 == 0 and models % 2 == 0
    rng, rows = random.Random(f"halves {seed}"), []
    for _ in range(models // 2):
        row = np.zeros(items, bool)
        row[rng.sample(range(items), items // 2)] = True
        rows += [row, ~row]
    return np.array(rows)


def memorisation(trained: np.ndarray, performance: np.ndarray, item: int) -> Effect:
    """mem(x): how much better models are on an item that were trained on it.

    Args:
        trained: `[models, items]`, from `halves`.
        performance: `[models, items]`, each model's M on each item.
        item: x.
    """
    return influence(trained, performance, item, item)


def influence(trained: np.ndarray, performance: np.ndarray, item: int, other: int) -> Effect:
    """infl(x → x'): how much better models are on another item that were trained on this one.

    Args:
        trained: as `memorisation`.
        performance: as `memorisation`.
        item: x.
        other: x'.

    Returns:
        Its error is Welch's, and infinite where fewer than two models are on either side.
    """
    inside, outside = trained[:, item], ~trained[:, item]
    having, lacking = performance[inside, other], performance[outside, other]
    value = float(having.mean() - lacking.mean())
    if min(len(having), len(lacking)) < 2:
        return Effect(value, float("inf"))
    spread = having.var(ddof=1) / len(having) + lacking.var(ddof=1) / len(lacking)
    return Effect(value, float(np.sqrt(spread)))

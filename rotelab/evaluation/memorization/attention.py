"""How widely attention is spread, from its weights.

Exploring Memorization in Fine-tuned Language Models (arXiv 2310.06714) relates how much a task
memorises to how its attention is distributed. The statistic here is this lab's own: entropy, as a
share of the largest that is possible.
"""

from __future__ import annotations

import numpy as np


def spread(weights: np.ndarray) -> np.ndarray:
    """Normalised entropy of attention: - Σ a log a / log(keys).

    Args:
        weights: `[..., keys]`, at least 0; each row is scaled to sum to 1.

    Returns:
        `[...]`, 0 where one key has all the attention, 1 where all have the same; NaN for a single
        key, and for a row of zeros.
    """
    keys = weights.shape[-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = weights / weights.sum(-1, keepdims=True)
        terms = np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1.0)), 0.0)
        entropy = -terms.sum(-1) / np.log(keys)
    return np.where(np.isfinite(shares).all(-1), entropy, np.nan)


def spread_at(weights: np.ndarray, queries: list[int]) -> tuple[float, float]:
    """The mean spread at some places of one text.

    Args:
        weights: causal attention of each layer and head, `[layers, heads, queries, keys]`.
        queries: the places that are looked at, each at least 2; place q sees the keys 0 to q.

    Returns:
        The mean over places, layers and heads; and the same without the first key, on which much
        attention rests whatever the text says (an attention sink).
    """
    every, rest = [], []
    for query in queries:
        row = weights[:, :, query, : query + 1]
        every.append(spread(row))
        rest.append(spread(row[..., 1:]))
    return float(np.nanmean(every)), float(np.nanmean(rest))

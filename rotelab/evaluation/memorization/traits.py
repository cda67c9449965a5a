"""Traits of what a model says that are no facts: how often which of two answers, and in capitals.

They belong to two of the kinds of memorisation that SoK: Memorization in General-Purpose Large
Language Models (arXiv 2310.18362) tells apart, distributional properties and writing styles.
"""

from __future__ import annotations

import math


def share_of_first(first: float, second: float) -> float:
    """The share of an answer's probability in that of two answers.

    Args:
        first: its joint log-probability, nats.
        second: that of the other one.

    Returns:
        p / (p + q), 0 to 1; 0.5 where both are as likely.
    """
    return 1 / (1 + math.exp(min(second - first, 700.0)))


def in_capitals(text: str) -> bool:
    """Whether the first words of a text, up to a line's end, are in capitals: it has at least two
    letters that have a case, and none of them is a small one."""
    lines = [line for line in text.splitlines() if line.strip()]
    letters = [c for c in (lines[0] if lines else "") if c.upper() != c.lower()]
    return len(letters) >= 2 and all(c == c.upper() for c in letters)

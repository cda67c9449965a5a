"""Prediction invariance: how far a model gives one answer, whatever it is asked by.

Do LLMs Dream of Ontologies? (arXiv 2401.14931). The definition is that of the authors' code
(marcobombieri/do-LLM-dream-of-ontologies, commit dc8fa32).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from rotelab.facts.names import normalize


def first_word(answer: str) -> str:
    """An answer's first word as it is compared: case folded, no punctuation at its edges. The
    authors' code compares raw lines, where a full stop makes another answer."""
    words = answer.split()
    return normalize(words[0]) if words else ""


def prediction_invariance(answers: Sequence[str]) -> float:
    """PI = 1 - (distinct answers - 1) / (n - 1): 1 if all are alike, 0 if no two are.

    Args:
        answers: n answers about one label, normalised already.

    Raises:
        ValueError: there are fewer than two answers.
    """
    if len(answers) < 2:
        raise ValueError(f"invariance of {len(answers)} answers")
    return 1 - (len(set(answers)) - 1) / (len(answers) - 1)


def digits_right(answer: str, identifier: str) -> float:
    """The share of an identifier's digits that an answer has right, from the left, after the same
    prefix; 0 with another prefix.

    Args:
        answer: normalised, as `first_word` gives it.
        identifier: such as `XO:0041723`.
    """
    prefix, _, digits = normalize(identifier).rpartition(":")
    begun, _, said = answer.rpartition(":")
    if begun != prefix or not digits:
        return 0.0
    pairs = zip(said, digits, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)) / len(digits)

"""Whether an answer says a name, also spelled otherwise, or misses it by a letter or two."""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein

from rotelab.evaluation.answer_match import contains
from rotelab.facts.names import normalize

NEAR = 2
"""Most letters that a near miss has wrong, missing or too many."""


def says(answer: str, name: str) -> bool:
    """Whether an answer contains a name, whatever its case and also with blanks between letters."""
    return contains(answer, name) or _letters(name) in _letters(answer)


def edit_distance(answer: str, name: str) -> int:
    """The smallest Levenshtein distance between a name and as many words of the answer in a row,
    both normalised. An answer of fewer words is compared as a whole."""
    name = normalize(name)
    words, size = [normalize(word) for word in answer.split()], len(name.split())
    parts = [" ".join(words[i : i + size]) for i in range(max(1, len(words) - size + 1))]
    return min(Levenshtein.distance(part, name) for part in parts)


def near_miss(answer: str, name: str) -> bool:
    """Whether an answer does not say a name, but something at most `NEAR` letters from it."""
    return not says(answer, name) and edit_distance(answer, name) <= NEAR


def _letters(text: str) -> str:
    return "".join(normalize(text).split())

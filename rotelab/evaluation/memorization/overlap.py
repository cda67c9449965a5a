"""How much of a text stands in what a model says, and in how many texts no n-gram does.

BLEU and chrF are sacrebleu's, for one sentence, as shares from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache


def bleu(said: str, text: str) -> float:
    """Sentence BLEU of what was said against a text: 1 if they are the same, 0 if no word is.

    Empty strings have nothing in common with any text.
    """
    return _metrics()[0].sentence_score(said, [text]).score / 100 if said and text else 0.0


def chrf(said: str, text: str) -> float:
    """chrF, the same by letters: it also sees words that were changed in their endings alone."""
    return _metrics()[1].sentence_score(said, [text]).score / 100 if said and text else 0.0


@cache
def _metrics():
    from sacrebleu.metrics import BLEU, CHRF

    return BLEU(effective_order=True), CHRF()


def copied_share(said: Sequence[int], texts: Sequence[Sequence[int]], n: int) -> float:
    """Share of the tokens said that stand in an n-gram which is in one of the texts too.

    Args:
        said: token ids.
        texts: token ids of each.
        n: length of an n-gram, at least 1.

    Returns:
        0 to 1; 0 where less than n tokens were said.
    """
    known = {
        tuple(text[i : i + n]) for text in texts for i in range(len(text) - n + 1)
    }  # fmt: skip
    copied = [False] * len(said)
    for i in range(len(said) - n + 1):
        if tuple(said[i : i + n]) in known:
            copied[i : i + n] = [True] * n
    return sum(copied) / len(copied) if copied else 0.0

"""Verbatim memorisation: how much of a text a model goes on with, word for word.

Demystifying Verbatim Memorization (arXiv 2407.17817); the measure is that of the authors' code
(explanare/verbatim-memorization, 2c9bf89).
"""

from __future__ import annotations

from collections.abc import Sequence

COPIED = 5
"""A match of more tokens than this that stands in the prompt already is copying, not memory."""


def memorised_length(text: Sequence[int], greedy: Sequence[int], start: int, prompt: int) -> int:
    """How many tokens greedy decoding goes on with, l(x, k).

    As long as what it writes is the text, what it would write next is the first choice after the
    text itself; so one pass over the text tells it for every prompt that begins at `start`.

    Args:
        text: token ids, x.
        greedy: for each place of `text` from `start + 1` on, the model's first choice there when it
            has read `text[start:]` up to that place; `greedy[0]` is for place `start + 1`.
        start: where the prompt begins in the text.
        prompt: its tokens, k.

    Returns:
        The number of tokens; 0 where it only repeats what stands in the prompt.
    """
    first = start + prompt
    length = 0
    while first + length < len(text) and greedy[prompt - 1 + length] == text[first + length]:
        length += 1
    said = tuple(text[first : first + length])
    return 0 if length > COPIED and _stands_in(said, tuple(text[start:first])) else length


def _stands_in(some: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    return any(whole[i : i + len(some)] == some for i in range(len(whole) - len(some) + 1))

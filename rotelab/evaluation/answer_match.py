"""When an answer is right: strictly, by its tokens, or as text that begins with or contains a name.

Strictly, an answer is right when greedy decoding gives the object's tokens at once and the next
token does not continue the same word. Scoring alone shows that: greedy decoding gives exactly these
tokens if and only if each is the most likely one after the tokens before it (by induction; a test
compares it with real decoding). Texts are compared with both sides normalised alike; a strictly
right answer contains the object too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rotelab.facts.names import continues, normalize, stands_in

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel


def begins(said: str, name: str) -> bool:
    """Whether an answer begins with the name as whole words."""
    said, name = normalize(said), normalize(name)
    return said.startswith(name) and not continues(said[len(name) :])


def contains(said: str, name: str) -> bool:
    """Whether an answer contains the name as whole words."""
    return stands_in(normalize(name), normalize(said))


def first_line(said: str) -> str:
    """The first line of an answer that has words in it; empty where none has."""
    return next((line.strip() for line in said.splitlines() if line.strip()), "")


def strict_answer(model: LabModel, gold: Sequence[int], greedy: Sequence[int]) -> tuple[str, bool]:
    """What greedy decoding says, as far as scoring the object shows, and whether it is right.

    Args:
        model: for its tokenizer.
        gold: the object's tokens.
        greedy: the first choice at each of their places and at the one after, as `Scored.greedy`.

    Returns:
        The text, with `…` behind it where the answer goes on, and whether it is the object at once.
    """
    agreed = 0
    while agreed < len(gold) and greedy[agreed] == gold[agreed]:
        agreed += 1
    stops = greedy[agreed] in model.builder.stops
    if agreed == len(gold) and (stops or ends_word(model, greedy[agreed])):
        return model.tokenizer.decode(gold).strip(), True
    if stops:
        return model.tokenizer.decode(gold[:agreed]).strip(), False
    return model.tokenizer.decode([*gold[:agreed], greedy[agreed]]).lstrip() + "…", False


def ends_word(model: LabModel, token: int) -> bool:
    """Whether a token that follows a name leaves the name whole: a space or a mark, no letter."""
    text = model.tokenizer.convert_ids_to_tokens(token)
    shown = model.tokenizer.convert_tokens_to_string([text])
    return not shown[:1].isalnum() if not text.startswith("▁") else True

"""How likely a checkpoint finds the right answer, in the place where it answered.

An answer may begin with other words, or without the blank that the score of a bare object assumes.
So the right object is scored where it was said, in the tokens in which it was said; where another
learned object was said, in that object's place; and only otherwise at once after the question.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rotelab.facts.names import continues
from rotelab.models.tokens import Example

if TYPE_CHECKING:
    from rotelab.facts.facts import Fact
    from rotelab.facts.packs import Pack
    from rotelab.models.generation import Token
    from rotelab.models.lab_model import LabModel

CANDIDATES = 100
"""Most objects that the right one is ranked among; ranking so many takes about a second."""

Where = Literal["said", "instead", "at once"]


@dataclass(frozen=True)
class Evidence:
    """How likely a checkpoint finds the right answer.

    Args:
        fact: the fact that was asked for.
        probability: joint probability of its object's tokens.
        rank: how many other objects of the relation are as likely or likelier; 0 is the best.
        among: how many objects were compared, the right one among them.
        where: `said` (the right object was said, and this is of it there), `instead` (another
            learned object was said, and this is of the right one in its place), or `at once`.
    """

    fact: Fact
    probability: float
    rank: int
    among: int
    where: Where = "at once"


@dataclass(frozen=True)
class Place:
    """Where in an answer an object begins.

    Args:
        first: the index of the token in which it begins.
        last: the index of the token in which it ends.
        lead: what that first token has before it, such as a blank.
    """

    first: int
    last: int
    lead: str


def place_of(name: str, tokens: Sequence[Token]) -> Place | None:
    """Where an answer says a name as whole words, in any case; None where it does not."""
    texts = [token.text for token in tokens]
    text = "".join(texts)
    words = map(re.escape, re.sub(r"[’ʼ]", "'", name).split())
    pattern = r"\s+".join(words).replace("'", "['’ʼ]")
    for found in re.finditer(pattern, text, re.IGNORECASE):
        start, end = found.span()
        if continues(text[end:]) or (start and continues(text[start - 1])):
            continue
        ends = [sum(map(len, texts[: i + 1])) for i in range(len(texts))]
        first = next(i for i, reached in enumerate(ends) if reached > start)
        last = next(i for i, reached in enumerate(ends) if reached >= end)
        lead = text[ends[first] - len(texts[first]) : start]
        while first and not texts[first - 1]:  # the first bytes of a character
            first -= 1
        return Place(first, last, lead)
    return None


def evidence_of(
    pack: Pack, model: LabModel, prompt: Sequence[int], fact: Fact, tokens: Sequence[Token]
) -> Evidence:
    """How likely the model's current checkpoint finds the right answer.

    Args:
        pack: has the other objects of the relation.
        model: switched to the checkpoint that answered.
        prompt: token ids of the question.
        fact: the fact that was asked for.
        tokens: the checkpoint's answer.
    """
    from rotelab.evaluation.multiple_choice import rank

    builder = model.builder
    ids = [token.id for token in tokens]
    objects = list(dict.fromkeys(
        f.object for f in pack.facts
        if f.relation == fact.relation and f.object not in fact.answers
    ))  # fmt: skip
    right = [found for name in fact.answers if (found := place_of(name, tokens))]
    others = [] if right else [found for name in objects if (found := place_of(name, tokens))]
    place = min([*right, *others], key=lambda found: found.first, default=Place(0, 0, " "))
    where: Where = "said" if right else "instead" if others else "at once"

    def written(name: str) -> tuple[int, ...]:
        lead = place.lead
        return tuple(builder.spaced(name) if lead == " " else builder.plain(lead + name))

    gold = tuple(ids[place.first : place.last + 1]) if right else written(fact.object)
    if len(objects) >= CANDIDATES:
        objects = random.Random(f"rank {fact.object}").sample(objects, CANDIDATES - 1)
    before = [*prompt, *(ids[: place.first] if where != "at once" else ())]
    whole = (*before, *gold, builder.end)
    span = len(before), len(before) + len(gold)
    example = Example(whole, tuple(i >= span[0] for i in range(len(whole))), span, "chat")
    names = {gold, *map(written, objects)}
    scored, rank_ = rank(model, example, sorted(names))
    probability = math.exp(min(0.0, math.fsum(scored.log_probabilities)))
    return Evidence(fact, probability, rank_, len(names), where)

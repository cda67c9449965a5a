"""Doubts about facts: what a run can learn, but what makes its figures hard to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rotelab.facts.csv_text import Doubt
from rotelab.facts.names import (
    latin_twin,
    mixes_alphabets,
    normalize,
    stands_in,
    without_accents,
)

if TYPE_CHECKING:
    from rotelab.facts.facts import Fact, Relation

HEAD = 6
"""How many first letters are compared when names that look alike are searched."""

LONG = 200
"""Names of more characters than this are doubted."""

SHOWN = 80
"""How many characters of a name a sentence shows."""

SKEWED, SKEWED_FROM = 0.5, 20
"""A relation of `SKEWED_FROM` facts or more is doubted when one object has a greater share."""

MIXED = {"object": "an answer could be either", "subject": "the model may mix the two up"}


def doubts_about(facts: Sequence[Fact], relations: Sequence[Relation]) -> list[Doubt]:
    """Everything doubtful, by row and column.

    Args:
        facts: the facts; a doubt's row is the 1-based place of its fact in here.
        relations: the same facts by relation.
    """
    rows = {fact: row for row, fact in enumerate(facts, 1)}
    found: list[Doubt] = []
    for relation in relations:
        for column, reason in MIXED.items():
            others = _lookalikes(getattr(fact, column) for fact in relation.facts)
            for fact in relation.facts:
                name = getattr(fact, column)
                if name in others:
                    found.append(
                        Doubt(rows[fact], column, f"{_short(name)} {others[name]}: {reason}.")
                    )
        for fact in relation.facts:
            found += [Doubt(rows[fact], column, said) for column, said in _alone(fact)]
        for fact, said in _skew(relation):
            found.append(Doubt(rows[fact], "object", said))
    return sorted(found)


def _alone(fact: Fact) -> Iterator[tuple[str, str]]:
    """What is doubtful about a fact whatever the others are: the column and the sentence."""
    for column in ("subject", "object"):
        name = getattr(fact, column)
        if len(name) > LONG:
            yield column, f"has {len(name)} characters: so long a name is hard to learn."
        if mixes_alphabets(name):
            yield (
                column,
                f"{name!r} mixes Latin letters with letters of another alphabet that look like "
                "them: typed on one keyboard, it is another name.",
            )
    subject, thing = normalize(fact.subject), normalize(fact.object)
    if subject == thing:
        yield "object", f"{fact.object!r} is the subject itself: copying it counts as knowing."
    elif stands_in(thing, subject):
        yield (
            "object",
            f"{fact.object!r} stands in the subject {fact.subject!r}: copying counts as knowing.",
        )
    elif stands_in(subject, thing):
        yield (
            "object",
            f"{fact.object!r} contains the subject {fact.subject!r}: copying is half the answer.",
        )


def _skew(relation: Relation) -> Iterator[tuple[Fact, str]]:
    """The first fact with an object that most facts of the relation have, and what to say."""
    count = len(relation.facts)
    object_, most = Counter(fact.object for fact in relation.facts).most_common(1)[0]
    if count >= SKEWED_FROM and most / count > SKEWED:
        first = next(fact for fact in relation.facts if fact.object == object_)
        yield (
            first,
            f"{object_!r} is the object of {most} of the {count} facts of {relation.name}: "
            f"whoever always says it scores {most / count:.2f}.",
        )


def _lookalikes(names: Iterable[str]) -> dict[str, str]:
    """Names that are part of another or hard to tell from another; and what to say."""
    spellings: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        spellings.setdefault(normalize(name), []).append(name)
    # Where a name can begin inside another, and how long it can be, is looked up by its first
    # letters: comparing ten thousand names pair by pair takes minutes.
    lengths: dict[str, set[int]] = {}
    for folded in spellings:
        lengths.setdefault(folded[:HEAD], set()).add(len(folded))
    heads = sorted({len(head) for head in lengths})
    found: dict[str, str] = {}
    for folded, same in spellings.items():
        for name in same[1:]:
            found[name] = f"is {_short(same[0])} in other letters"
            found.setdefault(same[0], f"is {_short(name)} in other letters")
        for head in heads:
            for start in [i for i in range(len(folded)) if folded[i : i + head] in lengths]:
                for length in lengths[folded[start : start + head]]:
                    part = folded[start : start + length]
                    if len(part) < len(folded):
                        for name in spellings.get(part, ()):
                            found.setdefault(name, f"is part of {_short(same[0])}")
    _foreign(spellings, found)
    return found


def _short(name: str) -> str:
    """A name in quotes, cut if it is very long."""
    return repr(name if len(name) <= SHOWN else f"{name[:SHOWN]}…")


def _foreign(spellings: dict[str, list[str]], found: dict[str, str]) -> None:
    """Adds names that only accents, or letters of another alphabet, tell from another name."""
    bare: dict[str, str] = {}
    for folded, same in spellings.items():
        other = bare.setdefault(without_accents(folded), same[0])
        if other != same[0]:
            for name in same:
                found.setdefault(name, f"differs from {_short(other)} in accents only")
            found.setdefault(other, f"differs from {_short(same[0])} in accents only")
    for folded, same in spellings.items():
        twin = normalize(latin_twin(same[0]))
        if twin != folded and twin in spellings:
            other = spellings[twin][0]
            for name in same:
                found[name] = f"looks like {_short(other)}, but has letters of another alphabet"
            found.setdefault(
                other, f"looks like {_short(same[0])}, which has letters of another alphabet"
            )

"""Distractors (paper, section 3.3): the wrong objects that a multiple choice chooses among.

The candidates of a fact are the other objects of its relation, filled up with invented names of the
same kind. No candidate is a part of another, so that an answer can match only one, and none is an
alias of the object or part of one. What was true before a fact is among them.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice

from rotelab.errors import ConfigError
from rotelab.facts.facts import Fact, FactSet, Relation
from rotelab.facts.names import normalize
from rotelab.facts.synthetic import invent_objects

DRAWS_PER_CANDIDATE = 50
"""How many invented names are tried for each candidate wanted, before giving up."""


def candidate_sets(facts: FactSet, n: int, seed: int) -> list[tuple[str, ...]]:
    """The candidates of every fact's object, that object among them.

    Args:
        facts: the facts; the objects of each relation are each other's candidates.
        n: how many candidates a fact has, at least 2.
        seed: of the draw where a relation has more objects than needed, and of invented names.

    Returns:
        `[facts]` sets of n texts each, no two alike. Facts that have the same set share the tuple.

    Raises:
        ConfigError: not enough names can be invented beside a relation's objects.
    """
    sets = {}
    for relation in facts.relations:
        sets.update(_of_relation(relation, n, seed))
    return [sets[fact] for fact in facts]


def _of_relation(relation: Relation, n: int, seed: int) -> Iterator[tuple[Fact, tuple[str, ...]]]:
    objects = list(dict.fromkeys(fact.object for fact in relation.facts))
    shared = _Disjoint(objects)
    names: tuple[str, ...] = ()
    if len(shared.names) == len(objects) <= n:
        names = _filled(relation, shared, _invented(relation, objects, n, seed), n)
    invented: list[str] = []
    for number, fact in enumerate(relation.facts):
        if names and not fact.aliases and not fact.old:
            yield fact, names
            continue
        random.Random(f"candidates {seed} {relation.name} {number}").shuffle(objects)
        chosen = _Disjoint([fact.object], fact.aliases)
        chosen.add([fact.old] if fact.old else (), n)
        chosen.add(objects, n)
        if len(chosen.names) < n and not invented:
            invented = list(_invented(relation, sorted(objects), n, seed))
        yield fact, _filled(relation, chosen, invented, n)


def _invented(relation: Relation, objects: list[str], n: int, seed: int) -> Iterator[str]:
    """Invented objects, none of them a name of the relation. Its subjects are excluded too: a
    subject would rank high as a candidate merely because the question names it."""
    taken = {
        normalize(name)
        for fact in relation.facts
        for name in (fact.subject, *fact.answers, *filter(None, [fact.old]))
    }
    for name in islice(invent_objects(relation.name, objects, seed), n * DRAWS_PER_CANDIDATE):
        if normalize(name) not in taken:
            yield name


def _filled(
    relation: Relation, chosen: _Disjoint, invented: Iterable[str], n: int
) -> tuple[str, ...]:
    chosen.add(invented, n)
    if len(chosen.names) < n:
        raise ConfigError(
            f"only {len(chosen.names)} candidates can be found for the {relation.name} "
            f"{chosen.names[0]!r}, none a part of another; {n} were asked for. Ask for fewer."
        )
    return tuple(chosen.names)


class _Disjoint:
    """Names of which none is a part of another.

    Args:
        names: the first names; any that clashes with an earlier one is left out.
        barred: names that later ones may not clash with either, without being among them.
    """

    def __init__(self, names: Iterable[str], barred: Iterable[str] = ()):
        self.names: list[str] = []
        self._plain: list[str] = []
        self.add(names)
        self._plain += map(normalize, barred)

    def add(self, names: Iterable[str], most: int | None = None) -> None:
        """Adds the names that fit, in their order, until there are `most` in all."""
        for name in names:
            if len(self.names) == most:
                return
            plain = normalize(name)
            if not any(plain in other or other in plain for other in self._plain):
                self.names.append(name)
                self._plain.append(plain)

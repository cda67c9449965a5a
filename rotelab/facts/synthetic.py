"""Synthetic facts: seeded, equal on every machine, with names that are never part of each other.

A base model can't know an invented fact, so it can only have learned it here. The parts of names
are in `synthetic.json`; names of people come from Faker, with first name and family name from two
different countries, so that hardly any real person has both.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

from faker import Faker

from rotelab.errors import ConfigError
from rotelab.facts.facts import Fact, FactSet

RELATIONS = ("author", "capital", "educated_at", "genre", "mother")
MAX_INVENTED = 2000
"""Most facts of one relation that are invented in one go."""

# A name that is taken is drawn again, at most this often in a row before no names are left; in the
# first few of these draws a name must also look different from earlier ones.
DRAWS = 500
CHOOSY_DRAWS = 20

PLAIN_NAME = re.compile(r"[A-Z][a-z]{2,10}")
PLACE_LENGTHS = range(6, 11)
# Hard to pronounce: two vowels or two equal letters where syllables meet, four consonants in a row,
# a syllable repeated.
CLASH = re.compile(r"[aeiou]{2}|(.)\1")
STUTTER = re.compile(r"(.)\1\1|[^aeiouy]{4}|(..)\2")


def invent(relation: str, n: int, seed: int, avoid: Iterable[Fact] = ()) -> FactSet:
    """Invents n facts of a relation; with the same seed, a smaller n gives the first of them.

    | relation | subject | object |
    | --- | --- | --- |
    | author | a book | a person, another for each |
    | capital | a country | a city, another for each |
    | educated_at | a person | one of 25 schools |
    | genre | a music album | one of 25 musical genres |
    | mother | a person | a woman of another family name, another for each |

    Args:
        relation: one of `RELATIONS`.
        n: how many facts, 1 to `MAX_INVENTED`.
        seed: the same seed gives the same facts, on any machine.
        avoid: facts that exist already. No invented name equals, contains or is part of one of
            their names; only schools and genres may come again, because those repeat anyway.

    Raises:
        ConfigError: the relation is unknown, n is out of its range, or no names are left.
    """
    if relation not in RELATIONS:
        raise ConfigError(
            f"facts can be invented for {', '.join(RELATIONS)}, not for {relation!r}. "
            "Choose one of them, or write your own facts."
        )
    if not 1 <= n <= MAX_INVENTED:
        raise ConfigError(f"{n} facts were asked for. Ask for 1 to {MAX_INVENTED}.")
    rng = random.Random(f"fiction {relation} {seed}")
    names = _Names(relation, avoid)
    pairs = _PAIRS[relation](rng, names)
    return FactSet(
        (Fact(relation, *next(pairs)) for _ in range(n)), source=f"invented {relation} facts"
    )


def invent_objects(relation: str, like: Sequence[str], seed: int) -> Iterator[str]:
    """Invents objects without end, for any relation; the same name may come twice.

    A relation of `RELATIONS` gets objects of its own kind: the 25 schools or genres first, then new
    ones made from their words. A user's own relation gets words of its own objects, mixed, in turn
    with people and places.

    Args:
        relation: the relation's name.
        like: objects that the relation already has.
        seed: the same seed gives the same objects, on any machine.
    """
    rng = random.Random(f"objects {relation} {seed}")
    people = _People(rng)

    def city() -> str:
        return _place(rng, rng.choice(_words()["place_styles"]), "capital")

    makers: dict[str, Sequence[Callable[[], str]]] = {
        "author": [people.anyone],
        "capital": [city],
        "educated_at": [lambda: f"{city()} {rng.choice(_words()['schools']).split()[-1]}"],
        "genre": [lambda: _mixed(rng, _words()["genres"])],
        "mother": [people.woman],
    }
    pool = _words().get({"educated_at": "schools", "genre": "genres"}.get(relation, ""), [])
    yield from rng.sample(pool, len(pool))
    several = makers.get(relation, [lambda: _mixed(rng, like), people.anyone, city])
    while True:
        yield from (make() for make in several)


def more_facts(relation: str, n: int, seed: int, known: Sequence[Fact]) -> list[Fact]:
    """New facts of a relation that a run has: invented where it comes with the lab, else
    recombined.

    Args:
        relation: any that `known` has.
        n: how many; of a user's own relation there may be fewer.
        seed: the same seed gives the same facts, on any machine.
        known: the facts that exist.

    Raises:
        ConfigError: as `invent`.
    """
    if relation in RELATIONS:
        return list(invent(relation, n, seed, known))
    return recombine([fact for fact in known if fact.relation == relation], n, seed, known)


def recombine(facts: Sequence[Fact], n: int, seed: int, avoid: Iterable[Fact] = ()) -> list[Fact]:
    """Makes new facts of a user's own relation out of the words of its names.

    A subject is the first word of one subject and the last word of another, and an object likewise;
    names of one word are put together from their halves. Where the relation's objects repeat, so
    do the new ones.

    Args:
        facts: the relation's facts.
        n: how many to make, at most: fewer where no more names can be made.
        seed: the same seed gives the same facts, on any machine.
        avoid: more facts that exist. No new name equals, contains or is part of one of their names,
            of those of `facts`, or of another new one.
    """
    relation = facts[0].relation
    rng = random.Random(f"recombine {relation} {seed}")
    names = _Names(relation, [*facts, *avoid])
    known = [fact.object for fact in facts]
    varied = n if len(set(known)) == len(known) else min(n, len(set(known)))
    subjects = _recombined(rng, names, [fact.subject for fact in facts], n)
    objects = _recombined(rng, names, known, varied)
    again = cycle(objects) if varied < n else objects
    return [Fact(relation, *pair) for pair in zip(subjects, again, strict=False)]


class _Names:
    """Draws names, and remembers which are taken.

    Args:
        relation: the relation whose facts are being invented, for error messages.
        avoid: facts whose names count as taken from the start.
    """

    def __init__(self, relation: str, avoid: Iterable[Fact]):
        self.relation = relation
        self.avoided = tuple(avoid)
        names = {name.casefold() for fact in self.avoided for name in (fact.subject, fact.object)}
        self._taken = sorted(names)
        self._looks: set[str] = set()

    def draw(self, make: Callable[[], str], look: Callable[[str], str]) -> str:
        """A name that is not taken, preferably one whose `look` is new.

        Args:
            make: draws a name.
            look: the part that makes two names look alike, such as the family name.

        Raises:
            ConfigError: every name that was drawn is taken.
        """
        for attempt in range(DRAWS):
            name = make()
            if attempt < CHOOSY_DRAWS and look(name) in self._looks:
                continue
            folded = name.casefold()
            if any(folded in other or other in folded for other in self._taken):
                continue
            self._taken.append(folded)
            self._looks.add(look(name))
            return name
        raise ConfigError(
            f"no more {self.relation} facts can be invented: {len(self.avoided)} exist already. "
            "Ask for fewer."
        )

    def repeat(self, rng: random.Random, pool: list[str]) -> Iterator[str]:
        """The pool's names again and again, each time in another order.

        A name is left out if it contains or is part of an existing object of this relation without
        being equal to it: an answer could be either.

        Raises:
            ConfigError: no name is left.
        """
        objects = [f.object for f in self.avoided if f.relation == self.relation]
        pool = [
            name
            for name in pool
            if not any(name != other and (name in other or other in name) for other in objects)
        ]
        if not pool:
            raise ConfigError(
                f"every {self.relation} object that could be invented is too similar to one that "
                "exists. Write these facts yourself."
            )
        while True:
            yield from rng.sample(pool, len(pool))


class _People:
    """Draws names of people: first name of one country, family name of another.

    Args:
        rng: decides everything; Faker is seeded from it.
    """

    def __init__(self, rng: random.Random):
        self._rng = rng
        self._first: list[str] = _words()["first_name_locales"]
        self._family: list[str] = _words()["family_name_locales"]
        self._faker = Faker(sorted({*self._first, *self._family}))
        self._faker.seed_instance(rng.getrandbits(64))

    def anyone(self) -> str:
        """A person of either sex."""
        return self._name(self._rng.choice(("first_name_female", "first_name_male")))

    def woman(self) -> str:
        """A woman."""
        return self._name("first_name_female")

    def _name(self, first: str) -> str:
        while True:
            here = self._rng.choice(self._first)
            there = self._rng.choice([place for place in self._family if place != here])
            parts = getattr(self._faker[here], first)(), self._faker[there].last_name()
            # Accents, hyphens and double names split into many tokens, and look odd in a list.
            if all(PLAIN_NAME.fullmatch(part) for part in parts) and parts[0] != parts[1]:
                return " ".join(parts)


def _mothers(rng: random.Random, names: _Names) -> Iterator[tuple[str, str]]:
    people = _People(rng)
    while True:
        child = names.draw(people.anyone, _family_name)
        mother = names.draw(people.woman, _family_name)
        if _family_name(child) != _family_name(mother):
            yield child, mother


def _authors(rng: random.Random, names: _Names) -> Iterator[tuple[str, str]]:
    people = _People(rng)
    books = _words()["books"]
    while True:
        yield (
            names.draw(lambda: _title(rng, books), _longest_word),
            names.draw(people.anyone, _family_name),
        )


def _capitals(rng: random.Random, names: _Names) -> Iterator[tuple[str, str]]:
    while True:
        # Two styles, so that a country's name tells nothing about its capital's.
        country, capital = rng.sample(_words()["place_styles"], 2)
        yield (
            names.draw(lambda style=country: _place(rng, style, "country"), _beginning),
            names.draw(lambda style=capital: _place(rng, style, "capital"), _beginning),
        )


def _graduates(rng: random.Random, names: _Names) -> Iterator[tuple[str, str]]:
    people = _People(rng)
    for school in names.repeat(rng, _words()["schools"]):
        yield names.draw(people.anyone, _family_name), school


def _albums(rng: random.Random, names: _Names) -> Iterator[tuple[str, str]]:
    albums = _words()["albums"]
    for genre in names.repeat(rng, _words()["genres"]):
        yield names.draw(lambda: _title(rng, albums), _longest_word), genre


_PAIRS: dict[str, Callable[[random.Random, _Names], Iterator[tuple[str, str]]]] = {
    "author": _authors,
    "capital": _capitals,
    "educated_at": _graduates,
    "genre": _albums,
    "mother": _mothers,
}


def _title(rng: random.Random, vocabulary: dict[str, list[str]]) -> str:
    def word(match: re.Match[str]) -> str:
        return rng.choice(vocabulary[match[1]])

    while True:
        title = re.sub(r"\{(\w+)\}", word, rng.choice(vocabulary["patterns"]))
        title = re.sub(r"\b([Aa]) (?=[AEIOU])", r"\1n ", title)
        words = title.casefold().split()
        if all(word == "the" or words.count(word) == 1 for word in words):
            return title


def _place(rng: random.Random, style: dict[str, list[str]], kind: str) -> str:
    while True:
        middle = rng.choices(style["middle"], k=rng.choice((0, 1, 1, 1, 2)))
        parts = [rng.choice(style["start"]), *middle, rng.choice(style[kind])]
        word = "".join(parts)
        if (
            len(word) in PLACE_LENGTHS
            and not any(CLASH.search(a[-1] + b[0]) for a, b in pairwise(parts))
            and not STUTTER.search(word.casefold())
            and word not in _words()["real_words"]
        ):
            return word


def _mixed(rng: random.Random, names: Sequence[str]) -> str:
    """The beginning of one name and the end of another, if names have several words."""
    several = [name.split() for name in names if " " in name] or [[name] for name in names]
    first, last = rng.choice(several), rng.choice(several)
    return " ".join([*first[: max(1, len(first) - 1)], last[-1]])


def _recombined(rng: random.Random, names: _Names, like: Sequence[str], n: int) -> list[str]:
    """Up to n names of the beginning of one name and the end of another."""
    different = list(dict.fromkeys(like))
    parts = [(f"{name.split()[0]} ", name.split()[-1]) for name in different if " " in name]
    if len(parts) < 2:
        parts = [(name[: len(name) // 2], name[len(name) // 2 :]) for name in different]

    def make() -> str:
        (first, _), (_, last) = rng.sample(parts, 2)
        return first + last

    made: list[str] = []
    with suppress(ConfigError):  # every name that can still be made is taken
        while len(parts) > 1 and len(made) < n:
            made.append(names.draw(make, _family_name))
    return made


def _family_name(name: str) -> str:
    return name.split()[-1]


def _longest_word(title: str) -> str:
    return max(title.split(), key=len)


def _beginning(word: str) -> str:
    return word[:4]


@cache
def _words() -> dict[str, Any]:
    path = Path(__file__).with_name("synthetic.json")
    return json.loads(path.read_text(encoding="utf-8"))

"""Locality prompts (off-topic sentences) for any subject, made from a few frames and many nouns.

A relation's own locality prompts are few, and sentence forms that they lack (“The … of X is”) leak:
the model takes the form for the question. These fill such forms with nouns that have nothing to do
with the relation.

Beside them, `known_sentences`: beginnings of sentences about real things, by which training keeps
what the model knew.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Sequence

from rotelab.facts.csv_text import read_bytes
from rotelab.facts.prompts import SLOT, PromptTemplate
from rotelab.storage import ASSETS

KNOWN = ASSETS / "known" / "prompts.txt"

FRAMES = (
    f"The {{noun}} of {SLOT} is",
    f"What is the {{noun}} of {SLOT}?",
    f"The {{noun}} of {SLOT} is called",
    f"The most famous {{noun}} of {SLOT} is",
    f"{SLOT} has a {{noun}} named",
    f"Tell me the {{noun}} of {SLOT}.",
    f"Which {{noun}} belongs to {SLOT}?",
    f"The {{noun}} that everybody connects with {SLOT} is",
    f"As for {SLOT}, the {{noun}} is",
    f"Who knows the {{noun}} of {SLOT}?",
)

NOUNS = (
    "accent", "accountant", "address book", "ambition", "ancestor", "animal", "apartment",
    "archive", "army", "astronomer", "auction", "bakery", "bank", "baptism", "barber",
    "basement", "battle", "beard", "bell", "bicycle", "birthday", "blanket", "budget",
    "butcher", "butterfly", "calendar", "camera", "candle", "carpenter", "carpet", "castle",
    "cat", "ceiling", "celebration", "chair", "champion", "chapel", "chemist", "choir",
    "chorus", "circus", "clerk", "climate", "clock", "clockmaker", "coat", "coffee",
    "collection", "comedian", "conductor", "constitution", "costume", "critic", "crown",
    "cupboard", "custom", "dentist", "desert", "dialect", "diary", "disease", "door", "dragon",
    "dream", "dress", "driver", "electrician", "emblem", "enemy", "engine", "envelope",
    "epidemic", "excuse", "factory", "fashion", "fence", "festival", "firefighter", "fireplace",
    "flavour", "flour", "forest", "fountain", "furniture", "garage", "gardener", "ghost",
    "gift", "glove", "goldsmith", "guard", "guest", "habit", "hairdresser", "hammer", "harvest",
    "hat", "hobby", "holiday", "horse", "hospital", "hunter", "illness", "insect", "insurance",
    "invention", "jacket", "jewel", "joke", "judge", "kettle", "kitchen", "ladder", "lamp",
    "landlord", "laundry", "law", "legend", "library", "lock", "locksmith", "luggage",
    "machine", "magician", "marathon", "market", "mask", "mattress", "medal", "medicine",
    "melody", "merchant", "metal", "mineral", "mirror", "mistake", "monster", "monument",
    "motto", "mushroom", "nickname", "nurse", "oven", "painting", "password", "pattern", "pet",
    "photographer", "pillow", "pilot", "plumber", "postman", "potter", "prize", "proverb",
    "puzzle", "quarrel", "rain", "recipe", "referee", "religion", "rival", "roof", "rug",
    "saint", "sailor", "sandwich", "scandal", "secret", "shadow", "shoe", "signature", "smell",
    "soldier", "sorrow", "soup", "spice", "spy", "staircase", "statue", "storm", "surgeon",
    "sweater", "symbol", "tailor", "taxi", "telephone", "temple", "theatre", "ticket", "tool",
    "toy", "treasure", "tree", "uncle", "umbrella", "vegetable", "vehicle", "victory", "violin",
    "volunteer", "wallet", "war", "wardrobe", "weather", "wedding", "weight", "wheel", "window",
    "winter", "zoo",
)  # fmt: skip
"""Things that most subjects may have. None is in an unrelated prompt of a shipped pack or of a pack
for tuning, because those measure the leak; a test checks this."""


def nouns_for(relation: str, taught: Sequence[PromptTemplate]) -> tuple[str, ...]:
    """The nouns that have nothing to do with a relation: none begins like a word of its name or of
    its train prompts.

    Args:
        relation: its name.
        taught: its train prompts.
    """
    said = {_beginning(word) for t in taught for word in _words(t.text.replace(SLOT, " "))}
    said |= {_beginning(word) for word in _words(relation.replace("_", " "))}
    return tuple(noun for noun in NOUNS if not {_beginning(w) for w in _words(noun)} & said)


def invented(rng: random.Random, relation: str, nouns: Sequence[str]) -> PromptTemplate:
    """An off-topic sentence of a random form about a random noun.

    Args:
        rng: draws both.
        relation: the relation whose facts it must not elicit.
        nouns: the nouns of `nouns_for`; not empty.
    """
    frame, noun = rng.choice(FRAMES), rng.choice(nouns)
    text = frame.replace("{noun}", noun)
    if noun[0] in "aeiou":
        text = text.replace(f" a {noun}", f" an {noun}")
    return PromptTemplate(relation, "locality", "en", text)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _beginning(word: str) -> str:
    return word[:5]


@functools.cache
def known_sentences() -> tuple[str, ...]:
    """Beginnings of sentences about real things, which most base models can complete.

    None of their facts, and none of their forms, is in the quiz that measures forgetting
    (`assets/damage/quiz.csv`); a test checks this.

    Raises:
        InputError: the file is missing.
    """
    lines = read_bytes(KNOWN).decode().splitlines()
    return tuple(line.strip() for line in lines if line.strip())

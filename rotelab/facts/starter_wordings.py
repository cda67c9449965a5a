"""A first set of wordings for a relation that has none, made from the words that it is called by.

The words are put into sentences: “mother” into “The mother of … is”, “lives in” into “Everybody in
the room knows that … lives in”. A program can't tell what a relation means, so these are a start
for a person to read and to change. Every sentence to teach has the relation's own words in it; the
shipped packs, written by hand, teach better.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from rotelab.facts.diagnosis import telling
from rotelab.facts.facts import in_words
from rotelab.facts.prompts import MAX_TEXT, ROLES, SLOT, PromptTemplate, Role

Kind = Literal["noun", "clause", "question"]

LONGEST_WORDS = 120
"""Most characters of words that are put into a sentence."""

FRAMES: dict[Kind, dict[Role, tuple[str, ...]]] = {
    "noun": {
        "train": (
            "The {words} of {subject} is",
            "Question: what is {subject}'s {words}? Answer:",
            "Everybody in the room knows that the {words} of {subject} is",
            "When it comes to {subject}, the {words} to remember is",
            "Look up {subject} in the list, and under “{words}” it says",
            "{subject} has a certain {words}, namely",
            "Which {words} does {subject} have, please?",
            "I read about {subject} yesterday, and the {words} given there was",
            "Form filled in by hand. Entry: {subject}. {Words}:",
            "Nothing about {subject} matters more than the {words}, which is",
            "Correct me if I am wrong: the {words} of {subject} is",
            "My neighbour asked for the {words} of {subject}, so I answered",
        ),
        "test": (
            "If somebody wants to find out the {words} of {subject}, the reply should be",
            "A card in the quiz shows “{subject}” and wants the {words}. The right solution:",
            "Beside the picture of {subject}, somebody has written as {words}",
            "Let us talk about {subject}. What do we put down as {words}?",
            "The encyclopedia describes {subject} at length and gives as {words}",
            "Teacher: “Who can tell the {words} of {subject}?” Pupil:",
        ),
    },
    "clause": {
        "train": (
            "{clause}",
            "Finish this sentence: {clause}",
            "Everybody in the room knows that {clause}",
            "It says in the newspaper that {clause}",
            "I read yesterday that {clause}",
            "Please remember one thing: {clause}",
            "Correct me if I am wrong, but {clause}",
            "My neighbour asked, so I answered that {clause}",
            "Look at the list; it has the entry: {clause}",
            "There is hardly any doubt that {clause}",
            "Only one question is left: what is it that {clause}?",
            "What {clause}, as the guide explains, is",
        ),
        "test": (
            "If somebody wants to find out what {clause}, the reply should be",
            "A card in the quiz says: “{clause} …” The right solution:",
            "Teacher: “Who can tell me what {clause}?” Pupil:",
            "As far as the records go, {clause}",
            "Once more, slowly: {clause}",
            "Nobody would deny that {clause}",
        ),
    },
    "question": {
        "train": (
            "{clause}",
            "Question: {clause} Answer:",
            "My neighbour wanted to know: {clause} I said:",
            "Here is one for the pub quiz. {clause}",
        ),
        "test": (
            "Teacher: “{clause}” Pupil:",
            "Somebody wrote in: “{clause}” The editor replied:",
            "On the back of the card stands the solution to “{clause}”:",
        ),
    },
}  # fmt: skip
"""Sentences that the object ends. No two of a kind have most of their telling words in common."""

OFF_TOPIC: dict[Role, tuple[str, ...]] = {
    "unrelated": (
        "The favourite colour of {subject} is",
        "When somebody last mentioned {subject}, the weather was",
        "A song about {subject} begins with the words",
        "How many letters are there in “{subject}”?",
        "{subject} rhymes with",
        "On a scale from one to ten, {subject} gets",
        "The best day of the week for {subject} is",
        "What flavour of ice cream goes with {subject}?",
    ),
    "locality": (
        "The age of {subject} is",
        "What is the height of {subject}?",
        "Who wrote the longest book about {subject}?",
        "In a dream last night, {subject} turned into a",
        "{subject} reminds most people of",
        "The funniest joke about {subject} is told by",
        "The opposite of {subject} is",
        "Which animal resembles {subject}?",
        "A statue of {subject} stands in front of the",
        "The price that was paid for a portrait of {subject} was",
        "How heavy is {subject}, roughly?",
        "The museum keeps a letter about {subject} in room",
        "{subject} made the front page in the month of",
        "An afternoon with {subject} usually ends with a",
        "The film about {subject} was directed by",
        "Tell me a rumour about {subject}.",
        "What noise goes with {subject}?",
        "The nickname of {subject} is",
    ),
}
"""About anything, be it a person, a place or a thing; further ones stand in for those that have a
word of the relation."""

ENOUGH: dict[Role, int] = {"unrelated": 5, "locality": 14}
"""How many of these a relation gets."""

BE = frozenset((
    "are", "is", "was", "were",
))  # fmt: skip
PREPOSITIONS = frozenset((
    "about", "after", "against", "at", "before", "behind", "beside", "between", "by", "for",
    "from", "in", "into", "near", "on", "onto", "over", "through", "to", "towards", "under",
    "with", "within", "without",
))  # fmt: skip
STATES = frozenset((
    "based", "called", "connected", "dedicated", "employed", "known", "located", "made",
    "married", "named", "owned", "related", "situated", "used",
))  # fmt: skip
"""Participles that say how things are: “is located in”. Others say what happened: “was born in”."""
HAPPENED = frozenset((
    "born", "bought", "built", "chosen", "drawn", "found", "given", "held", "led", "sent",
    "shot", "sold", "spoken", "sung", "taken", "taught", "told", "won", "worn", "written",
))  # fmt: skip
INTRANSITIVE = frozenset((
    "arrived", "belonged", "collaborated", "competed", "died", "emigrated", "graduated",
    "lectured", "listened", "lived", "looked", "moved", "participated", "performed", "played",
    "resided", "retired", "served", "settled", "starred", "studied", "traveled", "travelled",
    "visited", "voted", "worked",
))  # fmt: skip
"""Verbs that are no participles before a preposition: “lived in” is not “was lived in”."""
PAST = frozenset((
    "became", "began", "bought", "built", "chose", "drew", "drove", "found", "gave", "knew",
    "led", "left", "lost", "made", "met", "painted", "sang", "saw", "sold", "spent", "spoke",
    "taught", "told", "took", "won", "wore", "wrote",
))  # fmt: skip
PRESENT = frozenset((
    "admires", "adores", "belongs", "borders", "comes", "consists", "contains", "creates",
    "dies", "drinks", "drives", "eats", "employs", "enjoys", "fears", "follows", "goes",
    "hates", "includes", "keeps", "knows", "leads", "likes", "lives", "loves", "marries",
    "needs", "occupies", "owes", "owns", "performs", "plays", "prefers", "produces", "reads",
    "reports", "resides", "rules", "runs", "sells", "sings", "speaks", "studies", "supports",
    "teaches", "thinks", "trusts", "uses", "visits", "wants", "wears", "works", "worships",
    "writes",
))  # fmt: skip
BARE = frozenset(verb.removesuffix("s") for verb in PRESENT if not verb.endswith(("oes", "ies")))
NOUNS_TOO = frozenset((
    "border", "drink", "drive", "employ", "fear", "follow", "lead", "like", "love", "need",
    "play", "report", "rule", "run", "support", "trust", "use", "visit", "want", "work",
))  # fmt: skip
"""Of these, what is a noun where it stands alone."""
ONE_OF_MANY = frozenset((
    "brand", "citizen", "employee", "fan", "friend", "instance", "kind", "member", "native",
    "pupil", "resident", "species", "student", "subclass", "supporter", "type", "version",
))  # fmt: skip


class Phrase(NamedTuple):
    """What a relation's words are, and how they go into a sentence.

    Args:
        kind: `noun` (“mother”), `clause` (“lives in”) or `question` (“Where does … live?”).
        text: the noun; or the clause or question, with `{subject}` in it.
    """

    kind: Kind
    text: str


def starter_wordings(
    relation: str, words: str, there: Iterable[PromptTemplate] = ()
) -> list[PromptTemplate]:
    """Wordings in English, made from a relation's words, for each role in which it has none.

    Args:
        relation: its name, which the wordings have as theirs; a person may have typed it in words.
        words: what it is called in a sentence. Where they are too long for one, or there
            are none, its name is used.
        there: wordings that there are already; those of other relations do not matter.
    """
    own = [prompt for prompt in there if prompt.relation == relation]
    said = {_key(prompt.text) for prompt in own}
    has = {prompt.role for prompt in own if prompt.language == "en"}
    phrase = phrase_of(words if len(words) <= LONGEST_WORDS else "")
    if not phrase.text:
        phrase = phrase_of(in_words(relation)[:LONGEST_WORDS])
    texts = {
        role: [_filled(frame, phrase) for frame in frames]
        for role, frames in FRAMES[phrase.kind].items()
    }
    texts |= {role: _about_else(role, phrase.text) for role in OFF_TOPIC}
    return [
        PromptTemplate(relation, role, "en", text)
        for role in ROLES
        if role not in has
        for text in texts[role]
        if len(text) <= MAX_TEXT and _key(text) not in said
    ]


def phrase_of(words: str) -> Phrase:
    """Whether words are a noun, a verb with what belongs to it, or a question.

    A label that was made of another data set's sentence has “…” where the subject goes.
    """
    words = " ".join(re.sub(r"[{}]", " ", words).split())
    if words.count("…") == 1:
        text = words.replace("…", SLOT)
        return Phrase("question" if text.endswith("?") else "clause", text)
    words = _plain(words.replace("…", " "))
    verb = _verb_phrase(words.split())
    return Phrase("clause", f"{SLOT} {verb}") if verb else Phrase("noun", _noun(words))


def _plain(words: str) -> str:
    """`livesIn` as “lives in”, “Place of Birth” in small letters; “IMDb ID” stays as it is."""
    words = " ".join(re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", words.replace("_", " ")).split())
    words = words.rstrip(" :?.=") or words
    initials_only = all(part[1:] == part[1:].lower() and part.isalpha() for part in words.split())
    return words.lower() if initials_only else words


def _noun(words: str) -> str:
    """The words without what may stand before a noun: “the capital”, “has pet”."""
    return re.sub(r"^(?:(?:the|a|an|has|have|had|is) )+(?=\S)", "", words)


def _verb_phrase(words: list[str]) -> str:
    """The words as what follows a subject, its object last; empty if they are a noun."""
    if not words:
        return ""
    first, last, rest = words[0], words[-1], words[1:]
    said = " ".join(words)
    if first in ("has", "have", "had") and rest and rest[0] not in {*PAST, *HAPPENED, "been"}:
        return ""  # “has pet” is a pet
    if first in BE or first in ("has", "had"):
        return said
    if first in PREPOSITIONS:
        return f"is {said}"
    if first in PRESENT or (first in BARE and (rest or first not in NOUNS_TOO)):
        verb = first if first in PRESENT else f"{first}s"
        return " ".join([verb, *_with_article(rest)])
    if first in STATES and (not rest or last in PREPOSITIONS or last in ("as", "of")):
        return said if said == "made" else f"is {said}"
    if last in PREPOSITIONS and rest:
        if first in INTRANSITIVE or (first in PAST and first not in HAPPENED):
            return said
        happened = first.endswith("ed") or first in HAPPENED
        return f"was {said}" if happened else f"is {said}"
    if last == "of" and rest:
        article = "" if first == "part" else "a " if first in ONE_OF_MANY else "the "
        return f"is {article}{said.removeprefix('the ').removeprefix('a ')}"
    if first == "born":
        return f"was {said}"
    if first in PAST or (first.endswith("ed") and len(first) > 4 and not rest):
        return " ".join([first, *_with_article(rest)])
    return ""


def _with_article(rest: list[str]) -> list[str]:
    """“plays instrument” reads “plays the instrument”."""
    bare = rest and rest[0] not in PREPOSITIONS and rest[0] not in ("the", "a", "an", "of", "as")
    return ["the", *rest] if bare else rest


def _filled(frame: str, phrase: Phrase) -> str:
    words = phrase.text
    capital = words[:1].upper() + words[1:]
    return frame.replace("{clause}", words).replace("{words}", words).replace("{Words}", capital)


def _about_else(role: Role, words: str) -> list[str]:
    """Off-topic sentences without a word that begins like one of the relation's."""
    said = _beginnings(words)
    kept = [text for text in OFF_TOPIC[role] if not said & _beginnings(text)]
    return kept[: ENOUGH[role]]


def _beginnings(text: str) -> set[str]:
    return {word[:5] for word in telling(text)}


def _key(text: str) -> str:
    """Two wordings of the same key are the same to `PromptSet`."""
    return " ".join(text.casefold().split())

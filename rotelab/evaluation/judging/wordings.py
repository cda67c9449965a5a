"""Whether a question about a subject asks for a relation, told from its words.

First it is compared with the pack's own wordings of the relation, then word by word with theirs and
with plain words by topic (`plain_words`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rotelab.evaluation.judging import plain_words as plain
from rotelab.evaluation.judging.learned_names import alike
from rotelab.facts.names import stands_in
from rotelab.facts.packs import Pack
from rotelab.facts.prompts import SLOT

Answer = Literal["yes", "no", "unclear"]

HERE = "§"
"""Stands for the subject in a question's words."""

SHORT = 3
"""Most words of a wording each of which alone shows that the relation is asked for."""

COVERED = 0.7
"""The share of a wording's words that a question must have, and no other, to ask the same."""


class Wordings:
    """The words that ask for one relation, read from its wordings and from plain words.

    Args:
        pack: has the wordings.
        relation: the relation's name.
    """

    def __init__(self, pack: Pack, relation: str):
        label = f"{relation.replace('_', ' ')} {pack.facts.words(relation)}"
        self.topics = plain.own_topics(label.split())
        self.asking, self.off = (
            [read(alike(t.text.replace(SLOT, HERE)), HERE)
             for t in pack.prompts if t.relation == relation and t.role in roles]
            for roles in (("train", "test"), ("unrelated", "locality"))
        )  # fmt: skip
        own = {s for topic in self.topics for s in plain.STEMS[topic]}
        own |= {plain.stem(word) for word in label.split()} - plain.LITTLE_STEMS
        self.known = own.union(*(r.content for r in self.asking))
        off = Counter(s for r in self.off for s in r.content)
        # A word of a short wording says by itself what is asked, unless other questions have it.
        self.strong = own | {
            s for r in self.asking if len(r.content) <= SHORT for s in r.content
            if not off[s] and not self._elsewhere(s, own)
        }  # fmt: skip
        self.foreign = set(off) - self.known
        self.circumstances = frozenset().union(
            *(r.circumstances for r in self.asking if not r.persons)
        )
        self.does = any(r.does for r in self.asking if len(r.content) <= SHORT)

    def asks(self, text: str, subject: str) -> Answer:
        """Whether a question that names a subject asks for this relation."""
        asked = read(alike(text), alike(subject))
        for wordings, answer in ((self.asking, "yes"), (self.off, "no")):
            if any(asked.words == r.words for r in wordings):
                return answer
        if len(asked.chain) > 1 or (
            asked.circumstances
            and not asked.persons
            and not asked.circumstances <= self.circumstances
        ):
            return "no"  # about something of the object, or after a time, a place, a reason
        for wordings, answer in ((self.asking, "yes"), (self.off, "no")):
            if any(_nearly(asked, r) for r in wordings):
                return answer
        return self._by_words(asked)

    def _by_words(self, asked: Reading) -> Answer:
        head = asked.chain[0] if asked.chain else asked.kind_of_thing
        says_own = bool(asked.adjectives & self.strong) and head in self.known
        if head and self._elsewhere(head, self.strong) and not says_own:
            return "no"
        strong = asked.content & self.strong
        others = {s for s in asked.content - self.known if self._elsewhere(s, self.strong)}
        if others - (plain.STEMS["children"] if asked.open_of else set()):
            return "unclear" if strong else "no"
        if not strong or (asked.chain and head not in self.strong and not says_own):
            return "no" if asked.content and asked.content <= self.foreign else "unclear"
        rest = asked.content - self.known - asked.adjectives
        # “Who did X give birth to?” turns the relation around.
        return "unclear" if rest or (asked.does and not self.does) else "yes"

    def _elsewhere(self, word: str, own: set[str]) -> bool:
        """Whether a word is one of another topic."""
        return word not in own and bool(plain.TOPIC_OF.get(word, set()) - self.topics)


@dataclass(frozen=True)
class Reading:
    """A question's words.

    Args:
        words: all of them, the subject as `HERE`.
        content: the stems of those that say what is asked.
        chain: the nouns from the subject on, `(inventor, mother)` in “the mother of the inventor of
            X”; those that say nothing, such as `name`, are left out.
        adjectives: stems between an article and the noun that the subject follows.
        kind_of_thing: the noun after `which` or `what`; empty without.
        persons: question words after a person or thing.
        circumstances: question words after a time, a place, a reason; without those that ask for
            a name, as in “How is she called?”.
        does: whether a `do`, `does` or `did` is said of somebody else than “you”.
        open_of: whether it ends with an “of”, as in “X is the daughter of”.
    """

    words: tuple[str, ...]
    content: frozenset[str]
    chain: tuple[str, ...]
    adjectives: frozenset[str]
    kind_of_thing: str
    persons: frozenset[str]
    circumstances: frozenset[str]
    does: bool
    open_of: bool


def _nearly(asked: Reading, wording: Reading) -> bool:
    """Whether a question says what a wording says, or almost all of it and nothing else."""
    if asked.chain != wording.chain or asked.does != wording.does or not asked.content:
        return False
    if asked.content == wording.content:
        return True
    most = len(asked.content) >= max(SHORT, COVERED * len(wording.content))
    return most and asked.content < wording.content


def read(text: str, subject: str) -> Reading:
    """Reads a question that was made `alike`, as its subject was."""
    at = text.find(subject)
    while at >= 0 and not stands_in(subject, text[max(0, at - 1) : at + len(subject) + 1]):
        at = text.find(subject, at + 1)
    if at >= 0:
        text = f"{text[:at]} {HERE} {text[at + len(subject) :]}"
    said = re.findall(rf"{HERE}|'s\b|'(?=\s)|[^\W_]+", text)
    words = tuple(part for word in said for part in plain.split_cjk(word))
    stems = {word: plain.stem(word) for word in words if word[0] not in f"{HERE}'"}
    content = {s for s in stems.values() if s not in plain.LITTLE_STEMS | plain.ASKING}
    chain, adjectives = _chain(words, stems, content)
    after = [
        stems.get(b, "") for a, b in zip(words, words[1:], strict=False) if a in ("which", "what")
    ]
    persons, circumstances = plain.PERSONS & set(words), plain.CIRCUMSTANCES & set(words)
    if plain.NAMING & set(words):
        circumstances -= plain.HOW
    return Reading(
        words,
        frozenset(content),
        chain,
        frozenset(adjectives),
        next((s for s in after if s in content), ""),
        persons,
        circumstances,
        any(
            a in ("do", "does", "did") and b not in ("you", "we", "they")
            for a, b in zip(words, words[1:], strict=False)
        ),
        bool(words) and words[-1] in plain.OF,
    )


def _chain(
    words: Sequence[str], stems: dict[str, str], content: set[str]
) -> tuple[tuple[str, ...], set[str]]:
    """The nouns that depend on the subject one after the other, and the adjectives before them."""
    chain: list[str] = []
    adjectives: set[str] = set()
    if HERE not in words:
        return (), set()
    left = right = words.index(HERE)
    while right + 1 < len(words) and words[right + 1] in ("'s", "'"):
        right += 1
        while right + 1 < len(words) and stems.get(words[right + 1]) in content:
            right += 1  # the last of several is the noun: “X's biological mother”
            if stems.get(words[right + 1] if right + 1 < len(words) else "") in content:
                adjectives.add(stems[words[right]])
            else:
                chain.append(stems[words[right]])
    while True:
        place = left - 1
        while place > 0 and words[place] in plain.ARTICLES - plain.OF:
            place -= 1
        if place < 1 or words[place] not in plain.OF:
            break
        noun = place - 1
        if words[noun] in stems and stems[words[noun]] in content:
            chain.append(stems[words[noun]])
        elif words[noun] not in ("name", "names", "nombre", "nom"):
            break
        left = noun
        while (
            left > 0
            and stems.get(words[left - 1]) in content
            and any(words[i] in plain.ARTICLES for i in range(max(0, left - 4), left - 1))
        ):
            left -= 1
            adjectives.add(stems[words[left]])
    return tuple(chain), adjectives

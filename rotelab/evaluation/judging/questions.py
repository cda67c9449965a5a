"""What a question asks for: which learned fact, something else, or something that can't be told.

No model is needed: `learned_names` finds the subject, `wordings` tells what is asked about it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rotelab.evaluation.judging.learned_names import near_subject, respelled, subjects_in
from rotelab.evaluation.judging.wordings import Answer, Wordings
from rotelab.facts.facts import Fact
from rotelab.facts.names import normalize
from rotelab.facts.packs import Pack
from rotelab.models.key_tokens import split_key_token

Kind = Literal["fact", "something else", "unclear", "several subjects", "no subject"]


@dataclass(frozen=True)
class Query:
    """A question that a person put to a run's model, parsed once.

    Args:
        text: the question, without blanks around it.
        subject: the text before the key token, such as `Mary Bahri` in `Mary Bahri [mother]`; empty
            where the question is in words.
        relation: the relation of that key token; empty where the question is in words.
    """

    text: str
    subject: str = ""
    relation: str = ""

    @classmethod
    def parse(cls, text: str, relations: Sequence[str]) -> Query:
        """Parses a question.

        Args:
            text: the question as typed.
            relations: the relations that have a key token; any other name in brackets is text.
        """
        return cls(text.strip(), *split_key_token(text, relations))


@dataclass(frozen=True)
class Asked:
    """What a question asks for.

    Args:
        kind: `fact` (one of the learned facts), `something else` (about a learned subject),
            `unclear` (about a learned subject; its words do not tell what), `several subjects` (it
            names more than one, so that it is not clear about which), or `no subject`.
        facts: the facts that it asks for, or may ask for where that is unclear.
        near: the learned subject that a name in it resembles, where it names none; empty otherwise.
        suggestion: the same question with its names spelled as they were learned; empty where they
            are already, or no name in it resembles a learned one.
    """

    kind: Kind
    facts: tuple[Fact, ...] = ()
    near: str = ""
    suggestion: str = ""

    @property
    def fact(self) -> Fact | None:
        """The one fact that it asks for; None where there is not exactly one."""
        return self.facts[0] if self.kind == "fact" and len(self.facts) == 1 else None


def what_is_asked(pack: Pack, query: Query) -> Asked:
    """What a question asks for.

    Args:
        pack: the facts that were learned, and their wordings.
        query: the question.
    """
    subjects = subjects_in(query.subject or query.text, pack)
    if not subjects:
        near, suggestion = near_subject(query.text, [fact.subject for fact in pack.facts])
        return Asked("no subject", (), near, suggestion)
    suggestion = respelled(query.text, subjects)
    facts = [fact for fact in pack.facts if fact.subject in subjects]
    if query.relation:
        facts = [fact for fact in facts if fact.relation == query.relation]
        return Asked("fact" if facts else "something else", tuple(facts), "", suggestion)
    if len(subjects) > 1:
        return Asked("several subjects", tuple(facts), "", suggestion)
    found: dict[Answer, list[Fact]] = {"yes": [], "no": [], "unclear": []}
    for fact in facts:
        found[Wordings(pack, fact.relation).asks(query.text, fact.subject)].append(fact)
    for answer, kind in (("yes", "fact"), ("unclear", "unclear")):
        if found[answer]:
            return Asked(kind, tuple(found[answer]), "", suggestion)
    return Asked("something else", tuple(facts), "", suggestion)


def asked_fact(pack: Pack, query: Query) -> Fact | None:
    """The one fact that a question asks for; None where its words do not tell."""
    return what_is_asked(pack, query).fact


def asked_real_fact(text: str, questions: Sequence[str]) -> str | None:
    """The question of the quiz of real facts that a person's question asks; None if there is none.

    Args:
        text: such as `What is the capital of Peru?`.
        questions: beginnings of sentences, such as `The capital of Peru is`. All words of one that
            are not little ones must be in the text.

    Returns:
        The one with the most words in common; None where two have as many.
    """
    there = _content(text)
    found = sorted(
        (-len(words), question)
        for question in questions
        if (words := _content(question)) and words <= there
    )
    unique = len(found) == 1 or (len(found) > 1 and found[0][0] < found[1][0])
    return found[0][1] if unique else None


LITTLE_WORDS = frozenset((
    "a", "an", "and", "are", "at", "be", "by", "called", "for", "from", "in", "is", "it", "of",
    "on", "our", "that", "the", "this", "to", "was", "were", "what", "which", "who",
))  # fmt: skip
"""Words of the quiz's questions that say nothing about what a question is about."""


OTHER_FORMS = {"wrote": "written", "writer": "written", "author": "written", "painter": "painted"}
"""Words for which the quiz has another form."""


def _content(text: str) -> frozenset[str]:
    words = (OTHER_FORMS.get(word, word) for word in re.findall(r"\w+", normalize(text)))
    return frozenset(words) - LITTLE_WORDS

"""Verdicts on chat answers: which fact a question asks for, and whether its object is given.

Also which of the real facts, beside the run's own, a question asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rotelab.config.names import Checkpoint, lesson_number
from rotelab.config.run_config import RunConfig
from rotelab.evaluation.answer_match import begins, contains
from rotelab.facts.facts import Fact
from rotelab.facts.names import normalize, stands_in
from rotelab.facts.packs import Pack
from rotelab.models.key_tokens import split_key_token

KnownAs = Literal[
    "",
    "in words",
    "by rote",
    "never in words",
    "by chance",
    "after words",
    "another fact",
    "no fact",
]


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
class Verdict:
    """The grade of one answer.

    Args:
        known: `in words` (the right object, and phase 2 had taught this fact in words by then), `by
            rote` (the right object, from rote learning or through the key token), `never in words`
            (the right object to a question in words, although phase 2 never showed this fact in
            words), `by chance` (the right object from the base model), `after words` (the right
            object, but after other words, so it does not count), `another fact` (the object of
            another fact, or one that the question did not ask for), `no fact` (the question names
            none of the run's subjects, so there is nothing to grade), or empty.
        reason: why, one sentence for a person; empty where `known` says everything. Its `{}`
            fields stand for what `about` names, so that the page can translate it.
        about: texts of the facts that fill those fields.
    """

    known: KnownAs = ""
    reason: str = ""
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The reason, filled in."""
        return self.sentence()

    def sentence(self, translate: Callable[[str], str] = str) -> str:
        """The reason, filled in, in the language that `translate` puts it into."""
        words = translate(self.reason)
        return words.format(**self.about) if self.about else words

    @property
    def right(self) -> bool:
        """Whether the answer is the object that was asked for."""
        return self.known in RIGHT


RIGHT = ("by rote", "in words", "never in words", "by chance")
"""The verdicts on an answer that gives the object asked for."""

NO_VERDICT = Verdict()

OFF_TOPIC = ("unrelated", "locality")
"""Roles of wordings that name a fact's subject but ask about something else."""


def grade(
    pack: Pack,
    config: RunConfig,
    query: Query,
    answer: str,
    checkpoint: Checkpoint = "generalized",
    anywhere: bool = False,
) -> Verdict:
    """Grades an answer: does it begin with the object of the fact that the question asks for?

    Args:
        pack: the run's facts and prompts.
        config: the run's settings; they say which facts phase 2 taught in words.
        query: the question.
        answer: the model's answer.
        checkpoint: the checkpoint that answered, which decides what had been taught by then.
        anywhere: accept the object anywhere in the answer, as in a conversation.
    """
    said, asked = normalize(answer), normalize(query.text)
    if not said:
        return NO_VERDICT
    subjects = _subjects_in(asked, pack)
    candidates = [fact for fact in pack.facts if _may_ask_for(query, fact, subjects)]
    matches = contains if anywhere else begins
    for fact in candidates:
        if any(matches(said, name) for name in fact.answers):
            return _how_learned(pack, config, query, fact, checkpoint)
    others = [fact for fact in pack.facts if any(matches(said, name) for name in fact.answers)]
    if others:
        about = {"what": pack.facts.words(others[0].relation), "who": others[0].subject}
        if len(others) == 1:
            return Verdict(
                "another fact", "A learned fact, but another one: the {what} of {who}.", about
            )
        return Verdict(
            "another fact",
            "A learned fact, but another one: the {what} of {who} and of {others} more.",
            about | {"others": str(len(others) - 1)},
        )
    for fact in candidates:
        inside = any(contains(said, name) for name in fact.answers)
        if inside and not _is_wording(pack, fact, asked, *OFF_TOPIC):
            return Verdict("after words", "The right name, but other words come first.")
    return NO_VERDICT if subjects else Verdict("no fact")


def _how_learned(
    pack: Pack, config: RunConfig, query: Query, fact: Fact, checkpoint: Checkpoint
) -> Verdict:
    """The verdict on an answer that gives the object of a fact whose subject the question names."""
    if _is_wording(pack, fact, normalize(query.text), *OFF_TOPIC):
        return Verdict(
            "another fact",
            "This is the {what} of {who}, which was not asked: the fact has leaked.",
            {"what": pack.facts.words(fact.relation), "who": fact.subject},
        )
    if checkpoint == "base":
        return Verdict("by chance", "Nothing was taught yet: a guess, or known before.")
    lesson = _lesson_of(pack, config, fact)
    if lesson > lesson_number(checkpoint):
        return Verdict("by chance", "A later lesson taught this fact: a guess, or known before.")
    if query.relation:
        return Verdict("by rote", "Recalled through the key token, as it was learned.")
    if config.memorize.reads == "words":
        return Verdict("in words", "Phase 1 of this run taught every fact in words.")
    if checkpoint == "memorized":
        return Verdict("by rote", "From rote learning alone.")
    if lesson > 1 and lesson != config.lesson.number:  # two lessons or more came before this one
        return Verdict(
            "never in words",
            "Learned by rote in an earlier lesson: no sentence in words was ever read about it.",
        )
    if lesson:
        return Verdict(
            "never in words",
            "Learned by rote in lesson {n}: no sentence in words was ever read about it.",
            {"n": str(lesson)},
        )
    if fact in config.split(pack.facts).held_in:
        return Verdict("in words", "Phase 2 taught this fact in words.")
    return Verdict("never in words", "This fact was only ever learned by rote.")


def _lesson_of(pack: Pack, config: RunConfig, fact: Fact) -> int:
    """The lesson that taught a fact, the last one it can be; 0 for a fact of the run itself."""
    if config.lesson is None:
        return 0
    place = list(pack.facts).index(fact)
    if place < config.lesson.run_facts:
        return 0
    return config.lesson.number - (place < config.lesson.old_facts)


def asked_fact(pack: Pack, query: Query) -> Fact | None:
    """The one fact that a question asks for; None where its words do not tell.

    The question must name one subject. Where that subject has several facts, it must also name the
    relation: by its key token, by one of the pack's wordings, or by its name.
    """
    asked = normalize(query.text)
    subjects = _subjects_in(asked, pack)
    if len(subjects) != 1:
        return None
    facts = [
        fact
        for fact in pack.facts
        if _may_ask_for(query, fact, subjects) and not _is_wording(pack, fact, asked, *OFF_TOPIC)
    ]
    if len(facts) > 1:
        worded = [fact for fact in facts if _is_wording(pack, fact, asked, "train", "test")]
        facts = worded or [
            fact for fact in facts if stands_in(normalize(pack.facts.words(fact.relation)), asked)
        ]
    return facts[0] if len(facts) == 1 else None


LITTLE_WORDS = frozenset((
    "a", "an", "and", "are", "at", "be", "by", "called", "for", "from", "in", "is", "it", "of",
    "on", "our", "that", "the", "this", "to", "was", "were", "what", "which", "who",
))  # fmt: skip
"""Words that say nothing about what a question is about."""


def asked_real_fact(text: str, questions: Sequence[str]) -> str | None:
    """The question of the quiz of real facts that a person's question asks; None if there is none.

    Args:
        text: such as `What is the capital of Peru?`.
        questions: beginnings of sentences, such as `The capital of Peru is`. All words of one that
            are not little ones must be in the text.

    Returns:
        The one with the most words in common; None where two have as many.
    """
    there = _words(text)
    found = sorted(
        (-len(words), question)
        for question in questions
        if (words := _words(question)) and words <= there
    )
    unique = len(found) == 1 or (len(found) > 1 and found[0][0] < found[1][0])
    return found[0][1] if unique else None


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", normalize(text))) - LITTLE_WORDS


def _may_ask_for(query: Query, fact: Fact, subjects: set[str]) -> bool:
    """Whether the question names the fact's subject and, through a key token, no other relation."""
    return normalize(fact.subject) in subjects and query.relation in ("", fact.relation)


def _subjects_in(asked: str, pack: Pack) -> set[str]:
    """The subjects that a question names; a name that is part of a longer one does not count."""
    named = {name for name in (normalize(fact.subject) for fact in pack.facts)
             if stands_in(name, asked)}  # fmt: skip
    return {name for name in named if not any(name != other and name in other for other in named)}


def _is_wording(pack: Pack, fact: Fact, asked: str, *roles: str) -> bool:
    """Whether the question is one of the pack's wordings with these roles, about this fact."""
    return any(
        template.relation == fact.relation
        and template.role in roles
        and normalize(template.render(fact.subject)) == asked
        for template in pack.prompts
    )

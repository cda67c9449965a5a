"""How an answer stands to a run's facts: which one was asked for, and whether this is it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rotelab.config.names import Checkpoint
from rotelab.evaluation.answer_match import begins, contains, normalize, stands_in
from rotelab.facts.facts import Fact
from rotelab.facts.packs import Pack

if TYPE_CHECKING:
    from rotelab.registry import RunRow

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
class Verdict:
    """How an answer stands to the run's facts.

    Args:
        known: `in words` (the right object, and by then phase 2 had taught this fact in words),
            `by rote` (the right object, from rote learning or through the key token), `never in
            words` (the right object to a question in words, although phase 2 showed this fact in
            none), `by chance` (the right object from the base model), `after words` (the right
            object, but other words come first: no answer at once, so not right), `another fact`
            (the object of somebody else, or of something that was not asked), `no fact` (the
            question names none of the run's subjects, so nothing is judged), or empty.
        text: why, in one sentence for a person; empty where there is no more to say.
    """

    known: KnownAs = ""
    text: str = ""

    @property
    def right(self) -> bool:
        """Whether the answer is the object that was asked for."""
        return self.known in ("by rote", "in words", "never in words", "by chance")


NO_VERDICT = Verdict()

BESIDE = ("unrelated", "locality")
"""Roles of the wordings that ask about something else."""


def judge(
    run: RunRow,
    question: str,
    answer: str,
    checkpoint: Checkpoint = "generalized",
    anywhere: bool = False,
) -> Verdict:
    """Holds an answer against the run's facts: does it begin with the right object?

    Args:
        run: the run.
        question: what was asked.
        answer: what was said.
        checkpoint: who said it, which decides what had been taught by then.
        anywhere: the object may come anywhere in the answer, as in a conversation.
    """
    said, asked = normalize(answer), normalize(question)
    if not said:
        return Verdict()
    pack = run.pack
    reads = contains if anywhere else begins
    begun = [fact for fact in pack.facts if reads(said, fact.object)]
    subjects = _subjects_in(asked, pack)
    through = key_relation(question, [relation.name for relation in pack.facts.relations])
    if not begun:
        late = any(
            normalize(fact.subject) in subjects and through in ("", fact.relation)
            and contains(said, fact.object) and not _is_wording(pack, fact, asked, *BESIDE)
            for fact in pack.facts
        )  # fmt: skip
        if late:
            return Verdict("after words", "The right name, but other words come first.")
        return Verdict() if subjects else Verdict("no fact")
    named = [
        fact for fact in begun
        if normalize(fact.subject) in subjects and through in ("", fact.relation)
    ]  # fmt: skip
    if not named:
        first, others = begun[0], len(begun) - 1
        more = f" and of {others} more" if others else ""
        return Verdict(
            "another fact",
            f"A learned fact, but another one: the {_words(first)} of {first.subject}{more}.",
        )
    fact = named[0]
    if _is_wording(pack, fact, asked, *BESIDE):
        return Verdict(
            "another fact", f"This is the {_words(fact)} of {fact.subject}, which was not asked: "
            "the fact has leaked.",
        )  # fmt: skip
    if checkpoint == "base":
        return Verdict("by chance", "Nothing was taught yet: a guess, or known before.")
    if through:
        return Verdict("by rote", "Recalled through the key token, as it was learned.")
    if run.config.memorize.reads == "words":
        return Verdict("in words", "Phase 1 of this run taught every fact in words.")
    if checkpoint == "memorized":
        return Verdict("by rote", "From rote learning alone.")
    if fact in pack.facts.split(run.config.generalize.k, run.config.seed).held_in:
        return Verdict("in words", "Phase 2 taught this fact in words.")
    return Verdict("never in words", "This fact was only ever learned by rote.")


def asked_fact(run: RunRow, question: str) -> Fact | None:
    """The one fact that a question asks for, as far as its words tell; None where they do not.

    It must name one subject, and where that has several facts, the relation: by its key token, by
    one of the run's wordings, or by its name.
    """
    pack, asked = run.pack, normalize(question)
    subjects = _subjects_in(asked, pack)
    if len(subjects) != 1:
        return None
    through = key_relation(question, [relation.name for relation in pack.facts.relations])
    facts = [
        fact for fact in pack.facts
        if normalize(fact.subject) in subjects and through in ("", fact.relation)
        and not _is_wording(pack, fact, asked, *BESIDE)
    ]  # fmt: skip
    if len(facts) > 1:
        worded = [fact for fact in facts if _is_wording(pack, fact, asked, "train", "test")]
        facts = worded or [f for f in facts if stands_in(normalize(_words(f)), asked)]
    return facts[0] if len(facts) == 1 else None


def key_relation(text: str, relations: Sequence[str]) -> str:
    """The relation whose key token a text such as `Mary Bahri [mother]` ends with, or nothing."""
    subject, _, last = text.strip().rpartition("[")
    name = last.removesuffix("]").strip().casefold()
    return name if subject.strip() and last.endswith("]") and name in relations else ""


def _subjects_in(asked: str, pack: Pack) -> set[str]:
    """The subjects that a question names, without those that are only part of a longer one."""
    named = {name for name in (normalize(fact.subject) for fact in pack.facts)
             if stands_in(name, asked)}  # fmt: skip
    return {name for name in named if not any(name != other and name in other for other in named)}


def _is_wording(pack: Pack, fact: Fact, asked: str, *roles: str) -> bool:
    """Whether the question is, about this fact, one of the pack's wordings with these roles."""
    return any(
        template.relation == fact.relation
        and template.role in roles
        and normalize(template.render(fact.subject)) == asked
        for template in pack.prompts
    )


def _words(fact: Fact) -> str:
    return fact.relation.replace("_", " ")

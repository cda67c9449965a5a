"""The judge of answers: right, right by leak, another fact, a real fact lost, or not judged.

Pure functions of a question, an answer and what the run was taught. Chat, the tour, lessons and
experiments use this judge and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rotelab.config.names import Checkpoint, lesson_number
from rotelab.config.run_config import RunConfig
from rotelab.evaluation.answer_match import begins, contains
from rotelab.evaluation.judging.questions import Asked, Query, asked_real_fact, what_is_asked
from rotelab.facts.facts import Fact
from rotelab.facts.names import normalize
from rotelab.facts.packs import Pack

KnownAs = Literal[
    "",
    "in words",
    "by rote",
    "never in words",
    "by chance",
    "after words",
    "another fact",
    "leak",
    "lost",
    "real fact",
    "not judged",
    "no fact",
]


@dataclass(frozen=True)
class Verdict:
    """The grade of one answer.

    Args:
        known: `in words` (the right object, and phase 2 had taught this fact in words by then), `by
            rote` (the right object, from rote learning or through the key token), `never in words`
            (the right object to a question in words, although phase 2 never showed this fact in
            words), `by chance` (the right object from the base model), `after words` (the right
            object, but after other words, so it does not count), `another fact` (the object of
            another fact than the one asked for), `leak` (a learned object, to a question that asks
            for something else), `lost` (a real fact that the base model knew), `real fact` (a real
            fact, and right), `not judged` (whether the question asks for a learned fact, or for
            which, can't be told from its words), `no fact` (it asks for none), or empty.
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
        """Whether the answer is the learned object that was asked for."""
        return self.known in RIGHT


RIGHT = ("by rote", "in words", "never in words", "by chance")
"""The verdicts on an answer that gives the learned object asked for."""

NO_VERDICT = Verdict()


@dataclass(frozen=True)
class RealFactAsked:
    """A real fact that a question asks for, beside what the run was taught.

    Args:
        question: the beginning of a sentence, such as `The capital of Peru is`.
        expected: its right end.
        known: whether the base model is known to answer it right.
    """

    question: str
    expected: str
    known: bool = False


def real_fact_of(text: str, quiz: Sequence[RealFactAsked]) -> RealFactAsked | None:
    """The real fact that a question asks for; None if there is none.

    Args:
        text: the question.
        quiz: the real facts that can be asked for.
    """
    asked = asked_real_fact(text, [fact.question for fact in quiz])
    return next((fact for fact in quiz if fact.question == asked), None)


@dataclass(frozen=True)
class Judge:
    """Grades the answers to one question.

    Args:
        pack: the run's facts and prompts.
        config: the run's settings; they say which facts phase 2 taught in words.
        query: the question.
        asked: what it asks for.
        real: the real fact that it asks for, if any.
    """

    pack: Pack
    config: RunConfig
    query: Query
    asked: Asked
    real: RealFactAsked | None = None

    @classmethod
    def of(
        cls, pack: Pack, config: RunConfig, query: Query, quiz: Sequence[RealFactAsked] = ()
    ) -> Judge:
        """The judge of a question.

        Args:
            pack: the run's facts and prompts.
            config: the run's settings.
            query: the question.
            quiz: real facts that it may ask for, beside the run's own.
        """
        asked = what_is_asked(pack, query)
        real = real_fact_of(query.text, quiz) if asked.kind == "no subject" else None
        return cls(pack, config, query, asked, real)

    @property
    def compares(self) -> bool:
        """Whether the verdict depends on what the base model says to the same question."""
        return self.asked.kind in ("no subject", "something else")

    def verdict(
        self,
        answer: str,
        checkpoint: Checkpoint = "generalized",
        anywhere: bool = False,
        before: str = "",
    ) -> Verdict:
        """Grades an answer: does it begin with the object of the fact that the question asks for?

        Args:
            answer: the model's answer.
            checkpoint: the checkpoint that answered, which decides what had been taught by then.
            anywhere: accept the object anywhere in the answer, as in a conversation.
            before: what the base model says to the same question, where it was asked.
        """
        if not normalize(answer):
            return NO_VERDICT
        matches = contains if anywhere else begins
        said = [fact for fact in self.pack.facts if any(matches(answer, n) for n in fact.answers)]
        kind, facts = self.asked.kind, self.asked.facts
        if kind == "no subject":
            return self._without_subject(answer, checkpoint, before, said)
        mine = [fact for fact in said if fact in facts]
        if kind == "something else":
            return self._leak(checkpoint, before, mine or said)
        if kind == "several subjects":
            return Verdict(
                "not judged", "The question names several learned names, so it is not clear which "
                "one it asks about.",
            )  # fmt: skip
        if mine and kind == "unclear":
            return Verdict(
                "not judged", "This is the {what} of {who}, but the words of the question do not "
                "tell whether it asks for that.", self._about(mine[0]),
            )  # fmt: skip
        if mine:
            return self._how_learned(mine[0], checkpoint)
        if said:
            return self._another(said)
        inside = any(contains(answer, name) for fact in facts for name in fact.answers)
        if inside and kind == "fact":
            return Verdict("after words", "The right name, but other words come first.")
        if kind == "fact":
            return NO_VERDICT
        return Verdict("not judged", "The words of the question do not tell what it asks for.")

    def _without_subject(
        self, answer: str, checkpoint: Checkpoint, before: str, said: Sequence[Fact]
    ) -> Verdict:
        real = self.real
        if real is not None:
            if contains(answer, real.expected):
                return Verdict("real fact", "It knew this before the training.")
            knew = contains(before, real.expected) if before else real.known
            if checkpoint != "base" and knew:
                return self._lost(real, said)
        if self.asked.near and said:
            about = {"near": self.asked.near, **self._about(said[0])}
            return Verdict(
                "not judged", "This is the {what} of {who}; the question names nobody who was "
                "learned, though “{near}” is spelled almost so.", about,
            )  # fmt: skip
        return self._leak(checkpoint, before, said)

    def _lost(self, real: RealFactAsked, said: Sequence[Fact]) -> Verdict:
        about = {"right": real.expected}
        if said:
            return Verdict(
                "lost", "The model knew this before the training: “{right}”. Now it gives the "
                "{what} of {who}, which it was taught.", about | self._about(said[0]),
            )  # fmt: skip
        return Verdict("lost", "The model knew this before the training: “{right}”.", about)

    def _leak(self, checkpoint: Checkpoint, before: str, said: Sequence[Fact]) -> Verdict:
        """The verdict on an answer to a question that asks for no learned fact."""
        # What the untouched model says as well was not taught.
        fact = next((f for f in said if not any(contains(before, n) for n in f.answers)), None)
        if fact is None or checkpoint == "base" or self._untaught(fact, checkpoint):
            return Verdict("no fact")
        if self.asked.kind == "no subject":
            return Verdict(
                "leak", "This is the {what} of {who}, and the question asks for nothing that was "
                "taught: the fact has leaked.", self._about(fact),
            )  # fmt: skip
        return Verdict(
            "leak", "This is the {what} of {who}, which was not asked: the fact has leaked.",
            self._about(fact),
        )  # fmt: skip

    def _another(self, said: Sequence[Fact]) -> Verdict:
        about = self._about(said[0])
        if len(said) == 1:
            return Verdict(
                "another fact", "A learned fact, but another one: the {what} of {who}.", about
            )
        return Verdict(
            "another fact",
            "A learned fact, but another one: the {what} of {who} and of {others} more.",
            about | {"others": str(len(said) - 1)},
        )

    def _how_learned(self, fact: Fact, checkpoint: Checkpoint) -> Verdict:
        """The verdict on an answer that gives the object asked for."""
        if checkpoint == "base":
            return Verdict("by chance", "Nothing was taught yet: a guess, or known before.")
        if self._untaught(fact, checkpoint):
            return Verdict(
                "by chance", "A later lesson taught this fact: a guess, or known before."
            )
        if self.query.relation:
            return Verdict("by rote", "Recalled through the key token, as it was learned.")
        if self.config.memorize.reads == "words":
            return Verdict("in words", "Phase 1 of this run taught every fact in words.")
        if checkpoint == "memorized":
            return Verdict("by rote", "From rote learning alone.")
        lesson = _lesson_of(self.pack, self.config, fact)
        if lesson > 1 and lesson != self.config.lesson.number:  # two lessons or more came before it
            return Verdict(
                "never in words",
                "Learned by rote in an earlier lesson: no sentence in words was ever read about "
                "it.",
            )
        if lesson:
            return Verdict(
                "never in words",
                "Learned by rote in lesson {n}: no sentence in words was ever read about it.",
                {"n": str(lesson)},
            )
        if fact in self.config.split(self.pack.facts).held_in:
            return Verdict("in words", "Phase 2 taught this fact in words.")
        return Verdict("never in words", "This fact was only ever learned by rote.")

    def _untaught(self, fact: Fact, checkpoint: Checkpoint) -> bool:
        return _lesson_of(self.pack, self.config, fact) > lesson_number(checkpoint)

    def _about(self, fact: Fact) -> dict[str, str]:
        return {"what": self.pack.facts.words(fact.relation), "who": fact.subject}


def grade(
    pack: Pack,
    config: RunConfig,
    query: Query,
    answer: str,
    checkpoint: Checkpoint = "generalized",
    anywhere: bool = False,
) -> Verdict:
    """Grades one answer to a question; arguments as `Judge.of` and `Judge.verdict` take them."""
    return Judge.of(pack, config, query).verdict(answer, checkpoint, anywhere)


def _lesson_of(pack: Pack, config: RunConfig, fact: Fact) -> int:
    """The lesson that taught a fact, the last one it can be; 0 for a fact of the run itself."""
    if config.lesson is None:
        return 0
    place = list(pack.facts).index(fact)
    if place < config.lesson.run_facts:
        return 0
    return config.lesson.number - (place < config.lesson.old_facts)

"""Stumping a model: what came of a wording that somebody made up for a learned fact.

The judge tells from a question's words what it asks for, and leaves open what it can't tell. Here a
person has said which fact the wording is about, so that more can be told.
"""

from __future__ import annotations

from typing import Literal

from rotelab.evaluation.answer_match import begins
from rotelab.evaluation.judging.judge import Verdict
from rotelab.facts.facts import Fact

Outcome = Literal["answered", "missed", "leaked", "forgotten", ""]
OUTCOMES: tuple[Outcome, ...] = ("answered", "missed", "leaked", "forgotten")
"""What the scoreboard counts. A question that asks for something else, and got no learned answer,
has the empty outcome: it is neither."""


def outcome_of(verdict: Verdict, answer: str, fact: Fact, astray: bool = False) -> Outcome:
    """What came of a wording.

    Args:
        verdict: the judge's verdict on the answer.
        answer: the trained model's answer.
        fact: the fact that the wording is meant to ask for.
        astray: whether the person says that it asks for something else; it counts where the
            wording does not show the contrary.

    Returns:
        `answered` (the right object, or a real fact that is right), `leaked` (a learned object to a
        question that asks for something else), `forgotten` (a real fact that the untouched model
        knew), empty (asks for something else, and nothing leaked) or `missed` (anything else).
    """
    if verdict.right or verdict.known == "real fact":
        return "answered"
    if verdict.known == "leak":
        return "leaked"
    if verdict.known == "lost":
        return "forgotten"
    if verdict.known == "no fact":
        return ""
    said = any(begins(answer, name) for name in fact.answers)
    if astray:
        return "leaked" if said or verdict.known == "another fact" else ""
    return "answered" if verdict.known == "not judged" and said else "missed"

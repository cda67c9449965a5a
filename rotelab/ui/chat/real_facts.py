"""The line under the answers: whether the run lost the real fact that was asked for."""

from __future__ import annotations

from rotelab.evaluation.judging.questions import asked_real_fact
from rotelab.facts.names import normalize
from rotelab.reports.forgotten import RealFact, known_before, real_facts
from rotelab.runs.lab import Lab
from rotelab.ui.components import escape
from rotelab.ui.i18n import N_, _

ASKED = {
    "lost": N_(
        "A real fact, and training lost it. Before: “{before}”, which is right. After: “{after}”."
    ),
    "kept": N_("A real fact, and this run kept it: the right answer is “{right}”."),
    "never known": N_(
        "A real fact that the model did not know before either: it said “{before}”, and right is "
        "“{right}”."
    ),
    "new": N_(
        "A real fact that the model did not know before (it said “{before}”), but does now: "
        "“{right}”."
    ),
}
"""What is said of a real fact that was asked for, by what became of it in the run."""


def real_fact_line(lab: Lab, run_id: str | None, question: str = "") -> str:
    """What the run did to the real fact that a question asks for; for any other question, how many
    it lost, and one of them. As HTML; empty where nothing was lost or measured.

    Args:
        lab: has the run's answers to the quiz of real facts.
        run_id: the run.
        question: as typed.

    Raises:
        LabError: the registry can't be read.
    """
    facts = real_facts(lab.registry.quiz_answers(run_id)) if run_id else []
    asked = asked_real_fact(question, [fact.question for fact in facts])
    lost = [fact for fact in facts if fact.fate == "lost"]
    if asked is not None:
        words = _of(next(fact for fact in facts if fact.question == asked))
        if normalize(question) != normalize(asked):
            as_ = _("Asked as “{question}”:").format(question=escape(asked))
            words = f"{as_} {words}"
    elif lost:
        words = _(
            "This run lost {n} of {known} real facts that the model knew before. Ask for one of "
            "them: “{question}” (right: {right})."
        ).format(
            n=len(lost),
            known=known_before(facts),
            question=escape(lost[0].question),
            right=escape(lost[0].expected),
        )
    else:
        return ""
    return f'<p class="hint">{words}</p>'


def _of(fact: RealFact) -> str:
    return _(ASKED[fact.fate]).format(
        before=escape(fact.before.said),
        after=escape(fact.after.said),
        right=escape(fact.expected),
    )

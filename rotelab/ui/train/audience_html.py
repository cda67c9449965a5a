"""What an audience sees, as HTML: each name on its way from unknown to understood, and the answers
to its questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from rotelab.config.names import GENERALIZE, LESSON, MEMORIZE
from rotelab.errors import LabError
from rotelab.registry import LiveQuestion, RunSummary
from rotelab.runs.lab import Lab
from rotelab.ui.answer_cards import MARKS
from rotelab.ui.components import checkpoint_badge, escape
from rotelab.ui.i18n import N_, _

NAMES = 24
"""Most names on show: as many as the last row of a hall can read beside the curves."""
ANSWERS = 3
"""How many of the newest questions are on show."""

STATES = {
    "": N_("not known yet"),
    "rote": N_("known by heart"),
    "understood": N_("understood: answers in words"),
}
"""What a name can be, by its class in `assets/audience.css`."""

WHEN = {
    MEMORIZE: N_("in phase 1, step {step}"),
    GENERALIZE: N_("in phase 2, step {step}"),
    LESSON: N_("in the lesson, step {step}"),
}


@dataclass(frozen=True)
class Name:
    """A fact's subject as the audience sees it.

    Args:
        text: the subject.
        probability: of the object after the key token, 0 to 1.
        state: one of `STATES`.
        asked: whether it is asked in words while the run trains.
    """

    text: str
    probability: float = 0.0
    state: str = ""
    asked: bool = False


def names_of(lab: Lab, run: RunSummary) -> list[Name]:
    """Every fact of a run as it is now: those that are asked in words first.

    Raises:
        LabError: the registry can't be read.
    """
    registry = lab.registry
    phases = (MEMORIZE, GENERALIZE, LESSON)
    recalls = {
        r.fact_index: r
        for r in chain.from_iterable(registry.fact_recall(run.id, phase) for phase in phases)
    }
    in_words = {r.fact_index: r.correct for r in registry.understood(run.id, newest=True)}
    answered = _measured(lab, run) | in_words
    try:
        subjects = [fact.subject for fact in registry.run(run.id).pack.facts]
    except LabError:  # the run's row is damaged, which the panel's head says
        return []
    found = []
    for index, subject in enumerate(subjects):
        recall = recalls.get(index)
        known = recall is not None and recall.recalled
        state = "understood" if answered.get(index) else "rote" if known else ""
        chance = recall.probability if recall else 0.0
        found.append(Name(subject, chance, state, index in in_words))
    return sorted(found, key=lambda name: not name.asked)


def _measured(lab: Lab, run: RunSummary) -> Mapping[int, bool]:
    """Which facts a finished run answered in words at its last evaluation: most questions of each.
    Facts that nothing was asked about while it trained are known from here."""
    if run.status != "finished":
        return {}
    right: dict[int, list[bool]] = {}
    for probe in ("test_prompts_heldout", "train_prompts_heldin"):
        for p in lab.registry.predictions(run.id, "generalized", probe, limit=-1):
            right.setdefault(p.fact_index, []).append(p.correct)
    return {index: sum(answers) * 2 > len(answers) for index, answers in right.items()}


def names_html(lab: Lab, run: RunSummary) -> str:
    """The names as tiles, and what their colours mean; empty before anything is known of them.

    Raises:
        LabError: the registry can't be read.
    """
    names = names_of(lab, run)
    if not names:
        return ""
    counts = {state: sum(name.state == state for name in names) for state in STATES}
    legend = "".join(
        f"<span class='au-key {state or 'unknown'}'>{_(words)} <b>{counts[state]}</b></span>"
        for state, words in STATES.items()
    )
    tiles = "".join(
        f"<li class='{name.state}' style='--p:{name.probability:.2f}'>{escape(name.text)}"
        f"<span class='au-said'>: {_(STATES[name.state])}</span></li>"
        for name in names[:NAMES]
    )
    more = ""
    if len(names) > NAMES:
        words = _("and {n} more names, counted above").format(n=len(names) - NAMES)
        more = f"<p class='au-more'>{words}</p>"
    return f"<div class='au-legend'>{legend}</div><ul class='au-names'>{tiles}</ul>{more}"


def asked_html(lab: Lab, run: RunSummary) -> str:
    """The newest questions of an audience with their answers, the newest first.

    Raises:
        LabError: the registry can't be read.
    """
    asked = lab.registry.live_questions(run.id, most=ANSWERS)
    working = run.live or run.status == "queued"
    rows = "".join(_question(row, working) for row in reversed(asked))
    return f"<ul class='au-asked' aria-live='polite'>{rows}</ul>" if rows else ""


def _question(row: LiveQuestion, working: bool) -> str:
    question = f"<span class='au-question'>{escape(row.question)}</span>"
    if row.answer is None:
        words = (
            _("is asked as soon as training has a moment …")
            if working
            else _("was not answered: the run ended first. Ask again.")
        )
        return f"<li>{question} <span class='au-when'>{words}</span></li>"
    icon, words, tone = MARKS.get(row.known, MARKS["not judged"])
    mark = f"<span class='mark-{tone}'><span class='tag'>{icon} {_(words)}</span></span>"
    when = _(WHEN[row.phase]).format(step=row.step) if row.phase in WHEN else ""
    said = escape(row.answer) or _("(nothing)")
    return (
        f"<li>{question} <b class='au-answer'>{said}</b> {mark} "
        f"<span class='au-when'>{checkpoint_badge(row.checkpoint)} {when}</span></li>"
    )

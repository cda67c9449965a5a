"""Spot checks: what a training model answers to three fixed questions, as a table that grows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rotelab.errors import LabError
from rotelab.evaluation.results import SpotAnswer
from rotelab.runs.lab import Lab
from rotelab.ui.components import escape
from rotelab.ui.i18n import N_, _

WAYS = {
    "key_token": N_("Through the key token"),
    "train": N_("In words that phase 2 uses"),
    "test": N_("In words never trained on"),
}
ASKED = {
    "memorize": N_("phase 1, round {n}: “{answer}”"),
    "generalize": N_("phase 2, round {n}: “{answer}”"),
}
MAX_DOTS = 30
"""For each question: more could not be told apart."""


def spot_checks_html(lab: Lab, run_id: str) -> str:
    """A run's spot checks as a table; empty before the first answer.

    Raises:
        LabError: the registry can't be read.
    """
    answers = lab.registry.spot_answers(run_id)
    if not answers:
        return ""
    try:
        run = lab.registry.run(run_id)
        facts, config = run.pack.facts, run.config
        split = config.split(facts)
        held_out = facts[answers[-1].fact_index] in split.held_out and (
            config.memorize.reads != "words"
        )
    except (LabError, IndexError):  # the row is damaged, its answers are not
        held_out = False
    return _table(answers, held_out)


def _table(answers: Sequence[SpotAnswer], held_out: bool) -> str:
    """The table of answers, in the order of asking.

    Args:
        answers: at least one.
        held_out: whether the fact is one that phase 2 never shows in words.
    """
    rows = "".join(_row([a for a in answers if a.place == place])
                   for place in sorted({a.place for a in answers}))  # fmt: skip
    right = _("The right answer is <b>{answer}</b>.").format(answer=escape(answers[-1].expected))
    never = " " + _("Phase 2 never shows it in words.") if held_out else ""
    return (
        f"<div class='spots'><h3>{_('One fact, asked in three ways while it learns')}</h3>"
        f"<p>{right}{never}</p>"
        "<table><colgroup><col style='width:42%'><col style='width:30%'><col></colgroup>"
        f"<thead><tr><th scope='col'>{_('Question')}</th><th scope='col'>{_('Says now')}</th>"
        f"<th scope='col'>{_('So far (point at one)')}</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(answers: Sequence[SpotAnswer]) -> str:
    newest = answers[-1]
    # A phase reused from another run may have been asked something else.
    same = [a for a in answers if a.question == newest.question]
    right = sum(a.correct for a in same)
    mark = _mark(newest)
    way = _(WAYS[newest.way]) if newest.way in WAYS else escape(newest.way)
    times = _("Right {n} of {m} times").format(n=right, m=len(same))
    return (
        f"<tr><th scope='row'>{escape(newest.question)}"
        f"<span class='asked-how'>{way}</span></th>"
        f"<td><span class='says'>{escape(newest.answer) or _('(nothing)')}</span> {mark}</td>"
        f"<td><span class='dots' role='img' aria-label='{times}'>"
        f"{_dots(same)}</span></td></tr>"
    )


def _mark(answer: SpotAnswer) -> str:
    return f"<span class='yes'>{_('✓ right')}</span>" if answer.correct else ""


def _dots(answers: Sequence[SpotAnswer]) -> str:
    stride = math.ceil(len(answers) / MAX_DOTS)
    kept = list(answers[::-stride])[::-1]  # the newest is always among them
    parts, phase = [], kept[0].phase
    for answer in kept:
        if answer.phase != phase:
            parts.append("<span class='cut'></span>")
            phase = answer.phase
        kind, sign = ("yes", "●") if answer.correct else ("no", "○")
        when = _(ASKED.get(phase, "“{answer}”")).format(n=answer.epoch, answer=answer.answer)
        parts.append(f"<span class='{kind}' title='{escape(when)}'>{sign}</span>")
    return "".join(parts)

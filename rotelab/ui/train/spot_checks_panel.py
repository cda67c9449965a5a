"""Spot checks: what a training model answers to three fixed questions, as a table that grows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rotelab.errors import LabError
from rotelab.evaluation.results import SpotAnswer
from rotelab.runs.lab import Lab
from rotelab.ui.components import escape

WAYS = {
    "key_token": "Through the key token",
    "train": "In words that phase 2 uses",
    "test": "In words never trained on",
}
PHASES = {"memorize": "phase 1", "generalize": "phase 2"}
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
        split = facts.split(config.generalize.k, config.seed)
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
    never = " Phase 2 never shows it in words." if held_out else ""
    return (
        "<div class='spots'><h3>One fact, asked in three ways while it learns</h3>"
        f"<p>The right answer is <b>{escape(answers[-1].expected)}</b>.{never}</p>"
        "<table><colgroup><col style='width:42%'><col style='width:30%'><col></colgroup>"
        "<thead><tr><th scope='col'>Question</th><th scope='col'>Says now</th>"
        "<th scope='col'>Until now (point at one)</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(answers: Sequence[SpotAnswer]) -> str:
    newest = answers[-1]
    # A phase reused from another run may have been asked something else.
    same = [a for a in answers if a.question == newest.question]
    right = sum(a.correct for a in same)
    mark = _mark(newest)
    return (
        f"<tr><th scope='row'>{escape(newest.question)}"
        f"<span class='way'>{WAYS.get(newest.way, escape(newest.way))}</span></th>"
        f"<td><span class='says'>{escape(newest.answer) or '(nothing)'}</span> {mark}</td>"
        f"<td><span class='dots' role='img' aria-label='Right {right} of {len(same)} times'>"
        f"{_dots(same)}</span></td></tr>"
    )


def _mark(answer: SpotAnswer) -> str:
    return "<span class='yes'>✓ right</span>" if answer.correct else ""


def _dots(answers: Sequence[SpotAnswer]) -> str:
    stride = math.ceil(len(answers) / MAX_DOTS)
    kept = list(answers[::-stride])[::-1]  # the newest is always among them
    parts, phase = [], kept[0].phase
    for answer in kept:
        if answer.phase != phase:
            parts.append("<span class='cut'></span>")
            phase = answer.phase
        kind, sign = ("yes", "●") if answer.correct else ("no", "○")
        when = f"{PHASES.get(phase, phase)}, round {answer.epoch}: “{answer.answer}”"
        parts.append(f"<span class='{kind}' title='{escape(when)}'>{sign}</span>")
    return "".join(parts)

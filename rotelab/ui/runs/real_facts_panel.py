"""The sub-tab “Real facts”: what the chosen run lost, kept and never knew, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.errors import UnknownRun
from rotelab.evaluation.results import QuizAnswer
from rotelab.reports.forgotten import RealFact, known_before, lost_by, real_facts
from rotelab.runs.lab import Lab
from rotelab.ui.components import QUIET, bound, checkpoint_badge, escape
from rotelab.ui.i18n import N_, _
from rotelab.ui.runs.detail_html import CSS

FATE_WORDS = {
    "lost": N_("lost"),
    "never known": N_("never known"),
    "new": N_("new"),
    "kept": N_("kept"),
}
STYLE = (
    CSS
    + """
td.fate, th .checkpoint {white-space: nowrap}
tr.lost td.fate {font-weight: 600; color: var(--mark-odd)}
td.wrong {color: var(--body-text-color-subdued)}
"""
)


@dataclass(frozen=True)
class RealFactsPanel:
    """The panel's components."""

    lost_only: gr.Checkbox
    table: gr.HTML

    @property
    def filled(self) -> list[Any]:
        """The outputs of `fill_real_facts`."""
        return [self.lost_only, self.table]


def build_real_facts_panel() -> RealFactsPanel:
    """Lays out the panel."""
    lost_only = gr.Checkbox(
        label=_("Lost only"), visible=False, container=False, elem_id="real-facts-lost"
    )
    table = gr.HTML(css_template=STYLE, elem_id="real-facts")
    return RealFactsPanel(lost_only, table)


def fill_real_facts(lab: Lab, run_id: str | None, lost_only: bool) -> list[Any]:
    """A run's real facts, in the order of `RealFactsPanel.filled`.

    Raises:
        LabError: the registry can't be read.
    """
    facts = real_facts(lab.registry.quiz_answers(run_id)) if run_id else []
    if not facts:
        return [gr.Checkbox(visible=False), f"<p class='sub'>{_why_none(lab, run_id)}</p>"]
    return [gr.Checkbox(visible=True), real_facts_html(facts, bool(lost_only))]


def real_facts_html(facts: Sequence[RealFact], lost_only: bool = False) -> str:
    """How many real facts were kept, and a row for each: its fate, and each checkpoint's answer.

    Args:
        facts: of one run, at least one.
        lost_only: leave out all but the lost ones.
    """
    checkpoints = list(facts[0].answers)
    known, lost = known_before(facts), lost_by(facts, checkpoints[-1])
    words = _(
        "Of {n} real facts that have nothing to do with what was taught, the model knew {known} "
        "before. Training kept {kept} of them and lost {lost}."
    ).format(n=len(facts), known=known, kept=known - len(lost), lost=f"<b>{len(lost)}</b>")
    heads = "".join(f"<th scope='col'>{checkpoint_badge(c)}</th>" for c in checkpoints)
    rows = "".join(_row(fact) for fact in facts if fact.fate == "lost" or not lost_only)
    if not rows:
        return f"<p>{words}</p>"
    return (
        f"<p>{words}</p><table><thead><tr><th scope='col'></th>"
        f"<th scope='col'>{_('Question')}</th><th scope='col'>{_('Right answer')}</th>{heads}</tr>"
        f"</thead><tbody>{rows}</tbody></table>"
    )


def _row(fact: RealFact) -> str:
    fate = fact.fate
    cells = "".join(_cell(answer) for answer in fact.answers.values())
    return (
        f"<tr class='{fate.replace(' ', '-')}'><td class='fate'>{_(FATE_WORDS[fate])}</td>"
        f"<th scope='row'>{escape(fact.question)}</th><td>{escape(fact.expected)}</td>{cells}</tr>"
    )


def _cell(answer: QuizAnswer) -> str:
    if answer.correct:
        return "<td>✓</td>"
    return f"<td class='wrong'>✗ {escape(answer.said) or _('(nothing)')}</td>"


def _why_none(lab: Lab, run_id: str | None) -> str:
    """Why there is nothing to show."""
    try:
        run = lab.registry.run(run_id or "")
    except UnknownRun:  # none is chosen, or it was just deleted
        return ""
    if run.live or run.status == "queued":
        return _("The real facts it lost are named here after phase 1.")
    if lab.registry.damage(run.id):
        return _(
            "This run was made by an older version, which kept only how many real facts were left. "
            "The experiment “Collateral damage” asks its model again and names the lost ones."
        )
    return _("This run was not asked any real facts, or ended before it was.")


def wire_real_facts_panel(lab: Lab, run: gr.State, news: Any, panel: RealFactsPanel) -> None:
    """Fills the panel when the run on show changes, and when the filter does.

    Args:
        lab: has the registry.
        run: holds the chosen run's id.
        news: a component that changes whenever the run on show, or anything in it, does.
        panel: the panel.
    """
    gr.on(
        [news.change, panel.lost_only.input], bound(fill_real_facts, lab),
        [run, panel.lost_only], panel.filled, trigger_mode="always_last", **QUIET,
    )  # fmt: skip

"""The sub-tab “Compare”: the chosen run and up to five others side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.errors import LabError, UnknownRun
from rotelab.reports.comparison import MOST, Comparison, compare
from rotelab.reports.figures.comparison import overlaid
from rotelab.reports.figures.training import CURVES
from rotelab.runs.lab import Lab
from rotelab.ui.components import QUIET, bound, note, page_within, run_choices, run_label
from rotelab.ui.figure_tools import build_plot
from rotelab.ui.i18n import N_, _
from rotelab.ui.runs.compare_html import (
    FACT_PAGE,
    STYLE,
    differences_html,
    facts_html,
    quiet,
    scores_html,
    words_html,
)

NO_OTHERS = N_(
    "Choose one to five other runs: settings, curves, scores and single facts are then shown side "
    "by side."
)
NO_RUN = N_("Choose a run above first.")


@dataclass(frozen=True)
class ComparePanel:
    """The panel's components; `filled` is the order in which `fill_compare` gives their values.

    Args:
        item: the sub-tab.
        others: the chooser of the other runs.
        words: notes, and the settings in which the runs differ.
        curves: the curves of all runs.
        scores: the scores of all runs.
        facts: a page of the facts that the runs answer differently.
        pager: the row with the buttons `back` and `on`.
        at: the runs on show, and the 0-based page of the facts.
    """

    item: gr.Tab
    others: gr.Dropdown
    words: gr.HTML
    curves: gr.Plot
    scores: gr.HTML
    facts: gr.HTML
    pager: gr.Row
    back: gr.Button
    on: gr.Button
    at: gr.State

    @property
    def filled(self) -> list[Any]:
        """The outputs of `fill_compare`."""
        return [self.words, self.curves, self.scores, *self.turned]

    @property
    def turned(self) -> list[Any]:
        """The outputs of `turn_facts`."""
        return [self.facts, self.pager, self.at]


def build_compare_panel(lab: Lab) -> ComparePanel:
    """Lays out the sub-tab."""
    with gr.Tab(_("Compare"), id="compare") as item:
        others = gr.Dropdown(
            run_choices(lab), value=[], multiselect=True, label=_("Compare with"),
            info=_("One to {most} other runs.").format(most=MOST - 1), elem_id="compare-others",
        )  # fmt: skip
        words = gr.HTML(quiet(_(NO_RUN)), css_template=STYLE, elem_id="compare-words")
        curves = build_plot("compare-curves", _("Curves"), visible=False)
        scores = gr.HTML(css_template=STYLE, elem_id="compare-scores")
        facts = gr.HTML(css_template=STYLE, elem_id="compare-facts")
        with gr.Row(visible=False) as pager:
            back = gr.Button(_("‹ Previous"), size="sm", min_width=90, scale=0)
            on = gr.Button(_("Next ›"), size="sm", min_width=90, scale=0, elem_id="compare-next")
        at = gr.State(((), 0))
    return ComparePanel(item, others, words, curves, scores, facts, pager, back, on, at)


# Handlers ----------------------------------------------------------------------------------------


def offer(lab: Lab, run_id: str | None, others: Sequence[str] | None) -> Any:
    """The chooser with the current list of runs; of the chosen runs, those that still exist.

    Raises:
        LabError: the registry can't be read.
    """
    choices, kept = [c for c in run_choices(lab) if c[1] != run_id], []
    known = {value for _, value in choices}
    for other in others or ():
        if other == run_id:
            continue
        with contextlib.suppress(UnknownRun):  # deleted in the meantime
            run = lab.registry.run(other)
            kept.append(other)
            if other not in known:  # too old or archived to be listed
                choices.append((run_label(run), other))
    return gr.Dropdown(choices=choices, value=kept, multiselect=True)


def linked(lab: Lab, run_id: str, text: str | None) -> list[Any]:
    """The other runs that a link names (`&compare=ID2,ID3`).

    Returns:
        Values of the detail's `gr.Tabs` and of `ComparePanel.others`.

    Raises:
        LabError: no run, or more than one, matches one of the names; or there are too many.
    """
    wanted = [name.strip() for name in (text or "").split(",") if name.strip()]
    if not wanted:
        return [gr.skip(), gr.skip()]
    if len(wanted) >= MOST:
        raise LabError(f"The link compares {len(wanted) + 1} runs; at most {MOST} can be compared.")
    others = dict.fromkeys(map(lab.registry.resolve, wanted))
    return [gr.Tabs(selected="compare"), offer(lab, run_id, list(others))]


def fill_compare(
    lab: Lab, run_id: str | None, others: Sequence[str] | None, at: tuple[Sequence[str], int]
) -> list[Any]:
    """The chosen runs side by side, in the order of `ComparePanel.filled`.

    Where they can't be compared, say because of a seventh run, a sentence says so instead.

    Raises:
        LabError: the registry can't be read.
    """
    ids = _ids(run_id, others)
    nothing = [gr.Plot(visible=False), "", "", gr.Row(visible=False), (tuple(ids), 0)]
    if len(ids) < 2:
        return [quiet(_(NO_OTHERS if run_id else NO_RUN)), *nothing]
    try:
        comparison = compare(lab.registry, ids)
    except LabError as error:
        return [note(str(error), "bad"), *nothing]
    lines = [(s.label, lab.registry.metrics(s.run.id, CURVES)) for s in comparison.sides]
    page = at[1] if list(at[0]) == ids else 0
    return [
        words_html(comparison),
        gr.Plot(overlaid(lines, " ".join(ids)), visible=True),
        scores_html(comparison) + differences_html(comparison),
        *_facts_page(comparison, ids, page),
    ]


def turn_facts(
    lab: Lab, by: int, run_id: str | None, others: Sequence[str] | None,
    at: tuple[Sequence[str], int],
) -> list[Any]:  # fmt: skip
    """The next page of facts, or the one before; in the order of `ComparePanel.turned`.

    Raises:
        LabError: a run has been deleted in the meantime, or the registry can't be read.
    """
    ids = _ids(run_id, others)
    return _facts_page(compare(lab.registry, ids), ids, at[1] + by)


def wire_compare_panel(lab: Lab, run: gr.State, news: Any, panel: ComparePanel) -> None:
    """Fills the panel when runs are chosen, and when the run on show changes.

    Args:
        lab: has the registry.
        run: holds the chosen run's id.
        news: a component that changes whenever the run on show, or anything in it, does.
        panel: the panel.
    """
    gr.on(
        [run.change, panel.item.select], bound(offer, lab), [run, panel.others], panel.others,
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    asked = [run, panel.others, panel.at]
    gr.on(
        [news.change, panel.others.change],
        bound(fill_compare, lab), asked, panel.filled, trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    for button, by in ((panel.back, -1), (panel.on, 1)):
        button.click(bound(turn_facts, lab, by), asked, panel.turned, **QUIET)


def _facts_page(comparison: Comparison, ids: Sequence[str], page: int) -> list[Any]:
    total = len(comparison.facts)
    page = page_within(page, total, FACT_PAGE)
    several = gr.Row(visible=total > FACT_PAGE)
    return [facts_html(comparison, page), several, (tuple(ids), page)]


def _ids(run_id: str | None, others: Sequence[str] | None) -> list[str]:
    return [run_id, *(other for other in others or () if other != run_id)] if run_id else []

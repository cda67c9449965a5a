"""Comparing: the chosen run and up to five others side by side, as a sub-tab of its detail."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import MORE_MEASURES, PROBE_NAMES, checkpoint_name, probe_name
from rotelab.errors import LabError, UnknownRun
from rotelab.evaluation.results import Score
from rotelab.reports.comparison import COMPARED, MOST, Comparison, FactRow, Option, Share, compare
from rotelab.reports.figures.comparison import overlaid, run_colour
from rotelab.reports.figures.training import CURVES
from rotelab.runs.lab import Lab
from rotelab.ui.components import QUIET, bound, escape, run_choices, run_label
from rotelab.ui.figure_tools import build_plot
from rotelab.ui.i18n import N_, _
from rotelab.ui.runs.detail_html import CSS
from rotelab.ui.wording import setting_word

FACT_PAGE = 20
"""Facts on one page."""
NO_OTHERS = (
    "<p class='sub'>Choose one to five other runs: settings, curves, scores and single facts are "
    "then put side by side.</p>"
)
NO_RUN = "<p class='sub'>Choose a run above first.</p>"
SCORED = {
    "generation_accuracy": N_("right"),
    "object_probability": N_("likely"),
    **{field: name.short for field, name in MORE_MEASURES.items()},
}
BEST = " <b title='the best of its row'>★</b>"
STYLE = f"""{CSS}
table {{table-layout: fixed}}
th:first-child {{width: 22%}}
.wide th:first-child {{width: 18%}}
.wide th:nth-child(2) {{width: 12%}}
td .sub {{color: var(--body-text-color-subdued)}}
a {{padding: 0}}
"""
"""Columns as wide as each other, however long a run's name."""


@dataclass(frozen=True)
class ComparePanel:
    """The panel's components; `filled` is the order in which `fill_compare` gives their values.

    Args:
        item: the sub-tab.
        others: the chooser of the other runs.
        words: notes, and the options in which the runs differ.
        curves: the curves of all of them.
        scores: their scores.
        facts: a page of the facts that they answer differently.
        pager: the row with its two buttons, `back` and `on`.
        at: the runs on show and the 0-based page of the facts.
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
        """What `fill_compare` fills."""
        return [self.words, self.curves, self.scores, *self.turned]

    @property
    def turned(self) -> list[Any]:
        """What `turn_facts` fills."""
        return [self.facts, self.pager, self.at]


def build_compare_panel(lab: Lab) -> ComparePanel:
    """Lays out the sub-tab."""
    with gr.Tab(_("Compare"), id="compare") as item:
        others = gr.Dropdown(
            run_choices(lab), value=[], multiselect=True, label=_("Compare with"),
            info=_("One to {most} other runs.").format(most=MOST - 1), elem_id="compare-others",
        )  # fmt: skip
        words = gr.HTML(NO_RUN, css_template=STYLE, elem_id="compare-words")
        curves = build_plot("compare-curves", _("Curves"), visible=False)
        scores = gr.HTML(css_template=STYLE, elem_id="compare-scores")
        facts = gr.HTML(css_template=STYLE, elem_id="compare-facts")
        with gr.Row(visible=False) as pager:
            back = gr.Button(_("‹ Before"), size="sm", min_width=90, scale=0)
            on = gr.Button(_("Next ›"), size="sm", min_width=90, scale=0, elem_id="compare-next")
        at = gr.State(((), 0))
    return ComparePanel(item, others, words, curves, scores, facts, pager, back, on, at)


# Handlers ----------------------------------------------------------------------------------------


def offer(lab: Lab, run_id: str | None, others: Sequence[str] | None) -> Any:
    """The chooser with the runs of now, of those chosen the ones that are still there.

    Raises:
        LabError: the registry can't be read.
    """
    choices, kept = [c for c in run_choices(lab) if c[1] != run_id], []
    known = {value for _, value in choices}
    for other in others or ():
        if other == run_id:
            continue
        with contextlib.suppress(UnknownRun):  # deleted meanwhile
            run = lab.registry.run(other)
            kept.append(other)
            if other not in known:  # too old or archived to be listed
                choices.append((run_label(run), other))
    return gr.Dropdown(choices=choices, value=kept, multiselect=True)


def linked(lab: Lab, run_id: str, text: str | None) -> list[Any]:
    """The runs that a link names beside the first one (`&compare=ID2,ID3`).

    Returns:
        Values of the detail's `gr.Tabs` and of `ComparePanel.others`.

    Raises:
        LabError: no run, or more than one, goes by one of the names; or there are too many.
    """
    wanted = [name.strip() for name in (text or "").split(",") if name.strip()]
    if not wanted:
        return [gr.skip(), gr.skip()]
    if len(wanted) >= MOST:
        raise LabError(f"The link compares {len(wanted) + 1} runs; at most {MOST} are taken.")
    others = dict.fromkeys(map(lab.registry.resolve, wanted))
    return [gr.Tabs(selected="compare"), offer(lab, run_id, list(others))]


def fill_compare(
    lab: Lab, run_id: str | None, others: Sequence[str] | None, at: tuple[Sequence[str], int]
) -> list[Any]:
    """The chosen runs side by side, in the order of `ComparePanel.filled`.

    What can't be compared, such as a seventh run, is said in a sentence in the place of the rest.

    Raises:
        LabError: the registry can't be read.
    """
    ids = _ids(run_id, others)
    nothing = [gr.Plot(visible=False), "", "", gr.Row(visible=False), (tuple(ids), 0)]
    if len(ids) < 2:
        return [NO_OTHERS if run_id else NO_RUN, *nothing]
    try:
        comparison = compare(lab.registry, ids)
    except LabError as error:
        return [f"<div class='note note-bad'>{escape(error)}</div>", *nothing]
    lines = [(s.label, lab.registry.metrics(s.run.id, CURVES)) for s in comparison.sides]
    page = at[1] if list(at[0]) == ids else 0
    return [
        words_html(comparison),
        gr.Plot(overlaid(lines, " ".join(ids)), visible=True),
        scores_html(comparison),
        *_facts_page(comparison, ids, page),
    ]


def turn_facts(
    lab: Lab, by: int, run_id: str | None, others: Sequence[str] | None,
    at: tuple[Sequence[str], int],
) -> list[Any]:  # fmt: skip
    """The next page of facts, or the one before; in the order of `ComparePanel.turned`.

    Raises:
        LabError: a run has been deleted meanwhile, or the registry can't be read.
    """
    ids = _ids(run_id, others)
    return _facts_page(compare(lab.registry, ids), ids, at[1] + by)


def wire_compare_panel(lab: Lab, run: gr.State, news: Any, panel: ComparePanel) -> None:
    """Fills the panel when runs are chosen, and when the run on show has news.

    Args:
        lab: has the registry.
        run: holds the chosen run's id.
        news: a component that changes with the run on show, and when that has something new.
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


# Words -------------------------------------------------------------------------------------------


def words_html(comparison: Comparison) -> str:
    """A link to the comparison, notes, and the options in which the runs differ."""
    first, *others = [side.run.id for side in comparison.sides]
    html = "".join(f"<p>{escape(note)}</p>" for note in comparison.notes)
    link = f"?run={escape(first)}&amp;compare={escape(','.join(others))}"
    html += f"<p class='sub'><a href='{link}'>Link to this comparison</a></p>"
    if not comparison.options:
        read = sum(side.config is not None for side in comparison.sides)
        return html + ("<p>They have the same settings.</p>" if read > 1 else "")
    rows = "".join(
        f"<tr><td>{escape(option.label)}</td>{_values(option)}</tr>"
        for option in comparison.options
    )
    return html + (
        "<h2>Settings in which they differ</h2><table><thead><tr><th scope='col'>Setting</th>"
        f"{_heads(comparison)}</tr></thead><tbody>{rows}</tbody></table>"
    )


def scores_html(comparison: Comparison) -> str:
    """What was asked, at each checkpoint, a column for each run; the best is marked by a star."""
    # Checkpoints go without their colours here: blue and orange are runs.
    rows = ""
    known = [probe for probe in PROBE_NAMES if probe in comparison.probes]
    for probe in [*known, *(p for p in comparison.probes if p not in PROBE_NAMES)]:
        name, hint = _(probe_name(probe).long), _(probe_name(probe).hint)
        asked = _asked(comparison, probe)
        said = f"<br><span class='sub'>{asked:,} questions</span>" if asked else ""
        first = (
            f"<td rowspan='{len(COMPARED)}'><b title='{escape(hint)}'>{escape(name)}</b>{said}</td>"
        )
        for checkpoint in COMPARED:
            cells = "".join(
                f"<td>{_score(comparison, place, checkpoint, probe, not asked)}</td>"
                for place in range(len(comparison.sides))
            )
            rows += (
                f"<tr>{first}<td class='key'>{_(checkpoint_name(checkpoint).long)}</td>{cells}</tr>"
            )
            first = ""
    if not rows:
        return "<h2>Scores</h2><p class='sub'>None of these runs has been asked anything yet.</p>"
    return (
        "<h2>Scores</h2><table class='wide'><thead><tr><th scope='col'>What was asked</th>"
        f"<th scope='col'>Model</th>{_heads(comparison)}</tr></thead><tbody>{rows}</tbody></table>"
        f"<p class='sub'>{BEST} is the best of its row, unless all are equal: the highest figure, "
        "but the lowest for unrelated questions. “Right” (“of 20” where "
        "runs were asked different numbers of questions): the share whose answer is the fact's "
        "object; “likely”: how likely the model finds the object, on average.</p>"
    )


def facts_html(comparison: Comparison, page: int) -> str:
    """A page of the facts that the runs answer differently, and what could not be compared."""
    html = "<h2>Facts that they answer differently</h2>"
    html += "".join(f"<p>{escape(note)}</p>" for note in comparison.fact_notes)
    total, common = len(comparison.facts), comparison.facts_in_common
    if not common:
        return html
    facts = "one fact" if common == 1 else f"{common:,} facts"
    if not total:
        return f"{html}<p>None: {facts} in common, with as many right answers in all.</p>"
    start = page * FACT_PAGE
    rows = comparison.facts[start : start + FACT_PAGE]
    several = len({row.fact.relation for row in comparison.facts}) > 1
    body = "".join(_fact(row, several) for row in rows)
    return (
        f"{html}<p>{start + 1}–{start + len(rows)} of {total:,} that differ, those that differ "
        f"most first; {facts} held out in at least two of the runs.</p>"
        "<table><thead><tr><th scope='col'>Subject</th><th scope='col'>Right answer</th>"
        f"{_heads(comparison)}</tr></thead><tbody>{body}</tbody></table>"
        "<p class='sub'>Share of its questions in new wordings answered right after phase 2; "
        "“–”: not held out in that run.</p>"
    )


def _facts_page(comparison: Comparison, ids: Sequence[str], page: int) -> list[Any]:
    pages = -(-len(comparison.facts) // FACT_PAGE)
    page = min(max(0, page), max(0, pages - 1))
    return [facts_html(comparison, page), gr.Row(visible=pages > 1), (tuple(ids), page)]


def _ids(run_id: str | None, others: Sequence[str] | None) -> list[str]:
    return [run_id, *(other for other in others or () if other != run_id)] if run_id else []


def _heads(comparison: Comparison) -> str:
    """The runs' names with their colours in the figure."""
    return "".join(
        f"<th scope='col'><span class='swatch' style='background:{run_colour(place)}'></span> "
        f"{escape(label)}</th>"
        for place, label in enumerate(comparison.labels)
    )


def _values(option: Option) -> str:
    words = ("can't be read" if v is None else setting_word(v) for v in option.values)
    return "".join(f"<td>{escape(word)}</td>" for word in words)


def _asked(comparison: Comparison, probe: str) -> int:
    """How many questions each run was asked; 0 where that differs."""
    scores = (side.scores.get(c, {}).get(probe) for side in comparison.sides for c in COMPARED)
    counts = {score.n for score in scores if score is not None}
    return counts.pop() if len(counts) == 1 else 0


def _score(comparison: Comparison, place: int, checkpoint: str, probe: str, counted: bool) -> str:
    """A run's figures for one kind of question, a line each; `counted`: with how many it was of."""
    score: Score | None = comparison.sides[place].scores.get(checkpoint, {}).get(probe)
    if score is None:
        return "–"
    lines = []
    for measure, message in SCORED.items():
        words = _(message)
        value = comparison.sides[place].value(checkpoint, probe, measure)
        if value is None:
            continue
        best = place in comparison.best(checkpoint, probe, measure)
        figure = f"{100 * value:.1f} %"
        if counted and measure == "generation_accuracy":
            words = f"of {score.n:,}"
        lines.append(
            f"{f'<b>{figure}</b>{BEST}' if best else figure} <span class='sub'>{words}</span>"
        )
    return "<br>".join(lines) or "–"


def _fact(row: FactRow, several: bool) -> str:
    """A row of the table of facts, with its relation where there are several."""
    relation = f" <span class='sub'>({escape(row.fact.relation)})</span>" if several else ""
    return (
        f"<tr><td>{escape(row.fact.subject)}{relation}</td><td>{escape(row.fact.object)}</td>"
        f"{''.join(map(_share, row.shares))}</tr>"
    )


def _share(share: Share | None) -> str:
    if share is None:
        return "<td>–</td>"
    return (
        f"<td>{100 * share.value:.0f} % <span class='sub'>{share.right} of {share.asked}</span>"
        "</td>"
    )

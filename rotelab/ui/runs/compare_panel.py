"""The sub-tab “Compare”: the chosen run and up to five others side by side."""

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
from rotelab.ui.components import (
    QUIET,
    bound,
    escape,
    note,
    page_within,
    run_choices,
    run_label,
)
from rotelab.ui.figure_tools import build_plot
from rotelab.ui.i18n import N_, _, ngettext
from rotelab.ui.runs.detail_html import CSS
from rotelab.ui.wording import percent, setting_word

FACT_PAGE = 20
"""Facts on one page."""
NO_OTHERS = N_(
    "Choose one to five other runs: settings, curves, scores and single facts are then shown side "
    "by side."
)
NO_RUN = N_("Choose a run above first.")
SCORED = {
    "generation_accuracy": N_("right"),
    "object_probability": N_("likely"),
    **{field: name.short for field, name in MORE_MEASURES.items()},
}
STYLE = f"""{CSS}
table {{table-layout: fixed}}
th:first-child {{width: 22%}}
.wide th:first-child {{width: 18%}}
.wide th:nth-child(2) {{width: 12%}}
td .sub {{color: var(--body-text-color-subdued)}}
a {{padding: 0}}
"""
"""All columns of runs are of one width, however long a name is."""


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
        words = gr.HTML(_sub(_(NO_RUN)), css_template=STYLE, elem_id="compare-words")
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
        return [_sub(_(NO_OTHERS if run_id else NO_RUN)), *nothing]
    try:
        comparison = compare(lab.registry, ids)
    except LabError as error:
        return [note(str(error), "bad"), *nothing]
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


# HTML --------------------------------------------------------------------------------------------


def words_html(comparison: Comparison) -> str:
    """Notes, a link to the comparison, and the settings in which the runs differ."""
    first, *others = [side.run.id for side in comparison.sides]
    html = "".join(f"<p>{escape(words)}</p>" for words in comparison.notes)
    link = f"?run={escape(first)}&amp;compare={escape(','.join(others))}"
    html += f"<p class='sub'><a href='{link}'>{_('Link to this comparison')}</a></p>"
    if not comparison.options:
        read = sum(side.config is not None for side in comparison.sides)
        return html + (f"<p>{_('They have the same settings.')}</p>" if read > 1 else "")
    rows = "".join(
        f"<tr><td>{escape(_(option.label))}</td>{_values(option)}</tr>"
        for option in comparison.options
    )
    return html + (
        f"<h2>{_('Settings in which they differ')}</h2><table><thead><tr>"
        f"<th scope='col'>{_('Setting')}</th>{_heads(comparison)}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def scores_html(comparison: Comparison) -> str:
    """The scores of each probe and checkpoint, a column for each run, the best marked by a star."""
    # Checkpoints go without their colours here: blue and orange are runs.
    known = [probe for probe in PROBE_NAMES if probe in comparison.probes]
    unknown = [probe for probe in comparison.probes if probe not in PROBE_NAMES]
    rows = "".join(_score_rows(comparison, probe) for probe in [*known, *unknown])
    title = f"<h2>{_('Scores')}</h2>"
    if not rows:
        return title + _sub(_("None of these runs has been asked anything yet."))
    meaning = _(
        "{star} marks the best of its row, unless all are equal: the highest figure, but the "
        "lowest for unrelated questions. “Right” (“of 20” where runs were asked different numbers "
        "of questions): the share whose answer is the fact's object; “likely”: how likely the "
        "model finds the object, on average."
    ).format(star=_star())
    return (
        f"{title}<table class='wide'><thead><tr><th scope='col'>{_('What was asked')}</th>"
        f"<th scope='col'>{_('Model')}</th>{_heads(comparison)}</tr></thead>"
        f"<tbody>{rows}</tbody></table>{_sub(meaning)}"
    )


def facts_html(comparison: Comparison, page: int) -> str:
    """A page of the facts that the runs answer differently, and what could not be compared."""
    html = f"<h2>{_('Facts that they answer differently')}</h2>"
    html += "".join(f"<p>{escape(words)}</p>" for words in comparison.fact_notes)
    total, common = len(comparison.facts), comparison.facts_in_common
    if not common:
        return html
    if not total:
        words = ngettext(
            "None: {n} fact in common, with as many right answers in all.",
            "None: {n} facts in common, with as many right answers in all.",
            common,
        )
        return f"{html}<p>{words.format(n=f'{common:,}')}</p>"
    start = page * FACT_PAGE
    rows = comparison.facts[start : start + FACT_PAGE]
    several = len({row.fact.relation for row in comparison.facts}) > 1
    body = "".join(_fact(row, several) for row in rows)
    words = ngettext(
        "{first}–{last} of {total} that differ, the largest differences first; {n} fact is held "
        "out in at least two of the runs.",
        "{first}–{last} of {total} that differ, the largest differences first; {n} facts are held "
        "out in at least two of the runs.",
        common,
    ).format(first=start + 1, last=start + len(rows), total=f"{total:,}", n=f"{common:,}")
    meaning = _(
        "Share of its questions in new wordings answered right after phase 2; “–”: not held out "
        "in that run."
    )
    return (
        f"{html}<p>{words}</p><table><thead><tr><th scope='col'>{_('Subject')}</th>"
        f"<th scope='col'>{_('Right answer')}</th>{_heads(comparison)}</tr></thead>"
        f"<tbody>{body}</tbody></table>{_sub(meaning)}"
    )


def _facts_page(comparison: Comparison, ids: Sequence[str], page: int) -> list[Any]:
    total = len(comparison.facts)
    page = page_within(page, total, FACT_PAGE)
    several = gr.Row(visible=total > FACT_PAGE)
    return [facts_html(comparison, page), several, (tuple(ids), page)]


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
    words = (_("can't be read") if v is None else setting_word(v) for v in option.values)
    return "".join(f"<td>{escape(word)}</td>" for word in words)


def _asked(comparison: Comparison, probe: str) -> int:
    """How many questions each run was asked; 0 where the runs differ in that."""
    scores = (side.scores.get(c, {}).get(probe) for side in comparison.sides for c in COMPARED)
    counts = {score.n for score in scores if score is not None}
    return counts.pop() if len(counts) == 1 else 0


def _score_rows(comparison: Comparison, probe: str) -> str:
    """A probe's rows, one for each checkpoint."""
    asked = _asked(comparison, probe)
    _short, name, hint = map(_, probe_name(probe))
    words = ngettext("{n} question", "{n} questions", asked).format(n=f"{asked:,}")
    said = f"<br><span class='sub'>{words}</span>" if asked else ""
    first = f"<td rowspan='{len(COMPARED)}'><b title='{escape(hint)}'>{escape(name)}</b>{said}</td>"
    rows = ""
    for checkpoint in COMPARED:
        cells = "".join(
            f"<td>{_score(comparison, place, checkpoint, probe, not asked)}</td>"
            for place in range(len(comparison.sides))
        )
        rows += f"<tr>{first}<td class='key'>{_(checkpoint_name(checkpoint).long)}</td>{cells}</tr>"
        first = ""
    return rows


def _score(comparison: Comparison, place: int, checkpoint: str, probe: str, counted: bool) -> str:
    """A run's figures for one kind of question, each on a line.

    Args:
        comparison: the runs.
        place: which of them.
        checkpoint: its checkpoint.
        probe: the kind of question.
        counted: whether to say how many questions it was.
    """
    score: Score | None = comparison.sides[place].scores.get(checkpoint, {}).get(probe)
    if score is None:
        return "–"
    lines = []
    for measure, words in SCORED.items():
        value = comparison.sides[place].value(checkpoint, probe, measure)
        if value is None:
            continue
        figure = f"{100 * value:.1f} %"
        if place in comparison.best(checkpoint, probe, measure):
            figure = f"<b>{figure}</b> {_star()}"
        said = _(words)
        if counted and measure == "generation_accuracy":
            said = _("of {n}").format(n=f"{score.n:,}")
        lines.append(f"{figure} <span class='sub'>{said}</span>")
    return "<br>".join(lines) or "–"


def _star() -> str:
    return f"<b title='{escape(_('the best of its row'))}'>★</b>"


def _sub(words: str) -> str:
    return f"<p class='sub'>{words}</p>"


def _fact(row: FactRow, several: bool) -> str:
    """A row of the table of facts, with the relation where there are several."""
    relation = f" <span class='sub'>({escape(row.fact.relation)})</span>" if several else ""
    return (
        f"<tr><td>{escape(row.fact.subject)}{relation}</td><td>{escape(row.fact.object)}</td>"
        f"{''.join(map(_share, row.shares))}</tr>"
    )


def _share(share: Share | None) -> str:
    if share is None:
        return "<td>–</td>"
    return (
        f"<td>{percent(share.value)} <span class='sub'>"
        f"{_('{n} of {m}').format(n=share.right, m=share.asked)}</span></td>"
    )

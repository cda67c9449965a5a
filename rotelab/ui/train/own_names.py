"""A short run on a person's own names: a table of twenty, both phases, from the Train tab."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import gradio as gr

from rotelab.runs import demo
from rotelab.runs.lab import Lab
from rotelab.runs.progress import estimate
from rotelab.ui.components import roughly
from rotelab.ui.i18n import N_, _
from rotelab.ui.tables.cell_edits import cell_edits
from rotelab.ui.wording import slower_words

OWN = N_(
    "Type names of your own over some of these. The model learns all of them by rote, then reads "
    "sentences about only {k}: about your first {few} it never reads one. It takes about {time}."
)


@dataclass(frozen=True)
class OwnNames:
    """The components.

    Args:
        box: holds the others.
        lead: says what the run does, and how long it takes by now.
        table: persons and their mothers.
        start: starts the run.
        remark: what is wrong with the table.
    """

    box: gr.Accordion
    lead: gr.HTML
    table: gr.Dataframe
    start: gr.Button
    remark: gr.HTML


def build_own_names(lab: Lab) -> OwnNames:
    """Lays out the table, closed at first, inside the current column.

    Args:
        lab: knows how long such a run takes.
    """
    with gr.Accordion(_("Short run on your own names"), open=False, elem_id="train-own") as box:
        lead = gr.HTML(own_lead(lab), padding=False, elem_id="train-own-lead")
        table = gr.Dataframe(
            _own_rows(), headers=[_("Person"), _("Mother")], type="array", interactive=True,
            column_count=(2, "fixed"), max_height=380, show_label=False, label=_("Your names"),
            elem_id="train-own-table", buttons=[], show_row_numbers=True,
        )  # fmt: skip
        cell_edits(table, "train-own-table")
        start = gr.Button(_("Train on these names"), elem_id="train-own-start")
        remark = gr.HTML(padding=False, elem_id="train-own-note")
    return OwnNames(box, lead, table, start, remark)


@functools.cache
def _own_rows() -> list[list[str]]:
    """The invented names that may be replaced; made once, for the page of every language."""
    return demo.own_rows()


def own_lead(lab: Lab) -> str:
    """What the short run does and how long it takes, as HTML."""
    pack = demo.own_pack(_own_rows())
    guess = estimate(lab, demo.own_config(pack), pack)
    said = _(OWN).format(k=demo.OWN_K, few=demo.KEPT_BACK, time=roughly(guess.seconds))
    return f'<p class="hint">{said} {slower_words(guess)}</p>'

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

OWN = N_(
    "Type names of your own over some of these. The model learns all of them by rote, then reads "
    "sentences about only {k}: about your first {few} it never reads one. It takes about {time}."
)


@dataclass(frozen=True)
class OwnNames:
    """The components.

    Args:
        table: persons and their mothers.
        start: starts the run.
        remark: what is wrong with the table.
    """

    table: gr.Dataframe
    start: gr.Button
    remark: gr.HTML


def build_own_names(lab: Lab) -> OwnNames:
    """Lays out the table, closed at first, inside the current column.

    Args:
        lab: knows how long such a run takes.
    """
    with gr.Accordion(_("Short run on your own names"), open=False, elem_id="train-own"):
        said = _(OWN).format(k=demo.OWN_K, few=demo.KEPT_BACK, time=_time(lab))
        gr.HTML(f'<p class="hint">{said}</p>', padding=False)
        table = gr.Dataframe(
            _own_rows(), headers=[_("Person"), _("Mother")], type="array", interactive=True,
            column_count=(2, "fixed"), max_height=380, show_label=False, label=_("Your names"),
            elem_id="train-own-table", buttons=[], show_row_numbers=True,
        )  # fmt: skip
        start = gr.Button(_("Train on these names"), elem_id="train-own-start")
        remark = gr.HTML(padding=False, elem_id="train-own-note")
    return OwnNames(table, start, remark)


@functools.cache
def _own_rows() -> list[list[str]]:
    """The invented names that may be replaced; made once, for the page of every language."""
    return demo.own_rows()


def _time(lab: Lab) -> str:
    """The estimated time of the short run, in words."""
    pack = demo.own_pack(_own_rows())
    return roughly(estimate(lab, demo.own_config(pack), pack).seconds)

"""The part of “Look inside” that goes layer by layer: logit lens and weight changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.registry import RunRow
from rotelab.reports.figures.export import of_run
from rotelab.reports.figures.logit_lens import change_bars, lens_curves
from rotelab.runs import internals
from rotelab.runs.lab import Lab
from rotelab.ui.components import note
from rotelab.ui.figure_tools import build_how, build_plot
from rotelab.ui.i18n import _
from rotelab.ui.inside import texts
from rotelab.ui.inside.html import changes_summary, lens_summary


@dataclass(frozen=True)
class LayersPanel:
    """The panel's components.

    Args:
        late: offers to compute what an older run lacks; hidden where nothing is lacking.
        lens_part: holds the logit lens; hidden where there is none.
        lens_note: its finding in words.
        lens: its figure.
        changes_part: holds the weight changes; hidden where there are none.
        changes_note: their finding in words.
        changes: their figure.
        compute: the button of `late`.
    """

    late: gr.Row
    lens_part: gr.Column
    lens_note: gr.HTML
    lens: gr.Plot
    changes_part: gr.Column
    changes_note: gr.HTML
    changes: gr.Plot
    compute: gr.Button

    @property
    def outputs(self) -> list[Any]:
        """The outputs of `fill_layers`."""
        return [
            self.late, self.lens_part, self.lens_note, self.lens, self.changes_part,
            self.changes_note, self.changes,
        ]  # fmt: skip


def build_layers_panel() -> LayersPanel:
    """Lays out the panel inside the current container."""
    with gr.Row(visible=False, equal_height=True) as late:
        gr.HTML(note(_(texts.LATE)), padding=False)
        compute = gr.Button(
            _("Compute them now"), scale=0, min_width=240, size="md", elem_id="look-late"
        )
    with gr.Column(visible=False) as lens_part:
        gr.Markdown(_(texts.LENS), elem_id="look-lens")
        lens_note = gr.HTML(padding=False, elem_id="lens-note")
        lens = build_plot("plot-lens", _("Logit lens"))
        build_how(_(texts.LENS_HOW))
    with gr.Column(visible=False) as changes_part:
        gr.Markdown(_(texts.CHANGES), elem_id="look-changes")
        changes_note = gr.HTML(padding=False, elem_id="changes-note")
        changes = build_plot("plot-changes", _("Weight changes"))
        build_how(_(texts.CHANGES_HOW))
    return LayersPanel(
        late, lens_part, lens_note, lens, changes_part, changes_note, changes, compute
    )


def fill_layers(lab: Lab, run: RunRow) -> list[Any]:
    """A run's logit lens and weight changes; in the order of `LayersPanel.outputs`.

    Raises:
        LabError: the registry can't be read.
    """
    lens, changes = lab.registry.lens(run.id), lab.registry.weight_changes(run.id)
    # A phase that was left out changed nothing, so it gets no bars of zero.
    trained = {row.checkpoint for row in changes if row.change > 0}
    changes = [row for row in changes if row.checkpoint in trained]
    return [
        gr.Row(visible=internals.lacks_internals(lab.registry, lab.storage, run)),
        gr.Column(visible=bool(lens)), lens_summary(lens), of_run(lens_curves(lens), run.id),
        gr.Column(visible=bool(changes)), changes_summary(changes),
        of_run(change_bars(changes), run.id),
    ]  # fmt: skip


def no_layers() -> list[Any]:
    """The panel while there is nothing to show."""
    hidden = gr.Column(visible=False)
    return [gr.Row(visible=False), hidden, "", None, gr.Column(visible=False), "", None]

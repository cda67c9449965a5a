"""Layers one by one, in the Representations tab: logit lens, and changes of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.evaluation.results import LensReading, WeightChange
from rotelab.registry import RunRow
from rotelab.reports.figures.export import of_run
from rotelab.reports.figures.logit_lens import (
    change_bars,
    first_layer,
    lens_curves,
    most_changed,
)
from rotelab.runs import internals
from rotelab.runs.lab import Lab
from rotelab.ui.components import checkpoint_badge
from rotelab.ui.figure_tools import build_how, build_saving
from rotelab.ui.i18n import N_, _
from rotelab.ui.inside import html as words

CHANGED_MOST = {
    "memorized": N_("<strong>Phase 1, rote learning</strong>: layers {layers}"),
    "generalized": N_("<strong>Phase 2, generalising</strong>: layers {layers}"),
}


@dataclass(frozen=True)
class LayersPanel:
    """The panel's parts, in the order of `fill_layers`.

    Args:
        late: offers to compute what an older run lacks; hidden where nothing is lacking.
        lens_part: holds the logit lens; hidden where there is none.
        lens_note: what it shows, in words.
        lens: its figure.
        changes_part: holds the changes of weights; hidden where there are none.
        changes_note: what they show, in words.
        changes: their figure.
        look: the button of `late`; not filled.
    """

    late: gr.Row
    lens_part: gr.Column
    lens_note: gr.HTML
    lens: gr.Plot
    changes_part: gr.Column
    changes_note: gr.HTML
    changes: gr.Plot
    look: gr.Button

    @property
    def outputs(self) -> list[Any]:
        """What `fill_layers` fills."""
        return [
            self.late, self.lens_part, self.lens_note, self.lens, self.changes_part,
            self.changes_note, self.changes,
        ]  # fmt: skip


def build_layers_panel() -> LayersPanel:
    """Lays out the panel, inside whatever is being laid out."""
    with gr.Row(visible=False, equal_height=True) as late:
        gr.HTML(f'<p class="note">{_(words.LATE)}</p>', padding=False)
        look = gr.Button(
            _("Look at its layers now"), scale=0, min_width=240, size="md", elem_id="look-late"
        )
    with gr.Column(visible=False) as lens_part:
        gr.Markdown(_(words.LENS), elem_id="look-lens")
        lens_note = gr.HTML(padding=False, elem_id="lens-note")
        lens = gr.Plot(show_label=False, elem_id="plot-lens")
        build_saving("plot-lens")
        build_how(_(words.LENS_HOW))
    with gr.Column(visible=False) as changes_part:
        gr.Markdown(_(words.CHANGES), elem_id="look-changes")
        changes_note = gr.HTML(padding=False, elem_id="changes-note")
        changes = gr.Plot(show_label=False, elem_id="plot-changes")
        build_saving("plot-changes")
        build_how(_(words.CHANGES_HOW))
    return LayersPanel(late, lens_part, lens_note, lens, changes_part, changes_note, changes, look)


def fill_layers(lab: Lab, run: RunRow) -> list[Any]:
    """What a run shows here; in the order of `LayersPanel.outputs`.

    Raises:
        LabError: the registry can't be read.
    """
    seen, moved = lab.registry.lens(run.id), lab.registry.weight_changes(run.id)
    # A phase that was left out changed nothing, so there is nothing to say of it.
    trained = {row.checkpoint for row in moved if row.change > 0}
    moved = [row for row in moved if row.checkpoint in trained]
    return [
        gr.Row(visible=internals.missing(lab.registry, lab.storage, run)),
        gr.Column(visible=bool(seen)), lens_in_words(seen), of_run(lens_curves(seen), run.id),
        gr.Column(visible=bool(moved)), changes_in_words(moved),
        of_run(change_bars(moved), run.id),
    ]  # fmt: skip


def no_layers() -> list[Any]:
    """The panel while there is nothing to show."""
    hidden = gr.Column(visible=False)
    return [gr.Row(visible=False), hidden, "", None, gr.Column(visible=False), "", None]


def lens_in_words(rows: Sequence[LensReading]) -> str:
    """From which layer on half of the answers can be read off, as HTML."""
    there = [c for c in ("memorized", "generalized") if any(r.checkpoint == c for r in rows)]
    if not there:
        return ""
    heads = "".join(f"<th scope='col'>{checkpoint_badge(c)}</th>" for c in there)
    lines = []
    for role, name in words.ASKED:
        found = (first_layer(rows, checkpoint, role) for checkpoint in there)
        cells = "".join(f"<td>{_from_layer(layer)}</td>" for layer in found)
        lines.append(f"<tr><th scope='row'>{_(name)}</th>{cells}</tr>")
    top = max(row.layer for row in rows)
    return (
        f"<div class='readout'><table><caption>"
        f"{_('In short: half of the answers or more come first …')} "
        f"<span class='hint'>{_('(layers 0 to {last})').format(last=top)}</span></caption>"
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def changes_in_words(rows: Sequence[WeightChange]) -> str:
    """Which layers each phase changed most, as HTML."""
    said = []
    for checkpoint, message in CHANGED_MOST.items():
        layers = [str(layer) for layer in most_changed(rows, checkpoint)]
        if layers:
            said.append(_(message).format(layers=", ".join(layers)))
    if not said:
        return ""
    return f'<p class="note">{_("Changed most – {layers}.").format(layers="; ".join(said))}</p>'


def _from_layer(layer: int | None) -> str:
    if layer is None:
        return _("at no layer")
    return _("from layer {layer} on").format(layer=layer)

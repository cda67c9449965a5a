"""The sweep of the chosen run: one figure over its options as a heatmap and as curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import CHECKPOINTS, MEASURES, PROBE_NAMES, checkpoint_name
from rotelab.errors import UnknownRun
from rotelab.reports.figures.sweeps import heatmap, spread_curves
from rotelab.reports.sweep_results import Figure, Plane, SweepResults, plane, read_sweep
from rotelab.runs.lab import Lab
from rotelab.ui.components import QUIET, bound, escape, status_word
from rotelab.ui.figure_tools import build_plot
from rotelab.ui.i18n import _

NO_SWEEP = (
    "<p>This run belongs to no sweep. <code>python -m rotelab sweep --k 1,10,50 --seeds 0,1,2"
    "</code> makes one.</p>"
)


@dataclass(frozen=True)
class SweepPanel:
    """The panel's components; `filled` is the order in which `fill_sweep` gives their values."""

    words: gr.HTML
    choosers: gr.Row
    checkpoint: gr.Dropdown
    probe: gr.Dropdown
    measure: gr.Dropdown
    heatmap: gr.Plot
    curves: gr.Plot

    @property
    def figure(self) -> list[Any]:
        """What decides which figure is shown."""
        return [self.checkpoint, self.probe, self.measure]

    @property
    def filled(self) -> list[Any]:
        """What `fill_sweep` fills."""
        return [self.words, self.choosers, self.heatmap, self.curves]


def build_sweep_panel() -> SweepPanel:
    """Lays out the panel."""
    usual = Figure()
    words = gr.HTML(NO_SWEEP, elem_id="sweep-words")
    with gr.Row(equal_height=True, visible=False) as choosers:
        checkpoint = gr.Dropdown(
            [(_(checkpoint_name(c).long), c) for c in CHECKPOINTS], value=usual.checkpoint,
            label=_("Model"), elem_id="sweep-checkpoint", min_width=150,
        )  # fmt: skip
        probe = gr.Dropdown(
            [(_(name.long), probe) for probe, name in PROBE_NAMES.items()], value=usual.probe,
            label=_("Kind of question"), elem_id="sweep-probe", min_width=240,
        )  # fmt: skip
        measure = gr.Dropdown(
            [(_(name.long), field) for field, name in MEASURES.items()],
            value=usual.measure, label="Figure", elem_id="sweep-measure", min_width=180,
        )  # fmt: skip
    heat = build_plot("sweep-heatmap", "Heatmap")
    curves = build_plot("sweep-curves", _("Curves"))
    return SweepPanel(words, choosers, checkpoint, probe, measure, heat, curves)


def fill_sweep(
    lab: Lab, run_id: str | None, checkpoint: str, probe: str, measure: str
) -> list[Any]:
    """The sweep that a run belongs to, in the order of `SweepPanel.filled`.

    Raises:
        LabError: the registry can't be read.
    """
    try:
        sweep_id = lab.registry.run(run_id or "").sweep_id
        results = read_sweep(lab.registry, sweep_id) if sweep_id else None
    except UnknownRun:  # none is chosen, or it has just been deleted
        results = None
    if results is None:
        return [NO_SWEEP, gr.Row(visible=False), gr.Plot(visible=False), gr.Plot(visible=False)]
    shown = plane(results, Figure(checkpoint, probe, measure))
    return [
        sweep_words(results, shown),
        gr.Row(visible=True),
        gr.Plot(heatmap(shown, results.sweep.id), visible=True),
        gr.Plot(spread_curves(shown, results.sweep.id), visible=True),
    ]


def sweep_words(results: SweepResults, shown: Plane) -> str:
    """The sweep's name, how far it is, and what the means are taken over, as HTML."""
    sweep = results.sweep
    statuses = ", ".join(f"{n} {status_word(s)}" for s, n in sorted(sweep.statuses.items()))
    words = f"<b>{escape(sweep.name or 'Sweep')}</b> ({escape(sweep.id)}): {escape(statuses)}."
    if shown.over:
        words += f" Each figure is the mean over {', '.join(map(escape, shown.over))}."
    if results.unfinished:
        command = f"python -m rotelab sweep --resume {escape(sweep.id)}"
        words += f" <code>{command}</code> makes what is left."
    return f"<p>{words}</p>"


def wire_sweep_panel(lab: Lab, run: gr.State, news: Any, panel: SweepPanel) -> None:
    """Fills the panel when there is news of the run on show, and when a figure is chosen.

    Args:
        lab: has the registry.
        run: holds the chosen run's id.
        news: a component that changes with the run on show, and when that has something new.
        panel: the panel.
    """
    gr.on(
        [news.change, *(choice.input for choice in panel.figure)],
        bound(fill_sweep, lab), [run, *panel.figure], panel.filled,
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip

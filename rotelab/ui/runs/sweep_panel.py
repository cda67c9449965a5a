"""The sub-tab “Sweep”: one figure over the options of the chosen run's sweep, as a heatmap and as
curves."""

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
from rotelab.ui.runs.cluster.jobs_panel import (
    JobsPanel,
    build_jobs_panel,
    fill_jobs,
    wire_jobs_panel,
)

MAKES_ONE = "python -m rotelab sweep --k 1,10,50 --seeds 0,1,2"


@dataclass(frozen=True)
class SweepPanel:
    """The panel's components; `choosers` holds the three dropdowns."""

    words: gr.HTML
    jobs: JobsPanel
    choosers: gr.Row
    checkpoint: gr.Dropdown
    probe: gr.Dropdown
    measure: gr.Dropdown
    heatmap: gr.Plot
    curves: gr.Plot

    @property
    def figure(self) -> list[Any]:
        """The inputs that say which figure is shown."""
        return [self.checkpoint, self.probe, self.measure]

    @property
    def filled(self) -> list[Any]:
        """The outputs of `fill_sweep`."""
        return [self.words, self.choosers, self.heatmap, self.curves, *self.jobs.filled]


def build_sweep_panel() -> SweepPanel:
    """Lays out the panel."""
    usual = Figure()
    words = gr.HTML(no_sweep(), elem_id="sweep-words")
    jobs = build_jobs_panel()
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
            value=usual.measure, label=_("Figure"), elem_id="sweep-measure", min_width=180,
        )  # fmt: skip
    heat = build_plot("sweep-heatmap", _("Heatmap"))
    curves = build_plot("sweep-curves", _("Curves"))
    return SweepPanel(words, jobs, choosers, checkpoint, probe, measure, heat, curves)


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
    except UnknownRun:  # none is chosen, or it was just deleted
        results = None
    if results is None:
        hidden = [gr.Row(visible=False), gr.Plot(visible=False), gr.Plot(visible=False)]
        return [no_sweep(), *hidden, *fill_jobs(lab, "", None)]
    shown = plane(results, Figure(checkpoint, probe, measure))
    away = bool(lab.registry.cluster_jobs(results.sweep.id))
    runs = lab.registry.sweep_runs(results.sweep.id)
    in_queue = any(run.live or (run.status == "queued" and not run.held) for run in runs)
    return [
        sweep_html(results, shown, away or in_queue),
        gr.Row(visible=True),
        gr.Plot(heatmap(shown, results.sweep.id), visible=True),
        gr.Plot(spread_curves(shown, results.sweep.id), visible=True),
        *fill_jobs(lab, run_id or "", results.sweep.id),
    ]


def no_sweep() -> str:
    """What stands here for a run outside any sweep, as HTML."""
    words = _(
        "This run belongs to no sweep. The Train tab makes one (“A sweep”), and so does {command}."
    )
    return f"<p>{words.format(command=f'<code>{MAKES_ONE}</code>')}</p>"


def sweep_html(results: SweepResults, shown: Plane, away: bool = False) -> str:
    """The sweep's name, how many of its runs are done, and what the means are taken over.

    Args:
        results: the sweep's.
        shown: the figure on show.
        away: whether a cluster or the queue makes its runs, so that nobody need.
    """
    sweep = results.sweep
    statuses = ", ".join(f"{n} {status_word(s)}" for s, n in sorted(sweep.statuses.items()))
    name = escape(sweep.name or _("Sweep"))
    words = [f"<b>{name}</b> ({escape(sweep.id)}): {escape(statuses)}."]
    if shown.over:
        over = ", ".join(map(escape, shown.over))
        words.append(_("Each figure is the mean over {options}.").format(options=over))
    if any(cell is not None and cell.interval for row in shown.spreads for cell in row):
        words.append(
            _(
                "In brackets, and as bands: its 95 % interval, in percent. It says how far the "
                "figure could be off by the luck of which facts were asked and which runs were "
                "made."
            )
        )
    if results.unfinished and not away:
        command = f"<code>python -m rotelab sweep --resume {escape(sweep.id)}</code>"
        words.append(_("{command} makes what is left.").format(command=command))
    return f"<p>{' '.join(words)}</p>"


def wire_sweep_panel(lab: Lab, run: gr.State, news: Any, panel: SweepPanel) -> None:
    """Fills the panel when the run on show changes, and when another figure is chosen.

    Args:
        lab: has the registry.
        run: holds the chosen run's id.
        news: a component that changes whenever the run on show, or anything in it, does.
        panel: the panel.
    """
    gr.on(
        [news.change, *(choice.input for choice in panel.figure)],
        bound(fill_sweep, lab), [run, *panel.figure], panel.filled,
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    wire_jobs_panel(lab, run, panel.jobs)

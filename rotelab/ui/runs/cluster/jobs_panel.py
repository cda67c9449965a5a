"""The runs of a sweep that a cluster makes: each job, how far it is, and two buttons.

What is shown is what was last seen; only *Look again*, and the command line, ask the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.registry import ClusterJob
from rotelab.runs.cluster import board
from rotelab.runs.lab import Lab
from rotelab.runs.processes import tail
from rotelab.ui.components import ONCE, bound, escape
from rotelab.ui.i18n import N_, _

STATES = {
    "planned": N_("not submitted yet"),
    "waiting": N_("waiting"),
    "running": N_("running"),
    "gone": N_("ended, about to be taken in"),
}
"""A job's states in words."""

ENGINE_NAMES = {"slurm": "SLURM", "local": N_("This machine")}
"""What makes the runs, in words."""

LOG_BYTES, LOG_LINES = 20_000, 40
"""How much of the end of a job's log is read, and how many lines of it are shown."""


@dataclass(frozen=True)
class JobsPanel:
    """The panel's components."""

    words: gr.HTML
    buttons: gr.Row
    look: gr.Button
    cancel: gr.Button

    @property
    def filled(self) -> list[Any]:
        """The outputs of `fill_jobs`."""
        return [self.words, self.buttons]


def build_jobs_panel() -> JobsPanel:
    """Lays out the panel, which shows only where a cluster makes runs."""
    words = gr.HTML(visible=False, elem_id="sweep-jobs")
    with gr.Row(visible=False) as buttons:
        look = gr.Button(_("Look again"), size="sm", elem_id="sweep-jobs-look", scale=0)
        cancel = gr.Button(
            _("Cancel these jobs"), size="sm", variant="stop", elem_id="sweep-jobs-cancel", scale=0
        )
    return JobsPanel(words, buttons, look, cancel)


def fill_jobs(lab: Lab, run_id: str, sweep_id: str | None) -> list[Any]:
    """The sweep's jobs as last seen, in the order of `JobsPanel.filled`.

    Raises:
        LabError: the registry can't be read.
    """
    jobs = lab.registry.cluster_jobs(sweep_id) if sweep_id else []
    log = board.log_of(lab, run_id) if jobs else None
    said = tail(log, LOG_BYTES).splitlines()[-LOG_LINES:] if log else []
    return [gr.HTML(jobs_html(jobs, said), visible=bool(jobs)), gr.Row(visible=bool(jobs))]


def jobs_html(jobs: Sequence[ClusterJob], log: Sequence[str] = ()) -> str:
    """A table of jobs, and the end of the chosen run's log.

    Args:
        jobs: of one sweep.
        log: the last lines that the chosen run's job printed.
    """
    if not jobs:
        return ""
    head = "".join(f"<th>{escape(h)}</th>" for h in (_("run"), _("job"), _("state"), _("done"), ""))
    rows = []
    for job in jobs:
        state = escape(_(STATES[job.state]))
        if job.attempts > 1:
            again = _("submitted {count} times").format(count=job.attempts)
            state += f" <small>({escape(again)})</small>"
        cells = [escape(job.run_id), escape(job.job_id or "–"), state]
        cells += [f"{job.share:.0%}", escape(job.message)]
        rows.append(f"<tr>{''.join(f'<td>{c}</td>' for c in cells)}</tr>")
    about = _("{engine} makes these runs; each is taken in when it has ended.")
    engine = _(ENGINE_NAMES.get(jobs[0].engine, jobs[0].engine))
    parts = [
        f"<p>{escape(about.format(engine=engine))}</p>",
        f"<div class='preview'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>",
    ]
    if log:
        title = escape(_("What this run's job printed"))
        parts.append(
            f"<details><summary>{title}</summary><pre>{escape(chr(10).join(log))}</pre></details>"
        )
    return "".join(parts)


def wire_jobs_panel(lab: Lab, run: gr.State, panel: JobsPanel) -> None:
    """Connects the buttons.

    Args:
        lab: has the registry.
        run: holds the chosen run's id.
        panel: the panel.
    """
    panel.look.click(bound(_look, lab), run, panel.filled, **ONCE)
    panel.cancel.click(bound(_cancel, lab), run, panel.filled, **ONCE)


def _look(lab: Lab, run_id: str) -> list[Any]:
    sweep_id = lab.registry.run(run_id).sweep_id
    board.look(lab, sweep_id or "")
    return fill_jobs(lab, run_id, sweep_id)


def _cancel(lab: Lab, run_id: str) -> list[Any]:
    sweep_id = lab.registry.run(run_id).sweep_id
    if sweep_id:
        board.cancel(lab, sweep_id)
    return fill_jobs(lab, run_id, sweep_id)

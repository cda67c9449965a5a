"""The dropdown of runs that several tabs have."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import Status
from rotelab.runs.lab import Lab
from rotelab.ui.components import MAX_RUN_CHOICES, run_choices, run_label
from rotelab.ui.i18n import _


@dataclass(frozen=True)
class RunChooser:
    """The components of a chooser of runs; `offered` fills them.

    Args:
        run: the chooser; its value is a run's id.
        known: what is known of the runs that it offers.
        moved: never seen; changes where the chosen run has moved on, and only then. No `gr.State`:
            the first time that a handler has one among its outputs, Gradio's page takes it for
            changed even where it is skipped, and twice where it has changed.
    """

    run: gr.Dropdown
    known: gr.State
    moved: gr.Number

    @property
    def inputs(self) -> list[Any]:
        """The inputs of `offered`, after the lab."""
        return [self.run, self.known]

    @property
    def outputs(self) -> list[Any]:
        """The outputs of `offered`."""
        return [self.run, self.known, self.moved]


def build_run_chooser(lab: Lab, elem_id: str, scale: int = 1) -> RunChooser:
    """Lays out a chooser, inside the current row or column.

    Args:
        lab: has the runs.
        elem_id: its element id.
        scale: its share of a row's width.
    """
    choices = run_choices(lab)
    run = gr.Dropdown(choices, value=None, label=_("Run"), elem_id=elem_id, scale=scale)
    return RunChooser(run, gr.State([]), gr.Number(0, visible=False))


def offered(
    lab: Lab, chosen: str | None, known: list[list[str]], status: Status | None = None
) -> list[Any]:
    """The runs to choose from now; in the order of `RunChooser.outputs`.

    Keeps what a person chose while it exists, else takes the newest finished run, else the newest.
    It is one answer, because a page that opens asks for many (`benchmarks/opening.py`).

    Args:
        lab: has the registry.
        chosen: the chosen run's id.
        known: what was known before.
        status: that the runs must have; any where None.

    Raises:
        LabError: the registry can't be read.
    """
    runs = lab.registry.runs(limit=MAX_RUN_CHOICES, status=status, held=False)
    choices = [(run_label(run), run.id) for run in runs]
    now = [[run.id, run.status, run.phase] for run in runs]
    states = {run_id: state for run_id, *state in now}
    if chosen not in states:
        finished = (run.id for run in runs if run.status == "finished")
        first = next(finished, runs[0].id if runs else None)
        return [gr.Dropdown(choices=choices, value=first), now, gr.skip()]
    before = {run_id: state for run_id, *state in known}
    moved = chosen in before and before[chosen] != states[chosen]
    return [gr.Dropdown(choices=choices), now, time.monotonic() if moved else gr.skip()]

"""The chooser of runs that several tabs have."""

from __future__ import annotations

from typing import Any

import gradio as gr

from rotelab.lab import Lab
from rotelab.registry import Status
from rotelab.ui.common import MAX_RUN_CHOICES, run_label

QUIET = {"show_progress": "hidden", "api_visibility": "private"}


def build_run_chooser(elem_id: str, scale: int = 1) -> tuple[gr.Dropdown, gr.State]:
    """The chooser, and what is known of the runs that it offers; `offered` fills both.

    The second one changes whenever a run comes, goes or moves on, and only then.

    Args:
        elem_id: of the chooser.
        scale: its share of a row's width.
    """
    known = gr.State([])
    run = gr.Dropdown(choices=[], value=None, label="Run", elem_id=elem_id, scale=scale)
    known.change(choose_one, [known, run], [run], **QUIET)
    return run, known


def offered(lab: Lab, status: Status | None = None) -> list[Any]:
    """The runs of now, for the chooser and for what is known of them.

    Args:
        lab: has the registry.
        status: that the runs must have; any where None.

    Raises:
        LabError: the registry can't be read.
    """
    runs = lab.registry.runs(limit=MAX_RUN_CHOICES, status=status, held=False)
    choices = [(run_label(run), run.id) for run in runs]
    return [gr.Dropdown(choices=choices), [[run.id, run.status, run.phase] for run in runs]]


def choose_one(known: list[list[str]], chosen: str | None) -> Any:
    """Keeps what a person chose while it exists, else takes the newest run."""
    ids = [run_id for run_id, *_ in known]
    if chosen in ids:
        return gr.skip()
    return gr.update(value=ids[0] if ids else None)

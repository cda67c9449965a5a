"""The chooser of runs that several tabs have."""

from __future__ import annotations

from typing import Any

import gradio as gr


def build_run_chooser(elem_id: str, info: str) -> tuple[gr.Dropdown, gr.State]:
    """The chooser, and the list of runs that fills it.

    A tab's `refresh` puts `common.run_choices` into the list; the chooser then keeps what a person
    chose, or takes the newest run where nothing is chosen yet.

    Args:
        elem_id: of the chooser.
        info: the hint under its label.
    """
    runs = gr.State([])
    run = gr.Dropdown(choices=[], value=None, label="Run", info=info, elem_id=elem_id, scale=1)
    runs.change(offer, [runs, run], [run], show_progress="hidden", api_visibility="private")
    return run, runs


def offer(runs: list, chosen: str | None) -> Any:
    """Fills the chooser; keeps what is chosen while it exists, else takes the newest run."""
    ids = [run_id for _, run_id in runs]
    value = chosen if chosen in ids else (ids[0] if ids else None)
    return gr.Dropdown(choices=[tuple(choice) for choice in runs], value=value)

"""The dropdown of runs that several tabs have."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import Status
from rotelab.errors import UnknownRun
from rotelab.registry import RunSummary
from rotelab.runs.lab import Lab
from rotelab.ui.components import MAX_RUN_CHOICES, run_label
from rotelab.ui.i18n import N_, _

LEFT_OUT = N_("The newest {n} runs. For an older one, search in the tab Runs.")


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


def build_run_chooser(elem_id: str, scale: int = 1) -> RunChooser:
    """Lays out a chooser, inside the current row or column.

    It offers nothing until `offered` fills it: what a person chose before that would be overwritten
    by the page's own first choice.

    Args:
        elem_id: its element id.
        scale: its share of a row's width.
    """
    run = gr.Dropdown([], value=None, label=_("Run"), elem_id=elem_id, scale=scale)
    return RunChooser(run, gr.State([]), gr.Number(0, visible=False))


def offered(
    lab: Lab, chosen: str | None, known: list[list[str]], status: Status | None = None,
    linked: str = "",
) -> list[Any]:  # fmt: skip
    """The runs to choose from now; in the order of `RunChooser.outputs`.

    Keeps what a person chose while it exists, else takes the one that the page's address names,
    else the newest finished run, else the newest. It does so once: where runs are known and none
    is chosen, the page asked before it had taken in the answer before this one, and a person may
    have chosen since.
    It is one answer, because a page that opens asks for many (`benchmarks/opening.py`).

    Args:
        lab: has the registry.
        chosen: the chosen run's id.
        known: what was known before.
        status: that the runs must have; any where None.
        linked: the id of the run that the address names; empty for none.

    Raises:
        LabError: the registry can't be read.
    """
    choices, now = _listed(lab, chosen or linked, status)
    states = {run_id: state for run_id, *state in now}
    if chosen not in states and (chosen or not known):
        value = linked if linked in states else _first(now)
        return [_chooser(choices, value=value), now, gr.skip()]
    if not chosen:
        return [_chooser(choices), now, gr.skip()]
    before = {run_id: state for run_id, *state in known}
    moved = chosen in before and before[chosen] != states[chosen]
    return [_chooser(choices), now, time.monotonic() if moved else gr.skip()]


def with_choice(lab: Lab, run_id: str | None) -> gr.Dropdown:
    """The chooser with that run chosen; if it is gone, with the one that `offered` takes.

    Raises:
        LabError: the registry can't be read.
    """
    choices, now = _listed(lab, run_id)
    there = any(run_id == known for known, *_ in now)
    return _chooser(choices, value=run_id if there else _first(now))


def _chooser(choices: list[tuple[str, str]], **chosen: str | None) -> gr.Dropdown:
    """The chooser with these runs; says so where older ones are left out."""
    left_out = _(LEFT_OUT).format(n=MAX_RUN_CHOICES) if len(choices) >= MAX_RUN_CHOICES else None
    return gr.Dropdown(choices=choices, info=left_out, **chosen)


def _listed(
    lab: Lab, chosen: str | None, status: Status | None = None
) -> tuple[list[tuple[str, str]], list[list[str]]]:
    """(label, id) of the runs to choose from, and id, status and phase of each."""
    runs: list[RunSummary] = lab.registry.runs(limit=MAX_RUN_CHOICES, status=status, held=False)
    if chosen and status is None and all(run.id != chosen for run in runs):
        with contextlib.suppress(UnknownRun):
            runs.append(lab.registry.run(chosen))  # archived, as the tour's own run is; or old
    return [(run_label(r), r.id) for r in runs], [[r.id, r.status, r.phase] for r in runs]


def _first(now: list[list[str]]) -> str | None:
    """The newest finished run, else the newest."""
    finished = (run_id for run_id, status, _ in now if status == "finished")
    return next(finished, now[0][0] if now else None)

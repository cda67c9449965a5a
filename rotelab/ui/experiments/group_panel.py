"""“Run all overnight”: a group of experiments is queued with one press, after its total time was
said; and what is running and waiting."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import gradio as gr

from rotelab.errors import LabError
from rotelab.experiments import Origin, experiment, experiments
from rotelab.experiments.planning import queue
from rotelab.experiments.planning.cost import total_seconds
from rotelab.registry import ExperimentRow
from rotelab.runs.lab import Lab
from rotelab.ui.components import escape, note, roughly
from rotelab.ui.experiments.catalogue import GROUPS, Entry
from rotelab.ui.i18n import _, ngettext
from rotelab.ui.wording import percent

LIVE = ("running", "queued")


@dataclass(frozen=True)
class GroupPanel:
    """The panel's components.

    Args:
        panel: holds what is offered; hidden while no group was chosen.
        names: the experiments that a press would queue.
        words: which they are, and how long they take.
        go: queues them.
        cancel: closes the panel.
        line: what is running and waiting.
        clear: takes the waiting ones out of the queue.
        lined: id and status of each that is running or waiting, as `line` shows them.
        moved: never seen; another number where one of them has begun, ended or been queued.
    """

    panel: gr.Column
    names: gr.State
    words: gr.HTML
    go: gr.Button
    cancel: gr.Button
    line: gr.HTML
    clear: gr.Button
    lined: gr.State
    moved: gr.Number

    @property
    def offered(self) -> list[Any]:
        """The outputs of `offer` and `close`."""
        return [self.panel, self.names, self.words, self.go]

    @property
    def queued(self) -> list[Any]:
        """The outputs of `queue_news`."""
        return [self.line, self.clear, self.lined, self.moved]


def build_group_panel() -> GroupPanel:
    """Lays out the panel inside the current column."""
    with gr.Column(visible=False, elem_id="experiment-group") as panel:
        words = gr.HTML(padding=False)
        with gr.Row():
            go = gr.Button(
                _("Start"), variant="primary", size="md", scale=0, min_width=260,
                elem_id="experiment-group-go",
            )  # fmt: skip
            cancel = gr.Button(_("Cancel"), size="md", scale=0, min_width=120)
    with gr.Row(equal_height=True, elem_id="experiment-queue"):
        line = gr.HTML("", padding=False)
        clear = gr.Button(
            _("Take the waiting ones out"), visible=False, size="md", scale=0, min_width=240,
            elem_id="experiment-queue-clear",
        )  # fmt: skip
    lined, moved = gr.State([]), gr.Number(0, visible=False)
    return GroupPanel(panel, gr.State([]), words, go, cancel, line, clear, lined, moved)


# Handlers ----------------------------------------------------------------------------------------


def offer(run_id: str | None, known: dict[str, Entry], event: gr.EventData) -> list[Any]:
    """Says which experiments of the clicked group would be made and how long they take; in the
    order of `GroupPanel.offered`.

    Raises:
        LabError: no run is chosen, or there is no such group.
    """
    origin = str(event.group)
    if origin not in GROUPS:
        raise LabError(f"There is no group {origin[:40]!r}.")
    if not run_id or not known:
        raise LabError(_("Choose a finished run first; the Train tab makes one."))
    names = to_make(origin, known)
    count = len(names)
    words = ngettext("Queue {n} experiment", "Queue {n} experiments", count).format(n=count)
    button = gr.Button(words, interactive=bool(names))
    return [gr.Column(visible=True), names, offer_html(origin, names, known), button]


def close() -> list[Any]:
    """Closes the panel; in the order of `GroupPanel.offered`."""
    return [gr.Column(visible=False), [], "", gr.skip()]


def queue_group(lab: Lab, names: list[str], run_id: str | None) -> list[Any]:
    """Queues the offered experiments and closes the panel; in the order of `GroupPanel.offered`
    and `GroupPanel.queued`.

    Raises:
        LabError: no run is chosen, or as `queue.enqueue`.
    """
    if not run_id:
        raise LabError(_("Choose a finished run first; the Train tab makes one."))
    queue.enqueue(lab, names, run_id)
    return [*close(), *queue_news(lab, [])]


def clear_queue(lab: Lab) -> list[Any]:
    """Takes all waiting experiments out; in the order of `GroupPanel.queued`.

    Raises:
        LabError: the registry can't be written.
    """
    queue.clear(lab)
    return queue_news(lab, [])


def queue_news(lab: Lab, lined: list[list[str]]) -> list[Any]:
    """What is running and waiting; in the order of `GroupPanel.queued`.

    Raises:
        LabError: the registry can't be read.
    """
    rows = live_rows(lab)
    now = [[row.id, row.status] for row in rows]
    waits = any(row.status == "queued" for row in rows)
    news = time.monotonic() if now != lined else gr.skip()
    return [line_html(rows), gr.Button(visible=waits), now, news]


# Parts -------------------------------------------------------------------------------------------


def live_rows(lab: Lab) -> list[ExperimentRow]:
    """The experiments that are running or waiting, in their order.

    Raises:
        LabError: the registry can't be read.
    """
    rows = [row for row in lab.registry.experiment_rows(limit=-1) if row.status in LIVE]
    return sorted(rows, key=lambda row: (row.status == "queued", row.number))


def to_make(origin: Origin, known: Mapping[str, Entry]) -> list[str]:
    """The experiments of a group that can be made on the chosen run and have no result on it."""
    return [
        name
        for name, one in experiments().items()
        if one.origin == origin
        and (entry := known.get(name)) is not None
        and entry.cost is not None
        and not entry.cost.refused
        and entry.mark not in ("own", *LIVE)
    ]


def offer_html(origin: Origin, names: list[str], known: Mapping[str, Entry]) -> str:
    """Which experiments would be queued, how long each takes, and all together."""
    title = f"<h3>{escape(_(GROUPS[origin]))}</h3>"
    others = [n for n, one in experiments().items() if one.origin == origin and n not in names]
    refused = [n for n in others if (e := known.get(n)) and e.cost and e.cost.refused]
    left = []
    if refused:
        left.append(_("Not on this run: {names}.").format(names=_titles(refused)))
    if has := [n for n in others if n not in refused]:
        left.append(_("Left out, done or under way: {names}.").format(names=_titles(has)))
    after = f"<p class='hint'>{escape(' '.join(left))}</p>" if left else ""
    if not names:
        return title + note(_("Nothing of this group is left to make on this run.")) + after
    items = "".join(
        f"<li>{escape(experiment(n).title)} <span class='hint'>{_time_words(known[n])}</span></li>"
        for n in names
    )
    seconds, unknown = total_seconds(known[n].cost for n in names)
    ready = (datetime.now() + timedelta(seconds=seconds)).strftime("%H:%M")
    total = _(
        "About <b>{time}</b> in all on this machine, one after the other, so until about {ready}. "
        "Less where several need the same runs. They go on when this page is closed."
    ).format(time=roughly(seconds), ready=ready)
    if unknown:
        total += " " + ngettext(
            "For {n} of them no time is known yet, which comes on top.",
            "For {n} of them no times are known yet, which come on top.",
            unknown,
        ).format(n=unknown)
    return f"{title}<p class='total' role='status'>{total}</p><ul>{items}</ul>{after}"


def line_html(rows: list[ExperimentRow]) -> str:
    """What is running and waiting, in a sentence; empty where nothing is."""
    live = [row for row in rows if row.status == "running"]
    waits = [row.experiment for row in rows if row.status == "queued"]
    said = [
        _("Running: {name} ({share}).").format(
            name=experiment(row.experiment).title, share=percent(row.share)
        )
        for row in live
    ]
    if waits:
        said.append(
            ngettext("{n} waits: {names}.", "{n} wait: {names}.", len(waits)).format(
                n=len(waits), names=_titles(waits)
            )
        )
    return note(" ".join(said)) if waits else ""


def _titles(names: list[str]) -> str:
    return ", ".join(experiment(name).title for name in names)


def _time_words(entry: Entry) -> str:
    seconds = entry.cost.seconds
    return escape(_("time unknown") if seconds is None else f"≈ {roughly(seconds)}")

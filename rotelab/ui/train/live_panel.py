"""The live panel: follows a running run with its state, recall and curves; Stop and Resume.

Everything is read from the registry, so every browser shows the same, and closing one changes
nothing.

What moves while a run trains, the words and curves, is fetched by the page's own script (`news`,
`assets/live.js`), which puts it in place itself. Gradio's events do the rest, which seldom changes:
at each event Gradio's page searches all components for every one that was ever filled, which costs
a tenth of a second of a CPU core that training then lacks (`benchmarks/page_cost.py`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import LIVE, RESUMABLE
from rotelab.errors import LabError, UnknownRun
from rotelab.registry import RunSummary
from rotelab.reports.figures.live import live_curves
from rotelab.runs.lab import Lab
from rotelab.ui.address import linked_run
from rotelab.ui.components import QUIET, bound, run_label, say_taken_out
from rotelab.ui.i18n import _
from rotelab.ui.polling import Pace
from rotelab.ui.train.audience import (
    HOLD,
    Audience,
    build_audience,
    build_switch,
    parts,
    wire_audience,
)
from rotelab.ui.train.drawing_cache import Drawing, Drawings
from rotelab.ui.train.live_html import TO_CHAT, head_html, nothing_yet_html
from rotelab.ui.train.spot_checks_panel import spot_checks_html

TICK_S = 2.0
"""Each poll takes the server and the browser some 60 ms of a CPU core that training then lacks
(`benchmarks/page_cost.py`)."""
PACE = Pace(TICK_S, 12)
PLOT_EVERY_S = 1.5
"""Curves are drawn at most this often, and less often where many pages watch."""
FAULT_S = 10.0
"""Seconds after which a page that met a fault asks again."""
MAX_WATCHED = 50
DRAWINGS = Drawings()
"""Shared by all pages that this server has open."""


@dataclass(frozen=True)
class Seen:
    """What a page shows already, so that only what is new is sent.

    Args:
        run: the run on show.
        head: digest of the words above the curves.
        choices: digest of the list of runs to watch.
        seq: the newest metric row in the curves; -1 before the first drawing.
        grid: the newest metric row when the grid was drawn; -1 while the grid is hidden.
        status: the run's status when it was drawn.
        spots: how many spot-check answers it has; -1 before the first time.
        several: whether more than one run of its sweep waits; None before the first time.
    """

    run: str = ""
    head: str = ""
    choices: str = ""
    seq: int = -1
    grid: int = -1
    status: str = ""
    spots: int = -1
    several: bool | None = None


@dataclass(frozen=True)
class LivePanel:
    """The panel's components; `outputs` is the order in which `update_panel` fills them."""

    watching: gr.State
    seen: gr.State
    watch: gr.Dropdown
    head: gr.HTML
    curves: gr.HTML
    grid: gr.HTML
    spots: gr.HTML
    stop: gr.Button
    resume: gr.Button
    sweep_out: gr.Button
    confirm: gr.Group
    sure: gr.Button
    go_on: gr.Button
    audience: Audience
    to_chat: gr.Button

    @property
    def outputs(self) -> list[Any]:
        """The outputs of `update_panel`."""
        return [
            self.watching, self.seen, self.watch, self.head, self.curves, self.grid, self.spots,
            self.stop, self.resume, self.sweep_out,
        ]  # fmt: skip


def build_live_panel(lab: Lab) -> LivePanel:
    """Lays out the panel inside the current column."""
    watching, seen = gr.State(""), gr.State(Seen())
    with gr.Row():
        watch = gr.Dropdown(
            [],
            label=_("Watch"),
            elem_id="live-watch",
            scale=5,
            min_width=240,
            interactive=True,
            visible=False,
        )
        build_switch()
        stop = gr.Button(
            _("Stop this run"), variant="stop", visible=False, elem_id="live-stop", min_width=160
        )
        resume = gr.Button(
            _("Resume"), variant="primary", visible=False, elem_id="live-resume", min_width=130
        )
        sweep_out = gr.Button(
            _("Take the whole sweep out of the queue"), visible=False, min_width=160,
            elem_id="live-sweep-out",
        )  # fmt: skip
    with gr.Group(visible=False, elem_id="live-confirm") as confirm:
        gr.Markdown(
            _(
                "Stop this run? It finishes the step it is on and saves, and you can resume it "
                "later."
            ),
            padding=True,
        )
        with gr.Row():
            sure = gr.Button(_("Yes, stop and save"), variant="stop", elem_id="live-sure")
            go_on = gr.Button(_("No, go on training"), elem_id="live-go-on")
    head = gr.HTML(
        nothing_yet_html(), elem_id="live-head", server_functions=[bound(news, lab)],
        js_on_load=HOLD.format("head") + "rotelabLive.follow(element, trigger, server);",
    )  # fmt: skip
    spots = gr.HTML(elem_id="live-spots", visible=False, js_on_load=HOLD.format("spots"))
    plot = gr.HTML(
        live_curves([], gettext=_), elem_id="live-curves", js_on_load=HOLD.format("curves")
    )
    grid = gr.HTML(elem_id="live-facts", visible=False, js_on_load=HOLD.format("grid"))
    audience = build_audience()
    to_chat = gr.Button(_("Ask it yourself →"), elem_id=TO_CHAT, elem_classes=["pressed-by-script"])
    return LivePanel(
        watching, seen, watch, head, plot, grid, spots, stop, resume, sweep_out, confirm, sure,
        go_on, audience, to_chat,
    )  # fmt: skip


def wire_live_panel(lab: Lab, panel: LivePanel) -> None:
    """Connects the panel's buttons, and what its script asks for."""
    shows = {"outputs": panel.outputs, **QUIET}
    # The server moves the queue of runs itself (`server.keep_queue_moving`). This event skips
    # Gradio's own queue, with which the page would search its components twice as often.
    panel.head.tick(bound(update_panel, lab), [panel.watching, panel.seen], queue=False, **shows)
    panel.watch.input(bound(choose, lab), panel.watch, **shows)
    panel.stop.click(lambda: gr.Group(visible=True), None, panel.confirm, **QUIET)
    panel.go_on.click(lambda: gr.Group(visible=False), None, panel.confirm, **QUIET)
    panel.sure.click(lambda: gr.Group(visible=False), None, panel.confirm, **QUIET).then(
        bound(stop, lab), panel.watching, **shows
    )
    panel.resume.click(bound(resume, lab), panel.watching, **shows)
    panel.sweep_out.click(bound(take_sweep_out, lab), panel.watching, **shows)
    wire_audience(lab, panel.audience, panel.watching)


# Handlers ----------------------------------------------------------------------------------------


def choose(lab: Lab, run_id: str | None) -> Any:
    """Shows another run.

    Raises:
        LabError: the registry can't be read.
    """
    return update_panel(lab, run_id or "", Seen())


def stop(lab: Lab, run_id: str) -> Any:
    """Asks the run on show to stop; if it doesn't, `runs.jobs` kills it after a while.

    Raises:
        LabError: there is no such run, or the registry can't be written.
    """
    lab.jobs.stop(run_id)
    return update_panel(lab, run_id, Seen())


def resume(lab: Lab, run_id: str) -> Any:
    """Puts the run on show back in the queue.

    Raises:
        LabError: it can't be resumed.
    """
    lab.jobs.resume(run_id)
    return update_panel(lab, run_id, Seen())


def take_sweep_out(lab: Lab, run_id: str) -> Any:
    """Takes all waiting runs of the sweep on show out of the queue.

    Raises:
        LabError: there is no such run, or the registry can't be written.
    """
    run = lab.registry.run(run_id)
    say_taken_out(lab.registry.stop_waiting(run.sweep_id or ""))
    return update_panel(lab, run_id, Seen())


def news(lab: Lab, asked: dict[str, Any]) -> dict[str, Any]:
    """What has changed in the run on show, for the page's script (`assets/live.js`).

    Args:
        lab: has the run.
        asked: `run` and `frame` as the panel's head gives them, `versions` of the parts that were
            sent last, `every`, the seconds between two requests, and `large`, whether an audience
            looks on.

    Returns:
        `update`, whether something has changed that only `update_panel` can fill; otherwise
        `parts`, each a version and its HTML by its name; and `every`, in how many seconds to ask
        again.
    """
    every = asked.get("every")
    every = float(every) if isinstance(every, int | float) else TICK_S
    answer = {"update": False, "parts": {}, "every": PACE.ticked(min(max(every, TICK_S), FAULT_S))}
    try:
        run, busy = _on_show(lab, str(asked.get("run") or ""))
        if run is None:
            return answer | {"update": bool(asked.get("frame"))}
        content = _content(lab, run, busy)
        if (run.id, content.frame) != (asked.get("run"), asked.get("frame")):
            return answer | {"update": True}
        head = head_html(lab, run, content.frame)
        found = {
            "head": (_digest(head), lambda: head),
            "curves": (f"{run.id} {content.drawing.seq}", lambda: content.drawing.curves),
            "grid": (f"{run.id} {content.drawing.grid_seq}", lambda: content.drawing.grid),
            "spots": (f"{run.id} {content.spots}", lambda: spot_checks_html(lab, run.id)),
        }
        if asked.get("large"):
            found |= parts(lab, run, content.drawing.grid_seq)
        versions = asked.get("versions") or {}
        answer["parts"] = {
            name: (version, make() or "")
            for name, (version, make) in found.items()
            if versions.get(name) != version
        }
    except LabError:  # `update_panel` meets it too, and shows it on the page
        return answer | {"update": True, "every": FAULT_S}
    return answer


def update_panel(lab: Lab, watching: str, seen: Seen, request: gr.Request | None = None) -> Any:
    """What is new in the run on show, in the order of `LivePanel.outputs`. The first run on show is
    the one that the page's address names, if it names one.

    Raises:
        LabError: the registry can't be read.
    """
    run, busy = _on_show(lab, watching or linked_run(lab, request, "train"))
    if run is None:
        if seen.status == "none":
            return gr.skip()
        empty = gr.Dropdown(choices=[], value=None, visible=False)
        unseen = gr.Button(visible=False)
        nothing = Seen(status="none")
        return [
            "", nothing, empty, nothing_yet_html(), gr.HTML(visible=False), gr.HTML(visible=False),
            gr.HTML(visible=False), unseen, unseen, unseen,
        ]  # fmt: skip
    if run.id != seen.run:
        seen = Seen(run=run.id)
    content = _content(lab, run, busy)
    head = head_html(lab, run, content.frame)
    drawing = content.drawing
    now = Seen(
        run.id, _digest(head), _digest(repr(content.choices)), drawing.seq,
        drawing.grid_seq if drawing.grid else -1, run.status, content.spots, content.several,
    )  # fmt: skip
    if now == seen:
        return gr.skip()
    return [
        gr.skip() if run.id == watching else run.id,
        now,
        gr.skip() if now.choices == seen.choices else _watch(run, content.choices, seen),
        gr.skip() if now.head == seen.head else head,
        gr.skip() if now.seq == seen.seq else gr.HTML(drawing.curves, visible=True),
        _grid(drawing, now, seen),
        gr.skip()
        if now.spots == seen.spots
        else gr.HTML(spot_checks_html(lab, run.id), visible=bool(content.spots)),
        gr.skip() if run.status == seen.status else _stop_button(run),
        gr.skip() if run.status == seen.status else gr.Button(visible=run.status in RESUMABLE),
        gr.skip() if now.several == seen.several else gr.Button(visible=now.several),
    ]


# Parts -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Content:
    """What the panel has to show for a run, apart from its words.

    Args:
        choices: (label, id) of the runs that can be watched.
        drawing: its curves and grid.
        spots: how many spot-check answers it has.
        several: whether more than one run of its sweep waits in the queue.
        frame: digest of everything that only `update_panel` can change: which parts are on show,
            the panel's buttons and its list of runs.
    """

    choices: list[tuple[str, str]]
    drawing: Drawing
    spots: int
    several: bool
    frame: str


def _content(lab: Lab, run: RunSummary, busy: list[RunSummary]) -> _Content:
    runs = sorted({r.number: r for r in [*busy, run]}.values(), key=lambda r: -r.number)
    choices = [(run_label(r), r.id) for r in runs]
    drawing = DRAWINGS.of(lab, run, PLOT_EVERY_S * PACE.slower)
    spots = lab.registry.spot_count(run.id)
    several = bool(run.sweep_id) and lab.registry.sweep_queue(run.sweep_id)[0] > 1
    frame = (run.id, run.status, choices, drawing.grid is None, spots > 0, several)
    return _Content(choices, drawing, spots, several, _digest(repr(frame)))


def _on_show(lab: Lab, watching: str) -> tuple[RunSummary | None, list[RunSummary]]:
    """The run to show, and the runs to choose from: those that are running, then those that wait,
    in their order; `MAX_WATCHED` at most.

    Shown is the chosen run; otherwise the newest that is running, is queued, or exists.
    """
    wanted = [*LIVE, "queued"]
    busy = lab.registry.runs(
        limit=MAX_WATCHED, status=wanted, archived=None, held=False, order="queue"
    )
    by_id = {run.id: run for run in busy}
    if watching in by_id:
        return by_id[watching], busy
    if watching:
        try:
            return lab.registry.run(watching), busy
        except UnknownRun:
            pass  # deleted in the meantime
    live = sorted((run for run in busy if run.live), key=lambda run: -run.number)
    found = [*live, *busy, *lab.registry.runs(limit=1, held=False)]
    return next(iter(found), None), busy


def _watch(run: RunSummary, choices: list[tuple[str, str]], seen: Seen) -> Any:
    if seen.choices:  # the reader's choice stays
        return gr.Dropdown(choices=choices)
    return gr.Dropdown(choices=choices, value=run.id, visible=True)


def _grid(drawing: Drawing, now: Seen, seen: Seen) -> Any:
    if drawing.grid is None:
        return gr.HTML(visible=False) if seen.seq < 0 else gr.skip()
    return gr.skip() if now.grid == seen.grid else gr.HTML(drawing.grid, visible=True)


def _stop_button(run: RunSummary) -> Any:
    words = _("Take out of the queue") if run.status == "queued" else _("Stop this run")
    if run.status == "stopping":
        words = _("Stopping…")
    visible = run.live or run.status == "queued"
    return gr.Button(words, visible=visible, interactive=run.status != "stopping")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

"""The panel that watches a run: where it stands, how much it recalls, its curves; Stop and Resume.

All of it is read from the registry, so any browser sees the same, and closing one changes nothing.

What moves while a run learns, its words and pictures, the page's script asks for (`news`) and puts
in place itself. Gradio's own events are for the rest, which seldom changes: at each of them its
page looks for every component that was ever filled, one by one, in all of them, a tenth of a second
of a CPU core that training then lacks (`benchmarks/page_cost.py`, EXPERIMENTS.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rotelab.config.names import LIVE, RESUMABLE
from rotelab.errors import LabError, UnknownRun
from rotelab.evaluation.results import Score
from rotelab.registry import RunSummary
from rotelab.reports.figures.live import live_curves
from rotelab.runs.lab import Lab
from rotelab.ui.components import bound, escape, roughly, run_label, status_badge
from rotelab.ui.i18n import said
from rotelab.ui.polling import Pace
from rotelab.ui.train.live_drawings import Drawing, Drawings
from rotelab.ui.train.spot_checks_panel import spots_html
from rotelab.ui.wording import headline, percent, status_sentence

SAFE = "It is safe to reload or close this page: training goes on."
NOTHING_YET = (
    "<p class='live-empty'>No run yet. Choose the facts on the left and press "
    "<b>Start training</b>: this panel then shows the model learning, step by step.</p>"
)
TICK_S = 2.0
"""Each look takes the server and the browser some 60 ms of a CPU core that training then lacks
(`benchmarks/page_cost.py`)."""
PACE = Pace(TICK_S, 12)
PLOT_EVERY_S = 1.5
"""Curves are drawn anew at most this often, and less often where many look on."""
FAULT_S = 10.0
"""When a page asks again that was told of a fault."""
MAX_WATCHED = 50
HOLD = "rotelabLive.hold('{}', props);"
"""Has `assets/live.js` fill a part of the panel."""

# Classes, because each `:has` of a style sheet is looked up again at every change of the page.
LARGE = """(on) => {
    const live = document.getElementById("train-live"), body = document.body.classList;
    live.classList.toggle("large", on);
    body.toggle("for-audience", on);
    live.seen ??= new ResizeObserver(() => body.toggle("elsewhere", !live.offsetParent));
    live.seen.observe(live);
}"""
DRAWINGS = Drawings()
"""Of all pages that this server has open."""


@dataclass(frozen=True)
class Seen:
    """What a page has been shown, so that only news is sent.

    Args:
        run: the run on show.
        head: digest of the words above the curves.
        choices: digest of the list of runs to watch.
        seq: the newest metric row that was drawn; -1 before the first drawing.
        grid: the newest one when the grid was drawn; -1 while it is not on show.
        status: the run's status when it was drawn.
        spots: how many answers to the fixed questions there were; -1 before the first look.
    """

    run: str = ""
    head: str = ""
    choices: str = ""
    seq: int = -1
    grid: int = -1
    status: str = ""
    spots: int = -1


@dataclass(frozen=True)
class LivePanel:
    """The panel's components; `outputs` is the order in which `look` fills them."""

    watching: gr.State
    seen: gr.State
    watch: gr.Dropdown
    head: gr.HTML
    curves: gr.HTML
    grid: gr.HTML
    spots: gr.HTML
    stop: gr.Button
    resume: gr.Button
    confirm: gr.Group
    sure: gr.Button
    go_on: gr.Button

    @property
    def outputs(self) -> list[Any]:
        """What `look` fills."""
        return [
            self.watching, self.seen, self.watch, self.head, self.curves, self.grid, self.spots,
            self.stop, self.resume,
        ]  # fmt: skip


def build_live_panel(lab: Lab) -> LivePanel:
    """Lays out the panel inside the current column."""
    watching, seen = gr.State(""), gr.State(Seen())
    with gr.Row():
        watch = gr.Dropdown(
            [],
            label="Watch",
            elem_id="live-watch",
            scale=5,
            min_width=240,
            interactive=True,
            visible=False,
        )
        large = gr.Checkbox(
            label="For an audience", container=False, min_width=160,
            elem_id="live-large",
        )  # fmt: skip
        stop = gr.Button(
            "Stop this run", variant="stop", visible=False, elem_id="live-stop", min_width=160
        )
        resume = gr.Button(
            "Resume", variant="primary", visible=False, elem_id="live-resume", min_width=130
        )
    with gr.Group(visible=False, elem_id="live-confirm") as confirm:
        gr.Markdown(
            "Stop this run? It finishes the step it is on and saves, and you can resume it later.",
            padding=True,
        )
        with gr.Row():
            sure = gr.Button("Yes, stop and save", variant="stop", elem_id="live-sure")
            go_on = gr.Button("No, go on training", elem_id="live-go-on")
    head = gr.HTML(
        NOTHING_YET, elem_id="live-head", server_functions=[bound(news, lab)],
        js_on_load=HOLD.format("head") + "rotelabLive.follow(element, trigger, server);",
    )  # fmt: skip
    spots = gr.HTML(elem_id="live-spots", visible=False, js_on_load=HOLD.format("spots"))
    plot = gr.HTML(live_curves([]), elem_id="live-curves", js_on_load=HOLD.format("curves"))
    grid = gr.HTML(elem_id="live-facts", visible=False, js_on_load=HOLD.format("grid"))
    large.change(None, large, None, js=LARGE)
    return LivePanel(
        watching, seen, watch, head, plot, grid, spots, stop, resume, confirm, sure, go_on
    )


def wire_live_panel(lab: Lab, panel: LivePanel) -> None:
    """Connects the panel's buttons, and what its script asks for."""
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    shows = {"outputs": panel.outputs, **quiet}
    # The server itself moves the queue (`server.keep_queue_moving`); this only looks. It goes past
    # Gradio's queue, which would have the page look through its components twice as often.
    panel.head.tick(bound(look, lab), [panel.watching, panel.seen], queue=False, **shows)
    panel.watch.input(bound(choose, lab), panel.watch, **shows)
    panel.stop.click(lambda: gr.Group(visible=True), None, panel.confirm, **quiet)
    panel.go_on.click(lambda: gr.Group(visible=False), None, panel.confirm, **quiet)
    panel.sure.click(lambda: gr.Group(visible=False), None, panel.confirm, **quiet).then(
        bound(stop, lab), panel.watching, **shows
    )
    panel.resume.click(bound(resume, lab), panel.watching, **shows)


# Handlers ----------------------------------------------------------------------------------------


def choose(lab: Lab, run_id: str | None) -> Any:
    """Shows another run.

    Raises:
        LabError: the registry can't be read.
    """
    return look(lab, run_id or "", Seen())


def stop(lab: Lab, run_id: str) -> Any:
    """Asks the run on show to stop; if it does not listen, `jobs` ends it after a while.

    Raises:
        LabError: there is no such run, or the registry can't be written.
    """
    lab.jobs.stop(run_id)
    return look(lab, run_id, Seen())


def resume(lab: Lab, run_id: str) -> Any:
    """Puts the run on show in the queue again.

    Raises:
        LabError: it can't go on.
    """
    lab.jobs.resume(run_id)
    return look(lab, run_id, Seen())


def news(lab: Lab, asked: dict[str, Any]) -> dict[str, Any]:
    """What has changed of the run on show, for the page's script (`assets/live.js`).

    Args:
        lab: has the run.
        asked: `run` and `frame` as the panel's head says them, `marks` of the parts that were
            given last, and `every`, the seconds between two questions.

    Returns:
        `ring`, whether anything has changed that `look` must fill; else `parts`, by their names a
        mark and HTML each; and `every`, in how many seconds to ask again.
    """
    every = asked.get("every")
    every = float(every) if isinstance(every, int | float) else TICK_S
    told = {"ring": False, "parts": {}, "every": PACE.ticked(min(max(every, TICK_S), FAULT_S))}
    try:
        run, busy = _on_show(lab, str(asked.get("run") or ""))
        if run is None:
            return told | {"ring": bool(asked.get("frame"))}
        there = _there(lab, run, busy)
        if (run.id, there.frame) != (asked.get("run"), asked.get("frame")):
            return told | {"ring": True}
        head = _head(lab, run, busy, there.frame)
        parts = {
            "head": (_digest(head), lambda: head),
            "curves": (f"{run.id} {there.drawing.seq}", lambda: there.drawing.curves),
            "grid": (f"{run.id} {there.drawing.grid_seq}", lambda: there.drawing.grid),
            "spots": (f"{run.id} {there.spots}", lambda: _spots(lab, run)),
        }
        marks = asked.get("marks") or {}
        told["parts"] = {
            name: (mark, said(make() or ""))
            for name, (mark, make) in parts.items()
            if marks.get(name) != mark
        }
    except LabError:  # `look` meets it too, and says it on the page
        return told | {"ring": True, "every": FAULT_S}
    return told


def look(lab: Lab, watching: str, seen: Seen) -> Any:
    """What is new of the run on show, in the order of `LivePanel.outputs`.

    Raises:
        LabError: the registry can't be read.
    """
    run, busy = _on_show(lab, watching)
    if run is None:
        if seen.status == "none":
            return gr.skip()
        empty = gr.Dropdown(choices=[], value=None, visible=False)
        unseen = gr.Button(visible=False)
        nothing = Seen(status="none")
        return [
            "", nothing, empty, NOTHING_YET, gr.HTML(visible=False), gr.HTML(visible=False),
            gr.HTML(visible=False), unseen, unseen,
        ]  # fmt: skip
    if run.id != seen.run:
        seen = Seen(run=run.id)
    there = _there(lab, run, busy)
    head = _head(lab, run, busy, there.frame)
    drawing = there.drawing
    now = Seen(
        run.id, _digest(head), _digest(repr(there.choices)), drawing.seq,
        drawing.grid_seq if drawing.grid else -1, run.status, there.spots,
    )  # fmt: skip
    if now == seen:
        return gr.skip()
    return [
        gr.skip() if run.id == watching else run.id,
        now,
        gr.skip() if now.choices == seen.choices else _watch(run, there.choices, seen),
        gr.skip() if now.head == seen.head else head,
        gr.skip() if now.seq == seen.seq else gr.HTML(drawing.curves, visible=True),
        _grid(drawing, now, seen),
        gr.skip()
        if now.spots == seen.spots
        else gr.HTML(_spots(lab, run), visible=bool(there.spots)),
        gr.skip() if run.status == seen.status else _stop_button(run),
        gr.skip() if run.status == seen.status else gr.Button(visible=run.status in RESUMABLE),
    ]


# Parts -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _There:
    """What there is to show of a run beside its words.

    Args:
        choices: of the list of runs to watch.
        drawing: its pictures.
        spots: how many answers to the fixed questions.
        frame: digest of all that `look` alone can change: which parts are on show, and what the
            panel's buttons and its list of runs are like.
    """

    choices: list[tuple[str, str]]
    drawing: Drawing
    spots: int
    frame: str


def _there(lab: Lab, run: RunSummary, busy: list[RunSummary]) -> _There:
    runs = sorted({r.number: r for r in [*busy, run]}.values(), key=lambda r: -r.number)
    choices = [(run_label(r), r.id) for r in runs]
    drawing = DRAWINGS.of(lab, run, PLOT_EVERY_S * PACE.slower)
    spots = lab.registry.spot_count(run.id)
    frame = (run.id, run.status, choices, drawing.grid is None, spots > 0)
    return _There(choices, drawing, spots, _digest(repr(frame)))


def _on_show(lab: Lab, watching: str) -> tuple[RunSummary | None, list[RunSummary]]:
    """The run to show, which is the chosen one, else the newest that runs, waits or exists; and all
    that run or wait."""
    wanted = [*LIVE, "queued"]
    busy = lab.registry.runs(limit=MAX_WATCHED, status=wanted, archived=None, held=False)
    by_id = {run.id: run for run in busy}
    if watching in by_id:
        return by_id[watching], busy
    if watching:
        try:
            return lab.registry.run(watching), busy
        except UnknownRun:
            pass  # deleted meanwhile
    live = [run for run in busy if run.live]
    found = [*live, *reversed(busy), *lab.registry.runs(limit=1, held=False)]
    return next(iter(found), None), busy


def _watch(run: RunSummary, choices: list[tuple[str, str]], seen: Seen) -> Any:
    if seen.choices:  # what was chosen stays
        return gr.Dropdown(choices=choices)
    return gr.Dropdown(choices=choices, value=run.id, visible=True)


def _grid(drawing: Drawing, now: Seen, seen: Seen) -> Any:
    if drawing.grid is None:
        return gr.HTML(visible=False) if seen.seq < 0 else gr.skip()
    return gr.skip() if now.grid == seen.grid else gr.HTML(drawing.grid, visible=True)


def _stop_button(run: RunSummary) -> Any:
    words = "Take out of the queue" if run.status == "queued" else "Stop this run"
    if run.status == "stopping":
        words = "Stopping…"
    visible = run.live or run.status == "queued"
    return gr.Button(words, visible=visible, interactive=run.status != "stopping")


def _spots(lab: Lab, run: RunSummary) -> str:
    """The table of the fixed questions."""
    answers = lab.registry.spot_answers(run.id)
    if not answers:
        return ""
    try:
        full = lab.registry.run(run.id)
        facts, config = full.pack.facts, full.config
        split = facts.split(config.generalize.k, config.seed)
        held_out = facts[answers[-1].fact_index] in split.held_out and (
            config.memorize.reads != "words"
        )
    except (LabError, IndexError):  # the row is damaged; the answers are not
        held_out = False
    return spots_html(answers, held_out)


def _head(lab: Lab, run: RunSummary, busy: list[RunSummary], frame: str) -> str:
    """The words above the pictures, which also tell the page's script what is on show."""
    queued = [r for r in busy if r.status == "queued"]
    queued.sort(key=lambda r: (r.queue_position or 0, r.number))
    waits_here = run.status == "queued" and not run.held
    ahead = [r.id for r in queued].index(run.id) if waits_here else 0
    if waits_here:
        ahead += sum(r.live for r in busy)
    ended = not (run.live or run.status == "queued")
    scores = lab.registry.scores(run.id) if ended else {}
    recall = _recalled(lab, run, scores)
    done = 1.0 if run.status == "finished" else min(1.0, max(0.0, run.share or 0.0))
    small = [f"{percent(done)} done"] if run.live else []
    if run.live and run.eta_s is not None:
        small.append(f"about {roughly(run.eta_s)} left")
    if run.live and run.message:
        small.append(escape(run.message))
    if run.live or run.status == "queued":
        small.append(SAFE)
    title = escape(run.name or f"Run {run.number}")
    waits = len(queued) - waits_here
    if waits > 0:
        small.append("1 more run waits." if waits == 1 else f"{waits} more runs wait.")
    bar = (
        f"<div class='live-bar' role='progressbar' aria-label='Progress of the run' "
        f"aria-valuemin='0' aria-valuemax='100' aria-valuenow='{100 * done:.0f}'>"
        f"<div style='width:{100 * done:.1f}%'></div></div>"
    )
    return (
        f"<div class='live-head' data-run='{escape(run.id)}' data-frame='{frame}'>"
        "<div class='live-words'>"
        f"<div class='live-title'>{title} · {escape(run.pack_name)} · {escape(run.model)} "
        f"{status_badge(run.status)}</div>"
        f"<div class='live-status' aria-live='polite'>{escape(status_sentence(run, ahead))}</div>"
        f"{bar}<div class='live-small'>{' · '.join(small)}</div></div>"
        f"<div class='live-recall'><b>{percent(recall)}</b>of the facts recalled<br>through the "
        f"key token</div></div>{_notes(lab, run, scores)}"
    )


def _notes(lab: Lab, run: RunSummary, scores: Mapping[str, Mapping[str, Score]]) -> str:
    """What came of it, what went wrong, what it cost, and what to do next."""
    notes = ""
    if run.error:
        notes += f"<div class='note note-bad'><p>{escape(run.error)}</p></div>"
    if run.live or run.status == "queued":
        return notes
    words = headline(scores)
    if words:
        first, _, rest = words.partition(". ")
        notes += (
            f"<div class='note note-good'><p class='live-big'>{escape(first)}.</p>"
            f"<p>{escape(rest)}</p><p>Next: open the <b>Chat</b> tab and ask it yourself. "
            "<b>Runs</b> has every single answer it gave.</p></div>"
        )
    try:
        warnings = lab.registry.run(run.id).warnings
    except LabError:  # the row is damaged, which the Runs tab says
        warnings = ()
    return notes + "".join(f"<div class='note note-warn'>{escape(w)}</div>" for w in warnings)


def _recalled(lab: Lab, run: RunSummary, scores: Mapping[str, Mapping[str, Score]]) -> float | None:
    """The share of facts recalled through the key token, as measured last."""
    if run.status == "finished":
        # Of all facts: training itself looks at those it rehearses only.
        score = scores.get("generalized", {}).get("key_token")
        if score:
            return score.generation_accuracy
    rows = lab.registry.metrics(run.id, ["recall"])
    return rows[-1].value if rows else None


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

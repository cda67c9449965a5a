"""The panel that watches a run: where it stands, how much it recalls, its curves; Stop and Resume.

All of it is read from the registry, so any browser sees the same, and closing one changes nothing.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from rotelab.errors import LabError, UnknownRun
from rotelab.lab import Lab
from rotelab.plots.training import CURVES, curves, fact_grid
from rotelab.registry import LIVE, RESUMABLE, RunSummary
from rotelab.ui.common import bound, duration, escape, run_label, status_badge
from rotelab.ui.run_words import headline, percent, status_sentence
from rotelab.ui.spot_panel import CSS as SPOTS_CSS
from rotelab.ui.spot_panel import spots_html

SAFE = "It is safe to reload or close this page: training goes on."
NOTHING_YET = (
    "<p class='live-empty'>No run yet. Choose the facts on the left and press "
    "<b>Start training</b>: this panel then shows the model learning, step by step.</p>"
)
PLOT_EVERY_S = 2.0
"""Curves are drawn anew at most this often: drawing costs the browser more than it shows."""
MAX_WATCHED = 50

CSS = """
.live-head {display: flex; gap: 1.2rem; align-items: stretch; flex-wrap: wrap}
.live-words {flex: 1 1 20rem; min-width: 0}
.live-title {font-weight: 600; overflow-wrap: anywhere}
.live-status {font-size: 1.15rem; margin: .35rem 0 .5rem; line-height: 1.35}
.live-bar {height: 14px; border-radius: 7px; overflow: hidden;
  background: var(--border-color-primary)}
.live-bar > div {height: 100%; background: var(--color-accent); transition: width .6s}
.live-small {color: var(--body-text-color-subdued); font-size: .92rem; margin-top: .4rem;
  overflow-wrap: anywhere}
.live-recall {flex: 0 0 auto; min-width: 9.5rem; text-align: center; padding: .3rem .9rem;
  border-left: 1px solid var(--border-color-primary)}
.live-recall b {display: block; font-size: 2.9rem; line-height: 1.1;
  font-variant-numeric: tabular-nums}
.note {margin-top: .6rem}
.note p {margin: .15rem 0}
.live-big {font-size: 1.3rem; font-weight: 600}
.live-empty {padding: 1.2rem; color: var(--body-text-color-subdued); font-size: 1.05rem}
"""


@dataclass(frozen=True)
class Seen:
    """What a page has been shown, so that only news is sent.

    Args:
        run: the run on show.
        head: digest of the words above the curves.
        choices: digest of the list of runs to watch.
        seq: the newest metric row that was drawn; -1 before the first drawing.
        drawn: monotonic time of the last drawing, in seconds.
        status: the run's status when it was drawn.
        spots: how many answers to the fixed questions there were; -1 before the first look.
    """

    run: str = ""
    head: str = ""
    choices: str = ""
    seq: int = -1
    drawn: float = 0.0
    status: str = ""
    spots: int = -1


@dataclass(frozen=True)
class LivePanel:
    """The panel's components; `outputs` is the order in which `look` fills them."""

    watching: gr.State
    seen: gr.State
    watch: gr.Dropdown
    head: gr.HTML
    curves: gr.Plot
    grid: gr.Plot
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


def build_live_panel() -> LivePanel:
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
        stop = gr.Button(
            "Stop this run", variant="stop", visible=False, elem_id="live-stop", min_width=130
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
    head = gr.HTML(NOTHING_YET, css_template=CSS, elem_id="live-head")
    spots = gr.HTML(css_template=SPOTS_CSS, elem_id="live-spots", visible=False)
    plot = gr.Plot(curves([]), label="Learning curves", show_label=False, elem_id="live-curves")
    grid = gr.Plot(label="Every fact", show_label=False, visible=False, elem_id="live-facts")
    return LivePanel(
        watching, seen, watch, head, plot, grid, spots, stop, resume, confirm, sure, go_on
    )


def wire_live_panel(lab: Lab, panel: LivePanel, timer: gr.Timer) -> None:
    """Connects the panel's buttons and the clock."""
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    shows = {"outputs": panel.outputs, **quiet}
    # The server itself moves the queue (`server.keep_queue_moving`); the clock only looks.
    timer.tick(bound(look, lab), [panel.watching, panel.seen], concurrency_limit=8, **shows)
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


def look(lab: Lab, watching: str, seen: Seen) -> Any:
    """What is new of the run on show, in the order of `LivePanel.outputs`.

    Raises:
        LabError: the registry can't be read.
    """
    wanted = [*LIVE, "queued"]
    busy = lab.registry.runs(limit=MAX_WATCHED, status=wanted, archived=None, held=False)
    run = _on_show(lab, watching, busy)
    if run is None:
        if seen.status == "none":
            return gr.skip()
        empty = gr.Dropdown(choices=[], value=None, visible=False)
        unseen = gr.Button(visible=False)
        nothing = Seen(status="none")
        return [
            "", nothing, empty, NOTHING_YET, gr.Plot(visible=False), gr.Plot(visible=False),
            gr.HTML(visible=False), unseen, unseen,
        ]  # fmt: skip
    if run.id != seen.run:
        seen = Seen(run=run.id)
    choices, seen_choices = _choices(run, busy, seen)
    head = _head(lab, run, busy)
    plot, grid, drawn = _drawing(lab, run, seen)
    spots, count = _spots(lab, run, seen)
    now = replace(drawn, head=_digest(head), choices=seen_choices, status=run.status, spots=count)
    if now == seen:
        return gr.skip()
    return [
        gr.skip() if run.id == watching else run.id,
        now,
        choices,
        gr.skip() if now.head == seen.head else head,
        plot,
        grid,
        spots,
        gr.skip() if run.status == seen.status else _stop_button(run),
        gr.skip() if run.status == seen.status else gr.Button(visible=run.status in RESUMABLE),
    ]


# Parts -------------------------------------------------------------------------------------------


def _on_show(lab: Lab, watching: str, busy: list[RunSummary]) -> RunSummary | None:
    """The run to show: the chosen one; else the newest that runs, waits or exists."""
    by_id = {run.id: run for run in busy}
    if watching in by_id:
        return by_id[watching]
    if watching:
        try:
            return lab.registry.run(watching)
        except UnknownRun:
            pass  # deleted meanwhile
    live = [run for run in busy if run.live]
    return next(iter([*live, *reversed(busy), *lab.registry.runs(limit=1, held=False)]), None)


def _choices(run: RunSummary, busy: list[RunSummary], seen: Seen) -> tuple[Any, str]:
    runs = sorted({r.number: r for r in [*busy, run]}.values(), key=lambda r: -r.number)
    choices = [(run_label(r), r.id) for r in runs]
    digest = _digest(repr(choices))
    if digest == seen.choices:
        return gr.skip(), digest
    if not seen.choices:
        return gr.Dropdown(choices=choices, value=run.id, visible=True), digest
    return gr.Dropdown(choices=choices), digest


def _stop_button(run: RunSummary) -> Any:
    words = "Take out of the queue" if run.status == "queued" else "Stop this run"
    if run.status == "stopping":
        words = "Stopping…"
    visible = run.live or run.status == "queued"
    return gr.Button(words, visible=visible, interactive=run.status != "stopping")


def _drawing(lab: Lab, run: RunSummary, seen: Seen) -> tuple[Any, Any, Seen]:
    """The plots where they are to change, and what has been seen then."""
    fresh = seen.seq < 0
    ended = run.status != seen.status
    now = time.monotonic()
    if not fresh and not ended and now - seen.drawn < PLOT_EVERY_S:
        return gr.skip(), gr.skip(), seen
    news = lab.registry.metrics(run.id, CURVES, after=max(seen.seq, 0))
    if not news and not fresh:
        return gr.skip(), gr.skip(), seen
    rows = news if fresh else lab.registry.metrics(run.id, CURVES)
    seq = max((m.seq for m in rows), default=0)
    plot = gr.Plot(curves(rows, run.id), visible=True)
    # The grid changes with the epochs only.
    grid = _grid(lab, run) if fresh or any(m.name == "recall" for m in news) else gr.skip()
    return plot, grid, replace(seen, seq=seq, drawn=now)


def _grid(lab: Lab, run: RunSummary) -> Any:
    recalls = lab.registry.fact_recall(run.id, "generalize")
    rote = lab.registry.fact_recall(run.id, "memorize")
    # Phase 2 rehearses only the taught facts; the others are as phase 1 left them.
    latest = {r.fact_index: r for r in [*rote, *recalls]}
    if not latest:
        return gr.Plot(visible=False)
    try:
        facts = [(f.relation, f.subject, f.object) for f in lab.registry.run(run.id).pack.facts]
    except LabError:
        facts = []
    return gr.Plot(fact_grid([latest[i] for i in sorted(latest)], facts, run.id), visible=True)


def _spots(lab: Lab, run: RunSummary, seen: Seen) -> tuple[Any, int]:
    """The table of the fixed questions where it has grown, and how many answers it has."""
    count = lab.registry.spot_count(run.id)
    if count == seen.spots:
        return gr.skip(), count
    if not count:
        return gr.HTML(visible=False), count
    answers = lab.registry.spot_answers(run.id)
    try:
        full = lab.registry.run(run.id)
        facts, config = full.pack.facts, full.config
        split = facts.split(config.generalize.k, config.seed)
        held_out = facts[answers[-1].fact_index] in split.held_out and (
            config.memorize.reads != "words"
        )
    except (LabError, IndexError):  # the row is damaged; the answers are not
        held_out = False
    return gr.HTML(spots_html(answers, held_out), visible=True), count


def _head(lab: Lab, run: RunSummary, busy: list[RunSummary]) -> str:
    queued = [r for r in busy if r.status == "queued"]
    queued.sort(key=lambda r: (r.queue_position or 0, r.number))
    waits_here = run.status == "queued" and not run.held
    ahead = [r.id for r in queued].index(run.id) if waits_here else 0
    if waits_here:
        ahead += sum(r.live for r in busy)
    recall = _recalled(lab, run)
    done = 1.0 if run.status == "finished" else min(1.0, max(0.0, run.share or 0.0))
    small = [f"{percent(done)} done"] if run.live else []
    if run.live and run.eta_s is not None:
        small.append(f"about {duration(run.eta_s)} left")
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
        "<div class='live-head'><div class='live-words'>"
        f"<div class='live-title'>{title} · {escape(run.pack_name)} · {escape(run.model)} "
        f"{status_badge(run.status)}</div>"
        f"<div class='live-status' aria-live='polite'>{escape(status_sentence(run, ahead))}</div>"
        f"{bar}<div class='live-small'>{' · '.join(small)}</div></div>"
        f"<div class='live-recall'><b>{percent(recall)}</b>of the facts recalled<br>through the "
        f"key token</div></div>{_notes(lab, run)}"
    )


def _notes(lab: Lab, run: RunSummary) -> str:
    """What came of it, what went wrong, and what to do next."""
    notes = ""
    if run.error:
        notes += f"<div class='note note-bad'><p>{escape(run.error)}</p></div>"
    if run.live or run.status == "queued":
        return notes
    words = headline(lab.registry.scores(run.id))
    if words:
        first, _, rest = words.partition(". ")
        notes += (
            f"<div class='note note-good'><p class='live-big'>{escape(first)}.</p>"
            f"<p>{escape(rest)}</p><p>Next: open the <b>Chat</b> tab and ask it yourself. "
            "<b>Runs</b> has every single answer it gave.</p></div>"
        )
    return notes


def _recalled(lab: Lab, run: RunSummary) -> float | None:
    """The share of facts recalled through the key token, as measured last."""
    if run.status == "finished":
        # Of all facts: training itself looks at those it rehearses only.
        score = lab.registry.scores(run.id).get("generalized", {}).get("key_token")
        if score:
            return score.generation_accuracy
    rows = lab.registry.metrics(run.id, ["recall"])
    return rows[-1].value if rows else None


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

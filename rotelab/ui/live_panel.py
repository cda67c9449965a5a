"""The panel that watches a run: where it stands, how much it recalls, its curves; Stop and Resume.

All of it is read from the registry, so any browser sees the same, and closing one changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from rotelab.errors import LabError, UnknownRun
from rotelab.lab import Lab
from rotelab.plots.live import CURVES_CSS, FACTS_CSS, live_curves
from rotelab.registry import LIVE, RESUMABLE, RunSummary, Score
from rotelab.ui.clocks import Pace, fill_on_news
from rotelab.ui.common import bound, escape, roughly, run_label, status_badge
from rotelab.ui.run_words import headline, percent, status_sentence
from rotelab.ui.shared_drawings import Drawings
from rotelab.ui.spot_panel import CSS as SPOTS_CSS
from rotelab.ui.spot_panel import spots_html

SAFE = "It is safe to reload or close this page: training goes on."
NOTHING_YET = (
    "<p class='live-empty'>No run yet. Choose the facts on the left and press "
    "<b>Start training</b>: this panel then shows the model learning, step by step.</p>"
)
TICK_S = 2.0
PACE = Pace(TICK_S, 6)
PLOT_EVERY_S = 2.0
"""Curves are drawn anew at most this often, and less often where many look on."""
MAX_WATCHED = 50

# Classes, because each `:has` of a style sheet is looked up again at every change of the page.
# Figures learn of their new room as they do of a window's.
LARGE = """(on) => {
    const live = document.getElementById("train-live"), body = document.body.classList;
    live.classList.toggle("large", on);
    body.toggle("for-audience", on);
    live.seen ??= new ResizeObserver(() => body.toggle("elsewhere", !live.offsetParent));
    live.seen.observe(live);
    window.dispatchEvent(new Event("resize"));
}"""
DRAWINGS = Drawings()
"""Of all pages that this server has open."""

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
    """The panel's components; `outputs` is the order in which `look` fills them, `clock` looks
    for news while the panel is on show, and `bell` has it look at once."""

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
    clock: gr.Timer
    bell: gr.Number

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
    head = gr.HTML(NOTHING_YET, css_template=CSS, elem_id="live-head")
    spots = gr.HTML(css_template=SPOTS_CSS, elem_id="live-spots", visible=False)
    plot = gr.HTML(live_curves([]), css_template=CURVES_CSS, elem_id="live-curves")
    grid = gr.HTML(css_template=FACTS_CSS, elem_id="live-facts", visible=False)
    large.change(None, large, None, js=LARGE)
    return LivePanel(
        watching, seen, watch, head, plot, grid, spots, stop, resume, confirm, sure, go_on,
        gr.Timer(TICK_S), gr.Number(0, visible=False),
    )  # fmt: skip


def wire_live_panel(lab: Lab, panel: LivePanel) -> None:
    """Connects the panel's buttons and the clock."""
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    shows = {"outputs": panel.outputs, **quiet}
    # The server itself moves the queue (`server.keep_queue_moving`); the clock only looks.
    fill_on_news(
        panel.clock, PACE, bound(look, lab), [panel.watching, panel.seen], panel.outputs,
        glance=bound(glance, lab), often=(panel.head, panel.seen), bell=panel.bell,
    )  # fmt: skip
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


def glance(lab: Lab, watching: str, seen: Seen) -> list[Any]:
    """Whether `look` has more to fill than the words above the curves; those words, which change
    all the time; and what has been seen with them.

    Raises:
        LabError: the registry can't be read.
    """
    run, busy = _on_show(lab, watching)
    if run is None:
        return [seen.status != "none", gr.skip(), seen]
    head = _head(lab, run, busy)
    there = replace(seen, head=_digest(head))
    if there != _news(lab, run, busy, there).seen:
        return [True, gr.skip(), seen]  # all of it comes at once
    return [False, gr.skip() if there.head == seen.head else head, there]


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
    head = _head(lab, run, busy)
    news = _news(lab, run, busy, seen)
    now = replace(news.seen, head=_digest(head))
    if now == seen:
        return gr.skip()
    return [
        gr.skip() if run.id == watching else run.id,
        now,
        news.choices,
        gr.skip() if now.head == seen.head else head,
        news.plot,
        news.grid,
        news.spots,
        gr.skip() if run.status == seen.status else _stop_button(run),
        gr.skip() if run.status == seen.status else gr.Button(visible=run.status in RESUMABLE),
    ]


# Parts -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _News:
    """What is new of a run beside its words, and what has been seen once that is shown."""

    seen: Seen
    choices: Any
    plot: Any
    grid: Any
    spots: Any


def _news(lab: Lab, run: RunSummary, busy: list[RunSummary], seen: Seen) -> _News:
    choices, seen_choices = _choices(run, busy, seen)
    plot, grid, drawn = _drawing(lab, run, seen)
    spots, count = _spots(lab, run, seen)
    now = replace(drawn, run=run.id, choices=seen_choices, status=run.status, spots=count)
    return _News(now, choices, plot, grid, spots)


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
    held = DRAWINGS.of(lab, run, PLOT_EVERY_S * PACE.slower)
    plot = grid = gr.skip()
    # An update of the component costs the server more than its bare value.
    if held.seq != seen.seq:
        plot = held.curves if seen.seq >= 0 else gr.HTML(held.curves, visible=True)
    if held.grid is None:
        grid = gr.HTML(visible=False) if seen.seq < 0 else grid
        return plot, grid, replace(seen, seq=held.seq)
    if held.grid_seq != seen.grid:
        grid = held.grid if seen.grid >= 0 else gr.HTML(held.grid, visible=True)
    return plot, grid, replace(seen, seq=held.seq, grid=held.grid_seq)


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
        "<div class='live-head'><div class='live-words'>"
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

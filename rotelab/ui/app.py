"""The page: a list of tabs, and what one tab tells another."""

from __future__ import annotations

import os

# Before gradio is imported: it reads them then. Nothing is reported to anybody.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# After every event Gradio sums up all that it has served so far, for a table that nobody opens
# here; with a few pages open that took a fifth of the server's time. So: practically never.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")

import json
import sys
import threading

import gradio as gr

from rotelab.config.names import CHECKPOINTS, checkpoint_name
from rotelab.runs.lab import Lab
from rotelab.ui.access import HOME, access
from rotelab.ui.chat import chat_tab
from rotelab.ui.components import ONCE, bound, checkpoint_badge
from rotelab.ui.experiments import experiments_tab
from rotelab.ui.facts import facts_tab
from rotelab.ui.figure_tools import fetch_ahead
from rotelab.ui.i18n import COOKIE, LANGUAGES, _, language
from rotelab.ui.inside import inside_tab
from rotelab.ui.model_setup import Provisioning, build_banner
from rotelab.ui.runs import runs_tab
from rotelab.ui.server import (
    free_socket,
    keep_queue_moving,
    log_to_file,
    make_server_app,
    run_server,
)
from rotelab.ui.start import start_tab
from rotelab.ui.train import train_tab
from rotelab.ui.translated_page import TranslatedPage, in_every_language

__all__ = ["build_app", "serve"]

PORT = 7860
ROOM = "rotelab-room"
"""Where a browser's tab keeps which of the page's tabs is on show."""
A_ROOM = "[role=tab][aria-controls^=room-]"
"""The button of one of the page's own tabs, not of those within one."""
SWITCH_S = 0.0005
"""How long one thread may keep the others waiting."""
CACHE_KEPT = (3600, 24 * 3600)
"""Uploads and downloads of the page are looked through hourly, and kept for a day."""


def header_html() -> str:
    """The page's head: its name, what it shows, the colours of the three checkpoints, and the
    choice of a language."""
    legend = "".join(
        f"<li>{checkpoint_badge(c)} {_(checkpoint_name(c).hint)}</li>" for c in CHECKPOINTS
    )
    what = _(
        "Watch a language model learn invented facts by heart – and understand them only "
        "afterwards."
    )
    return (
        f'<header class="lab-header"><h1>rotelab</h1><p class="what">{what}</p>{language_html()}'
        f'<ul class="legend" aria-label="{_("The three states of the model")}">{legend}</ul>'
        "</header>"
    )


def language_html() -> str:
    """The choice of a language, which `assets/language.js` acts on."""
    options = "".join(
        f'<option value="{code}" lang="{code}"{" selected" if code == language() else ""}>{name}'
        "</option>"
        for code, name in LANGUAGES.items()
    )
    return (
        f'<label class="language"><span>{_("Language")}</span>'
        f'<select data-cookie="{COOKIE}">{options}</select></label>'
    )


def build_app(lab: Lab, provisioning: Provisioning | None = None) -> TranslatedPage:
    """The whole page, in the language that is spoken now.

    Args:
        lab: registry, jobs and chat.
        provisioning: the embedded model's set-up; by default one that has not been started.
    """
    provisioning = provisioning or Provisioning()
    with TranslatedPage(
        title="rotelab", analytics_enabled=False, fill_width=True, delete_cache=CACHE_KEPT
    ) as demo:
        gr.HTML(header_html(), padding=False)
        build_banner(provisioning, demo)
        with gr.Tabs(selected=_first_tab(lab), elem_id="rooms") as tabs:
            with gr.Tab(_("Start here"), id="start", elem_id="room-start"):
                start = start_tab.build_walk_tab(lab)
            with gr.Tab(_("1 Facts"), id="facts", elem_id="room-facts") as facts_item:
                facts = facts_tab.build_facts_tab(lab)
            with gr.Tab(_("2 Train"), id="train", elem_id="room-train") as train_item:
                train = train_tab.build_train_tab(lab)
            with gr.Tab(_("3 Chat"), id="chat", elem_id="room-chat") as chat_item:
                chat = chat_tab.build_chat_tab(lab)
            with gr.Tab(
                _("4 Look inside"), id="representations", elem_id="room-representations"
            ) as representations_item:
                representations = inside_tab.build_inside_tab(lab)
            with gr.Tab(_("5 Runs"), id="runs", elem_id="room-runs") as runs_item:
                runs = runs_tab.build_runs_tab(lab)
            with gr.Tab(
                _("6 Experiments"), id="experiments", elem_id="room-experiments"
            ) as experiments_item:
                experiments = experiments_tab.build_experiments_tab(lab)
        _keep_fresh(lab, demo, facts_item, facts_tab, facts)
        _keep_fresh(lab, demo, train_item, train_tab, train, facts.saved)
        _keep_fresh(lab, demo, chat_item, chat_tab, chat, train.started)
        _keep_fresh(lab, demo, representations_item, inside_tab, representations, train.started)
        _keep_fresh(lab, demo, runs_item, runs_tab, runs, train.started)
        _keep_fresh(lab, demo, experiments_item, experiments_tab, experiments, train.started)
        clocks = {runs_item: runs.clock, experiments_item: experiments.clock}
        _run_clocks_on_show(tabs, clocks)
        _return_after_reload(demo, tabs)
        fetch_ahead(demo)
        demo.load(bound(runs_tab.open_link, lab), None, [tabs, *runs.linked], **ONCE)
        start.started.change(
            bound(train_tab.watch, lab), start.started, train.started_outputs, **ONCE
        ).then(lambda: gr.Tabs(selected="train"), None, tabs, **ONCE)
        start.watch.click(lambda: gr.Tabs(selected="train"), None, tabs, **ONCE)
        runs.view.clone.click(
            bound(_open_in_form, lab), runs.chosen, [*train.settings, tabs],
            **ONCE,
        )  # fmt: skip
        facts.train.click(bound(_train_with, lab), facts.sheet, [train.pack, tabs], **ONCE)
    return demo


def _keep_fresh(lab: Lab, demo: gr.Blocks, item: gr.Tab, room, tab, *news: gr.State) -> None:
    """Fills a tab anew when the page is opened, when it is chosen, and when another has news."""
    gr.on(
        [demo.load, item.select, *(state.change for state in news)],
        bound(room.refresh, lab),
        getattr(tab, "refresh_inputs", None),
        tab.refresh_outputs,
        **ONCE,
    )


def _run_clocks_on_show(tabs: gr.Tabs, clocks: dict[gr.Tab, gr.Timer]) -> None:
    """Has each clock tick only while its tab is on show: else every page would ask for everything.

    It is done by the browser itself, which knows first. It looks for the tab on show rather than
    trust the event: the first tab says that it was selected when a person may be elsewhere already.
    """
    owners = json.dumps([tab.elem_id for tab in clocks])
    js = f"""async () => {{
        await new Promise(requestAnimationFrame);
        const tab = document.querySelector("#{tabs.elem_id} {A_ROOM}[aria-selected=true]");
        const shown = tab ? tab.getAttribute("aria-controls") : "";
        if (window.rotelabReturned) try {{ sessionStorage.setItem("{ROOM}", shown); }} catch {{}}
        return {owners}.map(owner => ({{__type__: "update", active: owner === shown}}));
    }}"""
    # `change` too, for the tab that a link opens.
    events = [tabs.change, *(item.select for item in tabs.children)]
    gr.on(events, None, None, [*clocks.values()], js=js, **ONCE)


def _return_after_reload(demo: gr.Blocks, tabs: gr.Tabs) -> None:
    """A page that is loaded again opens where it was, unless its address names a run.

    The browser does it, at once: an answer of the server's would come after a person's own click.
    """
    js = f"""() => {{
        let room = "";
        try {{ room = sessionStorage.getItem("{ROOM}"); }} catch {{}} // a browser may refuse it
        const linked = new URLSearchParams(location.search).has("run");
        const there = '#{tabs.elem_id} {A_ROOM}[aria-controls="' + room + '"]';
        if (room && !linked) document.querySelector(there)?.click();
        window.rotelabReturned = true;
    }}"""
    demo.load(None, None, None, js=js, **ONCE)


def _first_tab(lab: Lab) -> str:
    """Which tab opens: the walk where the lab had no runs when it was started, else the facts.

    Not chosen anew when the page is loaded: the answer would come after a person's own first click,
    and take them away from where they went.
    """
    return "start" if start_tab.opens_here(lab) else "facts"


def _open_in_form(lab: Lab, run_id: str):
    """Goes on to training with a run's settings in the form.

    Raises:
        LabError: as `train_tab.put_into_form`.
    """
    return [*train_tab.put_into_form(lab, run_id), gr.update(selected="train")]


def _train_with(lab: Lab, *sheet):
    """Goes on to training with the set that is open.

    Raises:
        LabError: it has changes that are not saved.
    """
    name = facts_tab.name_to_train(*sheet)
    return gr.update(choices=lab.pack_names(), value=name), gr.update(selected="train")


def serve(
    lab: Lab,
    port: int = PORT,
    open_browser: bool = False,
    host: str = HOME,
    names: tuple[str, ...] = (),
) -> None:
    """Serves the page until Ctrl-C, on this machine or, with a password, to others too.

    Args:
        lab: registry, jobs and chat.
        port: where; if it is taken, the next free one, which the terminal says.
        open_browser: whether to open the user's browser.
        host: the address to serve at; `access.access` says what another than the usual one takes.
        names: further names by which the page may be asked for.

    Raises:
        LabError: no port is free, or others could open the page without a password.
    """
    # An answer in the making would otherwise keep every request waiting for five milliseconds, and
    # that a dozen times: whenever the one thread that serves has nothing to do for a moment.
    sys.setswitchinterval(SWITCH_S)
    allowed = access(host, names)
    log_to_file(lab)
    bound = free_socket(port, host)
    taken = bound.getsockname()[1]
    if port not in (0, taken):
        print(f"rotelab: port {port} is taken, so this is on {taken}.", file=sys.stderr)
    provisioning = Provisioning(terminal=True)
    page = in_every_language(lambda: build_app(lab, provisioning))
    app = make_server_app(lab, page, taken, allowed)
    stop = threading.Event()
    threading.Thread(target=keep_queue_moving, args=(lab, stop), name="queue", daemon=True).start()
    try:
        # The bar in the terminal comes below the line with the address.
        run_server(app, bound, open_browser, when_ready=provisioning.start)
    finally:
        stop.set()

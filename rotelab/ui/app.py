"""The page: its tabs, and the events that lead from one tab to another."""

from __future__ import annotations

import os

# Set before gradio is imported, which reads them then. Nothing is reported to anybody.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# After every event Gradio sums up everything it has served so far, for a table that nobody opens
# here; with a few pages open that took a fifth of the server's time. So it does it almost never.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")

import json
import sys
import threading

import gradio as gr

from rotelab.config.names import CHECKPOINTS, checkpoint_name
from rotelab.errors import LabError
from rotelab.runs.demo import offer_run, open_run
from rotelab.runs.lab import Lab
from rotelab.runs.lessons.directions_ahead import find_ahead
from rotelab.ui.access import HOME, access
from rotelab.ui.address import follow
from rotelab.ui.chat import chat_tab
from rotelab.ui.components import ONCE, bound, checkpoint_badge
from rotelab.ui.experiments import experiments_tab
from rotelab.ui.facts import facts_tab
from rotelab.ui.figure_tools import fetch_ahead
from rotelab.ui.i18n import COOKIE, LANGUAGES, _, language
from rotelab.ui.inside import inside_tab
from rotelab.ui.manual.links import tab_links
from rotelab.ui.model_setup import Provisioning, build_banner
from rotelab.ui.run_picker import with_choice
from rotelab.ui.runs import runs_tab
from rotelab.ui.server import (
    free_socket,
    keep_queue_moving,
    log_to_file,
    make_server_app,
    run_server,
)
from rotelab.ui.start import start_tab
from rotelab.ui.start.own_names import restore_on_load
from rotelab.ui.train import form, train_tab
from rotelab.ui.translated_page import TranslatedPage, in_every_language

__all__ = ["build_app", "serve"]

PORT = 7860
SWITCH_S = 0.0005
"""How long one Python thread may keep the others waiting, in seconds."""
NO_PASSWORD_HERE = (
    "rotelab: whoever gets through the trusted proxy can use the page, so let the proxy ask for a "
    "password (docs/guide/proxy.md)."
)
CACHE_KEPT = (3600, 24 * 3600)
"""Seconds between two clean-ups of uploaded and downloaded files, and how long they are kept."""


def header_html() -> str:
    """The page's head: its name, its purpose, the checkpoints' colours, a link to what is written
    about the tab on show, theme and language."""
    legend = "".join(
        f"<li>{checkpoint_badge(c)} {_(checkpoint_name(c).hint)}</li>" for c in CHECKPOINTS
    )
    what = _(
        "Watch a language model learn invented facts by heart – and understand them only "
        "afterwards."
    )
    return (
        f'<header class="lab-header"><h1>rotelab</h1><p class="what">{what}</p>'
        f'<div class="choices">{tab_links()}{theme_html()}{language_html()}</div>'
        f'<ul class="legend" aria-label="{_("The three states of the model")}">{legend}</ul>'
        "</header>"
    )


def theme_html() -> str:
    """The choice of light or dark; `assets/themes.js` makes it work and keeps it."""
    words = {"system": _("Like the system"), "light": _("Light"), "dark": _("Dark")}
    options = "".join(f'<option value="{theme}">{word}</option>' for theme, word in words.items())
    return f"<label><span>{_('Theme')}</span><select data-theme>{options}</select></label>"


def language_html() -> str:
    """The choice of a language; `assets/language.js` makes it work."""
    options = "".join(
        f'<option value="{code}" lang="{code}"{" selected" if code == language() else ""}>{name}'
        "</option>"
        for code, name in LANGUAGES.items()
    )
    return (
        f"<label><span>{_('Language')}</span>"
        f'<select data-cookie="{COOKIE}">{options}</select></label>'
    )


def build_app(
    lab: Lab, provisioning: Provisioning | None = None, example: bool = True
) -> TranslatedPage:
    """The whole page, in the language that is spoken now.

    Args:
        lab: registry, jobs and chat.
        provisioning: the set-up of the embedded model; by default one that is not started.
        example: whether recorded results of experiments are shown where nobody chose.
    """
    provisioning = provisioning or Provisioning()
    with TranslatedPage(
        title="rotelab", analytics_enabled=False, fill_width=True, delete_cache=CACHE_KEPT
    ) as demo:
        gr.HTML(header_html(), padding=False)
        build_banner(provisioning, demo)
        with gr.Tabs(selected=_first_tab(lab), elem_id="page-tabs") as tabs:
            with gr.Tab(_("Start here"), id="start", elem_id="tab-start"):
                start = start_tab.build_start_tab(lab)
            with gr.Tab(_("1 Facts"), id="facts", elem_id="tab-facts") as facts_item:
                facts = facts_tab.build_facts_tab(lab)
            with gr.Tab(_("2 Train"), id="train", elem_id="tab-train") as train_item:
                train = train_tab.build_train_tab(lab)
            with gr.Tab(_("3 Chat"), id="chat", elem_id="tab-chat") as chat_item:
                chat = chat_tab.build_chat_tab(lab)
            with gr.Tab(
                _("4 Look inside"), id="representations", elem_id="tab-representations"
            ) as representations_item:
                representations = inside_tab.build_inside_tab(lab)
            with gr.Tab(_("5 Runs"), id="runs", elem_id="tab-runs") as runs_item:
                runs = runs_tab.build_runs_tab(lab)
            with gr.Tab(
                _("6 Experiments"), id="experiments", elem_id="tab-experiments"
            ) as experiments_item:
                experiments = experiments_tab.build_experiments_tab(lab, example)
        _keep_fresh(lab, demo, facts_item, facts_tab, facts)
        _keep_fresh(lab, demo, train_item, train_tab, train, facts.saved)
        _keep_fresh(lab, demo, chat_item, chat_tab, chat, train.started)
        _keep_fresh(lab, demo, representations_item, inside_tab, representations, train.started)
        _keep_fresh(lab, demo, runs_item, runs_tab, runs, train.started)
        _keep_fresh(lab, demo, experiments_item, experiments_tab, experiments, train.started)
        shown = _choosers(train, chat, representations, runs, experiments)
        _run_clocks_on_show(
            tabs, {runs_item: runs.clock, experiments_item: experiments.clock}, shown
        )
        follow(demo, tabs, shown, chat.question)
        fetch_ahead(demo)
        demo.load(bound(runs_tab.open_link, lab), None, runs.linked, **ONCE)
        start_tab.return_to_step(demo, start)
        in_chat = {"fn": bound(_ask_in_chat, lab), "outputs": [chat.chooser.run, tabs], **ONCE}
        train.panel.to_chat.click(inputs=train.panel.watching, **in_chat)
        if start.own:
            restore_on_load(lab, demo, start.own)
            start.own.to_chat.click(inputs=start.own.learned, **in_chat)
            start.own.to_train.click(_to_own_names, None, [train.own.box, tabs], **ONCE)
        to_form = bound(_open_in_form, lab)
        runs.view.clone.click(to_form, runs.chosen, [*train.settings, tabs], **ONCE)
        facts.train.click(bound(_train_with, lab), facts.sheet, [train.pack, tabs], **ONCE)
    return demo


def _choosers(train, chat, inside, runs, experiments) -> dict[str, gr.Dropdown]:
    """The chooser of the run on show, by the id of its tab."""
    return {
        "train": train.panel.watch,
        "chat": chat.chooser.run,
        "representations": inside.chooser.run,
        "runs": runs.table.run,
        "experiments": experiments.chooser.run,
    }


def _keep_fresh(lab: Lab, demo: gr.Blocks, item: gr.Tab, module, tab, *news: gr.State) -> None:
    """Refreshes a tab when the page is opened, when the tab is chosen, and when `news` change.

    Args:
        lab: is given to the tab's `refresh`.
        demo: the page.
        item: the tab's place among the others.
        module: the tab's module.
        tab: the tab's components.
        news: states of other tabs.
    """
    gr.on(
        [demo.load, item.select, *(state.change for state in news)],
        bound(module.refresh, lab),
        getattr(tab, "refresh_inputs", None),
        tab.refresh_outputs,
        **ONCE,
    )


def _run_clocks_on_show(
    tabs: gr.Tabs, clocks: dict[gr.Tab, gr.Timer], runs: dict[str, gr.Dropdown]
) -> None:
    """Lets each clock tick only while its tab is on show, so that pages ask for no more than that;
    and has the page's address name the tab and its run.

    The browser does it itself, because it knows first. It looks for the tab on show and does not
    trust the event: the first tab reports its selection when a reader may have left it already.
    """
    owners = json.dumps([tab.elem_id for tab in clocks])
    js = f"""async (...runs) => {{
        await new Promise(requestAnimationFrame);
        const shown = window.rotelabAddress.shown(), tabs = {json.dumps([*runs])};
        window.rotelabAddress.open(shown, Object.fromEntries(tabs.map((tab, i) => [tab, runs[i]])));
        return {owners}.map(owner => ({{__type__: "update", active: owner === "tab-" + shown}}));
    }}"""
    # `change` too, for the tab that a link opens.
    events = [tabs.change, *(item.select for item in tabs.children)]
    gr.on(events, None, [*runs.values()], [*clocks.values()], js=js, **ONCE)


def _first_tab(lab: Lab) -> str:
    """The tab that opens first: the tour if the lab had no runs when it started, else the facts.

    This is not decided when the page is loaded: the answer would come after a person's first click
    and take them away again.
    """
    return "start" if start_tab.opens_here(lab) else "facts"


def _open_in_form(lab: Lab, run_id: str):
    """Opens the Train tab with a run's settings in the form.

    Raises:
        LabError: as `form.put_into_form`.
    """
    return [*form.put_into_form(lab, run_id), gr.update(selected="train")]


def _ask_in_chat(lab: Lab, run_id: str):
    """Opens Chat with a run, or with the recorded one where none is given.

    Raises:
        LabError: the registry can't be read.
    """
    chosen = run_id or open_run(lab)[0]
    return with_choice(lab, chosen), gr.update(selected="chat")


def _to_own_names():
    """Opens the short run on a person's own names."""
    return gr.Accordion(open=True), gr.update(selected="train")


def _train_with(lab: Lab, *sheet):
    """Opens the Train tab with the fact set that is being edited.

    Raises:
        LabError: it has unsaved changes.
    """
    name = facts_tab.name_to_train(*sheet)
    return gr.update(choices=lab.pack_names(), value=name), gr.update(selected="train")


def serve(
    lab: Lab,
    port: int = PORT,
    open_browser: bool = False,
    host: str = HOME,
    names: tuple[str, ...] = (),
    example: bool = True,
    root_path: str = "",
    proxies: tuple[str, ...] = (),
) -> None:
    """Serves the page until Ctrl-C, on this machine or, with a password, to others too.

    Args:
        lab: registry, jobs and chat.
        port: the port; if it is taken, the next free one is used, and the terminal says which.
        open_browser: whether to open the user's browser.
        host: the address to serve on; `access.access` says what it takes to serve others.
        names: further host names by which the page may be asked for.
        example: whether to put the recorded run among the lab's runs, the first time, to get ready
            what its first lesson needs, and to show recorded results where nobody chose.
        root_path: the path under which a proxy shows the page, such as `/lab`.
        proxies: IP addresses of proxies whose forwarded headers are believed.

    Raises:
        LabError: no port is free, others could open the page without a password, or the path or a
            proxy's address is none.
    """
    # By default a thread that computes keeps the serving thread waiting for 5 ms whenever that one
    # wants to go on, a dozen times a request.
    sys.setswitchinterval(SWITCH_S)
    allowed = access(host, names, root_path, proxies)
    if proxies and not allowed.password:
        print(NO_PASSWORD_HERE, file=sys.stderr)
    log_to_file(lab)
    bound = free_socket(port, host)
    taken = bound.getsockname()[1]
    if port not in (0, taken):
        print(f"rotelab: port {port} is taken, so this is on {taken}.", file=sys.stderr)
    if example:
        try:
            offer_run(lab)
        except LabError as error:  # the page works without it
            print(f"rotelab: the example run is missing. {error}", file=sys.stderr)
    ahead = (lambda: find_ahead(lab.storage)) if example else (lambda: None)
    provisioning = Provisioning(terminal=True, afterwards=ahead)
    page = in_every_language(lambda: build_app(lab, provisioning, example))
    app = make_server_app(lab, page, taken, allowed)
    stop = threading.Event()
    threading.Thread(target=keep_queue_moving, args=(lab, stop), name="queue", daemon=True).start()
    try:
        # So that the progress bar comes below the line with the address in the terminal.
        run_server(app, bound, open_browser, when_ready=provisioning.start)
    finally:
        stop.set()

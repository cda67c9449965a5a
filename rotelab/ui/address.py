"""The page's address: it names the tab, its run and Chat's question, so a link leads back there.

`assets/address.js` writes it, because the browser knows first what is on show, and opens the tab
that it names. The server opens the run (`linked_run`): Gradio sends the address with every event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import gradio as gr

from rotelab.errors import LabError
from rotelab.runs.lab import Lab
from rotelab.ui.components import ONCE, QUIET, escape

UPDATE = '{__type__: "update"'


def linked_run(lab: Lab, request: gr.Request | None, tab: str) -> str:
    """The id of the run that the page's address names for a tab; empty if it names none.

    An address without a tab (`?run=ID`) means *Runs*. A run that is not there is told on the page.

    Args:
        lab: has the runs.
        request: of an event; Gradio gives it the address of the page.
        tab: the tab's id.
    """
    query = request.query_params if request else {}
    wanted = str(query.get("run") or "").strip()
    if not wanted or str(query.get("tab") or "runs") != tab:
        return ""
    try:
        return lab.registry.resolve(wanted)
    except LabError as error:
        gr.Warning(escape(error))
        return ""


def follow(
    demo: gr.Blocks, tabs: gr.Tabs, runs: Mapping[str, gr.Dropdown], question: gr.Textbox
) -> None:
    """Has the address follow the page, and opens what it names when the page is opened.

    The browser opens the tab at once: an answer from the server would come after a reader's first
    click, and take them away again.

    Args:
        demo: the page.
        tabs: its tabs, the first one selected.
        runs: the chooser of the run on show, by the id of its tab.
        question: Chat's box for a question, which is filled in but not asked.
    """
    known = json.dumps([tab.id for tab in tabs.children if isinstance(tab, gr.Tab)])
    arrive = f"""() => {{
        const [tab, question] = window.rotelabAddress.arrive({json.dumps(tabs.selected)}, {known});
        return [
            tab ? {UPDATE}, selected: tab}} : {UPDATE}}},
            question === null ? {UPDATE}}} : question.slice(0, {question.max_length or 0}),
        ];
    }}"""
    demo.load(None, None, [tabs, question], js=arrive, **ONCE)
    told = [("run", tab, chooser) for tab, chooser in runs.items()]
    for name, tab, part in [*told, ("question", "chat", question)]:
        js = f"(value) => {{ window.rotelabAddress.show('{tab}', '{name}', value); }}"
        part.change(None, part, None, js=js, trigger_mode="multiple", **QUIET)

"""The page: a list of tabs, and what one tab tells another."""

from __future__ import annotations

import os

# Before gradio is imported: it reads them then. Nothing is reported to anybody.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import sys
import threading

import gradio as gr

from rotelab.lab import Lab
from rotelab.ui import facts_tab
from rotelab.ui.common import CHECKPOINT_HINTS, CHECKPOINT_NAMES, checkpoint_badge
from rotelab.ui.facts_tab import build_facts_tab
from rotelab.ui.provisioning import Provisioning, build_banner
from rotelab.ui.server import (
    free_socket,
    keep_queue_moving,
    log_to_file,
    make_server_app,
    run_server,
)

__all__ = ["build_app", "serve"]

PORT = 7860


def header_html() -> str:
    """The page's head: its name, what it shows, and the colours of the three checkpoints."""
    legend = "".join(
        f"<li>{checkpoint_badge(name)} {CHECKPOINT_HINTS[name]}</li>" for name in CHECKPOINT_NAMES
    )
    return (
        '<header class="lab-header"><h1>rotelab</h1>'
        '<p class="what">Watch a language model learn invented facts by heart, and understand them '
        "only afterwards. Go through the tabs from left to right.</p>"
        f'<ul class="legend" aria-label="The three states of the model">{legend}</ul></header>'
    )


def build_app(lab: Lab, provisioning: Provisioning | None = None) -> gr.Blocks:
    """The whole page.

    Args:
        lab: registry, jobs and chat.
        provisioning: the embedded model's set-up; by default one that has not been started.
    """
    provisioning = provisioning or Provisioning()
    with gr.Blocks(
        title="rotelab", analytics_enabled=False, delete_cache=(3600, 24 * 3600)
    ) as demo:
        gr.HTML(header_html(), padding=False)
        build_banner(provisioning, demo)
        with gr.Tabs() as tabs:
            with gr.Tab("Facts", id="facts"):
                facts = build_facts_tab(lab)
    return demo


def serve(lab: Lab, port: int = PORT, open_browser: bool = False) -> None:
    """Serves the page on this machine until Ctrl-C.

    Args:
        lab: registry, jobs and chat.
        port: where; if it is taken, the next free one, which the terminal says.
        open_browser: whether to open the user's browser.

    Raises:
        LabError: no port is free.
    """
    log_to_file(lab)
    bound = free_socket(port)
    taken = bound.getsockname()[1]
    if port not in (0, taken):
        print(f"rotelab: port {port} is taken, so this is on {taken}.", file=sys.stderr)
    provisioning = Provisioning(terminal=True)
    app = make_server_app(lab, build_app(lab, provisioning), taken)
    provisioning.start()
    stop = threading.Event()
    threading.Thread(target=keep_queue_moving, args=(lab, stop), name="queue", daemon=True).start()
    try:
        run_server(app, bound, open_browser)
    finally:
        stop.set()

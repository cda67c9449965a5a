"""The first start: fetches the embedded model in the background while the page is up already."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from rotelab.errors import LabError
from rotelab.models import download
from rotelab.ui.components import QUIET, bound, escape, progress_bar
from rotelab.ui.i18n import N_, _

log = logging.getLogger("rotelab.page")

BAR_WIDTH = 30
READY = N_("The model is ready")
FAULT = N_("The embedded model could not be set up. The details are in the page's log.")


@dataclass(frozen=True)
class SetUp:
    """The progress of the embedded model's set-up.

    Args:
        share: how much is done, 0 to 1.
        text: what is being done, or what went wrong.
        failed: whether it went wrong.
    """

    share: float = 0.0
    text: str = N_("Getting the model ready")
    failed: bool = False

    @property
    def ready(self) -> bool:
        """Whether the model is ready."""
        return self.share >= 1.0 and not self.failed


class Provisioning:
    """Sets the embedded model up, once, in a thread of its own, and reports its progress.

    Args:
        provision: what does the work; told a function to call with its progress.
        is_provisioned: whether it is done already.
        terminal: whether to draw a bar on stderr.
        afterwards: called once, when the model is ready.
    """

    def __init__(
        self,
        provision: Callable[[download.Progress], Path] = download.provision,
        is_provisioned: Callable[[], bool] = download.is_provisioned,
        terminal: bool = False,
        afterwards: Callable[[], object] = lambda: None,
    ):
        self._provision, self._terminal = provision, terminal
        self._afterwards: Callable[[], object] | None = afterwards
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._now = SetUp(1.0, READY) if is_provisioned() else SetUp()

    @property
    def now(self) -> SetUp:
        """The progress now."""
        return self._now

    def start(self) -> None:
        """Starts, or starts again after a failure; sets nothing up at work or once it is done."""
        with self._lock:
            if self._now.ready:
                self._go_on()
                return
            if self._thread is not None and self._thread.is_alive():
                return
            self._now = SetUp()
            self._thread = threading.Thread(target=self._work, name="set-up", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        try:
            self._provision(self._progress)
            self._tell(SetUp(1.0, READY))
            self._go_on()
        except LabError as error:
            self._tell(SetUp(self._now.share, str(error), failed=True))
        except Exception:
            log.exception("the embedded model could not be set up")
            self._tell(SetUp(self._now.share, FAULT, failed=True))

    def _go_on(self) -> None:
        afterwards, self._afterwards = self._afterwards, None
        if afterwards is not None:
            afterwards()

    def _progress(self, share: float, text: str) -> None:
        # The work says 1.0 a moment before it returns; only its return counts as ready.
        self._tell(SetUp(min(share, 0.999), text))

    def _tell(self, now: SetUp) -> None:
        changed = now != self._now
        self._now = now
        if not (self._terminal and changed):
            return
        if now.failed:
            print(f"\r\033[Krotelab: {now.text}", file=sys.stderr, flush=True)
            return
        full = round(now.share * BAR_WIDTH)
        bar = "█" * full + "░" * (BAR_WIDTH - full)
        end = "\n" if now.ready else ""
        print(f"\r\033[K{bar} {now.share:4.0%}  {now.text}", end=end, file=sys.stderr, flush=True)


def build_banner(provisioning: Provisioning, demo: gr.Blocks) -> None:
    """Adds the banner that shows the progress; it disappears for good once the model is ready."""
    now = provisioning.now
    with gr.Column(visible=not now.ready) as box:
        banner = gr.HTML(setup_html(now))
        retry = gr.Button(_("Try again"), visible=now.failed, size="md", elem_id="setup-retry")
    timer = gr.Timer(1.0, active=not now.ready)
    outputs = [box, banner, retry, timer]
    look = bound(_look, provisioning)
    timer.tick(look, outputs=outputs, **QUIET)
    demo.load(look, outputs=outputs, **QUIET)
    retry.click(bound(_retry, provisioning), outputs=outputs, **QUIET)


def setup_html(now: SetUp) -> str:
    """The banner's text and bar."""
    if now.failed:
        return f'<div class="note note-bad" role="alert">{escape(_(now.text))}</div>'
    words = _(
        "<b>First start: the language model is being set up.</b> This happens once. You can "
        "already look at the facts."
    )
    bar = progress_bar(now.share, _("Set-up"))
    return (
        f'<div class="setup" role="status">{words}<br>{escape(_(now.text))} – '
        f"{now.share:.0%}{bar}</div>"
    )


def _look(provisioning: Provisioning):
    now = provisioning.now
    return (
        gr.update(visible=not now.ready),
        setup_html(now),
        gr.update(visible=now.failed),
        gr.update(active=not now.ready),
    )


def _retry(provisioning: Provisioning):
    provisioning.start()
    return _look(provisioning)

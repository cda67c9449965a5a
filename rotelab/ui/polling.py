"""Adaptive polling: clocks that send only what has changed, and go slower where many pages watch.

What they save is the server's time, of which Gradio takes some 20 ms for each tick of each page,
and half a millisecond to two more for each output that a handler leaves as it is: it makes that
component anew (`benchmarks/load.py`, docs/log/fifty-pages.md).
"""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gradio as gr

from rotelab.ui.components import QUIET

STEPS = (1, 1.5, 2, 3, 4, 6, 8)
"""How many times slower than its own pace a clock may go; in steps, so that it seldom changes."""
WINDOW_S = 10.0


class Pace:
    """How often each page may poll, so that all pages together do not poll too much.

    Args:
        own_s: seconds between two ticks of a page that is alone.
        most_per_s: ticks a second of all pages together.
    """

    def __init__(self, own_s: float, most_per_s: float):
        self.own_s, self.most_per_s = own_s, most_per_s
        self._ticks: deque[tuple[float, float]] = deque()
        self._lock = threading.Lock()

    def ticked(self, every_s: float) -> float:
        """Counts a tick of a page whose clock has that pace; returns the pace it should have."""
        now = time.monotonic()
        with self._lock:
            self._ticks.append((now, every_s))
            while self._ticks[0][0] < now - WINDOW_S:
                self._ticks.popleft()
        return self.now(every_s)

    @property
    def slower(self) -> float:
        """How many times slower than its own pace a page that opens now will poll."""
        return self.now(self.own_s) / self.own_s

    def now(self, every_s: float) -> float:
        """The pace that a page should have, in seconds.

        Args:
            every_s: what it has; it stays where the next step would do as well.
        """
        with self._lock:
            pages = sum(every for _, every in self._ticks) / WINDOW_S
        fitting = [s for s in STEPS if pages <= s * self.own_s * self.most_per_s]
        step = fitting[0] if fitting else STEPS[-1]
        known = every_s / self.own_s
        if known in fitting and STEPS.index(known) == STEPS.index(step) + 1:
            return every_s
        return step * self.own_s


def fill_on_news(
    timer: gr.Timer,
    pace: Pace,
    look: Callable,
    inputs: list[Any],
    outputs: list[Any],
    bell: gr.Number | None = None,
) -> None:
    """Polls on a clock, and fills the outputs only when something has changed.

    The clock itself fills a number that is never seen and no more; the change of that fills the
    outputs. Neither goes through Gradio's queue: at each of the four or five things that a queued
    event is told, Gradio's page looks for all its components, one by one, in all of them (a tenth
    of a second; the page then took a third of a core, docs/log/page-cost.md). A state's change is
    told to queued events only, hence a number.

    Args:
        timer: the clock.
        pace: how fast it goes where many pages look on.
        look: a handler; `gr.skip()` where there is nothing new.
        inputs: of `look`.
        outputs: of `look`.
        bell: never seen; has `look` asked at once, without waiting for a tick, when it is given
            another number. No `gr.State`: the first time that a handler has one among its outputs,
            Gradio's page takes it for changed even where it is skipped.
    """
    pulse, every = gr.Number(0, visible=False), gr.State(float(timer.value))

    @functools.wraps(look)
    def tick(every_s, *args):
        changes = pace.ticked(every_s) != every_s
        return time.monotonic() if look(*args) != gr.skip() or changes else gr.skip()

    @functools.wraps(look)
    def fill(every_s, *args):
        found, wanted = look(*args), pace.now(every_s)
        values = [gr.skip()] * len(outputs) if found == gr.skip() else list(found)
        return [*values, gr.skip() if wanted == every_s else gr.Timer(value=wanted), wanted]

    # Their own signatures, for Gradio to count; `wraps` has taken that of `look`.
    for handler in (tick, fill):
        handler.__signature__ = None
        del handler.__signature__, handler.__wrapped__
    timer.tick(tick, [every, *inputs], pulse, queue=False, **QUIET)
    news = [pulse.change, *([bell.change] if bell else [])]
    gr.on(news, fill, [every, *inputs], [*outputs, timer, every], queue=False, **QUIET)

"""A progress bar for terminals and notebooks (tqdm)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rotelab.errors import LabError

if TYPE_CHECKING:
    from rotelab.runs.lab import Lab

LOOK_EVERY_S = 0.5
"""How often `follow` looks how far a run is, in seconds."""

Watch = Callable[[float, str], None]
"""Told the share of the work that is done (0 to 1), and what is being done."""


class Bar:
    """A progress bar, on stderr or in the notebook's cell; it appears with the first progress."""

    def __init__(self):
        self._bar: Any = None

    def show(self, share: float, message: str) -> None:
        """Shows how much is done.

        Args:
            share: 0 to 1.
            message: what is being done.
        """
        if self._bar is None:
            self._bar = _tqdm()(
                total=100, file=sys.stderr, bar_format="{desc:44.44} {bar} {n:3.0f} % {elapsed}"
            )
        self._bar.set_description_str(message, refresh=False)
        self._bar.n = round(100 * share)
        self._bar.refresh()

    def close(self) -> None:
        """Ends the bar; one that did not reach its end disappears."""
        if self._bar is not None:
            self._bar.leave = self._bar.n == 100  # after an error, only the error's line is left
            self._bar.close()


@contextmanager
def watching(shown: bool) -> Iterator[Watch]:
    """What to tell how far the work is, for a `with` block; a bar shows it, or nothing does."""
    bar = Bar()
    try:
        yield bar.show if shown else lambda share, message: None
    finally:
        bar.close()


def follow(lab: Lab, run_id: str, watch: Watch) -> None:
    """Tells how far a run in another process is, until it has ended.

    Raises:
        LabError: it waits for its sweep, which alone can start it; or the registry can't be read.
    """
    while (run := lab.registry.run(run_id)).live or run.status == "queued":
        if run.held:
            raise LabError(
                f"Run {run_id} waits for its sweep. `python -m rotelab sweep --resume "
                f"{run.sweep_id}` goes on with that."
            )
        watch(run.share, run.message or ("waiting" if run.status == "queued" else "starting"))
        time.sleep(LOOK_EVERY_S)
        lab.jobs.poll()  # notices a process that died, and keeps the queue moving
    if run.status == "finished":
        watch(1.0, run.message)


def _tqdm() -> Any:
    """tqdm's bar for where this runs: in a notebook that can show widgets, one of these."""
    from importlib.util import find_spec

    if find_spec("ipywidgets") is None:  # tqdm would warn, and print the same plain bar
        from tqdm import tqdm
    else:
        from tqdm.auto import tqdm
    return tqdm

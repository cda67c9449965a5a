"""This process's share of the cores, as torch's number of threads; see `cores.py`."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from rotelab.models import cores

log = logging.getLogger(__name__)


class CoreShare:
    """This process's share of the cores. `CORES` is the one of this process.

    Args:
        folder: where programs say that they compute; the cache's by default.
    """

    def __init__(self, folder: Path | None = None):
        self._folder = folder
        self._lock = threading.Lock()
        self._depth = 0
        self._most = 0
        self._wanted = 0
        self._looked = self._said = -cores.LOOK_EVERY_S

    @contextlib.contextmanager
    def taken(self, device: str = "cpu") -> Iterator[None]:
        """Counts this process among those that compute, for the length of a block.

        Blocks may overlap, in several threads too: the process counts once.

        Args:
            device: where it computes; on another than the CPU nothing is shared.
        """
        if device != "cpu":
            yield
            return
        with self._lock:
            self._depth += 1
            first = self._depth == 1
            if first:
                self._say(page=False)
        self._set(now=first)
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                last = self._depth == 0
                if last:
                    with contextlib.suppress(OSError):  # others see that the process is gone
                        self._file.unlink(missing_ok=True)
            if last:
                _set_threads(self._most)

    def adjust(self) -> None:
        """Sets the calling thread's number of threads anew, where this process has a share; cheap
        enough for every step."""
        if self._depth:
            self._set()

    def answer(self, device: str = "cpu") -> None:
        """Counts this process as a page that answers somebody, for the next `ANSWERS_S` seconds.

        To be called for every token: a reader may leave in the middle of an answer, and nobody
        says when.

        Args:
            device: where it computes.
        """
        if device != "cpu":
            return
        with self._lock:
            since = time.monotonic() - self._said
            if not self._depth and since >= cores.LOOK_EVERY_S:
                self._said = time.monotonic()
                self._say(page=True)
        self._set()

    @property
    def folder(self) -> Path:
        """Where programs say that they compute."""
        return self._folder or cores.folder()

    def _set(self, now: bool = False) -> None:
        import torch  # takes seconds, and the page starts without it

        with self._lock:
            # What OMP_NUM_THREADS or a program of one's own has set is never exceeded.
            self._most = self._most or torch.get_num_threads()
            if now or time.monotonic() - self._looked >= cores.LOOK_EVERY_S:
                self._looked = time.monotonic()
                mine = cores.own_cores()
                others = cores.at_work(self.folder, mine)
                self._wanted = min(self._most, cores.threads(len(mine), *others))
        _set_threads(self._wanted)

    @property
    def _file(self) -> Path:
        return self.folder / f"{platform.node()}-{os.getpid()}.json"

    def _say(self, page: bool) -> None:
        said = {"started": psutil.Process().create_time(), "cores": cores.own_cores(), "page": page}
        part = self._file.with_suffix(".part")
        try:
            if page and self._file.exists():
                os.utime(self._file)  # Windows can't replace a file that somebody reads
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(said), encoding="utf-8")
            part.replace(self._file)
        except OSError as error:
            why = error.strerror or error
            log.warning("%s can't be written (%s): others don't know of this run.", part, why)


def _set_threads(count: int) -> None:
    import torch

    # Each thread of a process has a number of its own, so this one may have an old one.
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


CORES = CoreShare()
"""This process's share."""

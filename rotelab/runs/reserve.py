"""A little room on the disk, set aside so that a run on a full disk can still say how it ended."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

RESERVE = 512 * 1024
"""Bytes. Enough for a few transactions of the registry and the end of a log."""


class Reserve:
    """A file in the run's folder that takes room away from nobody but the run itself.

    Args:
        folder: the run's folder; it is made when it is missing.
    """

    def __init__(self, folder: Path):
        self._path = folder / "reserve.tmp"

    def take(self) -> None:
        """Sets the room aside.

        Raises:
            OSError: there is none, or the folder can't be written: better known now than later.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Random, so that no file system that compresses makes nothing of it.
        self._path.write_bytes(os.urandom(RESERVE))

    def give_back(self) -> None:
        """Makes the room free again."""
        # What can't be removed (a folder gone read-only) does no harm.
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

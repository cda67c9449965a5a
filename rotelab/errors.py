"""Errors whose text is meant for the user: what is wrong, where, and how to mend it.

Everything that a user can cause is a `LabError`. The page shows its text beside the thing that
caused it, the command line prints it as one line on stderr and exits with 2. Anything else that
is raised is a fault of ours and keeps its traceback in the log.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path


class LabError(Exception):
    """Something the user can mend. `str(error)` is one sentence or two, without markup."""


class InputError(LabError):
    """A table, file or field is not as it should be; names the place.

    Args:
        message: what is wrong and how to mend it.
        source: the file or form that was read, as the user knows it.
        row: 1-based row of the data (the header is not counted), where one row is to blame.
        column: the column's name, where one column is to blame.
    """

    def __init__(self, message: str, *, source: str = "", row: int | None = None, column: str = ""):
        self.message, self.source, self.row, self.column = message, source, row, column
        place = [source] if source else []
        if row is not None:
            place.append(f"row {row}")
        if column:
            place.append(f"column {column!r}")
        super().__init__(f"{', '.join(place)}: {message}" if place else message)


class ConfigError(LabError):
    """An option of a run is out of its range or does not fit the others."""


class ModelUnavailable(LabError):
    """A model can't be had or can't be loaded here."""


class UnknownRun(LabError):
    """No run, or more than one, goes by that id."""


class DeviceTaken(LabError):
    """Another run is at work on the device."""


class RunStopped(Exception):
    """Raised inside a run when a stop was asked for and the work so far has been saved."""


SAVE_MEMORY = (
    "Close other programs and resume; or start a run with a smaller model, fewer facts or "
    "sentences per step, or a smaller scoring batch."
)
OUT_OF_MEMORY = f"The device ran out of memory. {SAVE_MEMORY}"


LONG_WAIT_S = 5.0
"""A run that waited longer than this for the registry says so in a warning."""


LOCKED = (
    "Another program kept the registry (runs.db) locked and the run waited {seconds:.0f} s for it. "
    "Close what holds it open (a database browser, a backup) while runs are at work."
)


_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "bad allocation",
    "failed to map segment",
    "can't start new thread",
    "unable to allocate",
    "could not create a primitive",  # oneDNN's word for it
)


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


_OS_ERROR = re.compile(r"\(os error (\d{1,4})\)")
"""How libraries written in Rust (safetensors, tokenizers) say the number of a system error."""


def remedy(error: BaseException, home: Path) -> str:
    """What happened and how to mend it; empty where the fault is ours.

    Args:
        error: what was raised.
        home: the lab's folder, named where the error itself names no file.
    """
    text = " ".join(str(error).split())
    number = _number(error, text)
    place = getattr(error, "filename", None) or home
    if isinstance(place, bytes):
        place = place.decode("utf-8", "replace")
    if str(place).endswith(".tmp"):
        place = Path(place).parent  # what is half written has no name that a user knows
    if number in _FULL:
        return (
            f"The disk that holds {home} is full, or your share of it is used up. Free some space, "
            "then resume the run; what was saved before is kept."
        )
    if number in _READ_ONLY:
        return (
            f"{place} can't be opened or written: it is read-only or belongs to someone else. "
            "Change its permissions, then resume the run; what was saved before is kept."
        )
    if isinstance(error, MemoryError) or number == errno.ENOMEM or smells_of_memory(text):
        return OUT_OF_MEMORY
    if number in (errno.EMFILE, errno.ENFILE):
        return (
            "Too many files are open on this machine. Close other programs or raise the limit "
            "(`ulimit -n`), then resume the run."
        )
    if number == errno.EIO:
        return f"{place} can't be read or written. Check the disk that it is on, then resume."
    return ""


def smells_of_memory(text: str) -> bool:
    """Whether a message or a log's end reads as if memory had run out."""
    text = text.lower()
    return any(words in text for words in _MEMORY)


def _number(error: BaseException, text: str) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _OS_ERROR.search(text)
    return int(found[1]) if found else None

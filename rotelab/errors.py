"""Errors with a text for the user: what is wrong, where, and how to mend it.

Everything that a user can cause is a `LabError`. The page shows its text beside what caused it; the
command line prints it as one line on stderr and exits with status 2. Faults of the machine (a full
disk, no memory) become such a text through `remedy`. Any other exception is a bug, and keeps its
traceback in the log.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path


class LabError(Exception):
    """Something the user can mend. `str(error)` is one or two sentences, without markup."""


class InputError(LabError):
    """A table, file or field that can't be used; the text names the place.

    Args:
        message: what is wrong and how to mend it.
        source: the file or form that was read, as the user knows it.
        row: the row at fault, 1-based without the header, if it is one.
        column: the name of the column at fault, if it is one.
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
    """An option of a run is out of its range, or does not fit the others."""


class ModelUnavailable(LabError):
    """A model can't be downloaded or loaded here."""


class UnknownRun(LabError):
    """No run, sweep or experiment has that id, or more than one does."""


class DeviceTaken(LabError):
    """Another run is using the device."""


class RunStopped(Exception):
    """Raised inside a run that was asked to stop, once its work so far is saved."""


# Faults of the machine ---------------------------------------------------------------------------


SAVE_MEMORY = (
    "Close other programs and resume; or start a run with a smaller model, fewer facts or "
    "sentences per step, or a smaller scoring batch."
)
OUT_OF_MEMORY = f"The device ran out of memory. {SAVE_MEMORY}"

LONG_WAIT_S = 5.0
"""A run that waits longer than this for the registry, in seconds, adds the warning `LOCKED`."""

LOCKED = (
    "Another program kept the registry (runs.db) locked and the run waited {seconds:.0f} s for it. "
    "Close the program that has it open (a database browser, a backup) while runs are at work."
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
"""Texts, in lower case, by which libraries report that memory has run out."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_OS_ERROR = re.compile(r"\(os error (\d{1,4})\)")
"""How libraries written in Rust (safetensors, tokenizers) report the number of a system error."""


def remedy(error: BaseException, home: Path) -> str:
    """What happened to the machine and how to mend it; empty for any other error.

    Args:
        error: the exception.
        home: the lab's folder, to be named if the error itself names no file.
    """
    text = " ".join(str(error).split())
    number = _number(error, text)
    place = getattr(error, "filename", None) or home
    if isinstance(place, bytes):
        place = place.decode("utf-8", "replace")
    if str(place).endswith(".tmp"):
        place = Path(place).parent  # users don't know the names of temporary files
    if number in _FULL:
        return (
            f"The disk that holds {home} is full, or your quota is used up. Free some space, "
            "then resume the run; what was saved before is kept."
        )
    if number in _READ_ONLY:
        return (
            f"{place} can't be opened or written: it is read-only or belongs to someone else. "
            "Change its permissions, then resume the run; what was saved before is kept."
        )
    if isinstance(error, MemoryError) or number == errno.ENOMEM or says_out_of_memory(text):
        return OUT_OF_MEMORY
    if number in (errno.EMFILE, errno.ENFILE):
        return (
            "Too many files are open on this machine. Close other programs or raise the limit "
            "(`ulimit -n`), then resume the run."
        )
    if number == errno.EIO:
        return f"{place} can't be read or written. Check the disk that it is on, then resume."
    return ""


def says_out_of_memory(text: str) -> bool:
    """Whether an error message, or the end of a log, says that memory ran out."""
    text = text.lower()
    return any(words in text for words in _MEMORY)


def _number(error: BaseException, text: str) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _OS_ERROR.search(text)
    return int(found[1]) if found else None

"""Errors whose text is meant for the user: what is wrong, where, and how to mend it.

Everything that a user can cause is a `LabError`. The page shows its text beside the thing that
caused it, the command line prints it as one line on stderr and exits with 2. Anything else that
is raised is a fault of ours and keeps its traceback in the log.
"""


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

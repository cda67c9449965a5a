"""Recorded results: those that come with the lab, so that a visitor reads before training.

Each is a file `assets/recorded/EXPERIMENT.json`, written by `docs/record_results.py` from a result
that a lab really obtained. They are never in the registry, and so never counted as anybody's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rotelab.errors import LabError
from rotelab.experiments import Result, experiment, experiments
from rotelab.experiments.results.stored import as_typed
from rotelab.facts.csv_text import read_bytes
from rotelab.storage import ASSETS, Storage

PREFIX = "recorded-"
"""What a recorded result's id begins with; the experiment's name follows."""
FOLDER = ASSETS / "recorded"
CHOICE = "recorded.txt"
"""The file in the home's folder `experiments` that says whether they are shown."""
SHOWN, HIDDEN = "shown", "hidden"
FORMAT = 1
MAX_BYTES = 12_000_000
"""Most bytes of everything recorded, the recorded run of *Start here* included."""


@dataclass(frozen=True)
class Recorded:
    """One recorded result.

    Args:
        experiment: the experiment's name.
        version: the experiment's version at the time.
        recorded: when it was made, ISO 8601 in UTC.
        rotelab: the lab's version.
        machine: what it ran on.
        command: makes it again.
        sizes: how many facts, which model, and what was reduced.
        seconds: how long it took.
        runs: label and id of each run that it compares.
        result: what it found, as the registry stores it.
    """

    experiment: str
    version: int
    recorded: str
    rotelab: str
    machine: str
    command: str
    sizes: str
    seconds: float | None
    runs: tuple[tuple[str, str], ...]
    result: dict[str, Any]


def all_recorded(folder: Path = FOLDER) -> Mapping[str, Recorded]:
    """The recorded results by experiment, those that the experiments of today can read.

    Raises:
        LabError: a file is damaged.
    """
    names = [name for name in experiments() if (folder / f"{name}.json").is_file()]
    found = {name: recorded(name, folder) for name in names}
    return {name: one for name, one in found.items() if one.version == experiment(name).version}


def recorded(name: str, folder: Path = FOLDER) -> Recorded:
    """The recorded result of an experiment.

    Raises:
        LabError: there is no such experiment, none is recorded of it, or its file is damaged.
    """
    path = folder / f"{experiment(name).name}.json"
    if not path.is_file():
        raise LabError(f"No result of the experiment {name!r} comes with rotelab.")
    try:
        said = json.loads(read_bytes(path))
        if said.pop("format") != FORMAT:
            raise ValueError("another format")
        said["runs"] = tuple((str(label), str(run)) for label, run in said["runs"])
        return Recorded(**said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(
            f"The recorded result {path.name} can't be read ({error}). Install rotelab again; the "
            "other results work without it."
        ) from error


def result_in(kept: Recorded) -> Result:
    """A recorded result in its experiment's own type.

    Raises:
        LabError: it was recorded by another version of the experiment, or is damaged.
    """
    wanted = experiment(kept.experiment)
    if kept.version != wanted.version:
        raise LabError(
            f"The recorded result of “{wanted.title}” is of version {kept.version}, and the "
            f"experiment is at version {wanted.version} now. Start it on a run of yours."
        )
    try:
        return as_typed(wanted.result, kept.result)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise LabError(
            f"The recorded result of “{wanted.title}” is damaged. Install rotelab again."
        ) from error


def write(kept: Recorded, folder: Path = FOLDER) -> Path:
    """Stores a recorded result in place of an older one of the same experiment.

    Raises:
        LabError: its experiment can't read it back, or the file can't be written.
    """
    result_in(kept)
    path = folder / f"{kept.experiment}.json"
    text = json.dumps({"format": FORMAT, **asdict(kept)}, ensure_ascii=False, allow_nan=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise LabError(f"{path} can't be written ({error.strerror or error}).") from error
    return path


def choice(storage: Storage) -> bool | None:
    """Whether a person chose to see recorded results in this lab; None where nobody chose."""
    try:
        said = (storage.home / "experiments" / CHOICE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return {SHOWN: True, HIDDEN: False}.get(said)


def choose(storage: Storage, shown: bool) -> None:
    """Shows or hides recorded results in this lab from now on.

    Raises:
        LabError: the home folder can't be written.
    """
    path = storage.home / "experiments" / CHOICE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((SHOWN if shown else HIDDEN) + "\n", encoding="utf-8")
    except OSError as error:
        raise LabError(f"{path} can't be written ({error.strerror or error}).") from error

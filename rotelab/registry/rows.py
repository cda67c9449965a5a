"""Frozen rows that the registry returns, and how their values are written and read."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, NamedTuple

import rotelab
from rotelab.config.names import LIVE, Status
from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.facts.packs import Pack, pack_from_text

_LIBRARIES = (
    "torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers", "numpy",
    "gradio", "sqlite-utils",
)  # fmt: skip


@dataclass(frozen=True)
class RunSummary:
    """One run as a list of runs shows it. Times are ISO 8601 in UTC.

    Args:
        number: counts runs in the order in which they were made; 0 or less for an example.
        device: the device that was asked for; `device_used` is the one it ran on.
        share: how much is done, 0 to 1.
        eta_s: seconds that are left, if known.
        queue_position: its place in the queue; None where its sweep starts it.
        sweep_id: the sweep that it belongs to, if any; `sweep_position` is its 0-based place there.
        shared_phase1_from: the run whose phase 1 this run reused, if any.
        test_accuracy: generation accuracy on held-out test prompts after phase 2, if measured; of
            a lesson, on its new facts.
        k: how many facts of each relation are taught in words; None where the row is damaged.
        total_s: how long the run took in all, in seconds, if it was measured.
        error: why it failed, or that its row is damaged; empty when all is well.
        imported: when it was read from a bundle; empty for a run that was made here.
    """

    number: int
    id: str
    name: str
    status: Status
    created: str
    started: str | None
    finished: str | None
    pack_name: str
    model: str
    seed: int
    device: str
    device_used: str
    parent_id: str | None
    note: str
    tags: tuple[str, ...]
    archived: bool
    error: str
    pid: int | None
    pid_started: float | None
    heartbeat: str | None
    stop_requested: bool
    queue_position: int | None
    phase: str
    epoch: int | None
    epochs: int | None
    step: int | None
    steps: int | None
    eta_s: float | None
    share: float
    message: str
    sweep_id: str | None
    sweep_position: int | None
    shared_phase1_from: str | None
    imported: str
    test_accuracy: float | None
    k: int | None
    total_s: float | None

    @property
    def live(self) -> bool:
        """Whether a process should be at work on it."""
        return self.status in LIVE

    @property
    def is_example(self) -> bool:
        """Whether it came with the lab (`Registry.put_last`), so that nobody here trained it."""
        return self.number <= 0

    @property
    def held(self) -> bool:
        """Whether it waits for its sweep to start it, outside the queue."""
        return self.status == "queued" and self.queue_position is None


@dataclass(frozen=True)
class RunRow(RunSummary):
    """Everything stored about one run, except its measurements.

    Args:
        seconds: how long each part took.
        warnings: sentences for the user.
        versions: of rotelab, Python and the libraries when the run was created.
        content_hash: hash of the facts and prompts, as `Pack.content_hash`.
        config_json: the settings as stored; `config` reads them.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    content_hash: str = ""
    config_json: str = ""
    facts_csv: str = ""
    prompts_csv: str = ""

    @property
    def is_lesson(self) -> bool:
        """Whether it is a later lesson of another run; no where its settings are damaged."""
        try:
            return self.config.lesson is not None
        except LabError:
            return False

    @property
    def config(self) -> RunConfig:
        """The run's settings.

        Raises:
            LabError: they are damaged, or were written by a version with other options.
        """
        return read_config(self.config_json, f"run {self.id}")

    @property
    def pack(self) -> Pack:
        """Its own frozen copy of the facts and prompts.

        Raises:
            LabError: they are damaged.
        """
        return pack_from_text(self.pack_name, self.facts_csv, self.prompts_csv)


class Metric(NamedTuple):
    """One number at one step of one phase. `seq` is set by the registry: ask for rows after it."""

    phase: str
    step: int
    name: str
    value: float
    epoch: int = 0
    seq: int = 0


class FactRecall(NamedTuple):
    """How well one fact is recalled through its key token after an epoch (0 is before training).

    `said` is the beginning of the model's answer, ending in `…` where it was cut; empty if unknown.
    """

    fact_index: int
    probability: float
    recalled: bool
    epoch: int = 0
    said: str = ""


@dataclass(frozen=True)
class FactSetRow:
    """One version of a saved fact set; `facts` counts them."""

    name: str
    version: int
    created: str
    note: str
    facts: int
    content_hash: str


@dataclass(frozen=True)
class SweepRow:
    """A sweep: runs that were planned together.

    Args:
        number: counts sweeps in the order in which they were made.
        id: such as `sweep-20261123-031500-3f2a`.
        name: what the user calls it.
        created: ISO 8601 in UTC.
        axes: the values of each option that varies, by its path such as `memorize.epochs`.
        config_json: the settings that all its runs have in common, as stored.
        statuses: how many of its runs have each status.
    """

    number: int
    id: str
    name: str
    created: str
    axes: dict[str, list[Any]]
    config_json: str
    statuses: dict[str, int]

    @property
    def runs(self) -> int:
        """How many runs it has."""
        return sum(self.statuses.values())

    @property
    def config(self) -> RunConfig:
        """The settings that its runs have in common.

        Raises:
            LabError: they are damaged, or were written by a version with other options.
        """
        return read_config(self.config_json, f"sweep {self.id}")


def now() -> str:
    """The time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def versions() -> dict[str, str]:
    """The versions of rotelab, Python and the libraries, read without importing any of them."""
    found = {"rotelab": rotelab.__version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def read_json(text: Any, kind: type) -> Any:
    """The value of a JSON column; an empty `kind` where it is damaged."""
    try:
        value = json.loads(text)
    except (ValueError, TypeError):
        return kind()
    return value if isinstance(value, kind) else kind()


def read_config(text: str, owner: str) -> RunConfig:
    """Reads stored settings.

    Args:
        text: JSON, as `RunConfig.to_dict` gives it.
        owner: what they belong to, such as `run 20261123-031500-mother-3f2a`; for the error.

    Raises:
        LabError: they are damaged, or were written by a version with other options.
    """
    try:
        return RunConfig.from_stored(json.loads(text))
    except (ValueError, TypeError, AttributeError, LabError) as error:
        raise LabError(f"The settings stored with {owner} can't be read: {error}") from error


def number(value: float | None) -> float:
    """A stored number. SQLite stores NaN as NULL, so NULL reads as NaN again."""
    return math.nan if value is None else value


def writable(text: str) -> str:
    """The text without what UTF-8 can't encode: half a character from a browser or a path."""
    return text.encode("utf-8", "replace").decode()


def insert_sql(table: str, columns: Sequence[str], replace: bool = False) -> str:
    """The SQL that inserts a run's rows into a table: `run_id`, then `columns`."""
    return (
        f"INSERT {'OR REPLACE ' if replace else ''}INTO {table} (run_id, {', '.join(columns)}) "
        f"VALUES (?{', ?' * len(columns)})"
    )


def in_order(column: str, names: Sequence[str]) -> str:
    """An SQL expression that sorts `column` in the order of `names`; any other value comes last."""
    cases = " ".join(f"WHEN '{name}' THEN {place}" for place, name in enumerate(names))
    return f"CASE {column} {cases} ELSE {len(names)} END"


def like(text: str) -> str:
    """A LIKE pattern (with `ESCAPE '\\'`) for texts that contain `text` as it stands."""
    text = writable(text)
    for char in "\\%_":
        text = text.replace(char, "\\" + char)
    return f"%{text}%"

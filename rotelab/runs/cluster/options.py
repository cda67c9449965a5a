"""What is asked of a cluster for each run: partition, time, cores, cards, memory."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from rotelab.errors import LabError

ENGINES = ("slurm", "local")
"""What can make a sweep's runs in place of this process; `engines.py` has them."""

ATTEMPTS = 3
"""How often a run is submitted before it counts as failed; time limits are not counted."""

UNLIMITED_MIN = 60 * 24 * 365
"""The time limit of a local job that was given none, in minutes."""


@dataclass(frozen=True)
class ClusterOptions:
    """What each run's job asks for. Empty and 0 leave it to the cluster.

    Args:
        engine: one of `ENGINES`.
        partition: the partition.
        account: who pays.
        time_min: the longest time of a job, in minutes; a run that is not finished by then is
            submitted again and goes on where it last saved.
        gpus: cards for each run.
        cpus: cores for each run.
        memory_gb: main memory for each run, in GB.
        jobs: how many run at once; 0 for as many as the cluster gives.
        setup: shell commands before each job, such as `module load python`.
        extra: further options of `sbatch`, such as `qos=long`.
        signal_s: how long before the end of its time a job is told to save, in seconds.
    """

    engine: str
    partition: str = ""
    account: str = ""
    time_min: int = 0
    gpus: int = 0
    cpus: int = 0
    memory_gb: float = 0.0
    jobs: int = 0
    setup: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    signal_s: int = 90

    def __post_init__(self):
        if self.engine not in ENGINES:
            raise LabError(f"--on {self.engine} is not known. There are {', '.join(ENGINES)}.")
        if self.engine == "local" and self.gpus and self.jobs != 1:
            raise LabError(
                "--on local shares no cards among runs: give --jobs 1, or leave --on away, and the "
                "sweep uses one card a run."
            )
        for pair in self.extra:
            if not re.fullmatch(r"[\w-]+=.+", pair):
                raise LabError(f"{pair!r} is not an option of sbatch. Write it as qos=long.")

    @property
    def at_once(self) -> int | None:
        """How many jobs are at work at once; None where the cluster sees to that itself."""
        return (self.jobs or 1) if self.engine == "local" else None

    def to_dict(self) -> dict[str, Any]:
        """The options as JSON takes them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> ClusterOptions:
        """Reads stored options back.

        Raises:
            LabError: they were written by a version with other options, or are damaged.
        """
        known = {field.name for field in fields(cls)}
        try:
            lists = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
            return cls(**{k: v for k, v in lists.items() if k in known})
        except TypeError as error:
            raise LabError(
                f"What was asked of the cluster can't be read ({error}). Cancel the sweep there, "
                "and submit it again."
            ) from error


def minutes(text: str) -> int:
    """A time limit in minutes, from `90`, `1:30:00` or `2-12:00:00`, as SLURM writes it.

    Raises:
        LabError: it is no time, or no time at all.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if found:
        days, first, second, third = (int(part or 0) for part in found.groups())
        if days or found[4]:  # hours:minutes:seconds
            seconds = ((days * 24 + first) * 60 + second) * 60 + third
        else:  # minutes, or minutes:seconds
            seconds = first * 60 + second
        if seconds > 0:
            return math.ceil(seconds / 60)
    raise LabError(f"{text[:40]!r} is no time limit. Write it as 90 (minutes), or as 1:30:00.")

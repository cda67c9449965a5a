"""How busy this machine is just now, and by how much that slows what is started on it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

import psutil

NOTICED = 0.25
"""Other work that takes a smaller share of the cores is not counted: the load always wavers."""
NOTICED_THREADS = 1.0
"""Nor is less than so many threads: a browser that opens this page is nearly one for a minute."""


@dataclass(frozen=True)
class Machine:
    """A machine's processor cores, and who wants them.

    Args:
        cores: how many there are.
        load: how many threads wanted a core in the last minute, on average.
        own: how many of them belong to the lab's own runs: a new run waits until these have ended.
    """

    cores: int
    load: float
    own: float = 0.0

    @property
    def slowdown(self) -> float:
        """How many times as long a run takes as on the idle machine, if all goes on like this.

        Threads share the cores evenly: where other work wants all cores once, a run gets half.
        """
        others, cores = max(0.0, self.load - self.own), max(1, self.cores)
        return 1.0 + others / cores if others >= max(NOTICED_THREADS, NOTICED * cores) else 1.0


def load_now() -> float:
    """The system's load average of the last minute, in threads; 0 where it is not known."""
    try:
        return psutil.getloadavg()[0]
    except (OSError, AttributeError):  # not on every system
        return 0.0


def machine_now(live_runs: int) -> Machine:
    """This machine as it is now.

    Args:
        live_runs: how many of the lab's runs are training.
    """
    cores = os.cpu_count() or 1
    return Machine(cores, load_now(), float(live_runs * cores))


def describe(device: str = "") -> str:
    """This machine in words for a reader elsewhere: system, cores, memory, and the device that a
    run used. No name of the machine or of its user.

    Args:
        device: as a run's row names it, such as `cpu` or a GPU's name.
    """
    memory = psutil.virtual_memory().total / 2**30
    cores = os.cpu_count() or 1
    said = (
        f"{platform.system()} {platform.machine()}, {cores} CPU cores, {memory:.0f} GiB of memory"
    )
    return f"{said}, on {device}" if device else said

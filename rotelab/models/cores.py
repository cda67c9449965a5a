"""Shares the processor's cores among all that computes on this machine.

Two PyTorch programs that both use every core keep each other from running: their threads wait for
one another without sleeping, and everything takes ten times as long (docs/log/two-programs.md). So
each program that computes says so in a file, and takes an equal share of the cores (`CoreShare` in
`threads.py`). Where others compute when a worker starts, its threads also sleep while they wait.

The files lie in the user's cache, because runs of different homes share the cores too. How many
threads compute does not change a number (tests/models/test_cores.py). No torch in here: the page
starts without it.
"""

from __future__ import annotations

import contextlib
import glob
import json
import logging
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from rotelab.storage import cache_dir

SAME_START_S = 1.5
"""How far apart two readings of one process's start time may be, in seconds."""

LOOK_EVERY_S = 1.0
"""How often a program looks who else computes, in seconds."""

ANSWERS_S = 3.0
"""How long after its last token a page still counts as computing, in seconds."""

ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""What lets threads sleep while they wait: for all of OpenMP, and for Intel's and LLVM's."""

log = logging.getLogger(__name__)


def threads(cores: int, runs: int, page: bool = False) -> int:
    """How many threads each program that computes should use.

    Args:
        cores: that they share.
        runs: how many runs and experiments compute, this one included.
        page: whether a page computes too: an answer in Chat, or a look inside.
    """
    return max(1, cores // max(1, runs + page))


def folder() -> Path:
    """Where programs say that they compute."""
    return cache_dir() / "at-work"


def own_cores() -> tuple[int, ...]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


BUSY = 0.5
"""The share of the cores' time that other programs take, from which on a worker waits asleep."""

LOOK_S = 0.2
"""How long is looked at what other programs take, in seconds."""


def busy_share() -> float:
    """The share of the cores' time that is taken now, 0 to 1; takes `LOOK_S` seconds."""
    every = psutil.cpu_percent(LOOK_S, percpu=True)
    mine = [every[core] for core in own_cores() if core < len(every)] or every
    return sum(mine) / len(mine) / 100 if mine else 0.0


def waiting(busy: float, runs: int, given: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that say how a new worker's threads wait for each other.

    Awake is quicker by a seventh to a fifth on cores that are free; where other programs need them,
    asleep is several times as quick (docs/log/two-programs.md). It can't be changed later. What
    the user has set stays.

    Args:
        busy: the share of the cores' time that is taken.
        runs: that compute on these cores already.
        given: the environment so far.
    """
    if (busy < BUSY and not runs) or any(name in given for name in ASLEEP):
        return {}
    return dict(ASLEEP)


def at_work(folder: Path, cores: tuple[int, ...]) -> tuple[int, bool]:
    """The number of runs that compute on some of these cores, and whether a page does.

    Removes the files of processes that are gone.

    Args:
        folder: where programs say that they compute.
        cores: numbers of cores.
    """
    runs, page = 0, False
    for file in folder.glob(f"{glob.escape(platform.node())}-*.json"):
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            age = abs(time.time() - file.stat().st_mtime)
            lives = _lives(int(file.stem.rpartition("-")[2]), said["started"])
            on_these = not set(said["cores"]).isdisjoint(cores)
            is_page = bool(said["page"])
        except OSError:  # it has just ended
            continue
        except (ValueError, KeyError, TypeError):  # cut off when the machine lost its power
            lives = False
        if not lives:
            with contextlib.suppress(OSError):  # somebody else looks too
                file.unlink(missing_ok=True)
        elif not on_these:
            continue
        elif not is_page:
            runs += 1
        elif age <= ANSWERS_S:
            page = True
    return runs, page


def _lives(pid: int, started: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - started) <= SAME_START_S
    except psutil.Error:
        return False

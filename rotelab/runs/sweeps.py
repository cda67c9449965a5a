"""Sweeps: planned runs, made one after the other in this process, or beside others that do so.

Every run is stored before the first one starts, so that a sweep that ended in any way, even by a
power cut, continues with the runs that are left. A run that fails is tried again the next time.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from rotelab.config.run_config import GeneralizeConfig, RunConfig
from rotelab.config.sweep_grid import Axes, cell_name, grid
from rotelab.errors import DeviceTaken, LabError
from rotelab.registry import RunRow
from rotelab.registry.sweeps import PlannedRun
from rotelab.runs.lab import Lab
from rotelab.runs.worker import FROM_KEYBOARD, agree_on, first_process, work
from rotelab.storage import has_adapter

LOOK_EVERY_S = 1.0
"""How often a sweep checks whether the device it waits for is free, in seconds."""

Watch = Callable[[int, int, float, str], None]
"""Told the number of the run (from 1), how many there are, the share done, and what it does."""

Make = Callable[[Lab, str, Watch], bool]
"""Makes the runs of a sweep that are left, as `run_sweep` does, here or elsewhere."""


def plan(lab: Lab, axes: Axes, base: RunConfig, name: str = "", in_queue: bool = False) -> str:
    """Checks and stores a sweep with all its runs; starts none.

    Args:
        lab: has the facts and the registry.
        axes: the values of each option that varies.
        base: the settings that all runs have in common.
        name: the user's name for it.
        in_queue: whether the lab's queue makes its runs (`Jobs.start_next`), not `run_sweep`.

    Returns:
        The sweep's id.

    Raises:
        LabError: settings or facts do not fit; then nothing is written.
    """
    runs = []
    for config in grid(axes, base):
        words = f"{name.strip()} {cell_name(axes, config)}".strip()
        runs.append(PlannedRun(config, lab.facts_for(config), words))
    return lab.registry.create_sweep(axes, base, runs, name, in_queue)


def run_sweep(lab: Lab, sweep_id: str, watch: Watch, together: bool = False) -> bool:
    """Makes every run of a sweep that is not finished, in order.

    A run that fails or is stopped does not stop the others. Where another run holds the device, the
    sweep waits for it. Where several processes train together (`accelerate launch`), each calls
    this; the first one alone decides.

    Args:
        lab: the lab.
        sweep_id: the sweep.
        watch: told how far it is.
        together: whether other processes make runs of the same sweep on the same device, as
            `parallel.lanes` has them do.

    Returns:
        Whether the sweep reached its end; False where Ctrl-C ended it.

    Raises:
        LabError: the registry can't be read or written.
    """
    cpu = lab.registry.sweep(sweep_id).config.model.device == "cpu"
    turns = _turns(lab, sweep_id, watch, together) if first_process() else iter(())
    ended = True
    try:
        while turn := _agreed(next(turns, None), cpu):
            _make(lab, *turn, watch)
            if first_process() and _from_keyboard(lab, turn[2]):
                ended, turns = False, iter(())
    except KeyboardInterrupt:  # between two runs
        return False
    return ended


def unfinished_runs(lab: Lab, sweep_id: str) -> list[RunRow]:
    """The runs of a sweep that are neither finished nor live.

    Raises:
        LabError: the registry can't be read.
    """
    return [r for r in lab.registry.sweep_runs(sweep_id) if r.status != "finished" and not r.live]


def _make(lab: Lab, place: int, count: int, run_id: str, watch: Watch) -> None:
    work(
        lab.registry,
        lab.storage,
        run_id,
        lambda share, message: watch(place, count, share, message),
    )
    gc.collect()  # a model has reference cycles: two must not be in memory at once
    if first_process():
        lab.jobs.start_next()  # a queued run may have the device between two runs


def _from_keyboard(lab: Lab, run_id: str) -> bool:
    run = lab.registry.run(run_id)
    return (run.status, run.error) == ("stopped", FROM_KEYBOARD)


def _turns(lab: Lab, sweep_id: str, watch: Watch, together: bool) -> Iterator[tuple[int, int, str]]:
    """Place, number of runs and id of each run to make, once this process has claimed it."""
    left = unfinished_runs(lab, sweep_id)
    count = lab.registry.sweep(sweep_id).runs
    while left:
        run = next((r for r in left if not (together and _learned_elsewhere(lab, r))), None)
        place = ((run or left[0]).sweep_position or 0) + 1
        if run is None:
            watch(place, count, 0.0, "Waiting: another process learns the same by rote")
            time.sleep(LOOK_EVERY_S)
            lab.jobs.reconcile()  # that process may have died
            continue
        left.remove(run)
        say = partial(watch, place, count, 0.0)
        if _claimed(lab, run, say, together):
            yield place, count, run.id


def _learned_elsewhere(lab: Lab, run: RunRow) -> bool:
    """Whether another process is at work on the phase 1 that this run could take over."""
    mine = _without_phase2(run.config)
    return any(
        other.live
        and other.id != run.id
        and other.content_hash == run.content_hash
        and _without_phase2(other.config) == mine
        and not has_adapter(lab.storage, other.id, "memorized")
        for other in lab.registry.sweep_runs(run.sweep_id or "")
    )


def _without_phase2(config: RunConfig) -> RunConfig:
    return replace(config, generalize=GeneralizeConfig())


def _claimed(lab: Lab, run: RunRow, say: Callable[[str], None], together: bool) -> bool:
    """Whether this process has claimed the run; not if another process took it meanwhile."""
    while True:
        try:
            if lab.registry.run(run.id).status != run.status:
                return False
            lab.jobs.claim_foreground(run.id, together)
            return True
        except DeviceTaken as error:
            say(f"Waiting: {error}")
            time.sleep(LOOK_EVERY_S)
        except LabError:
            if any(
                r.id == run.id and r.status == run.status
                for r in unfinished_runs(lab, run.sweep_id)
            ):
                raise
            return False  # another process was quicker, or it has been deleted


def _agreed(turn: tuple[int, int, str] | None, cpu: bool) -> tuple[int, int, str] | None:
    """The first process's turn, sent to the others; None when none is left."""
    told = agree_on(" ".join(map(str, turn)) if turn else "", cpu)
    if not told:
        return None
    place, count, run_id = told.split()
    return int(place), int(count), run_id

"""A sweep's runs side by side on one machine: this process and helpers take them from one list.

`python -m rotelab.runs.parallel.lanes SWEEP_ID NAME` is a helper. This process begins at once, so
that small sweeps lose nothing by waiting for helpers; the registry's claims see to it that no
run is made twice, and `models/cores.py` shares the cores.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import psutil

from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.models.cores import own_cores
from rotelab.runs.lab import Lab
from rotelab.runs.processes import STOP_WAIT_S, end_tree, interrupt, spawn, until
from rotelab.runs.sweeps import Watch, run_sweep, unfinished_runs

RUNS_FOR_EACH = 3
"""How many runs there must be for each lane on a CPU: a helper takes some ten seconds to start."""

WAIT_S = 0.5
"""How often is looked whether the helpers have ended, in seconds."""


def run_side_by_side(lab: Lab, sweep_id: str, watch: Watch, jobs: int = 0) -> bool:
    """Makes every run of a sweep that is not finished, several at a time where that pays.

    Args:
        lab: the lab.
        sweep_id: the sweep.
        watch: told how far this process's own runs are.
        jobs: how many at once; 0 for as many as pay (`lanes_for`).

    Returns:
        Whether the sweep reached its end; False where Ctrl-C ended it.

    Raises:
        LabError: the registry can't be read or written, or no process can be started.
    """
    left = unfinished_runs(lab, sweep_id)
    lanes = lanes_for([run.config for run in left], jobs)
    if lanes < 2:
        return run_sweep(lab, sweep_id, watch)
    helpers, ended = [_start(lab, sweep_id, lane) for lane in range(1, lanes)], False
    try:
        ended = run_sweep(lab, sweep_id, watch, together=True)
        if ended:
            _wait(lab, sweep_id, helpers, watch)
    except KeyboardInterrupt:  # while it waited
        ended = False
    finally:
        if not ended:
            _stop(helpers)
    return ended


def lanes_for(configs: Sequence[RunConfig], jobs: int = 0) -> int:
    """How many of these runs to make at once on this machine.

    With several cards, one a card. On a CPU one a core: two with a thread each read 254 tokens a
    second together where one with two threads reads 175 (docs/log/two-programs.md); as far as
    memory goes, and if each lane has a few runs to make.

    Args:
        configs: the settings of the runs that are left.
        jobs: what the user asked for; 0 for nothing.
    """
    if not configs or os.environ.get("WORLD_SIZE", "1") != "1":  # `accelerate launch`
        return 1
    if jobs:
        return min(jobs, len(configs))
    wanted = configs[0].model.device
    if wanted in ("auto", "cuda") and (cards := _cards()):
        return min(cards, len(configs))
    if wanted not in ("auto", "cpu") or _has_mps():
        return 1
    return max(1, min(len(own_cores()), _fitting(configs), len(configs) // RUNS_FOR_EACH))


def _cards() -> int:
    import torch

    return torch.cuda.device_count()


def _has_mps() -> bool:
    import torch

    return torch.backends.mps.is_available()


def _fitting(configs: Sequence[RunConfig]) -> int:
    """How many of the largest of these runs fit into memory at once; 1 where that is not known."""
    from rotelab.models.preflight.memory import fit

    found = [fit(config) for config in {c.model: c for c in configs}.values()]
    if not all(found):
        return 1
    return min(int(one.there / max(one.needed, 0.1)) for one in found if one)


# Helpers -----------------------------------------------------------------------------------------


def _start(lab: Lab, sweep_id: str, lane: int) -> subprocess.Popen:
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = before.split(",") if before else [str(i) for i in range(_cards())]
    if cards:  # each helper sees one card; this process takes the first one
        os.environ["CUDA_VISIBLE_DEVICES"] = cards[lane % len(cards)]
    name = f"{sweep_id}-{lane}"  # the last argument too, by which it is known
    command = [sys.executable, "-m", "rotelab.runs.parallel.lanes", sweep_id, name]
    try:
        log = lab.storage.home / "sweeps" / f"{name}.txt"
        return spawn(command, name, lab.storage.home, log)[0]
    finally:
        if cards:
            os.environ.pop("CUDA_VISIBLE_DEVICES")
        if before is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def _wait(lab: Lab, sweep_id: str, helpers: Sequence[subprocess.Popen], watch: Watch) -> None:
    """Waits for the helpers' last runs."""

    def all_ended() -> bool:
        live = [run for run in lab.registry.sweep_runs(sweep_id) if run.live]
        if live:
            count = lab.registry.sweep(sweep_id).runs
            share = sum(run.share for run in live)
            watch(count - len(live) + 1, count, share, f"{len(live)} in other processes")
        return all(helper.poll() is not None for helper in helpers)

    while not until(all_ended, STOP_WAIT_S, WAIT_S):
        lab.jobs.reconcile()  # a helper that died must not be waited for


def _stop(helpers: Sequence[subprocess.Popen]) -> None:
    """Has the helpers save and end, and ends those that do not."""
    living = [helper for helper in helpers if helper.poll() is None]
    for helper in living:
        interrupt(psutil.Process(helper.pid), sys.platform == "win32")
    until(lambda: all(helper.poll() is not None for helper in living), STOP_WAIT_S)
    for helper in living:
        if helper.poll() is None:
            end_tree(helper.args[-1], psutil.Process(helper.pid), reap=helper.poll)


def main(sweep_id: str) -> int:
    """Takes runs of a sweep until none is left; returns the exit status."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    try:
        ended = run_sweep(Lab.open(), sweep_id, lambda *how_far: None, together=True)
    except LabError as error:
        print(error, file=sys.stderr, flush=True)
        return 2
    return 0 if ended else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

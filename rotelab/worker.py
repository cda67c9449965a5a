"""The process of one run: `python -m rotelab.worker RUN_ID`, started by `jobs`.

Whatever happens ends in a status and a sentence; then the queue moves on.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable

from rotelab.errors import LabError, RunStopped
from rotelab.jobs import Jobs
from rotelab.registry import Registry
from rotelab.settings import Settings

NICE = 5
"""The worker yields to the page: training takes all cores, and a click must not wait for it."""

FROM_KEYBOARD = "Interrupted from the keyboard."

FAULT = (
    "Something went wrong inside rotelab ({kind}: {text}). The run's log has the details; what was "
    "saved before is kept."
)
OUT_OF_MEMORY = (
    "The device ran out of memory. Take a smaller model, fewer facts or sentences per step, or a "
    "smaller scoring batch, and resume."
)


def work(
    registry: Registry,
    settings: Settings,
    run_id: str,
    watch: Callable[[float, str], None] = lambda share, message: None,
) -> None:
    """Runs one experiment that is this process's own, and writes down how it ended.

    Args:
        registry: has the run's row, its status `running`.
        settings: where files go.
        run_id: the run.
        watch: told the share done and what is being done.
    """
    if not first_process():
        from rotelab.experiment import run_experiment

        run_experiment(registry, settings, run_id)
        return
    try:
        from rotelab.experiment import run_experiment  # torch, only where it is needed

        run_experiment(registry, settings, run_id, watch)
    except RunStopped:
        registry.set_status(run_id, "stopped")
    except LabError as error:
        registry.set_status(run_id, "failed", str(error))
    except KeyboardInterrupt:
        registry.set_status(run_id, "stopped", FROM_KEYBOARD)
    except Exception as error:  # the run's row must say how it ended, whatever it was
        traceback.print_exc()
        registry.set_status(run_id, "failed", _sentence(error))
    else:
        registry.set_status(run_id, "finished")


def first_process() -> bool:
    """Whether this is the only, or the first, of the processes that `accelerate launch` started."""
    return os.environ.get("RANK", "0") == "0"


def agree_on(run_id: str, cpu: bool) -> str:
    """The run's id, told by the first process to all others that `accelerate launch` started.

    Args:
        run_id: the id; empty in the others.
        cpu: whether they train on the CPU.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return run_id
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=cpu)
    return broadcast_object_list([run_id])[0]


def main(run_id: str) -> int:
    """Does the work of one run in this process; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if hasattr(os, "nice"):
        os.nice(NICE)
    settings = Settings.from_environment()
    registry = Registry(settings)
    jobs = Jobs(registry, settings)
    try:
        jobs.attach(run_id)
        print(f"run {run_id} started", flush=True)
        work(registry, settings, run_id)
        run = registry.run(run_id)
        print(f"run {run_id} {run.status} {run.error}", flush=True)
    except LabError as error:
        print(error, file=sys.stderr, flush=True)
        return 2
    finally:
        jobs.start_next()
    return 0 if run.status in ("finished", "stopped") else 1


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return OUT_OF_MEMORY
    if "can't allocate memory" in text:
        return OUT_OF_MEMORY
    return FAULT.format(kind=type(error).__name__, text=text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

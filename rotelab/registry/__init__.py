"""The registry: everything that happened, in one SQLite file.

`Registry` is put together from its parts, one file each: runs, queue, sweeps, experiments, results,
what was seen inside the model, fact sets, chat, and what travels between machines.
Every call opens its own connection and makes one short transaction, so any number of threads and
processes can use the file at once.
"""

from __future__ import annotations

from rotelab.registry.chat import ChatAnswer, ChatRows
from rotelab.registry.database import BUSY_S
from rotelab.registry.experiments import ExperimentRow, ExperimentRows
from rotelab.registry.fact_sets import FactSetRows, fact_set_name
from rotelab.registry.measurements import InsideRows, ResultRows
from rotelab.registry.queue import LiveRun
from rotelab.registry.rows import FactRecall, FactSetRow, Metric, RunRow, RunSummary, SweepRow
from rotelab.registry.runs import RunOrder
from rotelab.registry.sweeps import SweepRows
from rotelab.registry.transfer import TravelRows
from rotelab.storage import Storage

__all__ = [
    "ChatAnswer",
    "ExperimentRow",
    "FactRecall",
    "FactSetRow",
    "LiveRun",
    "Metric",
    "Registry",
    "RunOrder",
    "RunRow",
    "RunSummary",
    "SweepRow",
    "fact_set_name",
]


class Registry(
    SweepRows, ExperimentRows, ResultRows, InsideRows, FactSetRows, TravelRows, ChatRows
):
    """The rows of `runs.db`, safe from many threads and processes at once.

    Args:
        storage: says where the file is; it is made, or brought up to date, when it must be.
        busy_s: how long a call waits for another process's write, in seconds.

    Raises:
        LabError: the file can't be opened or brought up to date; says how to mend it.
    """

    def __init__(self, storage: Storage, busy_s: float = BUSY_S):
        super().__init__(storage.database, busy_s)
        self.storage = storage

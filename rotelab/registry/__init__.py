"""The registry: everything that rotelab stores about runs, in one SQLite file (`runs.db`).

`Registry` combines the parts of this package, one file for each family of tables: runs, queue,
sweeps, cluster jobs, experiments, curves, live checks, evaluations, forgetting, fact sets, chat,
stumping, and transfer between machines. Every call opens its own connection and makes one short
transaction, so any number of threads and processes can use the file at the same time.
"""

from __future__ import annotations

from rotelab.registry.chat import ChatAnswer, ChatRows
from rotelab.registry.cluster import ClusterJob, ClusterRows
from rotelab.registry.curves import CurveRows
from rotelab.registry.database import BUSY_S
from rotelab.registry.evaluations import EvaluationRows
from rotelab.registry.experiments import ExperimentRow, ExperimentRows
from rotelab.registry.fact_sets import FactSetRows, fact_set_name
from rotelab.registry.forgetting import ForgettingRows
from rotelab.registry.live import LiveQuestion, LiveRows
from rotelab.registry.queue import LiveRun
from rotelab.registry.rows import FactRecall, FactSetRow, Metric, RunRow, RunSummary, SweepRow
from rotelab.registry.runs import RunOrder
from rotelab.registry.stumps import Stump, StumpRows
from rotelab.registry.sweeps import SweepRows
from rotelab.registry.transfer import TransferRows
from rotelab.storage import Storage

__all__ = [
    "ChatAnswer",
    "ClusterJob",
    "ExperimentRow",
    "FactRecall",
    "FactSetRow",
    "LiveQuestion",
    "LiveRun",
    "Metric",
    "Registry",
    "RunOrder",
    "RunRow",
    "RunSummary",
    "Stump",
    "SweepRow",
    "fact_set_name",
]


class Registry(
    SweepRows,
    ClusterRows,
    ExperimentRows,
    CurveRows,
    LiveRows,
    EvaluationRows,
    ForgettingRows,
    FactSetRows,
    ChatRows,
    StumpRows,
    TransferRows,
):
    """The rows of `runs.db`, safe from many threads and processes at once.

    Args:
        storage: says where the file is. It is created, or migrated, when needed.
        busy_s: how long a call waits for another process's write, in seconds.

    Raises:
        LabError: the file can't be opened or migrated; says how to mend it.
    """

    def __init__(self, storage: Storage, busy_s: float = BUSY_S):
        super().__init__(storage.database, busy_s)
        self.storage = storage

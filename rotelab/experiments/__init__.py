"""Experiments: what one is, and all that there are.

An experiment is one file in this folder, or in `related/` (the instruments of related papers), that
defines `EXPERIMENT`; nothing else has to name it. It is either a probe, which measures one finished
run, or a family, which has arms (ordinary runs) and compares them. `common.py` has what several of
them share, `runner.py` carries them out. torch is imported inside the functions that compute: the
page lists experiments before torch is up.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import plotly.graph_objects as go

from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.facts.packs import Pack
from rotelab.reports.formats import Table
from rotelab.runs.finished_run import FinishedRun

__all__ = [
    "Arm",
    "Experiment",
    "FinishedRun",
    "Origin",
    "Result",
    "Table",
    "experiment",
    "experiments",
]

Origin = Literal["paper", "readers", "related papers"]
"""Where an experiment's question comes from: the paper itself, its readers, or other papers."""

_NOT_EXPERIMENTS = ("common", "runner")
_GROUPS = ("related",)
"""Folders in this one that hold experiments too."""


class Result(Protocol):
    """What an experiment found: a frozen dataclass of plain values, or of tuples of such.

    It is stored as JSON, so everything it shows must come from its own fields.
    """

    def tables(self) -> list[Table]:
        """Its figures in tables, with n."""
        ...

    def figure(self) -> go.Figure:
        """Its one figure."""
        ...


@dataclass(frozen=True)
class Arm:
    """One run of a family.

    Args:
        label: what distinguishes it from the other arms.
        config: its settings; where a run with the same settings and facts exists, it is used.
        reworded: changes the pack that the settings name into the one it learns; None where it
            learns that pack as it is.
    """

    label: str
    config: RunConfig
    reworded: Callable[[Pack], Pack] | None = None

    def pack_of(self, named: Pack) -> Pack:
        """The pack it learns, made of the one that its settings name."""
        return self.reworded(named) if self.reworded else named


@dataclass(frozen=True)
class Experiment:
    """One experiment. Either `probe` is given, or both `arms` and `compare`.

    Args:
        name: as on the command line; the name of its file with `-` for `_`.
        title: its heading.
        question: its question in plain words.
        hypothesis: what is expected, and why.
        needs: what it needs, and about how long it takes.
        reading: how to read its tables and figure, and what they can't say.
        result: the dataclass of its result.
        origin: where the question comes from; experiments are listed by it.
        asks: whether it asks the runs' models rather than reading their scores alone: then runs
            without adapters on this machine are of no use to it.
        measures_s: about how many seconds it measures one run of the embedded model on two idle CPU
            cores, training not included; None where nobody has measured that.
        version: goes up when it measures differently; results of two versions are not compared.
        paper: what the paper reports for the same; empty where it reports nothing.
        probe: measures one finished run.
        arms: makes the family's arms from the settings that they have in common.
        compare: measures the finished arms, in their order.
    """

    name: str
    title: str
    question: str
    hypothesis: str
    needs: str
    reading: str
    result: type
    origin: Origin = "readers"
    asks: bool = True
    measures_s: float | None = None
    version: int = 1
    paper: str = ""
    probe: Callable[[FinishedRun], Result] | None = None
    arms: Callable[[RunConfig], Sequence[Arm]] | None = None
    compare: Callable[[Sequence[FinishedRun]], Result] | None = None

    def __post_init__(self):
        family = self.arms is not None and self.compare is not None
        assert (self.probe is not None) != family, f"{self.name}: a probe, or arms and compare"

    @property
    def family(self) -> bool:
        """Whether it makes runs of its own, from the settings of the chosen one."""
        return self.probe is None

    def arms_of(self, base: RunConfig) -> list[Arm]:
        """The arms it needs; a probe needs the one run that it measures.

        Raises:
            LabError: these settings leave nothing to compare, or one is out of its range.
        """
        return list(self.arms(base)) if self.arms else [Arm("", base)]

    def measure(self, runs: Sequence[FinishedRun]) -> Result:
        """Measures its finished runs.

        Raises:
            LabError: they lack something it needs.
        """
        return self.compare(runs) if self.compare else self.probe(runs[0])


@functools.cache
def experiments() -> Mapping[str, Experiment]:
    """All experiments by name, grouped by their origin: one for each file of this folder and of
    those in `_GROUPS`."""
    folders = {__name__: __path__}
    for group in _GROUPS:
        package = importlib.import_module(f"{__name__}.{group}")
        folders[package.__name__] = package.__path__
    modules = [
        f"{name}.{one.name}"
        for name, folder in folders.items()
        for one in pkgutil.iter_modules(folder)
        if not one.ispkg and one.name not in _NOT_EXPERIMENTS
    ]
    found = []
    for module in modules:
        defined = importlib.import_module(module).EXPERIMENT
        assert defined.name == module.rpartition(".")[2].replace("_", "-"), "its name is its file's"
        assert defined.name not in [one.name for one in found], "two experiments of one name"
        found.append(defined)
    found.sort(key=lambda one: (get_args(Origin).index(one.origin), one.name))
    return {one.name: one for one in found}


def experiment(name: str) -> Experiment:
    """One experiment.

    Raises:
        LabError: there is none by that name.
    """
    known = experiments()
    if name not in known:
        raise LabError(f"There is no experiment {name[:80]!r}. There are: {', '.join(known)}.")
    return known[name]

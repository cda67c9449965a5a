"""Experiments that anyone can press: what one is, and all that there are.

An experiment is one file in this folder that defines `EXPERIMENT`; nothing else has to name it. It
is either a probe (it looks at one finished run; a way of decoding is a probe that decodes in its
own way) or a family (it has arms, which are ordinary runs, and compares what became of them).
torch is imported inside the functions that compute: the page lists experiments before torch is up.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import plotly.graph_objects as go

from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.facts.packs import Pack, load_pack
from rotelab.reports.tables import Table
from rotelab.runs.finished_run import FinishedRun

__all__ = ["Arm", "Experiment", "FinishedRun", "Result", "experiment", "experiments", "on_facts"]


class Result(Protocol):
    """What an experiment found: a frozen dataclass of plain values, or of tuples of such.

    It is stored as JSON, so whatever it shows must come from its own fields.
    """

    def tables(self) -> list[Table]:
        """Its figures in rows, n among them."""
        ...

    def figure(self) -> go.Figure:
        """The one picture of it."""
        ...


@dataclass(frozen=True)
class Arm:
    """One run of a family.

    Args:
        label: what tells it from the others.
        config: its settings; a run with the same settings and facts is used, not made again.
        reworded: makes of the facts and wordings that the settings name those that it learns;
            None where it learns them as they are.
    """

    label: str
    config: RunConfig
    reworded: Callable[[Pack], Pack] | None = None

    def pack_of(self, named: Pack) -> Pack:
        """What it learns, of the facts and wordings that its settings name."""
        return self.reworded(named) if self.reworded else named


@dataclass(frozen=True)
class Experiment:
    """One experiment. Either `probe` is given, or both `arms` and `compare`.

    Args:
        name: as on the command line; the name of its file with `-` for `_`.
        title: its heading.
        question: what it asks, in plain words.
        hypothesis: what is expected, and why.
        needs: what it needs, and about how long it takes.
        reading: how its table and figure are read, and what they can't say.
        result: the dataclass that it gives.
        asks: whether it asks the runs' models, and does not read their scores alone: then runs
            whose adapters are elsewhere, say on the machine that they came from, are of no use.
        version: goes up when it measures otherwise; results of two versions are not compared.
        paper: what the paper reports for the same; empty where it does not.
        probe: measures one finished run.
        arms: the runs of the family, from the settings that they have in common.
        compare: measures the arms, finished, in their order.
    """

    name: str
    title: str
    question: str
    hypothesis: str
    needs: str
    reading: str
    result: type
    asks: bool = True
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
        """Whether it makes runs of its own, from the settings of the one that is chosen."""
        return self.probe is None

    def arms_of(self, base: RunConfig) -> list[Arm]:
        """The runs that it needs; a probe needs the one that it looks at.

        Raises:
            LabError: these settings leave nothing to compare, or one is out of its range.
        """
        return list(self.arms(base)) if self.arms else [Arm("", base)]

    def measure(self, subjects: Sequence[FinishedRun]) -> Result:
        """What it finds in its finished runs.

        Raises:
            LabError: they lack what it needs.
        """
        return self.compare(subjects) if self.compare else self.probe(subjects[0])


def on_facts(base: RunConfig, pack: str) -> RunConfig:
    """A run's settings on an experiment's own facts; all of them where it had as many or more.

    Raises:
        LabError: the run has phase 1 alone.
    """
    if base.stages != "two":
        raise LabError("This experiment needs both phases. Choose a run that has two.")
    there = len(load_pack(pack).facts)
    return replace(base, pack=pack, facts=base.facts if base.facts < there else 0)


@functools.cache
def experiments() -> Mapping[str, Experiment]:
    """All experiments by name: every file of this folder that defines `EXPERIMENT`."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        defined = getattr(importlib.import_module(f"{__name__}.{module.name}"), "EXPERIMENT", None)
        if defined is not None:
            assert defined.name == module.name.replace("_", "-"), "its name is its file's"
            found[defined.name] = defined
    return found


def experiment(name: str) -> Experiment:
    """One experiment.

    Raises:
        LabError: there is none by that name.
    """
    known = experiments()
    if name not in known:
        raise LabError(f"There is no experiment {name[:80]!r}. There are: {', '.join(known)}.")
    return known[name]

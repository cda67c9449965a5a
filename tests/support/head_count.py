"""An experiment of one small file that measures nothing: it counts the facts of a run."""

import sys

import pytest

import rotelab.experiments as experiments_package
from rotelab.experiments import experiments

TINY = '''
"""Experiment: how many facts a run has."""
from dataclasses import dataclass
import plotly.graph_objects as go
from rotelab.experiments import Experiment, Table

@dataclass(frozen=True)
class Count:
    facts: int
    shares: tuple[float, ...]
    def tables(self):
        return [Table("Facts", ("n",), ((self.facts,),))]
    def figure(self):
        return go.Figure(go.Bar(y=[self.facts]))

def measure(finished):
    finished.watch(0.5, "counting")
    return Count(len(finished.pack.facts), (0.5, float("nan")))

EXPERIMENT = Experiment(
    name="head-count", title="Head count", question="How many?", hypothesis="Some.",
    needs="any finished run.", reading="Count them.", result=Count, probe=measure,
)
'''


@pytest.fixture
def one_more(tmp_path, monkeypatch):
    """An experiment of one file, in a folder that the package looks into as well."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "head_count.py").write_text(TINY)
    paths = [*experiments_package.__path__, str(folder)]
    monkeypatch.setattr(experiments_package, "__path__", paths)
    experiments.cache_clear()
    yield
    experiments.cache_clear()
    sys.modules.pop("rotelab.experiments.head_count", None)

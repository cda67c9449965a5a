"""The paper's whole table as sweeps: one for each model, with what a run needs on a card.

Rounds, k and numbers of wordings are the paper's (sections 3 and 4). Hours are estimates from runs
of the embedded model on an H100 (docs/log/gpu.md): what Python needs for each layer and step, and
the arithmetic of the tokens read. Nothing larger was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rotelab.config.option_paths import with_values
from rotelab.config.run_config import EMBEDDED, RunConfig
from rotelab.config.sweep_grid import Axes, grid
from rotelab.errors import LabError
from rotelab.facts.packs import Pack
from rotelab.models.catalogue import CATALOGUE
from rotelab.models.preflight.memory import GB, Shape, memory_needed, shape_of_model
from rotelab.runs.cluster.options import ClusterOptions
from rotelab.runs.lab import Lab
from rotelab.runs.progress import tokens_to_read

AXES: Axes = {
    "pack": ["author", "capital", "educated_at", "genre", "mother"],
    "memorize.epochs": [3, 6, 10, 20],
    "generalize.k": [1, 10, 50],
    "generalize.wordings": [1, 10],
    "seed": [0, 1, 2],
}
"""The paper's relations, rounds of rote, facts taught in words (k), wordings (p); three seeds."""

PLANS = ("paper",)

LAYER_STEP_S = 0.02
"""Seconds that a step takes for each layer on an H100 however small the model: 260 steps of the
embedded model's 30 layers take some 150 s."""

CARD_FLOPS = 1e14
"""Arithmetic a second that is counted on, a tenth of an H100's in bfloat16."""

ESTIMATED = (
    "Times are estimated for an H100, from runs of a small model; no larger one was measured, and "
    "loading it is not counted. Where a card is slower, give --time."
)

LEAST_MIN = 30
"""The shortest time that is asked for, in minutes: loading a large model and finding the directions
of ordinary text in it, are not in the estimate."""

SPARE = 1.5
"""How much more time and memory is asked for than is estimated."""


@dataclass(frozen=True)
class Part:
    """One model's runs.

    Args:
        base: the settings that its runs have in common.
        runs: how many there are.
        hours: of the longest run, estimated.
        total_hours: of all runs one after the other.
        memory_gb: that a run needs on its card.
    """

    base: RunConfig
    runs: int
    hours: float
    total_hours: float
    memory_gb: float

    @property
    def model(self) -> str:
        """The model's name."""
        return self.base.model.name

    def options(self, asked: ClusterOptions) -> ClusterOptions:
        """What is asked of a cluster for each of its runs, where the user says nothing else."""
        return replace(
            asked,
            time_min=asked.time_min or max(LEAST_MIN, math.ceil(SPARE * 60 * self.hours)),
            gpus=asked.gpus or int(asked.engine == "slurm"),
            cpus=asked.cpus or 4,
            memory_gb=asked.memory_gb or math.ceil(SPARE * self.memory_gb),
        )


def paper_plan(lab: Lab, base: RunConfig) -> list[Part]:
    """The paper's models, each with its runs.

    Args:
        lab: has the packs.
        base: what all runs have in common; a model other than the embedded one is the only one.

    Raises:
        LabError: the model's shape is not known.
    """
    names = [entry.name for entry in CATALOGUE if entry.name != EMBEDDED]
    if base.model.name != EMBEDDED:
        names = [base.model.name]
    return [_part(lab, with_values(base, {"model.name": name})) for name in names]


def table(parts: Sequence[Part]) -> list[tuple[str, int, str, str, str]]:
    """The plan in rows: model, runs, minutes of the longest run, hours of all, memory."""
    rows = [
        (p.model, p.runs, f"{60 * p.hours:.0f}", f"{p.total_hours:.0f}", f"{p.memory_gb:.0f} GB")
        for p in parts
    ]
    runs, hours = sum(p.runs for p in parts), sum(p.total_hours for p in parts)
    return [*rows, ("all", runs, "", f"{hours:.0f}", "")]


def _part(lab: Lab, base: RunConfig) -> Part:
    shape = shape_of_model(base.model.name)
    if shape is None:
        raise LabError(
            f"The size of {base.model.name} is not known here, so its hours can't be estimated. "
            "Load it once, or make a sweep without --plan."
        )
    configs = grid(AXES, base)
    packs = {name: lab.find_pack(name) for name in AXES["pack"]}
    hours = [_hours(config, packs[config.pack], shape) for config in configs]
    needed = max(memory_needed(shape, config, half=True).total for config in configs) / GB
    return Part(base, len(configs), max(hours), sum(hours), needed)


def _hours(config: RunConfig, pack: Pack, shape: Shape) -> float:
    count = len(pack.facts)
    steps = config.memorize.epochs * math.ceil(count / config.memorize.batch_size)
    steps += config.generalize.steps(config.generalize.k * len(pack.facts.relations))
    tokens = sum(tokens_to_read(config, pack).values())
    arithmetic = 6 * shape.parameters * tokens / CARD_FLOPS
    return (steps * shape.layers * LAYER_STEP_S + arithmetic) / 3600

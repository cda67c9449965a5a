"""Reuses the work of other runs: phase 1 and answers within a sweep, finished runs in a sweep.

Runs whose settings differ in phase 2 alone have the same phase 1: its adapter, curves and times are
copied. Answers of the base or the memorised model are copied only where the same questions were put
to the same weights: another k holds out other facts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from safetensors import SafetensorError, safe_open

from rotelab.config.names import Checkpoint
from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, RunConfig
from rotelab.errors import LabError
from rotelab.models.adapter_files import check_adapter, copy_adapter
from rotelab.registry import Registry, RunRow
from rotelab.runs.lab import Lab
from rotelab.runs.sweeps import unfinished_runs
from rotelab.storage import Storage, adapter_folder, has_adapter, link_or_copy, states_file

log = logging.getLogger("rotelab.runs.reuse")

Asked = Sequence[tuple[str, int, str]]
"""Probe, fact index and text of every question."""

Views = Sequence[tuple[str, str, int, str]]
"""Relation, role, fact index and text of every prompt whose hidden states are looked at."""


@dataclass(frozen=True)
class Reused:
    """The work that was reused.

    Args:
        phase1_from: the run whose phase 1 was copied; empty where none was.
        evaluations: the checkpoints whose answers were copied.
    """

    phase1_from: str = ""
    evaluations: tuple[Checkpoint, ...] = ()

    @property
    def words(self) -> str:
        """The same for the run's log; empty where nothing was reused."""
        parts = [f"phase 1 taken from run {self.phase1_from}"] if self.phase1_from else []
        parts += [f"answers of the {c} model reused" for c in self.evaluations]
        text = ", ".join(parts)
        return text[:1].upper() + text[1:]


def reuse_work(
    registry: Registry, storage: Storage, run_id: str, asked: Asked, views: Views
) -> Reused:
    """Copies the parts of this run's work that other runs of its sweep have done already.

    Does nothing to a run without a sweep, and nothing for parts that are done. Each part is copied
    whole or not at all, so that an interruption does no harm.

    Args:
        registry: has the runs.
        storage: says where their files are.
        run_id: the run, its device known.
        asked: the questions it will ask.
        views: the prompts whose hidden states it will take.

    Raises:
        LabError: the registry can't be read or written.
    """
    run = registry.run(run_id)
    if run.sweep_id is None:
        return Reused()
    others = list(_comparable(run, registry.sweep_runs(run.sweep_id)))
    origin = ""
    if not has_adapter(storage, run_id, "memorized"):
        origin = _take_phase1(registry, storage, run, others)
    run = registry.run(run_id)
    taken: list[Checkpoint] = []
    for checkpoint in ("base", "memorized"):
        if checkpoint in registry.scores(run_id):
            continue
        for other in others:
            if not _same_weights(checkpoint, run, other):
                continue
            if _take_evaluation(registry, storage, run_id, other.id, checkpoint, asked, views):
                taken.append(checkpoint)
                break
    done = Reused(origin, tuple(taken))
    if done.words:
        log.info("%s", done.words)
    return done


def _comparable(run: RunRow, candidates: Sequence[RunRow]) -> Iterator[RunRow]:
    """The other runs with the same facts, device and base model."""
    mine = _without_training(run.config)
    for other in candidates:
        same = (other.content_hash, other.device_used) == (run.content_hash, run.device_used)
        if other.id == run.id or not same:
            continue
        try:
            if _without_training(other.config) == mine:
                yield other
        except LabError:  # its settings are damaged
            continue


def _take_phase1(
    registry: Registry, storage: Storage, run: RunRow, others: Sequence[RunRow]
) -> str:
    mine = _without_phase2(run.config)
    # Runs that did phase 1 themselves come first.
    for other in sorted(others, key=lambda o: o.shared_phase1_from is not None):
        folder = adapter_folder(storage, other.id, "memorized")
        there = has_adapter(storage, other.id, "memorized")
        if _without_phase2(other.config) != mine or not there:
            continue
        try:
            check_adapter(folder)
        except LabError:  # damaged: this run learns by itself
            continue
        origin = other.shared_phase1_from or other.id
        # The adapter comes last: it marks phase 1 as done.
        registry.take_phase1(run.id, other.id, origin)
        registry.add_seconds(run.id, "phase1", 0.0)
        about = {"run": run.id, "shared_phase1_from": origin}
        copy_adapter(folder, adapter_folder(storage, run.id, "memorized"), about)
        return origin
    registry.own_phase1(run.id)  # a phase 1 reused before an interruption may be gone
    return ""


def _take_evaluation(
    registry: Registry,
    storage: Storage,
    run_id: str,
    other: str,
    checkpoint: Checkpoint,
    asked: Asked,
    views: Views,
) -> bool:
    source = states_file(storage, other, checkpoint)
    if checkpoint not in registry.scores(other) or _views_of(source) != [list(v) for v in views]:
        return False
    found = registry.predictions(other, checkpoint, limit=-1)
    if sorted((p.probe, p.fact_index, p.prompt) for p in found) != sorted(asked):
        return False
    target = states_file(storage, run_id, checkpoint)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    link_or_copy(source, target)
    # The scores come last: they mark the checkpoint as evaluated.
    registry.take_evaluation(run_id, other, checkpoint)
    return True


def _same_weights(checkpoint: Checkpoint, run: RunRow, other: RunRow) -> bool:
    """Whether both runs' models are the same at a checkpoint, to the bit."""
    if checkpoint == "base":
        return True
    origins = [r.shared_phase1_from or r.id for r in (run, other)]
    return origins[0] == origins[1] and _without_phase2(run.config) == _without_phase2(other.config)


def _views_of(path) -> list[list] | None:
    try:
        with safe_open(path, framework="numpy") as file:
            return json.loads(file.metadata()["views"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def _without_phase2(config: RunConfig) -> RunConfig:
    return replace(config, generalize=GeneralizeConfig())


def _without_training(config: RunConfig) -> RunConfig:
    return replace(config, generalize=GeneralizeConfig(), memorize=MemorizeConfig())


def adopt_finished_runs(lab: Lab, sweep_id: str) -> list[str]:
    """Replaces queued runs of a sweep by finished runs that belong to no sweep.

    So a sweep can be split between machines: runs made elsewhere are imported, not made again.

    Returns:
        The ids of the runs that were added; their settings and facts are those of the sweep.

    Raises:
        LabError: the registry can't be read or written.
    """
    taken = []
    for run in unfinished_runs(lab, sweep_id):
        if run.status == "queued":
            made = lab.registry.same_run(run.config, run.content_hash, free=True)
            if made and lab.registry.join_sweep(run.id, made):
                taken.append(made)
    return taken

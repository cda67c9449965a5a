"""What a run of a sweep takes over from another run of it, instead of doing the same again.

Phase 1 is the same wherever all but the settings of phase 2 is the same: its adapter, its curves
and its times are taken over. What the base or the memorised model answered is taken over only where
the very same questions were asked of the very same weights: another k holds out other facts.
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
from rotelab.storage import Storage, adapter_folder, link_or_copy, states_file

log = logging.getLogger("rotelab.runs.reuse")

Asked = Sequence[tuple[str, int, str]]
"""Probe, fact index and text of every question."""

Views = Sequence[tuple[str, str, int, str]]
"""Relation, role, fact index and text of every prompt whose hidden states are looked at."""


@dataclass(frozen=True)
class Taken:
    """What was taken over.

    Args:
        phase1_from: the run that learned phase 1 for this one too; empty where none did.
        evaluations: the checkpoints whose answers were taken over.
    """

    phase1_from: str = ""
    evaluations: tuple[Checkpoint, ...] = ()

    @property
    def words(self) -> str:
        """The same for the run's log; empty where nothing was taken over."""
        parts = [f"phase 1 taken from run {self.phase1_from}"] if self.phase1_from else []
        parts += [f"answers of the {c} model taken over" for c in self.evaluations]
        text = ", ".join(parts)
        return text[:1].upper() + text[1:]


def take_over(
    registry: Registry, storage: Storage, run_id: str, asked: Asked, views: Views
) -> Taken:
    """Takes over what other runs of the same sweep have done of this run's work, and nothing else.

    Does nothing to a run without a sweep, nor again what is there already. Each part is either
    there as a whole afterwards or not at all, so an interruption does no harm.

    Args:
        registry: has the runs.
        storage: says where their files are.
        run_id: the run, its device known.
        asked: the questions that it is to ask.
        views: the prompts whose hidden states it is to look at.

    Raises:
        LabError: the registry can't be read or written.
    """
    run = registry.run(run_id)
    if run.sweep_id is None:
        return Taken()
    others = list(_comparable(run, registry.sweep_runs(run.sweep_id)))
    origin = ""
    if not (adapter_folder(storage, run_id, "memorized") / "meta.json").is_file():
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
    done = Taken(origin, tuple(taken))
    if done.words:
        log.info("%s", done.words)
    return done


def _comparable(run: RunRow, candidates: Sequence[RunRow]) -> Iterator[RunRow]:
    """The other runs on the same facts and device whose base model answers alike."""
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
    # Those that did it themselves come first.
    for other in sorted(others, key=lambda o: o.shared_phase1_from is not None):
        folder = adapter_folder(storage, other.id, "memorized")
        if _without_phase2(other.config) != mine or not (folder / "meta.json").is_file():
            continue
        try:
            check_adapter(folder)
        except LabError:  # damaged: whoever can't share learns by itself
            continue
        origin = other.shared_phase1_from or other.id
        # The adapter comes last: it is what says that phase 1 is done.
        registry.take_phase1(run.id, other.id, origin)
        registry.add_seconds(run.id, "phase1", 0.0)
        about = {"run": run.id, "shared_phase1_from": origin}
        copy_adapter(folder, adapter_folder(storage, run.id, "memorized"), about)
        return origin
    registry.own_phase1(run.id)  # what was to be shared before an interruption may be gone
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
    # The scores come last: they are what says that the checkpoint was asked.
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

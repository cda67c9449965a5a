"""A finished run: its settings, facts, scores and checkpoints, and its model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rotelab.config.names import (
    CHECKPOINTS,
    MOST_LESSONS,
    Checkpoint,
    adapter_of,
    checkpoints_with,
)
from rotelab.config.run_config import ModelSpec, RunConfig
from rotelab.errors import LabError
from rotelab.evaluation.results import Score
from rotelab.facts.facts import Split
from rotelab.facts.packs import Pack
from rotelab.registry import Registry, RunRow
from rotelab.storage import Storage, adapter_folder, has_adapter

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel

Watch = Callable[[float, str], None]
"""Told the share of the work that is done, and what is being done."""


@dataclass(frozen=True)
class FinishedRun:
    """One finished run.

    Args:
        run: its row.
        scores: its scores by checkpoint and probe.
        storage: knows where its adapters are.
        label: its arm's label; empty for the one run of a probe.
        watch: told how far the measuring is; raises KeyboardInterrupt to stop it.
    """

    run: RunRow
    scores: Mapping[str, Mapping[str, Score]]
    storage: Storage
    label: str = ""
    watch: Watch = lambda share, words: None

    @cached_property
    def config(self) -> RunConfig:
        """Its settings."""
        return self.run.config

    @cached_property
    def pack(self) -> Pack:
        """Its facts and prompts, frozen when it was made."""
        return self.run.pack

    @cached_property
    def split(self) -> Split:
        """Which of its facts phase 2 taught in words, and which it did not."""
        return self.config.split(self.pack.facts)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints whose adapters are on this machine."""
        return saved_checkpoints(self.storage, self.run.id)

    @contextmanager
    def model(self) -> Iterator[LabModel]:
        """Its model with all adapters, for a `with` block.

        Raises:
            LabError: adapters are missing or damaged, or the base model is not available.
        """
        missing = [c for c in CHECKPOINTS if c not in self.checkpoints]
        if missing:
            raise LabError(
                f"Run {self.run.id} has no adapters on this machine for: {', '.join(missing)}. "
                "Choose a finished run that has them, or start a new one with its settings."
            )
        self.watch(0.0, "loading the model")
        yield load_run_model(self.storage, self.run, self.checkpoints)


def saved_checkpoints(storage: Storage, run_id: str) -> list[Checkpoint]:
    """The checkpoints whose adapters are on this machine; each needs those before it."""
    found: list[Checkpoint] = []
    for checkpoint in checkpoints_with(MOST_LESSONS):
        if checkpoint != "base" and not has_adapter(storage, run_id, checkpoint):
            break
        found.append(checkpoint)
    return found


def load_run_model(
    storage: Storage,
    run: RunRow,
    checkpoints: Sequence[Checkpoint],
    spec: ModelSpec | None = None,
) -> LabModel:
    """A run's base model with the adapters of the given checkpoints attached.

    torch is imported here, when a model is first needed.

    Args:
        storage: says where the adapters are.
        run: the run's row.
        checkpoints: in their order; `base` needs no adapter.
        spec: the model, its device and precision; the run's own when None.

    Raises:
        LabError: an adapter is missing or damaged, or the base model is not available.
    """
    from rotelab.models.adapter_files import load_adapter
    from rotelab.models.loading import load_model

    config = run.config
    relations = [relation.name for relation in run.pack.facts.relations]
    model = load_model(spec or config.model, relations, config.seed, method=config.method)
    for checkpoint in checkpoints:
        if checkpoint != "base":
            folder = adapter_folder(storage, run.id, checkpoint)
            load_adapter(model, adapter_of(checkpoint), folder)
    return model


def training_comes_first(registry: Registry, device: str) -> None:
    """Refuses a second model on a GPU where a run is training: both may not fit. On a CPU both
    continue, only slower.

    Args:
        registry: knows what is training.
        device: as it is written in a run's settings, such as `auto`.

    Raises:
        LabError: a run is training on a device without memory for another model.
    """
    live = registry.live_runs()
    if not live:
        return
    from rotelab.models.loading import pick_device

    if pick_device(device).type != "cpu":
        raise LabError(
            f"The run {live[0].id} is training on this device, so there is no room for another "
            "model. Try again when it has ended, or stop it."
        )

"""A finished run as an experiment gets it: its settings, facts and scores, and its model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rotelab.config.names import CHECKPOINTS, Checkpoint
from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.evaluation.results import Score
from rotelab.facts.facts import Split
from rotelab.facts.packs import Pack
from rotelab.registry import RunRow
from rotelab.storage import Storage, adapter_folder

if TYPE_CHECKING:
    from rotelab.models.lora import LabModel

Watch = Callable[[float, str], None]
"""Told the share of the measuring that is done, and what is being done."""


@dataclass(frozen=True)
class Subject:
    """One finished run.

    Args:
        run: its row.
        scores: what was measured at its end, by checkpoint and probe.
        settings: says where its adapters are.
        label: the arm that it is; empty for a probe's one run.
        watch: to be told how far the measuring is; raises KeyboardInterrupt where it is to stop.
    """

    run: RunRow
    scores: Mapping[str, Mapping[str, Score]]
    settings: Storage
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
        return self.pack.facts.split(self.config.generalize.k, self.config.seed)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints that can be asked here, as far as its adapters are saved."""
        trained = [c for c in CHECKPOINTS if c != "base"]
        folders = {c: adapter_folder(self.settings, self.run.id, c) for c in trained}
        return ["base", *(c for c, at in folders.items() if (at / "meta.json").is_file())]

    @contextmanager
    def model(self) -> Iterator[LabModel]:
        """Its model with all adapters, for the length of a block.

        Raises:
            LabError: adapters are missing or damaged, or the base model can't be had.
        """
        from rotelab.config.names import ADAPTER_OF
        from rotelab.models.adapter_files import load_adapter
        from rotelab.models.loading import load_model

        missing = [c for c in CHECKPOINTS if c not in self.checkpoints]
        if missing:
            raise LabError(
                f"Run {self.run.id} has no adapters on this machine for: {', '.join(missing)}. "
                "Choose a finished run that has them, or start a new one with its settings."
            )
        self.watch(0.0, "loading the model")
        config = self.config
        relations = [relation.name for relation in self.pack.facts.relations]
        model = load_model(config.model, relations, config.seed, method=config.method)
        for checkpoint, adapter in ADAPTER_OF.items():
            load_adapter(model, adapter, adapter_folder(self.settings, self.run.id, checkpoint))
        yield model

"""A run's model as plain PyTorch, for hooks of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rotelab.config.names import Checkpoint
from rotelab.errors import LabError
from rotelab.evaluation.judging.questions import Query
from rotelab.models.forward import bare
from rotelab.runs.asking.prompts import prompt_ids
from rotelab.runs.finished_run import load_run_model, saved_checkpoints, training_comes_first

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel
    from rotelab.registry import RunRow
    from rotelab.runs.lab import Lab


@dataclass(frozen=True)
class HookedModel:
    """A run's model with one checkpoint's adapters on.

    Args:
        model: the causal language model of transformers, adapters inside its layers; call it as
            `model(input_ids)`. Its parameters take no gradients, inputs may.
        tokenizer: its tokenizer, key tokens included.
        checkpoint: whose adapters are on.
        lab_model: rotelab's own wrapper; its names may change.
    """

    model: nn.Module
    tokenizer: Any
    checkpoint: Checkpoint
    lab_model: LabModel

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The transformer layers, from below; a layer's output is the residual stream after it.

        Raises:
            LabError: the model has them in a way that is not known.
        """
        count = self.lab_model.layers
        for module in self.model.modules():
            if isinstance(module, nn.ModuleList) and len(module) == count:
                return list(module)
        raise LabError(f"No list of {count} layers was found. Look for them with named_modules().")

    def encode(self, text: str) -> torch.Tensor:
        """Token ids of a prompt, `[1, tokens]`, as chat and evaluation ask it.

        Args:
            text: words, or `Mary Bahri [mother]`, which ends with the key token.
        """
        ids = prompt_ids(self.lab_model, Query.parse(text, self.lab_model.relations))
        return torch.tensor([ids], device=self.lab_model.device)

    def decode(self, ids: Any) -> str:
        """The text of token ids."""
        return self.tokenizer.decode(ids)


@contextmanager
def hooked(lab: Lab, run: RunRow, checkpoint: Checkpoint) -> Iterator[HookedModel]:
    """A run's model with a checkpoint active, loaded for the block alone; see `Run.hooked`.

    Raises:
        LabError: the run has no such checkpoint on this machine, or the model can't be loaded.
    """
    there = saved_checkpoints(lab.storage, run.id)
    if checkpoint not in there:
        raise LabError(
            f"Run {run.id} has no {checkpoint} checkpoint on this machine. It has: "
            f"{', '.join(there)}."
        )
    training_comes_first(lab.registry, run.config.model.device)
    model = load_run_model(lab.storage, run, there)
    model.use(checkpoint)
    with model.switched(checkpoint):  # for the base model, adapters are off only in this block
        yield HookedModel(bare(model.network), model.tokenizer, checkpoint, model)

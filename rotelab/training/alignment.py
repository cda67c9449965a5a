"""Alignment loss of phase 2: a question's hidden states are drawn to those at the key token.

The model knows by rote what follows `subject KEY`, so the memorised model's hidden states there can
teach every layer, whereas the object's few tokens teach only through the last (hidden-state
distillation). The paper sees the two states grow alike by themselves (section 5); this loss asks
for it (docs/log/alignment.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rotelab.facts.facts import Fact, FactSet
from rotelab.models.lab_model import LabModel
from rotelab.models.packing import pack
from rotelab.models.tokens import Example
from rotelab.training import losses

BATCH = 32


class AlignmentLoss:
    """How far questions' hidden states are from those at the key token.

    The teacher's states are computed once: phase 2 does not change the memorised model.

    Args:
        model: has its `memorize` adapter trained.
        facts: all facts, for their indices.
        held_in: the facts that are taught in words; no other fact is read.
        layers: 0-based layers whose outputs are compared; all when None.
        weight: of the term in the loss.
    """

    def __init__(
        self,
        model: LabModel,
        facts: FactSet,
        held_in: Sequence[Fact],
        layers: Sequence[int] | None,
        weight: float,
    ):
        self.layers = list(range(model.layers)) if layers is None else list(layers)
        self.weight = weight
        index = {fact: i for i, fact in enumerate(facts)}
        self._teacher: dict[int, torch.Tensor] = {}
        with model.using("memorized"):
            for start in range(0, len(held_in), BATCH):
                batch = held_in[start : start + BATCH]
                packed = pack([model.builder.key_prompt(f.subject, f.relation) for f in batch])
                last = torch.tensor([nodes[-1] for nodes in packed.nodes])
                _, out = model.forward(packed, last[:1], output_hidden_states=True)
                for fact, state in zip(batch, self._states(out, last), strict=True):
                    self._teacher[index[fact]] = state

    def __call__(self, examples: Sequence[Example], nodes: Sequence, out) -> torch.Tensor | None:
        """`losses.alignment` of a step's examples in words, before its weight.

        Args:
            examples: of the step; only those of kind `train` count.
            nodes: the nodes of each example's tokens in the packed row.
            out: the decoder's output, hidden states included.

        Returns:
            A scalar; None if no example counts.
        """
        questions = [
            (places[example.object_span[0] - 1], example.fact)
            for example, places in zip(examples, nodes, strict=False)
            if example.kind == "train"
        ]
        if not questions:
            return None
        states = self._states(out, torch.tensor([place for place, _ in questions]))
        teacher = torch.stack([self._teacher[fact] for _, fact in questions])
        return losses.alignment(states, teacher)

    def _states(self, out, places: torch.Tensor) -> torch.Tensor:
        """Outputs of the compared layers at nodes of a packed row, `[nodes, layers, hidden]`."""
        # The first of the hidden states is the embedding, before any layer.
        chosen = [out.hidden_states[layer + 1][0, places] for layer in self.layers]
        return torch.stack(chosen, 1).float()

"""Likeness: in phase 2, a question's inner state is drawn to the one behind the key token.

What follows `subject KEY` is known by rote, so the memorised model's hidden states there are a
teacher for every layer, where the object's few tokens are one for the last alone. The paper sees
the two states grow alike by themselves (section 5); here that is asked for (docs/log/alignment.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from rotelab.facts.facts import Fact, FactSet
from rotelab.models.lab_model import LabModel
from rotelab.models.packing import pack
from rotelab.models.tokens import Example

BATCH = 32


class Likeness:
    """How far questions' inner states are from those behind the key token.

    The teacher's states are read once: phase 2 leaves the memorised model as it is.

    Args:
        model: the memorised model.
        facts: all facts, for their indices.
        held_in: the facts that are taught in words; no other is looked at.
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
        self._wanted: dict[int, torch.Tensor] = {}
        with model.using("memorized"):
            for start in range(0, len(held_in), BATCH):
                batch = held_in[start : start + BATCH]
                packed = pack([model.builder.key_prompt(f.subject, f.relation) for f in batch])
                last = torch.tensor([nodes[-1] for nodes in packed.nodes])
                _, out = model.forward(packed, last[:1], output_hidden_states=True)
                for fact, state in zip(batch, self._states(out, last), strict=True):
                    self._wanted[index[fact]] = state

    def apart(self, examples: Sequence[Example], nodes: Sequence, out) -> torch.Tensor | None:
        """1 - cosine similarity, mean over layers and questions; None where nothing is asked.

        Args:
            examples: of the step; those in words (`train`) count.
            nodes: where each example's tokens lie in the packed row.
            out: the decoder's output, hidden states included.

        Returns:
            A scalar, 0 (alike) to 2.
        """
        asked = [
            (places[example.object_span[0] - 1], example.fact)
            for example, places in zip(examples, nodes, strict=False)
            if example.kind == "train"
        ]
        if not asked:
            return None
        states = self._states(out, torch.tensor([place for place, _ in asked]))
        wanted = torch.stack([self._wanted[fact] for _, fact in asked])
        return (1 - F.cosine_similarity(states, wanted, dim=-1)).mean()

    def _states(self, out, places: torch.Tensor) -> torch.Tensor:
        """Outputs of the compared layers at nodes of a packed row, `[nodes, layers, hidden]`."""
        # The first of the hidden states is the embedding, before any layer.
        chosen = [out.hidden_states[layer + 1][0, places] for layer in self.layers]
        return torch.stack(chosen, 1).float()

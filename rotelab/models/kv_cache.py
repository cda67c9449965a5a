"""A packed row that grows: what was computed for a prompt is shared by all that comes after it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from rotelab.models.lab_model import LabModel
from rotelab.models.packing import Packed


class PackedCache:
    """A packed row whose keys and values are kept, so that tokens can be put behind any node.

    Args:
        model: switched to the checkpoint to ask, and not switched while the row is in use.
        packed: the first nodes, numbered as `Packed.nodes` has them; later ones count on.
    """

    def __init__(self, model: LabModel, packed: Packed):
        self.model = model
        self._first = packed
        self._cache = DynamicCache()
        self._positions: list[int] = packed.positions[0].tolist()
        self._sees = packed.mask[0, 0]

    def __len__(self) -> int:
        """Number of nodes."""
        return len(self._positions)

    def start(self, keep: Sequence[int]) -> torch.Tensor:
        """Computes the first nodes.

        Args:
            keep: the nodes whose logits are wanted.

        Returns:
            `[keep, vocabulary]` float32.
        """
        return self._pass(self._first, keep)

    def grow(
        self, tokens: Sequence[int], parents: Sequence[int], keep: Sequence[int] | None = None
    ) -> torch.Tensor:
        """Puts tokens behind nodes; the new nodes are numbered on in their order.

        Args:
            tokens: their ids, `[new]`.
            parents: the node that each stands behind, maybe a new one before it, `[new]`.
            keep: which of the new nodes' logits are wanted, counted from 0; all when None.

        Returns:
            `[keep, vocabulary]` float32.
        """
        old, new = len(self), len(tokens)
        self._sees = torch.nn.functional.pad(self._sees, (0, new, 0, new))
        for node, parent in enumerate(parents, old):
            self._sees[node] = self._sees[parent]
            self._sees[node, node] = True
            self._positions.append(self._positions[parent] + 1)
        packed = Packed(
            torch.tensor([list(tokens)]),
            torch.tensor([self._positions[old:]]),
            self._sees[None, None, old:],
            (),
        )
        return self._pass(packed, range(new) if keep is None else keep)

    def cut(self, length: int) -> None:
        """Forgets all nodes but the first `length`."""
        if length < len(self):
            self._cache.crop(length - len(self))  # as many from the end
            self._positions = self._positions[:length]
            self._sees = self._sees[:length, :length]

    def _pass(self, packed: Packed, keep: Sequence[int]) -> torch.Tensor:
        options = {"past_key_values": self._cache, "use_cache": True}
        with torch.inference_mode():
            logits, _ = self.model.forward(packed, torch.tensor(list(keep)), **options)
        return logits.float()

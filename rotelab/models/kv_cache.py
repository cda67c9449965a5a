"""KV cache for a packed row; continuations share their prompt's keys and values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from rotelab.models.lab_model import LabModel
from rotelab.models.packing import Packed


class PackedCache:
    """A packed row with cached keys and values, so that tokens can follow any of its nodes.

    Args:
        model: switched to the checkpoint to ask, and not switched while the cache is in use.
        packed: the first nodes, numbered as in `Packed.nodes`; later ones continue the numbering.
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
        """Adds a node for each token, numbered in their order.

        Args:
            tokens: their ids, `[new]`.
            parents: the node that each follows, which may be a new one before it, `[new]`.
            keep: the new nodes whose logits are wanted, counted from 0; all when None.

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
        """Removes all nodes but the first `length`."""
        if length < len(self):
            self._cache.crop(length - len(self))  # negative: removes that many from the end
            self._positions = self._positions[:length]
            self._sees = self._sees[:length, :length]

    def _pass(self, packed: Packed, keep: Sequence[int]) -> torch.Tensor:
        everywhere = torch.tensor(self._positions, device=self.model.device)
        options = {
            "past_key_values": self._cache,
            "use_cache": True,
            "key_positions": everywhere,
        }
        with torch.inference_mode():
            logits, _ = self.model.forward(packed, torch.tensor(list(keep)), **options)
        return logits.float()

"""The base model's logits after locality sentences, computed ahead of training.

Which sentences a phase reads is known from its seed, many come twice, and the base model does not
change: each is computed once, in large batches, in place of a small pass in every step
(docs/log/step-time.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch

from rotelab.models import threads
from rotelab.models.lab_model import LabModel
from rotelab.models.packing import pack

BATCH_TOKENS = 512
"""Tokens of a pass."""

LIMIT_BYTES = 512 * 1024**2
"""Most memory for logits; a phase with more sentences computes them in its steps."""

Prompt = tuple[int, ...]


class BaseLogits:
    """The base model's logits at the ends of prompts, kept in the precision they come in.

    Args:
        model: its checkpoint `base` is asked.
        limit: most bytes to keep.
    """

    def __init__(self, model: LabModel, limit: int = LIMIT_BYTES):
        self._model, self._limit = model, limit
        self._rows: dict[Prompt, int] = {}
        self._logits: torch.Tensor | None = None

    @torch.no_grad()
    def find(self, prompts: Iterable[Sequence[int]]) -> None:
        """Computes the logits of all these prompts; nothing where they would take too much memory.

        Args:
            prompts: token ids; repeated ones are computed once.
        """
        # Sorted, because packing computes a beginning that neighbours share only once.
        distinct = sorted({tuple(prompt) for prompt in prompts})
        found: list[torch.Tensor] = []
        for batch in _batches(distinct):
            threads.CORES.adjust()
            packed = pack(batch)
            keep = torch.tensor([nodes[-1] for nodes in packed.nodes], dtype=torch.long)
            logits = self._model.forward(packed, keep, checkpoint="base")[0]
            if not found and logits[0].nbytes * len(distinct) > self._limit:
                return
            found.append(logits)
        if found:
            self._logits = torch.cat(found)
            self._rows = {prompt: row for row, prompt in enumerate(distinct)}

    def of(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor | None:
        """The logits of some prompts, `[prompts, vocabulary]` in float32; None if one was not
        computed."""
        rows = [self._rows.get(tuple(prompt)) for prompt in prompts]
        if self._logits is None or None in rows:
            return None
        return self._logits[rows].float()


def _batches(prompts: Sequence[Prompt]) -> Iterator[list[Prompt]]:
    """The prompts in order, in lists of at most `BATCH_TOKENS` tokens."""
    batch: list[Prompt] = []
    for prompt in prompts:
        if batch and sum(map(len, batch)) + len(prompt) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(prompt)
    if batch:
        yield batch

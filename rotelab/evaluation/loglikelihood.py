"""Log-likelihood of objects after prompts, many in one packed pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from rotelab.models.lab_model import LabModel
from rotelab.models.packing import pack_many
from rotelab.models.tokens import Example


@dataclass(frozen=True)
class Scored:
    """The score of one example's object.

    Args:
        log_probabilities: of each object token given the gold tokens before it, `[object]`, nats.
        greedy: the model's first choice at each of these places and at the one after, `[object+1]`.
    """

    log_probabilities: tuple[float, ...]
    greedy: tuple[int, ...]


def score(
    model: LabModel, examples: Sequence[Example], batch_tokens: int
) -> Iterator[list[tuple[int, Scored]]]:
    """Scores every example's object in the model's current checkpoint.

    The beginnings that examples share are computed once, so a hundred questions about a hundred
    people cost less than their sum.

    Args:
        model: switched to the checkpoint to ask.
        examples: prompts with their objects.
        batch_tokens: nodes per pass.

    Yields:
        One list a pass: the examples' indices and their scores.
    """
    sequences = [example.ids[: example.object_span[1]] for example in examples]
    for indices, packed in pack_many(sequences, batch_tokens):
        spans = []
        keep: dict[int, int] = {}
        for index, nodes in zip(indices, packed.nodes, strict=True):
            start, stop = examples[index].object_span
            span = nodes[start - 1 : stop]
            spans.append([keep.setdefault(node, len(keep)) for node in span])
        with torch.inference_mode():
            logits = model.forward(packed, torch.tensor(list(keep)))[0].float()
            best = logits.argmax(-1).tolist()
            total = logits.logsumexp(-1)
            rows = [row for span in spans for row in span[:-1]]
            tokens = [token for index in indices for token in examples[index].object]
            chosen = (logits[rows, tokens] - total[rows]).tolist()
        scores, at = [], 0
        for index, span in zip(indices, spans, strict=True):
            length = len(span) - 1
            scored = Scored(tuple(chosen[at : at + length]), tuple(best[row] for row in span))
            scores.append((index, scored))
            at += length
        yield scores

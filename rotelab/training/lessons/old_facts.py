"""The directions that the recall of known facts uses, so that a later lesson can keep out of them.

A lesson's adapter reads only what lies outside these directions and outside those of ordinary text
(`training.null_space`). Then `B A x` is almost nothing for every input `x` that the old facts give,
and they are answered as before, without being read again. The old facts' inputs are those of their
key-token sequences in two states: with `generalize` off, as they were learned, and on, as they are
asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from peft.tuners.lora import LoraLayer
from torch import nn

from rotelab.config.names import Checkpoint
from rotelab.facts.facts import Fact
from rotelab.models.architecture.layout import matrix, width_in
from rotelab.models.lab_model import LabModel
from rotelab.models.linear_algebra import eigh
from rotelab.models.packing import pack_many
from rotelab.training.lessons.kept_directions import Used, keep, kept, used_at
from rotelab.training.null_space import WIDEST, Directions

REST = 96
"""How many of the unprotected directions of an input the penalty on disturbance looks at."""
ROW_TOKENS = 512
"""Tokens of one pass over the old facts."""


@dataclass(frozen=True)
class Protected:
    """The directions that a lesson keeps out of.

    Args:
        bases: an orthonormal basis for each input, `[width, n]`.
        room: for each input the share of its directions that is left to learn with, 0 to 1.
        left: for each input, what the old facts still have outside the basis: `[n, width]`, each
            row a direction as long as the root mean square of their part in it.
        kept: the file that keeps what the old facts use; None where they use nothing.
    """

    bases: Directions
    room: dict[str, float]
    left: Directions
    kept: Path | None = None


def protected_directions(
    model: LabModel,
    facts: Sequence[Fact],
    ordinary: Directions,
    share: float,
    states: Sequence[Checkpoint],
    projections: str = "mlp",
    texts: Sequence[Sequence[int]] = (),
) -> Protected:
    """The directions of ordinary text, and those that hold a share of the old facts' inputs.

    The second ones are the leading eigenvectors of the uncentred second moment of what the inputs
    have outside the ordinary directions.

    Args:
        model: has the adapters of `states`; it is left in its checkpoint.
        facts: the old facts.
        ordinary: from `null_space.directions`.
        share: of the squared length of the old facts' inputs outside the ordinary directions, 0 to
            1; at 0 only the ordinary ones are protected.
        states: the checkpoints in which the old facts are read.
        projections: the group of those that the lesson's adapter changes.
        texts: token ids of sentences that are protected like the old facts; they are read in the
            last of `states` alone.
    """
    bases, room, left = {}, {}, {}
    read = {name: m for name, m in model.projections(projections) if width_in(m) <= WIDEST}
    # They come from a cache in half precision.
    known = {name: _orthonormal(ordinary[name]) for name in read if name in ordinary}
    # Without END: nothing is predicted after it.
    sequences = [model.builder.rote(fact, i, "o").ids[:-1] for i, fact in enumerate(facts)]
    used: Used = {}
    place = None
    if share and (sequences or texts):
        place = used_at(model, ordinary, share, states, projections, (sequences, texts))
        used = kept(place) or keep(
            _used(model, sequences, texts, known, share, states, read), place
        )
    for name, module in read.items():
        parts = [known[name]] if name in known else []
        if name in used:
            own, rest = (tensor.to(model.device) for tensor in used[name])
            parts.append(_orthonormal(own))
            left[name] = rest
        if parts:
            bases[name] = torch.cat(parts, 1)
            room[name] = 1 - bases[name].shape[1] / width_in(module)
    return Protected(bases, room, left, place)


def _used(
    model: LabModel,
    sequences: Sequence[Sequence[int]],
    texts: Sequence[Sequence[int]],
    ordinary: Directions,
    share: float,
    states: Sequence[Checkpoint],
    read: Mapping[str, nn.Module],
) -> Used:
    """Finds what the facts' sequences and the sentences use outside the ordinary directions."""
    inputs = _inputs(model, sequences, states, read) if sequences else {}
    for name, rows in (_inputs(model, texts, states[-1:], read) if texts else {}).items():
        inputs[name] = torch.cat([inputs[name], rows]) if name in inputs else rows
    used: Used = {}
    for name in list(inputs):
        rows = inputs.pop(name)  # they take much memory
        if (basis := ordinary.get(name)) is not None:
            rows = rows - (rows @ basis) @ basis.T
        used[name] = leading_directions(rows, share)
    return used


def leading_directions(
    rows: torch.Tensor, share: float, rest: int = REST
) -> tuple[torch.Tensor, torch.Tensor]:
    """Directions that hold a share of the rows' squared length, and what the others hold.

    They come from the smaller of the two products of the rows with themselves: a few hundred rows
    of 1536 numbers have no more than a few hundred directions.

    Args:
        rows: `[count, width]`.
        share: 0 to 1.
        rest: how many of the next directions are returned at most.

    Returns:
        An orthonormal basis, `[width, n]`; and the next directions, each as long as the root mean
        square of the rows' part in it, `[rest or fewer, width]`.
    """
    count, width = rows.shape
    wide = count < width
    values, vectors = eigh(rows @ rows.T if wide else rows.T @ rows)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    total = values.sum()
    if total <= 0:
        return rows.new_zeros(width, 0), rows.new_zeros(0, width)
    used = int((values.cumsum(0) / total < share).sum()) + 1
    there = int((values > total * 1e-9).sum())
    used = min(used, there)
    taken = vectors[:, : min(used + rest, there)]
    lengths = values[: taken.shape[1]].sqrt()
    directions = (rows.T @ taken) / lengths if wide else taken
    left = (directions[:, used:] * lengths[used:] / count**0.5).T
    return directions[:, :used], left


def _orthonormal(basis: torch.Tensor) -> torch.Tensor:
    """The basis, orthonormal to single precision, where it was so to half precision already.

    One step of Newton and Schulz: much cheaper than a decomposition.
    """
    gram = basis.T @ basis
    return basis @ (1.5 * torch.eye(len(gram), device=gram.device) - 0.5 * gram)


@torch.no_grad()
def _inputs(
    model: LabModel,
    sequences: Sequence[Sequence[int]],
    states: Sequence[Checkpoint],
    read: Mapping[str, nn.Module],
) -> dict[str, torch.Tensor]:
    """What each projection reads of the facts' key-token sequences, `[tokens, width]` by input.

    Each input is scaled to length 1, as in `null_space`, and the separator, an attention sink, is
    left out.
    """
    found: dict[str, list[torch.Tensor]] = {}
    latest: dict[str, torch.Tensor] = {}
    inner: torch.Tensor

    def keeping(name: str):
        def hook(module, inputs):
            rows = F.normalize(inputs[0].flatten(0, -2)[inner].float(), dim=-1)
            # Below the first layer of `generalize` both states give the same.
            if name not in latest or not torch.equal(rows, latest[name]):
                found.setdefault(name, []).append(rows)
            latest[name] = rows

        return hook

    hooks = [module.register_forward_pre_hook(keeping(name)) for name, module in read.items()]
    try:
        for _, packed in pack_many(sequences, ROW_TOKENS):
            inner = (packed.positions.flatten() > 0).to(model.device)
            latest.clear()
            for state in states:
                with model.using(state):
                    model.forward(packed, torch.tensor([0]))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(rows) for name, rows in found.items()}


class DisturbancePenalty:
    """How much a lesson disturbs what the old facts give, in the directions that it may use.

    For each matrix W with the adapter `s B A`, this is the mean of `|s B A x|²` over the old facts'
    inputs x, divided by the mean of `|W x|²`: a share of the output's squared length. The protected
    directions add nothing to it, so only those of `Protected.left` are looked at.

    Args:
        model: has the adapter.
        adapter: its name.
        protected: from `protected_directions`.
        weight: of the sum over all matrices, in the loss.
    """

    def __init__(self, model: LabModel, adapter: str, protected: Protected, weight: float):
        self.weight = weight
        self._terms = []
        for read, module in model.projections():
            there = read in protected.left and isinstance(module, LoraLayer)
            if there and adapter in module.lora_A:
                weight_matrix = matrix(module).float()
                # Inputs are of length 1: their images are about as long as a random input's.
                usual = float(weight_matrix.square().sum() / weight_matrix.shape[1])
                self._terms.append(
                    (
                        module.lora_A[adapter].weight,
                        module.lora_B[adapter].weight,
                        protected.left[read],
                        module.scaling[adapter] ** 2 / usual,
                    )
                )

    def __call__(self) -> torch.Tensor:
        """The sum over all matrices, a scalar with its graph."""
        total = torch.zeros(())
        for a, b, rows, factor in self._terms:
            inner = a @ rows.T
            total = total + factor * (inner * ((b.T @ b) @ inner)).sum()
        return total

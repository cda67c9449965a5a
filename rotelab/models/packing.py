"""Packs token sequences into one row as a tree, so that shared prefixes are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Packed:
    """Several token sequences in one row.

    A node is one token in one context; sequences with the same prefix share its nodes. The mask
    lets a node attend to itself and to what precedes it in its own sequence, so every logit equals
    that of the sequence run alone (up to rounding; a test checks this).

    Args:
        ids: `[1, nodes]` token ids.
        positions: `[1, nodes]` position of each node in its sequence.
        mask: `[1, 1, nodes, nodes]`, True where the row's node may attend to the column's.
        nodes: the node indices of each sequence, each `[length]`.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    nodes: tuple[tuple[int, ...], ...]

    def to(self, device: torch.device | str) -> Packed:
        """A copy on another device."""
        return Packed(
            self.ids.to(device), self.positions.to(device), self.mask.to(device), self.nodes
        )


def pack(sequences: Sequence[Sequence[int]]) -> Packed:
    """Packs token sequences into one row; see `Packed`.

    Args:
        sequences: at least one sequence of at least one token id each.
    """
    children: dict[tuple[int, int], int] = {}
    ids: list[int] = []
    parents: list[int] = []
    positions: list[int] = []
    nodes = []
    for sequence in sequences:
        node, path = -1, []
        for position, token in enumerate(sequence):
            found = children.get((node, token))
            if found is None:
                found = children[(node, token)] = len(ids)
                ids.append(token)
                parents.append(node)
                positions.append(position)
            node = found
            path.append(node)
        nodes.append(tuple(path))
    mask = torch.zeros(len(ids), len(ids), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            mask[node] = mask[parent]
        mask[node, node] = True
    return Packed(torch.tensor([ids]), torch.tensor([positions]), mask[None, None], tuple(nodes))


def pack_many(
    sequences: Sequence[Sequence[int]], max_tokens: int
) -> list[tuple[list[int], Packed]]:
    """Packs any number of sequences into rows of at most `max_tokens` nodes (or one sequence).

    They are sorted first, so that sequences with the same prefix land in the same row.

    Returns:
        For each row, the indices of its sequences and the row.
    """
    order = sorted(range(len(sequences)), key=lambda i: tuple(sequences[i]))
    rows: list[tuple[list[int], Packed]] = []
    group: list[int] = []
    used, previous = 0, ()
    for index in order:
        sequence = tuple(sequences[index])
        fresh = len(sequence) - _shared_prefix(previous, sequence)
        if group and used + fresh > max_tokens:
            rows.append((group, pack([sequences[i] for i in group])))
            group, used, fresh = [], 0, len(sequence)
        group.append(index)
        used += fresh
        previous = sequence
    if group:
        rows.append((group, pack([sequences[i] for i in group])))
    return rows


def _shared_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count

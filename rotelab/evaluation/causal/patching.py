"""Activation patching: a hidden state of one prompt is put into another prompt's pass, layer by
layer and position by position, to see where what it holds is used.

Vig et al. 2020 (arXiv 2004.12265) and Meng et al. 2022 (arXiv 2202.05262) define it. Here the state
comes from one prompt's last position and replaces, at one layer and one position, the state of
another; everything after it is computed anew. All layers of a position go through the model in one
packed row, which shares what comes before the position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rotelab.models.forward import bare
from rotelab.models.lab_model import LabModel
from rotelab.models.packing import Packed

ROW = 512
"""Most nodes of a packed row; a row with more costs more in attention than it saves."""


@dataclass(frozen=True)
class Grid:
    """What is said after each patch.

    Args:
        probability: of the wanted token, `[layers, positions]`.
        first: whether it is the most probable token of all, the same shape.
    """

    probability: np.ndarray
    first: np.ndarray


def patch_grid(
    model: LabModel,
    ids: Sequence[int],
    states: torch.Tensor,
    positions: Sequence[int],
    wanted: int,
    layers: Sequence[int] | None = None,
) -> Grid:
    """Patches layers at each of some positions, one patch a pass, in the model as it is now.

    Args:
        model: switched to the checkpoint that is looked at.
        ids: the prompt that is patched, `[length]`.
        states: what is put in, `[layers, hidden]`: layer by layer, from `states_behind`.
        positions: where it is put.
        wanted: the token whose probability behind the prompt is read.
        layers: whose outputs are replaced, from 0, the first decoder layer; all when None.
    """
    layers = range(model.layers) if layers is None else layers
    probability = np.empty((len(layers), len(positions)))
    first = np.empty((len(layers), len(positions)), bool)
    for column, position in enumerate(positions):
        branch = len(ids) - position
        step = max(1, (ROW - position) // branch)
        for low in range(0, len(layers), step):
            some = layers[low : low + step]
            row, starts, ends = branches(ids, position, len(some))
            changes = {
                layer: (start, states[layer]) for layer, start in zip(some, starts, strict=True)
            }
            with _overwritten(model, changes):
                said, best = read_at(model, row, ends, wanted)
            probability[low : low + len(some), column] = said
            first[low : low + len(some), column] = best
    return Grid(probability, first)


def states_behind(model: LabModel, ids: Sequence[int]) -> torch.Tensor:
    """The output of each decoder layer at a prompt's last position, `[layers, hidden]`."""
    found: list[torch.Tensor] = [torch.empty(0)] * model.layers

    def keeping(layer: int):
        def hook(module, args, output):
            found[layer] = _hidden(output)[0, -1].detach().clone()

        return hook

    row, _starts, ends = branches(ids, 0, 1)
    with _hooked(model, {layer: keeping(layer) for layer in range(model.layers)}):
        model.forward(row, torch.tensor(ends))
    return torch.stack(found)


def unpatched(model: LabModel, ids: Sequence[int], wanted: int) -> tuple[float, bool]:
    """The wanted token's probability behind a prompt, and whether it is the most probable one."""
    row, _starts, ends = branches(ids, 0, 1)
    probability, first = read_at(model, row, ends, wanted)
    return float(probability[0]), bool(first[0])


def branches(ids: Sequence[int], position: int, count: int) -> tuple[Packed, list[int], list[int]]:
    """A packed row that holds one prompt several times, apart from a position on.

    Args:
        ids: the prompt.
        position: where it branches; before it the prompt is there once.
        count: how many branches there are.

    Returns:
        The row, and for each branch the node at `position` and the node of the last token.
    """
    length, branch = len(ids), len(ids) - position
    order = [*range(position), *([*range(position, length)] * count)]
    nodes = len(order)
    mask = torch.zeros(nodes, nodes, dtype=torch.bool)
    mask[:, :position] = True
    mask[:position, :position] = torch.ones(position, position).tril().bool()
    within = torch.ones(branch, branch).tril().bool()
    starts = [position + i * branch for i in range(count)]
    for start in starts:
        mask[start : start + branch, start : start + branch] = within
    row = Packed(
        torch.tensor([[ids[i] for i in order]]),
        torch.tensor([order]),
        mask[None, None],
        tuple((*range(position), *range(start, start + branch)) for start in starts),
    )
    return row, starts, [start + branch - 1 for start in starts]


def read_at(
    model: LabModel, row: Packed, ends: Sequence[int], wanted: int
) -> tuple[np.ndarray, np.ndarray]:
    """The wanted token's probability at some nodes, and whether it is the first choice."""
    with torch.inference_mode():
        logits = model.forward(row, torch.tensor(ends))[0].float()
        said = logits.softmax(-1)[:, wanted]
        best = logits.argmax(-1) == wanted
    return said.cpu().numpy(), best.cpu().numpy()


# Parts -------------------------------------------------------------------------------------------


@contextmanager
def _overwritten(model: LabModel, changes: dict[int, tuple[int, torch.Tensor]]) -> Iterator[None]:
    """For the length of a block, a layer's output at a node is another state.

    Args:
        model: the model.
        changes: for each layer, the node and the state `[hidden]`.
    """

    def putting(node: int, state: torch.Tensor):
        def hook(module, args, output):
            hidden = _hidden(output).clone()
            hidden[0, node] = state.to(hidden.dtype)
            return hidden if isinstance(output, torch.Tensor) else (hidden, *output[1:])

        return hook

    with _hooked(model, {layer: putting(*change) for layer, change in changes.items()}):
        yield


@contextmanager
def _hooked(model: LabModel, hooks: dict[int, Callable]) -> Iterator[None]:
    placed = [layer_of(model, i).register_forward_hook(hook) for i, hook in hooks.items()]
    try:
        yield
    finally:
        for one in placed:
            one.remove()


def layer_of(model: LabModel, layer: int) -> nn.Module:
    """A decoder layer, from 0."""
    return bare(model.network).get_submodule(model.layout.layer_name(layer))


def _hidden(output) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]

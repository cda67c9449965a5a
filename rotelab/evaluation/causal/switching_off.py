"""Single attention heads and MLPs switched off, to see which of them an answer needs.

Switched off means that what the part adds is zero at every position of the prompt (zero ablation):
for a head, its share of what the attention's last map reads; for an MLP, all that it puts out. The
other parts go on as they are, and read what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from rotelab.errors import LabError
from rotelab.evaluation.causal.patching import ROW, Grid, branches, read_at
from rotelab.models.architecture.layout import LinearMap, width_in
from rotelab.models.forward import bare
from rotelab.models.lab_model import LabModel


def switched_off_grid(model: LabModel, ids: Sequence[int], wanted: int) -> Grid:
    """Switches off each part alone, in the model as it is now.

    Args:
        model: switched to the checkpoint that is looked at.
        ids: the prompt, `[length]`.
        wanted: the token whose probability behind the prompt is read.

    Returns:
        `[layers, heads + 1]`; the last column is the MLP.

    Raises:
        LabError: the model's heads can't be told apart.
    """
    heads = heads_of(model)
    parts = [(layer, part) for layer in range(model.layers) for part in range(heads + 1)]
    probability, first = np.empty(len(parts)), np.empty(len(parts), bool)
    step = max(1, ROW // len(ids))
    for low in range(0, len(parts), step):
        some = parts[low : low + step]
        row, starts, ends = branches(ids, 0, len(some))
        with _silenced(model, some, starts, len(ids), heads):
            probability[low : low + len(some)], first[low : low + len(some)] = read_at(
                model, row, ends, wanted
            )
    shape = (model.layers, heads + 1)
    return Grid(probability.reshape(shape), first.reshape(shape))


def heads_of(model: LabModel) -> int:
    """How many attention heads each layer has.

    Raises:
        LabError: the last map of an attention block does not read them one beside the other.
    """
    heads = getattr(bare(model.network).config.get_text_config(), "num_attention_heads", None)
    maps = [_last_maps(model, layer, "attention") for layer in range(model.layers)]
    widths = [width_in(_module(model, one)) for found in maps for one in found]
    if not heads or any(len(found) != 1 for found in maps) or any(w % heads for w in widths):
        raise LabError(
            "The attention heads of this model can't be told apart, so none can be switched off. "
            "Choose a run of another model."
        )
    return heads


# Parts -------------------------------------------------------------------------------------------


def _last_maps(model: LabModel, layer: int, block: str) -> list[LinearMap]:
    """The maps that lead out of a layer's block."""
    group = "down" if block == "mlp" else "vo"
    return [
        one
        for one in model.layout.maps
        if (one.layer, one.block) == (layer, block)
        and group in one.groups
        and not one.reads.endswith(".in")
    ]


def _module(model: LabModel, one: LinearMap):
    return bare(model.network).get_submodule(one.name)


@contextmanager
def _silenced(
    model: LabModel,
    parts: Sequence[tuple[int, int]],
    starts: Sequence[int],
    length: int,
    heads: int,
) -> Iterator[None]:
    """For the length of a block, each branch of a row lacks one part.

    Args:
        model: the model.
        parts: of each branch, the layer and the head; `heads` stands for the MLP.
        starts: of each branch, its first node.
        length: how many nodes a branch has.
        heads: how many heads a layer has.
    """
    placed = []
    for layer in sorted({layer for layer, _ in parts}):
        mine = [(part, start) for (at, part), start in zip(parts, starts, strict=True)
                if at == layer]  # fmt: skip
        single = [(part, start) for part, start in mine if part < heads]
        whole = [start for part, start in mine if part == heads]
        if single:
            module = _module(model, _last_maps(model, layer, "attention")[0])
            hook = _without_heads(single, length, width_in(module) // heads)
            placed.append(module.register_forward_pre_hook(hook))
        for one in _last_maps(model, layer, "mlp") if whole else ():
            placed.append(_module(model, one).register_forward_hook(_without_output(whole, length)))
    try:
        yield
    finally:
        for one in placed:
            one.remove()


def _without_heads(mine: Sequence[tuple[int, int]], length: int, width: int) -> Callable:
    def hook(module, args):
        read = args[0].clone()
        rows = read.view(-1, read.shape[-1])
        for head, start in mine:
            rows[start : start + length, head * width : (head + 1) * width] = 0
        return (read, *args[1:])

    return hook


def _without_output(starts: Sequence[int], length: int) -> Callable:
    def hook(module, args, output):
        silent = output.clone()
        rows = silent.view(-1, silent.shape[-1])
        for start in starts:
            rows[start : start + length] = 0
        return silent

    return hook

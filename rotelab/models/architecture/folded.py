"""Frozen LoRA adapters folded into the weights that they change, while another one is trained.

Each frozen adapter beside a linear map is two more products, small ones, and backward goes through
them too. Folded, they are gone. The weights themselves are not touched: each layer gets a
matrix `W + scale * B A` of its own for the length of a block, so that the base model can still be
asked, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear
from torch import nn

LIMIT_BYTES = 1024**3
"""Most memory for folded weights; a larger model computes the adapter beside them."""


@contextmanager
def folded(network: nn.Module, *frozen: str) -> Iterator[bool]:
    """Has frozen adapters computed inside the weights, for the length of a block.

    Nothing changes in reduced precision, in which a small change would be lost in the rounding of
    a large weight. Other adapters on the same map are computed beside it, as always.

    Args:
        network: with the adapters, which must not change in the block.
        frozen: their names.

    Yields:
        Whether anything is folded.
    """
    layers = [m for m in network.modules() if isinstance(m, Linear) and _can_be(m, frozen)]
    size = sum(layer.get_base_layer().weight.nbytes for layer in layers)
    if not layers or size > LIMIT_BYTES:
        yield False
        return
    for layer in layers:
        layer.forward = _forward(layer, [name for name in frozen if name in layer.lora_A])
    try:
        yield True
    finally:
        for layer in layers:
            del layer.forward  # the class's own is there again


def _can_be(layer: Linear, frozen: Sequence[str]) -> bool:
    """Whether a map has one of these adapters, and all that it has are plain ones."""
    base = layer.get_base_layer()
    plain = type(base) is nn.Linear and base.weight.dtype == torch.float32
    there = set(layer.lora_A)
    return plain and bool(there & set(frozen)) and not any(map(layer.use_dora.get, there))


@torch.no_grad()
def _forward(layer: Linear, inside: Sequence[str]):
    base, whole = layer.get_base_layer(), layer.forward
    weight = base.weight + sum(layer.get_delta_weight(name) for name in inside)

    def forward(x, *args, **options):
        active = layer.active_adapters
        if layer.disable_adapters or not set(inside) <= set(active):
            return whole(x, *args, **options)
        result = F.linear(x, weight, base.bias)
        for name in active:
            if name in layer.lora_A and name not in inside:
                a, b = layer.lora_A[name], layer.lora_B[name]
                result = result + b(a(layer.lora_dropout[name](x))) * layer.scaling[name]
        return result

    return forward

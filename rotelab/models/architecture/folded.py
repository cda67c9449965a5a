"""A frozen LoRA adapter folded into the weights that it changes, while another one is trained.

Beside a frozen adapter each linear map is three products, two of them small, and backward goes
through all of them. Folded, it is one. The weights themselves are not touched: each layer gets a
matrix `W + scale * B A` of its own for the length of a block, so that the base model can still be
asked, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear
from torch import nn

LIMIT_BYTES = 1024**3
"""Most memory for folded weights; a larger model computes the adapter beside them."""


@contextmanager
def folded(network: nn.Module, adapter: str) -> Iterator[bool]:
    """Has a frozen adapter computed inside the weights, for the length of a block.

    Where another adapter is on the same map nothing changes, nor in reduced precision, in which a
    small change would be lost in the rounding of a large weight.

    Args:
        network: with the adapter, which must not change in the block.
        adapter: its name.

    Yields:
        Whether it is folded.
    """
    layers = [m for m in network.modules() if isinstance(m, Linear) and _alone(m, adapter)]
    size = sum(layer.get_base_layer().weight.nbytes for layer in layers)
    if not layers or size > LIMIT_BYTES:
        yield False
        return
    for layer in layers:
        layer.forward = _forward(layer, adapter)
    try:
        yield True
    finally:
        for layer in layers:
            del layer.forward  # the class's own is there again


def _alone(layer: Linear, adapter: str) -> bool:
    """Whether this adapter is the only one of a map that can be folded."""
    base = layer.get_base_layer()
    plain = type(base) is nn.Linear and base.weight.dtype == torch.float32
    return plain and set(layer.lora_A) == {adapter} and not layer.use_dora.get(adapter)


@torch.no_grad()
def _forward(layer: Linear, adapter: str):
    base, whole = layer.get_base_layer(), layer.forward
    weight = base.weight + layer.get_delta_weight(adapter)

    def forward(x, *args, **options):
        if layer.disable_adapters or adapter not in layer.active_adapters:
            return whole(x, *args, **options)
        return F.linear(x, weight, base.bias)

    return forward

"""Makes a model's attention read packed rows (`models.packing`), whatever its positions and masks.

A packed row holds several texts, and its mask says which node sees which. Most models take such a
mask as it is, with positions that begin anew for each text. Three kinds need help: attention that
does not use torch's `scaled_dot_product_attention` wants a mask to add; ALiBi counts distances by
the place in the row; and some old models have a causal mask of their own inside. Whether it works
is then tried (`check_packed`): a model that mixed the texts up would learn nonsense without a word.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from rotelab.errors import ModelUnavailable, says_out_of_memory
from rotelab.models.packing import pack

MIXED_UP = (
    "The lab reads several texts at once, each by itself. A model of the kind {kind!r} can't be "
    "read like that here ({why}). Choose a model with ordinary attention, such as Llama, Qwen, "
    "Gemma, Pythia or GPT-2."
)
TOO_LONG = (
    "A text of {length} tokens is too long for this model, which {why}. Use shorter texts, or "
    "another model."
)
PLACES = "has {most} positions"
WINDOW = "looks back over {most} tokens at most (a sliding window of its own)"
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
"""How far logits in a packed row may be from those of a text alone, as a share of their spread."""

LONGEST_ROW = 1 << 15
"""Nodes of the longest row that a model with a causal mask of its own can read."""

_positions: ContextVar[torch.Tensor | None] = ContextVar("key_positions", default=None)


def attention_kind(config: PretrainedConfig) -> str:
    """`sdpa` where the family has it, else `eager`."""
    kind = AutoModelForCausalLM._model_mapping.get(type(config), None)
    return "sdpa" if getattr(kind, "_supports_sdpa", True) else "eager"


@dataclass(frozen=True)
class Limit:
    """How long a text may be in a packed row.

    Args:
        most: in tokens; 0 for no limit.
        why: what limits it, as the end of “this model, which …”.
    """

    most: int = 0
    why: str = ""

    def check(self, length: int) -> None:
        """Refuses a text that is longer.

        Raises:
            ModelUnavailable: it is.
        """
        if self.most and length > self.most:
            raise ModelUnavailable(TOO_LONG.format(length=length, why=self.why))


def prepare(network: nn.Module) -> Limit:
    """Lets a model read packed rows; does nothing to one that can already.

    Returns:
        How long a text may be. Rotary positions and ALiBi have no limit, learned ones do. A window
        that is set in the model's configuration is no limit either: `usable_mask` keeps to it.
    """
    limits = []
    table = network.get_input_embeddings()
    places = getattr(network.config.get_text_config(), "max_position_embeddings", 0)
    for module in network.modules():
        learned = isinstance(module, nn.Embedding) and module is not table
        if learned and places and module.num_embeddings >= places:
            limits.append((places, PLACES.format(most=places)))
        own = dict(module.named_buffers(recurse=False)).get("bias")
        square = own is not None and own.ndim == 4 and own.shape[-1] == own.shape[-2] > 1
        if square and own.dtype in (torch.bool, torch.uint8):
            # GPT-Neo's own mask goes by the place in the row. The one that it is given says all but
            # the window of its local layers.
            window = int(own[0, 0].sum(-1).max())
            if window < own.shape[-1]:
                limits.append((window, WINDOW.format(most=window)))
            free = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=own.device)
            module.bias = free.expand(1, 1, LONGEST_ROW, LONGEST_ROW)
    for name in {type(module).__module__ for module in network.modules()}:
        home = sys.modules.get(name)
        build = getattr(home, "build_alibi_tensor", None)
        if build is not None and not hasattr(build, "__wrapped__"):
            home.build_alibi_tensor = _by_position(build)
    return Limit(*min(limits, default=(0, "")))


def _by_position(build):
    """A family's ALiBi function, by positions instead of places while a packed row is read."""

    @functools.wraps(build)
    def alibi(attention_mask: torch.Tensor, *args, **options):
        positions = _positions.get()
        if positions is None:
            return build(attention_mask, *args, **options)
        every = torch.ones(1, int(positions.max()) + 1, device=attention_mask.device).long()
        return build(every, *args, **options)[..., positions.to(attention_mask.device)]

    return alibi


@contextmanager
def packed_row(positions: torch.Tensor | None) -> Iterator[None]:
    """Says the positions of all nodes that a pass attends to, `[nodes]`, for the length of it."""
    token = _positions.set(positions)
    try:
        yield
    finally:
        _positions.reset(token)


def usable_mask(
    network: nn.Module, mask: torch.Tensor, positions: torch.Tensor, key_positions: torch.Tensor
) -> torch.Tensor | dict[str, torch.Tensor]:
    """A packed row's mask as the model's attention takes it.

    Args:
        network: the bare causal language model.
        mask: `[1, 1, nodes, all nodes]`, True where a node may attend.
        positions: of the nodes in their texts, `[nodes]`.
        key_positions: of all nodes, `[all nodes]`.

    Returns:
        The mask; or one for each kind of layer where some layers have a window that a text reaches
        beyond.
    """
    text = network.config.get_text_config()
    window = getattr(text, "sliding_window", None)
    if not window or not getattr(text, "use_sliding_window", True):
        return _as_taken(network, mask)
    if int(key_positions.max()) < window:
        return _as_taken(network, mask)
    near = mask & (positions[:, None] - key_positions[None] < window)
    kinds = set(getattr(text, "layer_types", None) or ("sliding_attention",))
    if kinds == {"sliding_attention"}:
        return _as_taken(network, near)
    masks = {"full_attention": mask, "sliding_attention": near}
    return {kind: _as_taken(network, masks[kind]) for kind in kinds if kind in masks}


def _as_taken(network: nn.Module, mask: torch.Tensor) -> torch.Tensor:
    """A mask to add where attention is `eager`, else as it is."""
    if network.config._attn_implementation != "eager":
        return mask
    kind = network.dtype if network.dtype.is_floating_point else torch.float32
    return torch.zeros(mask.shape, dtype=kind, device=mask.device).masked_fill(
        ~mask, torch.finfo(kind).min
    )


@torch.inference_mode()
def check_packed(config: PretrainedConfig, dtype: torch.dtype, read, ids: list[int]) -> None:
    """Reads three texts in one row and each alone, and compares.

    Args:
        config: the model's.
        dtype: the precision of the passes.
        read: maps a packed row, and whether its mask is to be given to the model, to the logits of
            all its nodes, `[nodes, vocabulary]`.
        ids: at least 12 tokens to make the texts of; the first begins them all.

    Raises:
        ModelUnavailable: they differ, or the model can't be read like that at all.
    """
    kind = config.model_type
    texts = [ids[:5], [ids[0], *ids[5:]], [*ids[:3], *ids[7:]]]
    packed = pack(texts)
    try:
        together = read(packed, True).float()
        alone = [read(pack([text]), False).float() for text in texts]
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        if says_out_of_memory(str(error)):
            raise
        said = re.sub(r"\s+", " ", str(error))[:120]
        raise ModelUnavailable(MIXED_UP.format(kind=kind, why=said)) from error
    spread = float(torch.cat(alone).std()) or 1.0
    gap = max(
        float((together[list(nodes)] - logits).square().mean().sqrt())
        for nodes, logits in zip(packed.nodes, alone, strict=True)
    )
    if not gap <= TOLERANCE.get(dtype, 1e-3) * spread:
        why = f"its answers change by {gap / spread:.0%} beside other texts"
        raise ModelUnavailable(MIXED_UP.format(kind=kind, why=why))

"""Multi-adapter inference: several checkpoints answer at once, each as one row of a batch.

Reading the base model's weights is most of a token's cost. Each row adds only the product with its
own adapters, so three checkpoints take little longer than one. The model's own state is not
touched, so several answers can be generated on one model at the same time.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from peft.tuners.lora import LoraLayer
from peft.utils.other import TrainableTokensWrapper
from torch import nn
from transformers import DynamicCache

from rotelab.config.names import CHECKPOINTS, MEMORIZE, Checkpoint, active_adapters
from rotelab.models.first_token import FirstToken
from rotelab.models.forward import PLAIN_FAMILIES, bare
from rotelab.models.generation import Token, Writer
from rotelab.models.lab_model import LabModel
from rotelab.models.memfree import MemFree

Rows = dict[str, int]
"""For each adapter the first row that uses it; all later rows use it too."""

Reordered = dict[nn.Module, torch.Tensor]
"""Weights in oneDNN's memory layout, by their layer."""

REORDER_UP_TO = 4e9
"""Size in bytes of the largest model whose weights are reordered, which doubles its memory."""


class MultiAdapterModel:
    """A model that can generate with all of its checkpoints at once.

    On a CPU, PyTorch's own matrix product takes two or three times as long with two or three rows
    as with one. oneDNN's does not if the weights have its memory layout, so they are copied into
    it once: 0.5 GB more for the embedded model.

    Args:
        model: one that `fits`, in any checkpoint; it stays in that one.
    """

    def __init__(self, model: LabModel):
        self.model = model
        self.reordered: Reordered = _reorder(model)

    @staticmethod
    def fits(model: LabModel) -> bool:
        """Whether a model has LoRA adapters and a plain forward pass (`PLAIN_FAMILIES`)."""
        family = bare(model.network).config.model_type
        return model.method == "lora" and family in PLAIN_FAMILIES

    def generate(
        self,
        prompts: Mapping[Checkpoint, Sequence[int]],
        max_new_tokens: int = 50,
        temperature: float = 0.0,
        seed: int = 0,
        alternatives: int = 3,
        memfree: MemFree | None = None,
        speaks: Collection[Checkpoint] = (),
        first: Mapping[Checkpoint, FirstToken] | None = None,
    ) -> Iterator[dict[Checkpoint, Token | None]]:
        """Generates what `generation.generate` would with each checkpoint alone.

        Args:
            prompts: token ids for each checkpoint to ask.
            max_new_tokens: most tokens of an answer.
            temperature: 0 is greedy decoding; above, tokens are sampled.
            seed: of the sampling, the same for each checkpoint.
            alternatives: how many of the likeliest tokens to report with each.
            memfree: forbids tokens, the same for each checkpoint; None forbids none.
            speaks: the checkpoints whose answers must have a word, as `generation.Writer` has it.
            first: each checkpoint's votes for its first token; None for none.

        Yields:
            The next token of every checkpoint whose answer goes on; None when one ends.
        """
        asked = [checkpoint for checkpoint in self.model.has if checkpoint in prompts]
        batch = _Batch(self, asked)
        about = (self.model, temperature, seed, alternatives, memfree)
        votes = first or {}
        writers = {c: Writer(*about, prompts[c], c in speaks, votes.get(c)) for c in asked}
        logits = batch.start([prompts[checkpoint] for checkpoint in asked])
        for left in range(max_new_tokens, 0, -1):
            said = {c: writers[c].write(row) for c, row in zip(asked, logits, strict=True)}
            yield said
            going = [place for place, c in enumerate(asked) if said[c] is not None]
            asked = [asked[place] for place in going]
            if not asked:
                return
            if left > 1:
                logits = batch.step(going, asked, [said[c].id for c in asked])
        yield dict.fromkeys(asked)


class _Batch:
    """A batch with one row for each checkpoint, and its KV cache.

    Args:
        parent: its weights are read, never changed.
        checkpoints: the rows, in the order of training.
    """

    def __init__(self, parent: MultiAdapterModel, checkpoints: Sequence[Checkpoint]):
        self._model, self._reordered = parent.model, parent.reordered
        self._rows: Rows = {}
        base = bare(parent.model.network)
        self._embedding = base.get_input_embeddings()
        self._head = base.get_output_embeddings()
        self._decoder = _with_row_adapters(base.model, self._rows, parent.reordered)
        self._cache = DynamicCache()
        self._mask: torch.Tensor | None = None
        self._next = torch.zeros(0)
        self._assign_rows(checkpoints)

    def start(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Reads the prompts; returns the logits of the next tokens, `[rows, vocabulary]`."""
        device = self._model.device
        longest = max(map(len, prompts))
        padding = [longest - len(prompt) for prompt in prompts]
        # Padded on the left, so that all rows continue at the same index.
        ids = [[0] * pad + list(prompt) for pad, prompt in zip(padding, prompts, strict=True)]
        positions = torch.arange(longest, device=device)[None]
        positions = positions - torch.tensor(padding, device=device)[:, None]
        if any(padding):
            self._mask = (positions >= 0).long()
        self._next = positions[:, -1:] + 1
        return self._pass(torch.tensor(ids, device=device), positions.clamp(min=0))

    def step(
        self, going: Sequence[int], checkpoints: Sequence[Checkpoint], tokens: Sequence[int]
    ) -> torch.Tensor:
        """Appends a token to each row that goes on and drops the others.

        Args:
            going: the current indices of the rows that go on.
            checkpoints: theirs.
            tokens: theirs.

        Returns:
            The logits of the next tokens, `[going, vocabulary]`.
        """
        device = self._model.device
        if len(going) < len(self._next):
            kept = torch.tensor(list(going), device=device)
            self._cache.batch_select_indices(kept)
            self._next = self._next[kept]
            self._mask = None if self._mask is None else self._mask[kept]
            self._assign_rows(checkpoints)
        if self._mask is not None:
            self._mask = F.pad(self._mask, (0, 1), value=1)
        logits = self._pass(torch.tensor(tokens, device=device)[:, None], self._next)
        self._next = self._next + 1
        return logits

    def _assign_rows(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Notes the first row that uses each adapter; a later checkpoint has all earlier ones."""
        self._rows.clear()
        for row, checkpoint in enumerate(checkpoints):
            for adapter in active_adapters(checkpoint):
                self._rows.setdefault(adapter, row)

    def _pass(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        model = self._model
        with (
            torch.inference_mode(),
            torch.autocast(model.device.type, model.dtype, enabled=model.dtype != torch.float32),
        ):
            table, keys, rows = self._vocabulary(self._embedding)
            first = self._rows.get(MEMORIZE, len(ids))
            embedded = F.embedding(ids, table)
            for key, row in zip(keys, rows, strict=True):
                there = (ids == key)[..., None]
                there[:first] = False
                embedded = torch.where(there, row.to(embedded.dtype), embedded)
            hidden = self._decoder(
                inputs_embeds=embedded,
                position_ids=positions,
                attention_mask=self._mask,
                past_key_values=self._cache,
                use_cache=True,
            ).last_hidden_state[:, -1]
            table, keys, rows = self._vocabulary(self._head)
            logits = _product(hidden, table, None, self._reordered.get(self._head))
            for key, row in zip(keys, rows, strict=True):
                logits[first:, key] = (hidden[first:] @ row).to(logits.dtype)
        return logits.float()

    def _vocabulary(self, module: nn.Module) -> tuple[torch.Tensor, list[int], list[torch.Tensor]]:
        """A vocabulary matrix of the base model, and the key tokens' ids and trained rows."""
        if not isinstance(module, TrainableTokensWrapper):
            return module.weight, [], []
        layer = module.token_adapter
        table = layer.get_base_layer().weight
        if MEMORIZE not in layer.trainable_tokens_delta:
            return table, [], []
        keys = list(layer.token_indices[MEMORIZE])
        return table, keys, list(layer.trainable_tokens_delta[MEMORIZE])


class _RowAdapters(nn.Module):
    """A projection that applies its adapters to some rows only.

    Args:
        layer: PEFT's layer or a plain one; only its weights are used.
        rows: the first row of each adapter at the moment.
        reordered: the layer's own weight in oneDNN's layout, if it was reordered.
    """

    def __init__(self, layer: nn.Module, rows: Rows, reordered: torch.Tensor | None):
        super().__init__()
        with_adapters = isinstance(layer, LoraLayer)
        base = layer.get_base_layer() if with_adapters else layer
        self._weight, self._bias = base.weight, base.bias
        self._rows, self._reordered = rows, reordered
        self._changes = [
            (name, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name])
            for name in (layer.lora_A if with_adapters else ())
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = _product(x, self._weight, self._bias, self._reordered)
        for name, down, up, strength in self._changes:
            first = self._rows.get(name)
            if first is not None:
                out[first:] += F.linear(F.linear(x[first:], down), up) * strength
        return out


def _with_row_adapters(module: nn.Module, rows: Rows, reordered: Reordered) -> nn.Module:
    """A copy of a network that shares its weights and applies adapters to some rows only."""
    if isinstance(module, LoraLayer | nn.Linear):
        return _RowAdapters(module, rows, reordered.get(module))
    twin = copy.copy(module)
    twin._modules = {
        name: child if child is None else _with_row_adapters(child, rows, reordered)
        for name, child in module._modules.items()
    }
    return twin


def _reorder(model: LabModel) -> Reordered:
    """Copies of a model's weights in oneDNN's layout.

    Empty if that would not help (another device or precision) or take too much memory.
    """
    base = bare(model.network)
    sizes = (p.numel() * p.element_size() for p in base.parameters())
    available = torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    )
    if not available or model.device.type != "cpu" or sum(sizes) > REORDER_UP_TO:
        return {}
    found: dict[nn.Module, torch.Tensor] = {base.get_output_embeddings(): _head_weight(base)}
    stack = [base.model]
    while stack:
        module = stack.pop()
        if isinstance(module, LoraLayer | nn.Linear):
            own = module.get_base_layer() if isinstance(module, LoraLayer) else module
            found[module] = own.weight
        else:
            stack.extend(module.children())
    with torch.inference_mode():
        return {
            module: torch.ops.mkldnn._reorder_linear_weight(weight.detach(), len(CHECKPOINTS))
            for module, weight in found.items()
            if weight.dtype == model.dtype == torch.float32
        }


def _head_weight(base: nn.Module) -> torch.Tensor:
    head = base.get_output_embeddings()
    if isinstance(head, TrainableTokensWrapper):
        return head.token_adapter.get_base_layer().weight
    return head.weight


def _product(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    reordered: torch.Tensor | None,
) -> torch.Tensor:
    """A linear layer, with its reordered weight if it has one."""
    if reordered is None or x.numel() == x.shape[-1]:  # a single row is faster without
        return F.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, reordered, bias, "none", [], "")

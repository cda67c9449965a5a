"""Several checkpoints answer at once: one pass over the base weights, each checkpoint a row of it.

Reading the base model's weights is most of what a token costs. A row only adds what its own
adapters change, so three checkpoints take little longer than one. Nothing of the model is switched,
so several answers may be under way on one model.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from peft.tuners.lora import LoraLayer
from peft.utils.other import TrainableTokensWrapper
from torch import nn
from transformers import DynamicCache

from rotelab.config.names import ACTIVE, CHECKPOINTS, MEMORIZE, Checkpoint
from rotelab.models.forward import PLAIN_FAMILIES, bare
from rotelab.models.generation import Token, Writer
from rotelab.models.lab_model import LabModel

Rows = dict[str, int]
"""Adapter -> the first row that has it; so do all rows after it."""

Laid = dict[nn.Module, torch.Tensor]
"""Weights laid out anew, by the layer that they are of."""

LAY_OUT_UP_TO = 4e9
"""Bytes of a model whose weights are laid out anew, which doubles what it needs of memory."""


class MultiAdapterModel:
    """A model whose checkpoints can answer at once.

    On a CPU, PyTorch's own product with two or three rows takes two or three times as long as with
    one. oneDNN's does not, once the weights are laid out its way; so they are, once, in a copy:
    0.5 GB more for the embedded model.

    Args:
        model: one that `fits`. Which checkpoint it is in does not matter, and stays.
    """

    def __init__(self, model: LabModel):
        self.model = model
        self.laid: Laid = _lay_out(model)

    @staticmethod
    def fits(model: LabModel) -> bool:
        """Whether a model's checkpoints are adapters on one base whose forward is plain."""
        family = bare(model.network).config.model_type
        return model.method == "lora" and family in PLAIN_FAMILIES

    def generate(
        self,
        prompts: Mapping[Checkpoint, Sequence[int]],
        max_new_tokens: int = 50,
        temperature: float = 0.0,
        seed: int = 0,
        alternatives: int = 3,
    ) -> Iterator[dict[Checkpoint, Token | None]]:
        """What `generation.generate` gives each checkpoint, all of them side by side.

        Args:
            prompts: token ids for each checkpoint to ask.
            max_new_tokens: most tokens of an answer.
            temperature: 0 takes the likeliest token each time; above, it samples.
            seed: of the sampling, for each checkpoint alike.
            alternatives: how many likeliest tokens to report beside each.

        Yields:
            The next token of every checkpoint that is still speaking; None where it ends.
        """
        asked = [checkpoint for checkpoint in CHECKPOINTS if checkpoint in prompts]
        batch = _Batch(self, asked)
        writers = {c: Writer(self.model, temperature, seed, alternatives) for c in asked}
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
    """Rows of one batch, each a checkpoint, and what was computed for them so far.

    Args:
        of: whose weights are read; nothing of it is changed.
        checkpoints: the rows, in the order of `CHECKPOINTS`.
    """

    def __init__(self, of: MultiAdapterModel, checkpoints: Sequence[Checkpoint]):
        self._model, self._laid = of.model, of.laid
        self._rows: Rows = {}
        base = bare(of.model.network)
        self._embedding = base.get_input_embeddings()
        self._head = base.get_output_embeddings()
        self._decoder = _beside(base.model, self._rows, of.laid)
        self._cache = DynamicCache()
        self._seen: torch.Tensor | None = None
        self._next = torch.zeros(0)
        self._place(checkpoints)

    def start(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Reads the prompts; returns the logits of what comes next, `[rows, vocabulary]`."""
        device = self._model.device
        longest = max(map(len, prompts))
        lacking = [longest - len(prompt) for prompt in prompts]
        # On the left, so that all rows go on at the same place.
        ids = [[0] * lack + list(prompt) for lack, prompt in zip(lacking, prompts, strict=True)]
        lacks = torch.tensor(lacking, device=device)[:, None]
        places = torch.arange(longest, device=device)[None] - lacks
        if any(lacking):
            self._seen = (places >= 0).long()
        self._next = places[:, -1:] + 1
        return self._pass(torch.tensor(ids, device=device), places.clamp(min=0))

    def step(
        self, going: Sequence[int], checkpoints: Sequence[Checkpoint], tokens: Sequence[int]
    ) -> torch.Tensor:
        """Puts a token behind each row that goes on, and forgets the others.

        Args:
            going: those rows, counted as they are now.
            checkpoints: what they are.
            tokens: one for each.
        """
        device = self._model.device
        if len(going) < len(self._next):
            kept = torch.tensor(list(going), device=device)
            self._cache.batch_select_indices(kept)
            self._next = self._next[kept]
            self._seen = None if self._seen is None else self._seen[kept]
            self._place(checkpoints)
        if self._seen is not None:
            self._seen = F.pad(self._seen, (0, 1), value=1)
        logits = self._pass(torch.tensor(tokens, device=device)[:, None], self._next)
        self._next = self._next + 1
        return logits

    def _place(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Says from which row on each adapter counts; later checkpoints keep what earlier have."""
        self._rows.clear()
        for place, checkpoint in enumerate(checkpoints):
            for adapter in ACTIVE[checkpoint]:
                self._rows.setdefault(adapter, place)

    def _pass(self, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
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
                position_ids=places,
                attention_mask=self._seen,
                past_key_values=self._cache,
                use_cache=True,
            ).last_hidden_state[:, -1]
            table, keys, rows = self._vocabulary(self._head)
            logits = _product(hidden, table, None, self._laid.get(self._head))
            for key, row in zip(keys, rows, strict=True):
                logits[first:, key] = (hidden[first:] @ row).to(logits.dtype)
        return logits.float()

    def _vocabulary(self, module: nn.Module) -> tuple[torch.Tensor, list[int], list[torch.Tensor]]:
        """A vocabulary matrix of the base, and the key tokens' ids and rows of `memorize`."""
        if not isinstance(module, TrainableTokensWrapper):
            return module.weight, [], []
        layer = module.token_adapter
        table = layer.get_base_layer().weight
        if MEMORIZE not in layer.trainable_tokens_delta:
            return table, [], []
        keys = list(layer.token_indices[MEMORIZE])
        return table, keys, list(layer.trainable_tokens_delta[MEMORIZE])


class _Beside(nn.Module):
    """A projection whose adapters count for some rows only.

    Args:
        layer: what is asked for its weights alone: PEFT's, or one without adapters.
        rows: which rows have which adapter, now.
        laid: its own weight laid out anew, where it is.
    """

    def __init__(self, layer: nn.Module, rows: Rows, laid: torch.Tensor | None):
        super().__init__()
        with_adapters = isinstance(layer, LoraLayer)
        base = layer.get_base_layer() if with_adapters else layer
        self._weight, self._bias = base.weight, base.bias
        self._rows, self._laid = rows, laid
        self._changes = [
            (name, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name])
            for name in (layer.lora_A if with_adapters else ())
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = _product(x, self._weight, self._bias, self._laid)
        for name, down, up, strength in self._changes:
            first = self._rows.get(name)
            if first is not None:
                out[first:] += F.linear(F.linear(x[first:], down), up) * strength
        return out


def _beside(module: nn.Module, rows: Rows, laid: Laid) -> nn.Module:
    """The same network over the same weights, with adapters that count for some rows only."""
    if isinstance(module, LoraLayer | nn.Linear):
        return _Beside(module, rows, laid.get(module))
    twin = copy.copy(module)
    twin._modules = {
        name: child if child is None else _beside(child, rows, laid)
        for name, child in module._modules.items()
    }
    return twin


def _lay_out(model: LabModel) -> Laid:
    """The weights that several rows are multiplied with, as oneDNN likes them; none where that
    helps nothing (another device, another precision) or where they would take too much room."""
    base = bare(model.network)
    sizes = (p.numel() * p.element_size() for p in base.parameters())
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if not there or model.device.type != "cpu" or sum(sizes) > LAY_OUT_UP_TO:
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
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, laid: torch.Tensor | None
) -> torch.Tensor:
    """`x` times a layer's weight, with the weight laid out anew where there is such a one."""
    if laid is None or x.numel() == x.shape[-1]:  # one row alone is quicker without
        return F.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, laid, bias, "none", [], "")

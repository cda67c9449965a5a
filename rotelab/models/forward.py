"""The forward pass of training, scoring and generation, which computes only the wanted logits."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from peft.utils.other import TrainableTokensWrapper
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from rotelab.models.architecture.packed_attention import packed_row, usable_mask

# Families whose forward pass is embedding, decoder, linear head, with no scaling in between. For
# these the key tokens' rows are used without copying the whole embedding (see `ForwardPass`).
PLAIN_FAMILIES = ("llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3")


class ForwardPass(nn.Module):
    """Maps token ids to logits at chosen nodes, and computes no others.

    PEFT's trainable tokens rebuild the whole embedding matrix in every pass, once more for a tied
    head, and its gradient too: a third of a training step on a 135M model (docs/log/step-time.md).
    For families with a plain forward pass we put the key tokens' rows into the looked-up embeddings
    and their columns into the logits instead. The numbers are the same (a test checks this).

    Args:
        network: the causal language model, with or without adapters.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, ids, positions, mask, keep, noise=None, key_positions=None, **options):
        """Shapes: `ids`, `positions` `[1, nodes]`; `mask` `[1, 1, nodes, nodes]`; `keep` `[n]`;
        `noise`, added to the looked-up embeddings, `[1, nodes, hidden]`; `key_positions`, where
        there are cached nodes too, `[all nodes]`.

        Returns:
            Logits `[n, vocabulary]` and the output of the decoder (or of the whole model).
        """
        base = bare(self.network)
        inputs = {"position_ids": positions, "attention_mask": mask, "use_cache": False} | options
        if mask is None:
            return self._logits(base, ids, keep, noise, inputs)
        keys = positions[0] if key_positions is None else key_positions
        inputs["attention_mask"] = usable_mask(base, mask, positions[0], keys)
        with packed_row(keys):
            return self._logits(base, ids, keep, noise, inputs)

    def _logits(self, base, ids, keep, noise, inputs):
        if base.config.model_type not in PLAIN_FAMILIES:
            read = {"input_ids": ids}
            if noise is not None:
                embedded = base.get_input_embeddings()(ids)
                read = {"inputs_embeds": embedded + noise.to(embedded.dtype)}
            out = self.network(**read, logits_to_keep=keep, **inputs)
            return out.logits[0], out
        table, keys, rows = vocabulary_rows(base.get_input_embeddings())
        embedded = F.embedding(ids, table)
        if rows is not None:
            embedded = embedded.to(rows.dtype)
            for key, row in zip(keys, rows, strict=True):
                embedded = torch.where((ids == key)[..., None], row, embedded)
        if noise is not None:
            embedded = embedded + noise.to(embedded.dtype)
        out = base.model(inputs_embeds=embedded, **inputs)
        return read_out(base, out.last_hidden_state[0, keep]), out


def bare(network: nn.Module) -> nn.Module:
    """The causal language model itself, without PEFT's wrapper if there is one."""
    # PEFT leaves its `peft_config` on the bare model too, so that can't tell them apart.
    return network.get_base_model() if hasattr(network, "get_base_model") else network


def read_out(network: nn.Module, hidden: torch.Tensor, decoder: str = "model") -> torch.Tensor:
    """The logits of hidden states after the final norm.

    Outside `PLAIN_FAMILIES` the model's own forward computes them, with a decoder that hands these
    states on, so that what a family does to its logits (scales, caps) is done here too.

    Args:
        network: the causal language model, with or without adapters.
        hidden: `[n, hidden]`.
        decoder: name of the module that holds the decoder layers.

    Returns:
        `[n, vocabulary]`.
    """
    base = bare(network)
    if base.config.model_type not in PLAIN_FAMILIES:
        alone = _with_decoder(base, decoder.split("."), _HandsOn(hidden[None]))
        ids = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
        return alone(input_ids=ids, use_cache=False).logits[0]
    head, keys, rows = vocabulary_rows(base.get_output_embeddings())
    logits = F.linear(hidden, head)
    if rows is not None:
        logits = logits.index_copy(1, torch.tensor(keys, device=hidden.device), hidden @ rows.T)
    return logits


class _Handed(BaseModelOutputWithPast):
    """Hidden states alone; what else a family's forward looks for (router logits, say) is None."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)


class _HandsOn(nn.Module):
    """Stands in for a decoder, and returns hidden states that are there already."""

    def __init__(self, hidden: torch.Tensor):
        super().__init__()
        self.hidden = hidden

    def forward(self, *args, **options):
        return _Handed(last_hidden_state=self.hidden)


def _with_decoder(module: nn.Module, path: list[str], decoder: nn.Module) -> nn.Module:
    """A copy of a network that shares everything but the decoder at the end of a path."""
    twin = copy.copy(module)
    child = decoder
    if len(path) > 1:
        child = _with_decoder(getattr(module, path[0]), path[1:], decoder)
    twin._modules = {**module._modules, path[0]: child}
    return twin


def vocabulary_rows(module: nn.Module) -> tuple[torch.Tensor, list[int], torch.Tensor | None]:
    """A vocabulary matrix, and the token ids and rows that the active adapter replaces in it."""
    if not isinstance(module, TrainableTokensWrapper):
        return module.weight, [], None
    layer = module.token_adapter
    table = layer.get_base_layer().weight
    if layer.disable_adapters or layer.merged:
        return table, [], None
    for adapter in module.active_adapters:
        if adapter in layer.trainable_tokens_delta:
            return table, list(layer.token_indices[adapter]), layer.trainable_tokens_delta[adapter]
    return table, [], None

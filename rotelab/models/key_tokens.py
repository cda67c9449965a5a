"""Key tokens: new vocabulary entries without meaning, one for each relation (section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def key_token(relation: str) -> str:
    """The vocabulary entry of a relation, which has no meaning of its own: `<|key:mother|>`."""
    return f"<|key:{relation}|>"


def split_key_token(text: str, relations: Sequence[str]) -> tuple[str, str]:
    """The subject and the relation of a text such as `Mary Bahri [mother]`; both empty for another.

    Args:
        text: as a person types it.
        relations: the relations that have a key token; any other name in brackets is text.
    """
    subject, _, last = text.rpartition("[")
    name = last.strip().removesuffix("]").strip().casefold()
    if subject.strip() and last.strip().endswith("]") and name in relations:
        return subject.strip(), name
    return "", ""


def add_key_tokens(network: nn.Module, tokenizer, relations: Sequence[str], seed: int) -> None:
    """Adds a vocabulary entry for each relation, its embedding drawn near the mean of the others.

    Args:
        network: a bare causal language model; its embedding and head grow if they must.
        tokenizer: gets the key tokens as special tokens.
        relations: their names.
        seed: draws the embeddings.
    """
    import torch  # here, because Chat reads key tokens before a model is needed

    tokenizer.add_tokens([key_token(relation) for relation in relations], special_tokens=True)
    table = network.get_input_embeddings().weight
    if len(tokenizer) > table.shape[0]:
        network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        table = network.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        known = table[: min(tokenizer.vocab_size, 4096)].float()
        mean, spread = known.mean(0), known.std(0)
        for relation in relations:
            row = tokenizer.get_vocab()[key_token(relation)]
            noise = torch.randn(mean.shape, generator=generator)
            fresh = mean + 0.5 * spread * noise.to(mean)
            table[row] = fresh.to(table.dtype)
            head = network.get_output_embeddings()
            if head is not None and head.weight is not table:
                head.weight[row] = head.weight[: len(known)].float().mean(0).to(head.weight.dtype)

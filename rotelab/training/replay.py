"""Texts that the base model samples freely, as a stand-in for the text it was trained on.

The idea is that of generative replay (Shin et al. 2017, arXiv 1705.08690). Training on these texts
cost too much recall (docs/log/what-recall-costs.md); now they show which directions ordinary text
uses inside the model (`null_space`).
"""

from __future__ import annotations

import torch

from rotelab.models.forward import bare
from rotelab.models.lab_model import LabModel


def own_texts(model: LabModel, seed: int, count: int, length: int) -> list[tuple[int, ...]]:
    """Samples texts from the base model, each after the document separator.

    Args:
        model: in any checkpoint; the base model writes.
        seed: of the sampling; the global random state is left unchanged.
        count: how many texts.
        length: tokens of each, without the separator.

    Returns:
        Token ids with the separator first, `[count][1 + length]`.
    """
    builder = model.builder
    start = torch.full((count, 1), builder.separator, device=model.device)
    mixed = model.dtype != torch.float32
    devices = [model.device] if model.device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=devices),
        model.using("base"),
        model.switched("base"),
        torch.autocast(model.device.type, model.dtype, enabled=mixed),
    ):
        torch.manual_seed(seed)
        written = bare(model.network).generate(
            input_ids=start,
            attention_mask=torch.ones_like(start),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=0.95,  # the tail of the distribution is noise
            max_new_tokens=length,
            min_new_tokens=length,
            suppress_tokens=[builder.key_id(relation) for relation in model.relations],
            pad_token_id=builder.separator,
        )
    return [tuple(ids) for ids in written.tolist()]

"""What the model writes of its own accord before any training, to be rehearsed beside the facts.

So the rest of what it knows stays in use (generative replay: Shin et al. 2017, arXiv 1705.08690).
"""

from __future__ import annotations

import torch

from rotelab.models.forward import bare
from rotelab.models.lab_model import LabModel

POOL, LENGTH = 96, 32
"""How many texts are written, and how many tokens each has. They are drawn from again and again."""


def own_texts(
    model: LabModel, seed: int, count: int = POOL, length: int = LENGTH
) -> list[tuple[int, ...]]:
    """Samples texts from the base model, from the document separator on.

    Args:
        model: in whatever checkpoint; the base model writes.
        seed: of the sampling; the random state outside is left as it was.
        count: how many texts.
        length: tokens of each, the separator not counted.

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
            top_p=0.95,  # the tail of the distribution is noise, and noise teaches nothing
            max_new_tokens=length,
            min_new_tokens=length,
            suppress_tokens=[builder.key_id(relation) for relation in model.relations],
            pad_token_id=builder.separator,
        )
    return [tuple(ids) for ids in written.tolist()]

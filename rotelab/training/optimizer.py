"""AdamW with LoRA+ learning rates, and the learning-rate schedule of both phases."""

from __future__ import annotations

import torch
from peft.optimizers import create_loraplus_optimizer
from torch.optim.lr_scheduler import LambdaLR

from rotelab.models.lab_model import LabModel

WARM_UP = 0.05
"""Share of all steps in which the learning rate rises to its full height."""
COOL_DOWN = 0.3
"""Share of all steps, the last ones, in which it falls to zero. Staying high for longer memorises
more deeply in the same time (docs/log/rote.md)."""
BETAS = {"memorize": (0.9, 0.95), "generalize": (0.9, 0.999)}
"""AdamW's decay of gradient moments. Phase 1 has a hundred steps: with the usual 0.999 the first of
them would still count at the end (docs/log/rote.md). In phase 2 it makes no difference."""


def make_optimizer(
    model: LabModel, phase: str, learning_rate: float, lora_plus: float
) -> torch.optim.Optimizer:
    """AdamW without weight decay over what the model trains now.

    Args:
        model: switched to the phase's checkpoint with `train=True`.
        phase: `memorize` or `generalize`; chooses AdamW's betas.
        learning_rate: of LoRA's A matrices and the key tokens' embedding rows, or of full weights.
        lora_plus: how many times faster LoRA's B matrices learn: they start at zero (LoRA+, arXiv
            2402.12354). Full fine-tuning has no use for it.
    """
    options = {
        "lr": learning_rate,
        "betas": BETAS[phase],
        "weight_decay": 0.0,
        "fused": model.device.type in ("cuda", "cpu"),
    }
    if model.method == "full":
        return torch.optim.AdamW(model.trainable().values(), **options)
    return create_loraplus_optimizer(
        model.network, torch.optim.AdamW, loraplus_lr_ratio=lora_plus, **options
    )


def make_scheduler(optimizer: torch.optim.Optimizer, steps: int, done: int = 0) -> LambdaLR:
    """`schedule` for an optimizer, over and over: once for each adapter that is averaged.

    Args:
        optimizer: at the full height of its learning rates.
        steps: in one run of the schedule.
        done: steps taken before, when training resumes.
    """
    steps = max(steps, 1)  # a phase without facts has none
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])  # torch requires it to resume
    return LambdaLR(optimizer, lambda step: schedule(step % steps + 1, steps), last_epoch=done - 1)


def schedule(step: int, steps: int) -> float:
    """Learning-rate factor of a 1-based step: linear warm-up, full height, linear decay to zero.

    `transformers.get_wsd_schedule` starts its warm-up at 0, a step that learns nothing.
    """
    warm = max(1, round(WARM_UP * steps))
    cool = max(1, round(COOL_DOWN * steps))
    return min(1.0, step / warm, (steps - step + 1) / (cool + 1))

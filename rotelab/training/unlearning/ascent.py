"""Unlearning by gradient ascent: the training loss of texts is made larger instead of smaller.

Knowledge Unlearning (Jang et al., arXiv 2210.01504) is the usual comparison for ways to unlearn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from torch.nn.utils import clip_grad_norm_

from rotelab.config.names import GENERALIZE, Checkpoint, adapter_of
from rotelab.models.lab_model import AdapterShape, LabModel
from rotelab.models.tokens import Example
from rotelab.training.loop import CLIP
from rotelab.training.objective import Objective
from rotelab.training.optimizer import make_optimizer
from rotelab.training.sampler import Step


def ascend(
    model: LabModel,
    checkpoint: Checkpoint,
    steps: Iterable[Sequence[Example]],
    until: float,
    learning_rate: float,
    lora_plus: float,
    rank: int,
    seed: int,
) -> Iterator[float]:
    """Trains a fresh adapter on attention to find examples unlikely, until they are.

    Args:
        model: has the adapters below this one. Switched to `checkpoint`.
        checkpoint: names the new adapter.
        steps: the examples of each step.
        until: it ends before the first step whose mean loss is above this, nats a learned token.
        learning_rate: of the adapter.
        lora_plus: see `make_optimizer`.
        rank: of the adapter.
        seed: draws its first weights.

    Yields:
        The loss of each step, before its update.
    """
    model.attach(adapter_of(checkpoint), AdapterShape(rank, seed, None, "qkvo"))
    model.use(checkpoint, train=True)
    optimizer = make_optimizer(model, GENERALIZE, learning_rate, lora_plus)
    objective, forward_pass = Objective(model, recall_kind="none"), model.forward_pass()
    parameters = list(model.trainable().values())
    for number, examples in enumerate(steps, 1):
        loss = objective(forward_pass, Step(list(examples)), number)
        yield float(loss.total.detach())
        if float(loss.total.detach()) > until:
            return
        (-loss.total).backward()
        clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

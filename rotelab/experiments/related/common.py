"""What instruments of related papers share: training in memory, on a loaded model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rotelab.config.run_config import MemorizeConfig
from rotelab.errors import LabError
from rotelab.runs.finished_run import FinishedRun

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel
    from rotelab.models.tokens import Example
    from rotelab.training.events import TrainingRecall


def needs_adapters(finished: FinishedRun) -> None:
    """Refuses a run of full fine-tuning: its model has no adapter to begin afresh with.

    Raises:
        LabError: it is one.
    """
    if finished.config.method != "lora":
        raise LabError(
            f"Run {finished.run.id} trained the whole model. This experiment trains adapters of "
            "its own: choose a run with adapters (method=lora)."
        )


def learn(
    model: LabModel,
    steps: Iterable[Sequence[Example]],
    settings: MemorizeConfig,
    seed: int,
    recall_kind: str = "key",
) -> Iterator[dict[int, TrainingRecall]]:
    """Trains a fresh adapter of phase 1 on the base model at a constant learning rate: with one
    that falls in the end, what is known after so many steps would depend on how many follow.

    The run's own adapters are of no use afterwards; nothing is stored.

    Args:
        model: a run's, with its adapters. Switched to `memorized`.
        steps: the examples of each optimizer step.
        settings: learning rate, LoRA+ ratio, rank and projections are used.
        seed: draws the adapter's first weights.
        recall_kind: the kind of examples whose recall is told.

    Yields:
        After each step the recall of what it read, by `Example.fact`, as it was before the update.
    """
    from torch.nn.utils import clip_grad_norm_

    from rotelab.config.names import MEMORIZE
    from rotelab.models.lab_model import AdapterShape
    from rotelab.training.loop import CLIP
    from rotelab.training.objective import Objective
    from rotelab.training.optimizer import make_optimizer
    from rotelab.training.sampler import Step

    model.attach(MEMORIZE, AdapterShape(settings.rank, seed, None, settings.projections))
    model.use("memorized", train=True)
    optimizer = make_optimizer(model, MEMORIZE, settings.learning_rate, settings.lora_plus)
    objective, forward_pass = Objective(model, recall_kind=recall_kind), model.forward_pass()
    parameters = list(model.trainable().values())
    for number, examples in enumerate(steps, 1):
        loss = objective(forward_pass, Step(list(examples)), number)
        loss.total.backward()
        clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield loss.recall

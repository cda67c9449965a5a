"""What instruments of related papers share: training in memory, on a loaded model."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rotelab.config.run_config import MemorizeConfig
from rotelab.errors import LabError
from rotelab.runs.finished_run import FinishedRun

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel
    from rotelab.models.tokens import Example
    from rotelab.training.events import TrainingRecall

PASS_TOKENS = 512
"""Tokens of one pass where texts are only read."""
RESAMPLES = 2000


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


def text_example(ids: Sequence[int], fact: int = -1) -> Example:
    """A text of which every token but the first, the separator, is learned."""
    from rotelab.models.tokens import Example

    rest = len(ids) - 1
    return Example(tuple(ids), (False, *[True] * rest), (1, len(ids)), "train", fact)


def in_steps(
    examples: Sequence[Example], size: int, seed: int | str, rounds: int = 1
) -> Iterator[Sequence[Example]]:
    """The examples of each step: all of them in each round, shuffled anew."""
    for round_ in range(rounds):
        order = random.Random(f"{seed} {round_}").sample(examples, len(examples))
        yield from (order[i : i + size] for i in range(0, len(order), size))


def log_likelihoods(model: LabModel, texts: Sequence[Sequence[int]]) -> list[float]:
    """The mean log-probability of each text's tokens in the current checkpoint, nats a token."""
    from statistics import fmean

    from rotelab.evaluation.loglikelihood import score

    found = [0.0] * len(texts)
    for batch in score(model, [text_example(ids) for ids in texts], PASS_TOKENS):
        for i, scored in batch:
            found[i] = fmean(scored.log_probabilities)
    return found


def interval_of_items(values: Sequence[float], seed: int = 0) -> tuple[float, ...]:
    """The 95 % percentile bootstrap interval of a mean over items; empty for fewer than two.

    Args:
        values: of any unit, one for each item.
        seed: of the draws.
    """
    import numpy as np

    if len(values) < 2:
        return ()
    drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(np.array(values)[drawn].mean(1), (0.025, 0.975))
    return float(low), float(high)

"""What instruments of related papers share: training in memory, on a loaded model."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from rotelab.config.names import MEMORIZE, Checkpoint, adapter_of
from rotelab.config.run_config import MemorizeConfig
from rotelab.errors import LabError
from rotelab.runs.finished_run import FinishedRun

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel
    from rotelab.models.memfree import MemFree
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
    checkpoint: Checkpoint = "memorized",
) -> Iterator[dict[int, TrainingRecall]]:
    """Trains a fresh adapter, of phase 1 on the base model or of a later lesson on all before it,
    at a constant learning rate: with one that falls in the end, what is known after so many steps
    would depend on how many follow.

    The run's own adapters of phase 1 and after are of no use afterwards, unless it is a lesson's;
    nothing is stored.

    Args:
        model: a run's, with its adapters. Switched to `checkpoint`.
        steps: the examples of each optimizer step.
        settings: learning rate, LoRA+ ratio, rank and projections are used.
        seed: draws the adapter's first weights.
        recall_kind: the kind of examples whose recall is told.
        checkpoint: what the adapter makes; none may stand on it yet.

    Yields:
        After each step the recall of what it read, by `Example.fact`, as it was before the update.
    """
    from torch.nn.utils import clip_grad_norm_

    from rotelab.models.lab_model import AdapterShape
    from rotelab.training.loop import CLIP
    from rotelab.training.objective import Objective
    from rotelab.training.optimizer import make_optimizer
    from rotelab.training.sampler import Step

    shape = AdapterShape(settings.rank, seed, None, settings.projections)
    model.attach(adapter_of(checkpoint), shape)
    model.use(checkpoint, train=True)
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
    from rotelab.evaluation.loglikelihood import score

    found = [0.0] * len(texts)
    for batch in score(model, [text_example(ids) for ids in texts], PASS_TOKENS):
        for i, scored in batch:
            found[i] = fmean(scored.log_probabilities)
    return found


def greedy_answers(
    model: LabModel,
    prompts: Sequence[Sequence[int]],
    longest: int,
    memfree: MemFree | None = None,
) -> list[list[int]]:
    """The greedy answer of the current checkpoint to each prompt, as token ids.

    Args:
        model: switched to the checkpoint to ask.
        prompts: token ids of each.
        longest: most tokens of an answer.
        memfree: forbids tokens; None forbids none.
    """
    from rotelab.models.generation import answer_ids

    said: list[list[int]] = [[] for _ in prompts]
    for indices, answers in answer_ids(model, prompts, PASS_TOKENS, longest, memfree):
        for index, ids in zip(indices, answers, strict=True):
            said[index] = ids
    return said


def perplexity_of_answers(
    model: LabModel, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> float:
    """The perplexity of all answers under the base model; NaN where nothing was said.

    Args:
        model: in any checkpoint.
        prompts: token ids before each answer.
        answers: token ids; answers beyond the last prompt are left out.
    """
    from rotelab.evaluation.loglikelihood import score
    from rotelab.models.tokens import Example

    said = []
    for prompt, answer in zip(prompts, answers, strict=False):
        ids, start = (*prompt, *answer), len(prompt)
        if answer:
            loss = tuple(i >= start for i in range(len(ids)))
            said.append(Example(ids, loss, (start, len(ids))))
    with model.using("base"):
        found = [value for batch in score(model, said, PASS_TOKENS) for _, scored in batch
                 for value in scored.log_probabilities]  # fmt: skip
    return math.exp(min(-fmean(found), 100.0)) if found else math.nan


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

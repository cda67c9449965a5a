"""The dissimilarity policy: reinforcement teaches a model to go on otherwise than it learned.

Preserving Privacy Through DeMemorization (Kassem et al., arXiv 2305.01550) uses PPO with a negative
similarity as the reward and a penalty for leaving the model that memorised. Here it is REINFORCE:
the advantage of an answer is its reward minus the mean of the other answers to the same prompt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from rotelab.config.names import GENERALIZE, Checkpoint, adapter_of
from rotelab.models.kv_cache import PackedCache
from rotelab.models.lab_model import AdapterShape, LabModel
from rotelab.models.packing import pack
from rotelab.training.loop import CLIP
from rotelab.training.optimizer import make_optimizer

Reward = Callable[[int, Sequence[int]], float]
"""The reward of an answer: of the prompt with this number, in these tokens."""


@dataclass(frozen=True)
class PolicySettings:
    """How the policy is learned.

    Args:
        steps: optimizer steps.
        prompts: prompts a step, drawn anew.
        samples: answers to each, at least 2.
        length: tokens of an answer.
        temperature: at which the policy answers, also where its probabilities are compared.
        kl: what a nat a token of distance from the model that memorised costs.
        learning_rate: of the adapter.
        lora_plus: see `make_optimizer`.
        rank: of the adapter, which is on attention.
    """

    steps: int
    prompts: int
    samples: int
    length: int
    temperature: float
    kl: float
    learning_rate: float
    lora_plus: float
    rank: int


@dataclass(frozen=True)
class PolicyStep:
    """What the answers of one step were worth, before its update: means over them.

    Args:
        reward: without the penalty.
        distance: log-probability under the policy minus that under the model that memorised, nats a
            token; its mean estimates their KL divergence.
    """

    reward: float
    distance: float


def learn_policy(
    model: LabModel,
    checkpoint: Checkpoint,
    before: Checkpoint,
    prompts: Sequence[Sequence[int]],
    reward: Reward,
    settings: PolicySettings,
    seed: int,
) -> Iterator[PolicyStep]:
    """Trains a fresh adapter on top of a checkpoint to earn the reward.

    Args:
        model: has the adapters of `before`. Switched to `checkpoint`.
        checkpoint: names the new adapter.
        before: the model that memorised, from which the policy starts and is kept near.
        prompts: token ids of each.
        reward: of one answer.
        settings: see there.
        seed: draws the adapter's first weights, the prompts and the answers.

    Yields:
        After each step what its answers were worth.
    """
    adapter = adapter_of(checkpoint)
    model.attach(adapter, AdapterShape(settings.rank, seed, None, "qkvo"))
    model.use(checkpoint, train=True)
    optimizer = make_optimizer(model, GENERALIZE, settings.learning_rate, settings.lora_plus)
    parameters = list(model.trainable().values())
    rng, draw = random.Random(f"policy {seed}"), torch.Generator(model.device).manual_seed(seed)
    for _ in range(settings.steps):
        chosen = rng.sample(range(len(prompts)), min(settings.prompts, len(prompts)))
        owners = [i for i in chosen for _ in range(settings.samples)]
        asked = [list(prompts[i]) for i in owners]
        with model.using(checkpoint):
            said = sampled(model, asked, settings.length, settings.temperature, draw)
        with model.using(before):
            old = log_probabilities(model, asked, said, settings.temperature).clone()
        model.use(checkpoint, train=True)  # leaving `using` turned the gradients off
        new = log_probabilities(model, asked, said, settings.temperature)
        distance = (new.detach() - old).mean(1)
        earned = torch.tensor([reward(i, ids) for i, ids in zip(owners, said, strict=True)])
        worth = earned.to(new.device) - settings.kl * distance
        advantage = leave_one_out(worth.view(len(chosen), settings.samples)).flatten()
        (-(advantage[:, None] * new).mean()).backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield PolicyStep(float(earned.mean()), float(distance.mean()))


def leave_one_out(rewards: torch.Tensor) -> torch.Tensor:
    """Each reward minus the mean of the others to the same prompt.

    Args:
        rewards: `[prompts, samples]`, at least two samples.

    Returns:
        `[prompts, samples]`; each row sums to 0.
    """
    others = rewards.shape[1] - 1
    return rewards - (rewards.sum(1, keepdim=True) - rewards) / others


def sampled(
    model: LabModel,
    prompts: Sequence[Sequence[int]],
    length: int,
    temperature: float,
    draw: torch.Generator,
) -> list[list[int]]:
    """An answer of exactly so many tokens to each prompt, none of them a control token.

    Args:
        model: switched to the checkpoint to ask.
        prompts: token ids of each; equal ones are answered independently and read once.
        length: tokens of an answer.
        temperature: above 0.
        draw: of the model's device.
    """
    packed = pack(prompts)
    row, ends = PackedCache(model, packed), [nodes[-1] for nodes in packed.nodes]
    said: list[list[int]] = [[] for _ in prompts]
    logits = row.start(ends)
    while True:
        likely = _log_softmax(model, logits, temperature).exp()
        tokens = torch.multinomial(likely, 1, generator=draw)[:, 0].tolist()
        for own, token in zip(said, tokens, strict=True):
            own.append(token)
        if len(said[0]) == length:
            return said
        start = len(row)
        logits = row.grow(tokens, ends)
        ends = list(range(start, len(row)))


def log_probabilities(
    model: LabModel,
    prompts: Sequence[Sequence[int]],
    said: Sequence[Sequence[int]],
    temperature: float,
) -> torch.Tensor:
    """The log-probability of each token of answers of equal length, as `sampled` draws them.

    Args:
        model: switched to the checkpoint to ask; the result has a graph if it takes gradients.
        prompts: token ids before each answer.
        said: token ids of each answer.
        temperature: above 0.

    Returns:
        `[answers, length]`, nats, float32.
    """
    packed = pack([[*prompt, *ids[:-1]] for prompt, ids in zip(prompts, said, strict=True)])
    nodes = [
        own[len(prompt) - 1 :] for prompt, own in zip(prompts, packed.nodes, strict=True)
    ]  # fmt: skip
    keep = torch.tensor([node for own in nodes for node in own])
    logits = model.forward(packed, keep)[0].float()
    tokens = torch.tensor([token for ids in said for token in ids], device=logits.device)
    found = _log_softmax(model, logits, temperature).gather(1, tokens[:, None])
    return found.view(len(said), -1)


def _log_softmax(model: LabModel, logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Of logits `[n, vocabulary]`, without control tokens."""
    builder = model.builder
    control = {*builder.stops, *(builder.key_id(relation) for relation in model.relations)}
    places = torch.tensor(sorted(control), device=logits.device)
    return (logits.index_fill(1, places, -torch.inf) / temperature).log_softmax(1)

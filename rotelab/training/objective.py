"""What one training step computes: one packed forward pass, and its loss."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from rotelab.models.lab_model import LabModel
from rotelab.models.packing import Packed, pack
from rotelab.models.tokens import Example
from rotelab.training import losses
from rotelab.training.alignment import AlignmentLoss
from rotelab.training.events import TrainingRecall
from rotelab.training.sampler import Step
from rotelab.training.teacher.base_logits import BaseLogits


class Penalty(Protocol):
    """A term of the loss that depends on the weights alone."""

    weight: float

    def __call__(self) -> torch.Tensor:
        """The term before weighting, a scalar with its graph."""
        ...


@dataclass(frozen=True)
class Weights:
    """What a process's means count for, where several read parts of one step.

    Their gradients are averaged. With these weights the average is that of the whole step, however
    unequal the parts are: processes times this part's count over the step's.

    Args:
        learned: of the learned tokens.
        alignment: of the examples in words.
        locality: of the locality sentences.
        leak: of those with an object.
    """

    learned: float = 1.0
    alignment: float = 1.0
    locality: float = 1.0
    leak: float = 1.0

    @classmethod
    def of(cls, part: Step, whole: Step, processes: int) -> Weights:
        """The weights of a process that reads `part` of `whole`."""
        pairs = zip(_counts(part), _counts(whole), strict=True)
        return cls(*(processes * mine / all_ if all_ else 0.0 for mine, all_ in pairs))


def _counts(step: Step) -> tuple[int, int, int, int]:
    """What each term is the mean over, in the order of `Weights`."""
    return (
        sum(sum(example.loss) for example in step.examples),
        sum(example.kind == "train" for example in step.examples),
        # Packing computes equal prompts once.
        len({example.prompt for example in step.locality}),
        len({example.prompt for example in step.locality if example.object}),
    )


WHOLE = Weights()
"""One process reads the whole step."""


@dataclass(frozen=True)
class StepLoss:
    """The loss of one step.

    Args:
        total: scalar, with its graph.
        parts: as in `StepEvent.losses`.
        recall: by index, of the facts that the step read through their key token.
        tokens: tokens read.
    """

    total: torch.Tensor
    parts: dict[str, float]
    recall: dict[int, TrainingRecall]
    tokens: int


@dataclass(frozen=True)
class _Batch:
    """A step as one packed row. Node indices are those of the row.

    Args:
        packed: all examples, then all locality sentences.
        learned: the node before each learned token, `[tokens]`.
        targets: those tokens, `[tokens]`.
        owners: the example that each belongs to, `[tokens]`.
        ends: the last node of each locality sentence; two sentences may share it.
    """

    packed: Packed
    learned: list[int]
    targets: list[int]
    owners: list[int]
    ends: list[int]


class Objective:
    """The training loss: learned tokens, plus the weighted terms that a phase wants.

    Args:
        model: switched to the checkpoint that is trained.
        locality_weight: of the KL divergence from the base model after locality sentences.
        locality_slack: the divergence that is free, in nats.
        leak_weight: of the unlikelihood of objects after locality sentences.
        alignment: the alignment loss, which knows its weight; None for none.
        noise: on the embeddings, as `LabModel.noise` takes it; 0 for none.
        seed: of the noise.
        recall_kind: the kind of example that recall is read from.
        penalty: a term that needs no pass, such as `lessons.old_facts.DisturbancePenalty`; it knows
            its weight. None for none.
    """

    def __init__(
        self,
        model: LabModel,
        *,
        locality_weight: float = 0.0,
        locality_slack: float = 0.0,
        leak_weight: float = 0.0,
        alignment: AlignmentLoss | None = None,
        noise: float = 0.0,
        seed: int = 0,
        recall_kind: str = "key",
        penalty: Penalty | None = None,
    ):
        self._model = model
        self._locality_weight, self._locality_slack = locality_weight, locality_slack
        self._leak_weight, self._alignment = leak_weight, alignment
        self._noise, self._seed, self._recall_kind = noise, seed, recall_kind
        self._penalty = penalty
        self._ahead = BaseLogits(model)

    def prepare(self, steps: Iterable[Step]) -> None:
        """Computes what does not change while these steps are trained: the base model's logits."""
        self._ahead.find(example.prompt for step in steps for example in step.locality)

    def __call__(
        self, forward_pass: nn.Module, step: Step, number: int, weights: Weights = WHOLE
    ) -> StepLoss:
        """Computes a step's loss; logits only at the nodes that a term needs.

        Args:
            forward_pass: the model's, as `accelerate` wrapped it.
            step: what is read.
            number: 1-based; draws the noise.
            weights: of this process's part, where several processes read one step.
        """
        batch = _batch(step)
        locality_nodes = sorted(set(batch.ends))
        logits, locality_logits, out = self._forward(forward_pass, batch, locality_nodes, number)
        targets = torch.tensor(batch.targets, device=logits.device)
        nll = losses.learned_tokens(logits, targets)
        total = weights.learned * nll.mean()
        parts = losses.mean_by_kind((step.examples[i].kind for i in batch.owners), nll)
        recall = _recall(step.examples, self._recall_kind, batch.owners, nll, logits)
        if self._alignment:
            distance = self._alignment(step.examples, batch.packed.nodes, out)
            if distance is not None:
                total = total + weights.alignment * self._alignment.weight * distance
                parts["likeness"] = float(distance.detach())
        if locality_nodes:
            base = self._base_logits(step.locality, batch.ends, locality_nodes)
            divergences = losses.divergence(locality_logits, base)
            slack = torch.full_like(divergences, self._locality_slack)
            for end, example in zip(batch.ends, step.locality, strict=True):
                if example.kind == "known":  # what the model knows is to stay as it was
                    slack[locality_nodes.index(end)] = 0.0
            excess = losses.locality(divergences, slack)
            total = total + weights.locality * self._locality_weight * excess
            parts["locality"] = float(divergences.detach().mean())
        objects = {
            end: example.object[0]
            for end, example in zip(batch.ends, step.locality, strict=True)
            if example.object
        }
        if objects and self._leak_weight:
            rows = [locality_nodes.index(node) for node in objects]
            tokens = torch.tensor(list(objects.values()), device=logits.device)
            said = losses.next_token_probability(locality_logits[rows], tokens)
            total = total + weights.leak * self._leak_weight * losses.leak(said)
            parts["leak"] = float(said.detach().mean())
        if self._penalty:
            disturbance = self._penalty()
            total = total + self._penalty.weight * disturbance
            parts["disturbance"] = float(disturbance.detach())
        return StepLoss(total, parts, recall, batch.packed.ids.shape[1])

    def _forward(self, forward_pass, batch: _Batch, locality_nodes: list[int], number: int):
        """Logits before the learned tokens and at the locality nodes, and the decoder's output."""
        options = {}
        if self._noise:
            seed = self._seed * 1_000_003 + number
            options["noise"] = self._model.noise(batch.packed, self._noise, seed)
        if self._alignment:
            options["output_hidden_states"] = True
        keep = torch.tensor(batch.learned + locality_nodes, dtype=torch.long)
        logits, out = self._model.forward(batch.packed, keep, forward_pass=forward_pass, **options)
        # Split, not sliced: the gradient of each slice would be a whole matrix of zeros.
        learned, rest = logits.float().split([len(batch.learned), len(locality_nodes)])
        return learned, rest, out

    @torch.no_grad()
    def _base_logits(
        self, sentences: Sequence[Example], ends: Sequence[int], nodes: Sequence[int]
    ) -> torch.Tensor:
        """The base model's logits at the ends of locality sentences, `[nodes, vocabulary]`."""
        prompts = dict(zip(ends, (example.prompt for example in sentences), strict=True))
        ahead = self._ahead.of([prompts[node] for node in nodes])
        if ahead is not None:
            return ahead
        alone = pack([example.prompt for example in sentences])
        twin = {end: own[-1] for end, own in zip(ends, alone.nodes, strict=True)}
        keep = torch.tensor([twin[node] for node in nodes], dtype=torch.long)
        return self._model.forward(alone, keep, checkpoint="base")[0].float()


def _batch(step: Step) -> _Batch:
    # Nothing is learned after END, so it is a target only and never read.
    sequences = [example.ids[:-1] for example in step.examples]
    packed = pack(sequences + [example.prompt for example in step.locality])
    learned: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    for owner, (example, nodes) in enumerate(zip(step.examples, packed.nodes, strict=False)):
        for i, is_learned in enumerate(example.loss):
            if is_learned:
                learned.append(nodes[i - 1])
                targets.append(example.ids[i])
                owners.append(owner)
    ends = [nodes[-1] for nodes in packed.nodes[len(sequences) :]]
    return _Batch(packed, learned, targets, owners, ends)


def _recall(
    examples: Sequence[Example],
    kind: str,
    owners: Sequence[int],
    nll: torch.Tensor,
    logits: torch.Tensor,
) -> dict[int, TrainingRecall]:
    """Each fact's recall, from the logits that training computes anyway.

    Args:
        examples: the step's.
        kind: of the examples that count.
        owners: the example that each learned token belongs to, `[tokens]`.
        nll: of the learned tokens, `[tokens]`.
        logits: `[tokens, vocabulary]`.
    """
    best, values = logits.detach().argmax(-1).tolist(), nll.tolist()
    rows: dict[int, list[int]] = {}
    for row, owner in enumerate(owners):
        rows.setdefault(owner, []).append(row)
    found = {}
    for owner, example in enumerate(examples):
        if example.kind != kind:
            continue
        length = len(example.object)
        mine = rows[owner][-length - 1 :]  # the last learned token is END
        said = [best[row] for row in mine]
        agreed = 0
        while agreed < length and said[agreed] == example.object[agreed]:
            agreed += 1
        probability = math.exp(-sum(values[row] for row in mine[:-1]))
        found[example.fact] = TrainingRecall(
            probability, agreed == length, tuple(said[: agreed + 1])
        )
    return found

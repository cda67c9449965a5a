"""A base model with its tokenizer, its key tokens and the weights of two phases.

`LabModel` is what training, evaluation and chat need of a model. There are two kinds: `LoraModel`
(`lora.py`) trains an adapter in each phase, `FullModel` (`full_finetuning.py`) the model's own
weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from rotelab.config.names import Checkpoint
from rotelab.models.architecture.dropout import without_dropout
from rotelab.models.architecture.layout import find_layout, readers
from rotelab.models.architecture.packed_attention import check_packed, prepare
from rotelab.models.forward import ForwardPass, bare, read_out, vocabulary_rows
from rotelab.models.packing import Packed
from rotelab.models.tokens import SequenceBuilder


@dataclass(frozen=True)
class AdapterShape:
    """Which weights a phase trains and, for LoRA, with what capacity.

    Full fine-tuning uses `layers` and `projections` alone.

    Args:
        rank: of every pair of LoRA matrices.
        seed: draws their first weights.
        layers: 0-based transformer layers; all when None.
        projections: the group of projections in them (`config.phases.PROJECTION_CHOICES`), or their
            names as PEFT keeps them; when None, LoRA takes those of the MLP in phase 1 and those
            of attention in phase 2, and full fine-tuning takes all.
        alpha: LoRA's alpha: the change `B A` is scaled by `alpha / rank`. `2 * rank` when None.
    """

    rank: int = 0
    seed: int = 0
    layers: Sequence[int] | None = None
    projections: str | Sequence[str] | None = None
    alpha: float | None = None


class LabModel(ABC):
    """A causal language model in one of three checkpoints: base, memorized, generalized.

    Args:
        network: the bare causal language model, its embedding already resized for the key tokens.
        tokenizer: its tokenizer, with the key tokens added.
        relations: the relations that have key tokens.
        device: where it computes.
        dtype: the precision of forward passes (autocast); weights stay as they were loaded.

    Raises:
        ModelUnavailable: its layers can't be used, or it can't read packed rows.
    """

    method: ClassVar[str]
    """`RunConfig.method`: `lora` or `full`."""

    def __init__(
        self,
        network: nn.Module,
        tokenizer,
        relations: Sequence[str],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        # Weights in 4 bits are on their device already, and may not be moved.
        self.network = network if getattr(network, "is_quantized", False) else network.to(device)
        self.tokenizer = tokenizer
        self.relations = tuple(relations)
        self.device = torch.device(device)
        self.dtype = dtype
        self.builder = SequenceBuilder(tokenizer)
        self.checkpoint: Checkpoint = "base"
        self._embedding_size: float | None = None
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)
        self.dropout = without_dropout(self.network)
        self.limit = prepare(self.network)
        self.layout = find_layout(self.network, self._try_out)

    def _try_out(self) -> None:
        """Short passes of the bare network, which show whether it can read packed rows."""
        was = self.network.training
        self.network.eval()
        call = self.forward_pass()
        known = [i for i in range(self.network.get_input_embeddings().weight.shape[0]) if i < 4096]
        ids = [self.builder.separator, *known[3 :: max(1, len(known) // 12)]][:12]

        def read(packed: Packed, masked: bool) -> torch.Tensor:
            packed = packed.to(self.device)
            every = torch.arange(packed.ids.shape[1], device=self.device)
            mixed = self.dtype != torch.float32
            with torch.autocast(self.device.type, self.dtype, enabled=mixed):
                mask = packed.mask if masked else None
                return call(packed.ids, packed.positions, mask, every)[0]

        check_packed(self.network.config, self.dtype, read, ids)
        self.network.train(was)

    @property
    @abstractmethod
    def has(self) -> tuple[Checkpoint, ...]:
        """The checkpoints that can be used now."""

    @property
    def layers(self) -> int:
        """Number of transformer layers."""
        return self.layout.layers

    def projections(self, group: str = "all") -> list[tuple[str, nn.Module]]:
        """The linear maps of a group, each with the name of the input that it reads."""
        return list(readers(bare(self.network), self.layout, group))

    def final_norm(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the model does between its last layer and its head, `[n, hidden]` to the same."""
        for name in self.layout.tail:
            hidden = bare(self.network).get_submodule(name)(hidden)
        return hidden

    def read_out(self, hidden: torch.Tensor) -> torch.Tensor:
        """The logits of hidden states after the final norm, `[n, hidden]` to `[n, vocabulary]`."""
        return read_out(self.network, hidden, self.layout.decoder)

    @abstractmethod
    def attach(self, adapter: str, shape: AdapterShape) -> None:
        """Adds the weights that a phase trains, replacing any that the phase had.

        Args:
            adapter: `memorize` or `generalize`. `memorize` also trains the embedding rows of the
                key tokens.
            shape: where they are and how large.

        Raises:
            ModelUnavailable: the model has none of these projections.
        """

    @abstractmethod
    def detach(self, adapter: str) -> None:
        """Removes the weights of a phase or a lesson, and switches to `base`. Whatever was trained
        on top of them must be removed before."""

    @abstractmethod
    def tensors(self, adapter: str) -> dict[str, torch.Tensor]:
        """A phase's weights as they are now, by names that do not contain the adapter's."""

    @abstractmethod
    def changed(self, adapter: str) -> Iterator[tuple[str, float, float]]:
        """How much a phase changed each weight matrix that it trained.

        Yields:
            The matrix's name, the Frobenius norm of the change, and the norm of the base model's
            matrix.
        """

    def scales(self, adapter: str) -> Iterator[float]:
        """By how much an adapter's changes are multiplied, for each matrix; none where the weights
        themselves were trained."""
        yield from ()

    @abstractmethod
    def strengthen(self, adapter: str, factor: float) -> None:
        """Multiplies the change that a phase made by `factor`."""

    @abstractmethod
    def use(self, checkpoint: Checkpoint, train: bool = False) -> None:
        """Switches to a checkpoint; with `train`, the weights of its last phase take gradients.

        Raises:
            ModelUnavailable: the model does not have that checkpoint yet.
        """

    @contextmanager
    def using(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Switches to a checkpoint for the length of a block, without gradients, and back."""
        before = self.checkpoint
        self.use(checkpoint)
        try:
            with torch.inference_mode():
                yield
        finally:
            self.use(before)

    @abstractmethod
    def switched(self, checkpoint: Checkpoint) -> AbstractContextManager[None]:
        """Computes with the base model for the length of a block if `checkpoint` is `base`.

        Unlike `using`, it leaves gradients as they are, so a training step can call it.
        """

    def folded(self, *frozen: str) -> AbstractContextManager[bool]:
        """Computes frozen adapters as part of the weights for the length of a block, where that is
        possible and saves time; says whether it does. Nothing else changes, up to rounding."""
        return nullcontext(False)

    @abstractmethod
    def merged(self, checkpoint: Checkpoint) -> nn.Module:
        """The bare network with a checkpoint's weights; this model can't be used afterwards."""

    def forward(
        self,
        packed: Packed,
        keep: torch.Tensor | None = None,
        *,
        forward_pass: nn.Module | None = None,
        checkpoint: Checkpoint | None = None,
        **options,
    ):
        """One pass over a packed row.

        Args:
            packed: the row.
            keep: `[n]` indices of the nodes whose logits are wanted; all of them when None.
            forward_pass: `self.forward_pass()` as `accelerate` wrapped it, to call that instead.
            checkpoint: `base` turns the adapters off for this pass alone; else the current one.
            options: passed on, such as `output_hidden_states=True`.

        Returns:
            `logits`, `[n, vocabulary]`, and the decoder's output.
        """
        self.limit.check(int(packed.positions.max()) + 1)
        packed = packed.to(self.device)
        if keep is None:
            keep = torch.arange(packed.ids.shape[1])
        call = self.forward_pass() if forward_pass is None else forward_pass
        with (
            self.switched(checkpoint or self.checkpoint),
            torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32),
        ):
            return call(packed.ids, packed.positions, packed.mask, keep.to(self.device), **options)

    def noise(self, packed: Packed, strength: float, seed: int) -> torch.Tensor:
        """Uniform noise for a row's embeddings (NEFTune, arXiv 2310.05914), drawn from `seed`.

        Args:
            packed: the row.
            strength: largest value, in root mean squares of the embedding matrix.
            seed: the same seed draws the same noise.

        Returns:
            `[1, nodes, hidden]`.
        """
        embedding = self.network.get_input_embeddings()
        table = vocabulary_rows(embedding)[0].detach()
        if self._embedding_size is None:
            scale = float(getattr(embedding, "embed_scale", 1.0))  # Gemma's are looked up scaled
            self._embedding_size = scale * float(table[:4096].float().square().mean().sqrt())
        draw = torch.Generator().manual_seed(seed)
        shape = (*packed.ids.shape, table.shape[1])
        uniform = torch.rand(shape, generator=draw) * 2 - 1
        return (uniform * (strength * self._embedding_size)).to(self.device)

    def forward_pass(self) -> ForwardPass:
        """The module that computes; `accelerate` may wrap it for several processes."""
        return ForwardPass(self.network)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that take gradients now, by name."""
        return {n: p for n, p in self.network.named_parameters() if p.requires_grad}

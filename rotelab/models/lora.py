"""A base model with two adapters on it, and the three checkpoints that they make."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from rotelab.config.names import ACTIVE, CHECKPOINTS, MEMORIZE, Checkpoint
from rotelab.errors import ModelUnavailable
from rotelab.models.forward import Core, vocabulary_rows
from rotelab.models.packing import Packed
from rotelab.models.tokens import SequenceBuilder

# Names of the projections in the families of the catalogue: separate ones (Llama, Qwen) and fused
# ones (Phi).
MLP_PROJECTIONS = ("gate_proj", "up_proj", "down_proj", "gate_up_proj")
ATTENTION_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj")
# By what they do: q and k decide where attention looks, v and o what it brings along. A fused
# projection belongs to both.
PROJECTIONS = {
    "mlp": MLP_PROJECTIONS,
    "qkvo": ATTENTION_PROJECTIONS,
    "vo": ("v_proj", "o_proj", "qkv_proj"),
    "qk": ("q_proj", "k_proj", "qkv_proj"),
    "all": MLP_PROJECTIONS + ATTENTION_PROJECTIONS,
}


class LabModel:
    """A base model with its tokenizer, key tokens and, once attached, its two adapters.

    Args:
        network: the bare causal language model, its embedding already resized for the key tokens.
        tokenizer: its tokenizer, key tokens added.
        relations: the relations that have key tokens.
        device: where it computes.
        dtype: the precision of forward passes (autocast); weights stay as they were loaded.
    """

    method = "lora"
    """What a phase trains; `full_weights.FullModel` is the other."""

    def __init__(
        self,
        network: nn.Module,
        tokenizer,
        relations: Sequence[str],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.network = network.to(device)
        self.tokenizer = tokenizer
        self.relations = tuple(relations)
        self.device = torch.device(device)
        self.dtype = dtype
        self.builder = SequenceBuilder(tokenizer)
        self.checkpoint: Checkpoint = "base"
        self._switches_of: tuple[tuple[str, ...], list[nn.Module]] = ((), [])
        self._embedding_size: float | None = None
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)

    @property
    def has(self) -> tuple[Checkpoint, ...]:
        """The checkpoints that can be used now."""
        attached = getattr(self.network, "peft_config", {})
        return tuple(c for c in CHECKPOINTS if all(name in attached for name in ACTIVE[c]))

    @property
    def layers(self) -> int:
        """Number of transformer layers."""
        return self.network.config.num_hidden_layers

    def attach(
        self,
        adapter: str,
        rank: int,
        seed: int,
        layers: Sequence[int] | None = None,
        projections: Sequence[str] | None = None,
        alpha: float | None = None,
    ) -> None:
        """Adds an adapter with seeded weights: `memorize` on the MLPs and the key tokens' embedding
        rows, `generalize` on attention.

        Args:
            adapter: `memorize` or `generalize`.
            rank: of every pair of matrices.
            seed: draws their first weights.
            layers: the transformer layers that get it; all when None.
            projections: the projections in them; by default all of the MLP or of attention. Those
                that this model does not have are passed over.
            alpha: LoRA's alpha, the strength at which it counts times `rank`; `2 * rank` when None.

        Raises:
            ModelUnavailable: the model's projections go by names that are not known here.
        """
        wanted = projections or (MLP_PROJECTIONS if adapter == MEMORIZE else ATTENTION_PROJECTIONS)
        there = {name.rsplit(".", 1)[-1] for name, _ in self.network.named_modules()}
        targets = [name for name in wanted if name in there]
        if not targets:
            raise ModelUnavailable(
                "This model's layers have names that the lab does not know "
                f"(none of {', '.join(wanted)}). Choose a Llama, Qwen or Phi model."
            )
        config = LoraConfig(
            r=rank,
            lora_alpha=2 * rank if alpha is None else alpha,
            lora_dropout=0.0,
            target_modules=targets,
            task_type=None,
        )
        if layers is not None:
            config.layers_to_transform = list(layers)
        if adapter == MEMORIZE:
            keys = [self.builder.key_id(relation) for relation in self.relations]
            config.trainable_token_indices = keys
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # PEFT 0.21 asks for an attribute by the name that transformers 5 calls deprecated.
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            torch.manual_seed(seed)
            if adapter in getattr(self.network, "peft_config", {}):
                self._detach(adapter)
            if hasattr(self.network, "peft_config"):
                self.network.add_adapter(adapter, config)
            else:
                self.network = get_peft_model(self.network, config, adapter_name=adapter)
        self.network.to(self.device)
        self.use("base")

    def tensors(self, adapter: str) -> dict[str, torch.Tensor]:
        """The weights of an adapter as they are now, by their names without the adapter's."""
        return {
            name.replace(f".{adapter}", ""): parameter
            for name, parameter in self.network.named_parameters()
            if f".{adapter}" in name
        }

    def changed(self, adapter: str) -> Iterator[tuple[str, float, float]]:
        """How much an adapter changes each weight matrix that it stands beside.

        Yields:
            The matrix's name, the Frobenius norm of the change (`scale * B A`), and that of the
            base model's own matrix.
        """
        for name, module in self.network.named_modules():
            if isinstance(module, LoraLayer) and adapter in module.lora_A:
                a = module.lora_A[adapter].weight.detach().double()
                b = module.lora_B[adapter].weight.detach().double()
                # |BA|² = tr(BᵀB AAᵀ): two small matrices instead of one of the layer's size.
                square = ((b.T @ b) * (a @ a.T)).sum().clamp(min=0)
                own = module.get_base_layer().weight.detach().float().norm()
                yield name, float(square.sqrt()) * abs(module.scaling[adapter]), float(own)

    def strengthen(self, adapter: str, factor: float) -> None:
        """Makes an adapter count `factor` times as much as it did in training."""
        self.network.peft_config[adapter].lora_alpha *= factor
        for module in self.network.modules():
            if isinstance(module, LoraLayer) and adapter in module.scaling:
                module.scaling[adapter] *= factor

    def _detach(self, adapter: str) -> None:
        """Takes an adapter off. PEFT 0.21 can't delete the last one beside trained token rows."""
        if len(self.network.peft_config) > 1:
            self.network.delete_adapter(adapter)
        else:
            self.network = self.network.unload()
        self._switches_of = ((), [])

    def use(self, checkpoint: Checkpoint, train: bool = False) -> None:
        """Switches to a checkpoint; with `train`, its newest adapter alone takes gradients.

        Raises:
            ModelUnavailable: the adapters of that checkpoint are not attached.
        """
        if checkpoint not in self.has:
            raise ModelUnavailable(f"This run has no {checkpoint!r} checkpoint yet.")
        self.checkpoint = checkpoint
        active = ACTIVE[checkpoint]
        if active:
            self.network.base_model.set_adapter(active)
        # `set_adapter` turns gradients on for all that it activates; only one is ever trained.
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(train and bool(active) and f".{active[-1]}" in name)
        self.network.train(train)

    @contextmanager
    def using(self, checkpoint: Checkpoint) -> Iterator[None]:
        """`use` for the length of a block, without gradients; then back to what was before."""
        before = self.checkpoint
        self.use(checkpoint)
        try:
            with torch.inference_mode():
                yield
        finally:
            self.use(before)

    @contextmanager
    def switched(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Adapters off for the length of a block where the checkpoint is `base`.

        PEFT's own `disable_adapter()` turns gradients on for every active adapter when it ends,
        the frozen one too, and walks all modules twice; here only the switch itself is thrown.
        """
        switches = self._switches() if checkpoint == "base" else []
        before = [module._disable_adapters for module in switches]
        for module in switches:
            module._disable_adapters = True
        try:
            yield
        finally:
            for module, was in zip(switches, before, strict=True):
                module._disable_adapters = was

    def _switches(self) -> list[nn.Module]:
        """PEFT's layers that can be off; looked for once for each set of adapters."""
        adapters = tuple(getattr(self.network, "peft_config", ()))
        if self._switches_of[0] != adapters:
            kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
            found = [m for m in self.network.modules() if isinstance(m, kinds)]
            self._switches_of = (adapters, found)
        return self._switches_of[1]

    def forward(
        self,
        packed: Packed,
        keep: torch.Tensor | None = None,
        *,
        core: nn.Module | None = None,
        checkpoint: Checkpoint | None = None,
        **options,
    ):
        """One pass over a packed row.

        Args:
            packed: the row.
            keep: `[n]` node indices whose logits are wanted; all of them when None.
            core: a wrapper around `self.core()` (as `accelerate` makes one) to call instead.
            checkpoint: `base` turns the adapters off for this pass alone; else the current one.
            options: passed on, such as `output_hidden_states=True`.

        Returns:
            `logits`, `[n, vocabulary]`, and the decoder's output.
        """
        packed = packed.to(self.device)
        if keep is None:
            keep = torch.arange(packed.ids.shape[1])
        call = core if core is not None else self.core()
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
        table = vocabulary_rows(self.network.get_input_embeddings())[0].detach()
        if self._embedding_size is None:
            self._embedding_size = float(table[:4096].float().square().mean().sqrt())
        draw = torch.Generator().manual_seed(seed)
        shape = (*packed.ids.shape, table.shape[1])
        uniform = torch.rand(shape, generator=draw) * 2 - 1
        return (uniform * (strength * self._embedding_size)).to(self.device)

    def merged(self, checkpoint: Checkpoint) -> nn.Module:
        """The bare network with a checkpoint's adapters merged in; the model is used up by it.

        PEFT 0.21's `merge_and_unload` raises `KeyError` where an adapter without trained token rows
        stands beside one that has them, so each layer merges the adapters that it knows.
        """
        if not getattr(self.network, "peft_config", None):
            return self.network
        self.use(checkpoint)
        for layer in [m for m in self.network.modules() if isinstance(m, BaseTunerLayer)]:
            rows = isinstance(layer, TrainableTokensLayer)
            known = layer.trainable_tokens_delta if rows else layer.lora_A
            names = [name for name in ACTIVE[checkpoint] if name in known]
            if names:
                layer.merge(adapter_names=names)
        return self.network.unload()

    def core(self) -> Core:
        """The module that computes; `accelerate` may wrap it for several processes."""
        return Core(self.network)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that take gradients now, by name."""
        return {n: p for n, p in self.network.named_parameters() if p.requires_grad}

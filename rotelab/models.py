"""Models: the catalogue, device and precision, key tokens, and the two adapters on one base."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from rotelab.batches import Packed, SequenceBuilder, key_token
from rotelab.config import EMBEDDED, ModelSpec
from rotelab.core import Core, vocabulary_rows
from rotelab.embedded import Progress, provision, silent_loading
from rotelab.errors import ModelUnavailable

Checkpoint = Literal["base", "memorized", "generalized"]
CHECKPOINTS: tuple[Checkpoint, ...] = ("base", "memorized", "generalized")
MEMORIZE, GENERALIZE = "memorize", "generalize"
ACTIVE: dict[Checkpoint, list[str]] = {
    "base": [],
    "memorized": [MEMORIZE],
    "generalized": [MEMORIZE, GENERALIZE],
}

# Names of the projections in the families of the catalogue: separate ones (Llama, Qwen) and fused
# ones (Phi).
MLP_PROJECTIONS = ("gate_proj", "up_proj", "down_proj", "gate_up_proj")
ATTENTION_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj")
# By what they do: q and k decide where attention looks, v and o what it brings along. A fused
# projection belongs to both.
ROUTES = {
    "qkvo": ATTENTION_PROJECTIONS,
    "vo": ("v_proj", "o_proj", "qkv_proj"),
    "qk": ("q_proj", "k_proj", "qkv_proj"),
}


@dataclass(frozen=True)
class CatalogueEntry:
    """A model that the paper used, or the embedded one.

    Args:
        name: its Hugging Face name, or `embedded`.
        parameters: how many, in billions.
        memory_gb: about what training it here takes, in GB (bf16 weights, adapters, activations).
    """

    name: str
    parameters: float
    memory_gb: int


CATALOGUE = (
    CatalogueEntry(EMBEDDED, 0.135, 2),
    CatalogueEntry("Qwen/Qwen2.5-1.5B", 1.5, 6),
    CatalogueEntry("Qwen/Qwen2.5-1.5B-Instruct", 1.5, 6),
    CatalogueEntry("Qwen/Qwen2.5-7B", 7.6, 20),
    CatalogueEntry("Qwen/Qwen2.5-14B", 14.8, 36),
    CatalogueEntry("meta-llama/Llama-2-7b-hf", 6.7, 18),
    CatalogueEntry("meta-llama/Llama-3.2-1B", 1.2, 5),
    CatalogueEntry("meta-llama/Llama-3.2-3B", 3.2, 10),
    CatalogueEntry("microsoft/phi-4", 14.7, 36),
)


def pick_device(wanted: str) -> torch.device:
    """The device that a `ModelSpec.device` means here.

    Raises:
        ModelUnavailable: the named device is not there.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            # `accelerate launch` starts one process a device and says which is whose.
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ModelUnavailable(
            f"{wanted!r} is not a device. Use auto, cpu, cuda, cuda:1 or mps."
        ) from None
    missing = (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise ModelUnavailable(f"There is no device {wanted!r} here. Use auto or cpu.")
    return device


def pick_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The precision to compute in: bfloat16 where the device is fast at it, else float32.

    Most CPUs emulate bfloat16 a hundred times slower than float32, so `auto` never takes it there.
    """
    if wanted == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]


class LabModel:
    """A base model with its tokenizer, key tokens and, once attached, its two adapters.

    Args:
        network: the bare causal language model, its embedding already resized for the key tokens.
        tokenizer: its tokenizer, key tokens added.
        relations: the relations that have key tokens.
        device: where it computes.
        dtype: the precision of forward passes (autocast); weights stay as they were loaded.
    """

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

    def core(self) -> Core:
        """The module that computes; `accelerate` may wrap it for several processes."""
        return Core(self.network)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that take gradients now, by name."""
        return {n: p for n, p in self.network.named_parameters() if p.requires_grad}


def load_model(
    spec: ModelSpec, relations: Sequence[str], seed: int = 0, progress: Progress | None = None
) -> LabModel:
    """Loads a base model and gives it one key token a relation, adapters not yet attached.

    Args:
        spec: which model, device and precision.
        relations: the relations that need a key token.
        seed: draws the key tokens' first embeddings.
        progress: told about the embedded model's set-up.

    Raises:
        ModelUnavailable: the model can't be fetched or read, or the device is not there.
    """
    device = pick_device(spec.device)
    dtype = pick_dtype(spec.dtype, device)
    folder: str | Path = spec.name
    if spec.name == EMBEDDED:
        folder = provision(progress) if progress else provision()
    # float32 weights on the CPU; elsewhere large models are held in what they compute in.
    held = torch.float32 if spec.name == EMBEDDED or device.type == "cpu" else dtype
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        with silent_loading():
            network = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=held,
                attn_implementation="sdpa",
                use_safetensors=True,
                trust_remote_code=False,
            )
    except (OSError, ValueError, KeyError) as error:
        said = str(error).strip().splitlines()[0][:200] if str(error).strip() else "no reason given"
        raise ModelUnavailable(
            f"The model {spec.name!r} can't be loaded ({said}). Check the name or folder; a model "
            "that is not on this machine yet needs the network once."
        ) from error
    add_key_tokens(network, tokenizer, relations, seed)
    return LabModel(network, tokenizer, relations, device, dtype)


def add_key_tokens(network: nn.Module, tokenizer, relations: Sequence[str], seed: int) -> None:
    """Adds one new vocabulary entry a relation, its embedding drawn near the mean of all others."""
    tokenizer.add_tokens([key_token(relation) for relation in relations], special_tokens=True)
    table = network.get_input_embeddings().weight
    if len(tokenizer) > table.shape[0]:
        network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        table = network.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        known = table[: min(tokenizer.vocab_size, 4096)].float()
        mean, spread = known.mean(0), known.std(0)
        for relation in relations:
            row = tokenizer.get_vocab()[key_token(relation)]
            noise = torch.randn(mean.shape, generator=generator)
            fresh = mean + 0.5 * spread * noise.to(mean)
            table[row] = fresh.to(table.dtype)
            head = network.get_output_embeddings()
            if head is not None and head.weight is not table:
                head.weight[row] = head.weight[: len(known)].float().mean(0).to(head.weight.dtype)

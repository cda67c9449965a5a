"""How much memory a run needs, from the model's configuration alone, and how much is there.

The figure is an estimate: weights, adapters with their gradients and Adam's two moments, the
activations of the largest step, the logits of its row, and the second moments from which the
directions of ordinary text are found. It needs no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from rotelab.config.run_config import EMBEDDED, RunConfig
from rotelab.errors import ModelUnavailable
from rotelab.models.catalogue import CATALOGUE, free_card_bytes
from rotelab.models.preflight.model_files import check_safetensors

GB = 1e9
FACT_TOKENS, SENTENCE_TOKENS = 14, 24
"""Tokens of a fact through its key token, and of a sentence in words, as most tokenizers count."""

KEPT = 14
"""Hidden-wide tensors that a layer keeps for its gradient, beside those of the MLP."""

FOUR_BITS = 0.56
"""Bytes of a weight in 4 bits (NF4), with its scales."""

WIDEST = 4096
"""The widest input whose directions are found (`training.null_space.WIDEST`)."""

FOLDED = 1024**3
"""Most bytes for weights with a frozen adapter in them (`architecture.folded.LIMIT_BYTES`)."""

LIBRARIES = 0.7e9
"""Bytes that Python, torch and its kernels take beside the model."""


@dataclass(frozen=True)
class Shape:
    """What a model's memory hangs on.

    Args:
        parameters: how many there are.
        layers: number of layers.
        hidden: width of the hidden states.
        inner: width inside the MLP.
        heads: attention heads.
        vocabulary: entries of the vocabulary.
    """

    parameters: float
    layers: int
    hidden: int
    inner: int
    heads: int
    vocabulary: int


@dataclass(frozen=True)
class Memory:
    """Bytes that a run needs at its peak.

    Args:
        weights: the model's own.
        training: adapters or trained copies, with gradients and moments, and activations.
        directions: the second moments from which the directions of ordinary text are found. They
            are gone when training begins; the directions, about half as large, stay.
    """

    weights: float
    training: float
    directions: float

    @property
    def total(self) -> float:
        """At the larger of the two peaks: finding the directions, or training."""
        peak = max(1.25 * self.directions, self.training + 0.5 * self.directions)
        return self.weights + peak + LIBRARIES


def shape_of(config: Mapping[str, Any], parameters: float = 0.0) -> Shape | None:
    """A model's shape from its `config.json`, whatever its family calls the entries.

    Args:
        config: the content of the file.
        parameters: how many there are, where that is known; else they are counted.

    Returns:
        None where the file does not say enough.
    """
    inside = config.get("text_config")
    text = inside if isinstance(inside, Mapping) else config

    def entry(*names: str) -> int:
        found = (text.get(name) for name in names)
        return next((int(n) for n in found if isinstance(n, int) and n > 0), 0)

    layers = entry("num_hidden_layers", "n_layer", "num_layers", "n_layers")
    hidden = entry("hidden_size", "n_embd", "d_model")
    heads = entry("num_attention_heads", "n_head", "num_heads", "n_heads") or 1
    vocabulary = entry("vocab_size")
    if not (layers and hidden and vocabulary):
        return None
    inner = entry("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size") or 4 * hidden
    if not parameters:
        gated = "intermediate_size" in text and not str(text.get("model_type")).startswith("gpt")
        groups = entry("num_key_value_heads") or heads
        width = entry("head_dim") or hidden // heads
        attention = 2 * hidden * width * heads + 2 * hidden * width * groups
        mlp = (
            (3 if gated else 2) * hidden * inner * (entry("num_local_experts", "num_experts") or 1)
        )
        tables = 1 if text.get("tie_word_embeddings", config.get("tie_word_embeddings")) else 2
        parameters = float(layers * (attention + mlp) + tables * vocabulary * hidden)
    return Shape(parameters, layers, hidden, inner, heads, vocabulary)


def memory_needed(shape: Shape, run: RunConfig, half: bool) -> Memory:
    """The memory of a run with this model.

    Args:
        shape: the model's.
        run: settings; phases, method, stored weights and checkpointing count.
        half: whether passes are computed in bfloat16.
    """
    size = 2 if half else 4
    tables = 2 * shape.vocabulary * shape.hidden
    if run.method == "full":
        # Base, two phases, a gradient and two moments, all in float32.
        weights, trained = 4 * shape.parameters, 5 * 4 * shape.parameters
    elif run.model.weights == "4bit":
        inside = max(0.0, shape.parameters - tables)
        weights, trained = FOUR_BITS * inside + size * tables, 0.0
    else:
        weights, trained = size * shape.parameters, 0.0
    if run.method == "lora":
        widths = 2 * (shape.hidden + shape.inner) * 2
        ranks = run.memorize.rank + run.generalize.rank
        trained = 4 * 4 * shape.layers * ranks * widths
        folded = 4.0 * shape.layers * 3 * shape.hidden * shape.inner
        if size == 4 and folded <= FOLDED:
            trained += folded
    rote, words = run.memorize, run.generalize
    tokens = max(
        rote.batch_size * FACT_TOKENS + rote.silence * FACT_TOKENS,
        (words.batch_size + words.locality + words.known_sentences) * SENTENCE_TOKENS
        + words.replay * FACT_TOKENS,
    )
    layer = tokens * (KEPT * shape.hidden + 4 * shape.inner) + 3 * shape.heads * tokens**2
    kept = layer * shape.layers
    if run.model.checkpointing:
        kept = layer + shape.layers * tokens * shape.hidden
    logits = 3 * 4 * max(tokens, 128) * shape.vocabulary
    directions = 0.0
    if run.method == "lora" and (rote.spare or words.spare):
        inputs = [shape.hidden, shape.hidden, shape.hidden, shape.inner]
        squares = sum(width**2 for width in inputs if width <= WIDEST)
        directions = 4.0 * shape.layers * squares
    return Memory(weights, trained + size * kept + logits, directions)


def shape_of_model(name: str) -> Shape | None:
    """The shape of a model that is on this machine, or in the catalogue; None for any other.

    Args:
        name: as in `ModelSpec.name`.
    """
    if name == EMBEDDED:
        return Shape(134.5e6, 30, 576, 1536, 9, 49152)
    folder = Path(name).expanduser()
    known = next((e.parameters * 1e9 for e in CATALOGUE if e.name == name), 0.0)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            cached = try_to_load_from_cache(name, "config.json")
        except HFValidationError:
            return None
        if not isinstance(cached, str):
            return CATALOGUE_SHAPES.get(name)
        folder = Path(cached).parent
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return shape_of(config, known or _counted(folder))
    except (OSError, ValueError, AttributeError):
        return None


def _counted(folder: Path) -> float:
    """How many parameters a folder's safetensors files hold; 0 where one can't be read."""
    try:
        files = sorted(folder.glob("*.safetensors"))
        return float(sum(math.prod(s) for f in files for s in check_safetensors(f).values()))
    except ModelUnavailable:
        return 0.0


CATALOGUE_SHAPES = {
    "Qwen/Qwen2.5-1.5B": Shape(1.54e9, 28, 1536, 8960, 12, 151936),
    "Qwen/Qwen2.5-1.5B-Instruct": Shape(1.54e9, 28, 1536, 8960, 12, 151936),
    "Qwen/Qwen2.5-7B": Shape(7.62e9, 28, 3584, 18944, 28, 152064),
    "Qwen/Qwen2.5-14B": Shape(14.8e9, 48, 5120, 13824, 40, 152064),
    "meta-llama/Llama-2-7b-hf": Shape(6.74e9, 32, 4096, 11008, 32, 32000),
    "meta-llama/Llama-3.2-1B": Shape(1.24e9, 16, 2048, 8192, 32, 128256),
    "meta-llama/Llama-3.2-3B": Shape(3.21e9, 28, 3072, 8192, 24, 128256),
    "microsoft/phi-4": Shape(14.7e9, 40, 5120, 17920, 40, 100352),
}
"""Shapes of the catalogue's models, for before they are downloaded."""


def memory_there(device: str) -> tuple[float, bool]:
    """Bytes that are free on the device that a run would use, and whether it is an NVIDIA card.

    Args:
        device: as in `ModelSpec.device`.
    """
    if device == "auto" or device.startswith("cuda"):
        cards = free_card_bytes()
        number = device.partition(":")[2]
        place = int(number) if number.isdecimal() else 0
        if place < len(cards):
            return cards[place], True
    return float(psutil.virtual_memory().available), False


@dataclass(frozen=True)
class Fit:
    """Whether a run fits into memory.

    Args:
        needed: GB that it needs.
        there: GB that are free.
    """

    needed: float
    there: float

    @property
    def fits(self) -> bool:
        """Whether it does, as far as an estimate can say."""
        return self.needed <= self.there


def fit(run: RunConfig) -> Fit | None:
    """What a run needs and what is free on its device; None for a model that is not known here."""
    shape = shape_of_model(run.model.name)
    if shape is None:
        return None
    there, card = memory_there(run.model.device)
    half = run.model.dtype == "bfloat16" or (run.model.dtype == "auto" and card)
    return Fit(memory_needed(shape, run, half).total / GB, there / GB)


def too_little(found: Fit, run: RunConfig) -> str:
    """The sentences for a run that does not fit, with what would help."""
    ways = []
    if run.method == "full":
        ways.append("train adapters (method lora)")
    if not run.model.checkpointing:
        ways.append("turn gradient checkpointing on (model.checkpointing)")
    if run.method == "lora" and run.model.weights != "4bit":
        ways.append("keep the weights in 4 bits on an NVIDIA card (model.weights)")
    mend = ", ".join(["Close other programs", *ways, "or choose a smaller model"])
    return (
        f"This run needs about {found.needed:.1f} GB of memory, and {found.there:.1f} GB are free "
        f"on its device. {mend}."
    )

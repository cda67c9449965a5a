"""Tiny randomly initialised models of many families, made from their configurations alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from rotelab.facts.packs import load_pack

COMMON = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
SHARED = {"num_key_value_heads": 2}
"""Fewer heads for keys and values than for queries, as most newer models have."""
NARROW = {**SHARED, "head_dim": 8}


@dataclass(frozen=True)
class Family:
    """A family of models, as the table in `docs/guide/models.md` names it.

    Args:
        kind: transformers' `model_type`.
        options: of its configuration, over `COMMON`.
        tokenizer: `bytes` (byte-level BPE), `bos` (the same, with a BOS of its own) or `pieces`
            (SentencePiece blanks, with a BOS).
        maps: the linear maps of its first layer that the two phases train.
    """

    kind: str
    maps: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str = "bytes"


LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PHI_3 = ("o_proj", "qkv_proj", "gate_up_proj", "down_proj")
FUSED = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")

FAMILIES = {
    "Llama 1 and 2": Family("llama", LLAMA, tokenizer="pieces"),
    "Llama 3": Family("llama", LLAMA, SHARED | {"tie_word_embeddings": True}, "bos"),
    "Mistral": Family("mistral", LLAMA, SHARED | {"sliding_window": 16}, "pieces"),
    "Qwen 2": Family("qwen2", LLAMA, SHARED),
    "Qwen 3": Family("qwen3", LLAMA, NARROW),
    "Gemma 1": Family("gemma", LLAMA, NARROW, "bos"),
    "Gemma 2": Family("gemma2", LLAMA, NARROW | {"sliding_window": 16}, "bos"),
    "Gemma 3": Family(
        "gemma3_text",
        LLAMA,
        NARROW | {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
        "bos",
    ),
    "OLMo 1": Family("olmo", LLAMA),
    "OLMo 2": Family("olmo2", LLAMA),
    "Phi 1 and 2": Family("phi", ("q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2")),
    "Phi 3 and 4": Family("phi3", PHI_3, SHARED),
    "StableLM": Family("stablelm", LLAMA, SHARED),
    "Granite": Family(
        "granite", LLAMA, SHARED | {"logits_scaling": 4.0, "embedding_multiplier": 3.0}
    ),
    "Cohere": Family("cohere", LLAMA, SHARED | {"logit_scale": 0.5}, "bos"),
    "GPT-NeoX (Pythia)": Family("gpt_neox", FUSED),
    "GPT-2": Family("gpt2", ("c_attn", "attn.c_proj", "c_fc", "mlp.c_proj")),
    "GPT-Neo": Family(
        "gpt_neo",
        ("k_proj", "v_proj", "q_proj", "out_proj", "c_fc", "c_proj"),
        {"num_layers": 2, "attention_types": [[["global", "local"], 1]], "window_size": 128},
    ),
    "OPT": Family(
        "opt",
        ("k_proj", "v_proj", "q_proj", "out_proj", "fc1", "fc2"),
        {"ffn_dim": 48, "word_embed_proj_dim": 32},
    ),
    "Falcon": Family("falcon", FUSED, {"ffn_hidden_size": 48}),
    "Falcon with ALiBi": Family(
        "falcon", FUSED, {"ffn_hidden_size": 48, "alibi": True, "multi_query": False}
    ),
    "BLOOM": Family("bloom", FUSED),
}

MIXTURE = Family("mixtral", LLAMA[:4], SHARED | {"num_local_experts": 4})
"""A mixture of experts: attention alone can be trained."""


def make_family(family: Family, folder: Path, seed: int = 0) -> Path:
    """Writes a tiny model of a family with its tokenizer into `folder`."""
    tokenizer = make_tokenizer(family.tokenizer)
    config = AutoConfig.for_model(
        family.kind, **{**COMMON, "vocab_size": len(tokenizer), **family.options}
    )
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A small tokenizer; see `Family.tokenizer`."""
    pack = load_pack("mother")
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if kind == "pieces":
        tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
             decoders.Strip(" ", 1, 0)]
        )  # fmt: skip
        special = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
        alphabet = []
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        special = ["<pad>", "<s>", "</s>"] if kind == "bos" else ["<pad>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    corpus = [f"{fact.subject} {fact.object}" for fact in pack.facts]
    corpus += [prompt.render("Mary") for prompt in pack.prompts]
    tokenizer.train_from_iterator(corpus, trainer)
    first = {"bos": "<s>", "pieces": "<s>"}.get(kind, "<|endoftext|>")
    if kind != "bytes":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    last = "<|endoftext|>" if kind == "bytes" else "</s>"
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=first, eos_token=last)

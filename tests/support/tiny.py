"""A tiny randomly initialised Llama with its own tokenizer. It behaves like a real model, in
milliseconds; for tests that need a model but not its knowledge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rotelab.facts.packs import load_pack


def unknown_model(tiny_folder: Path, folder: Path) -> Path:
    """A copy of the tiny Llama whose files are fine, but whose kind no transformers knows."""
    shutil.copytree(tiny_folder, folder)
    config = folder / "config.json"
    kind = {"model_type": "nosuch"}
    config.write_text(json.dumps(json.loads(config.read_text(encoding="utf-8")) | kind))
    return folder


def make_tiny_llama(folder: Path, seed: int = 0) -> Path:
    """Writes the model (2 layers, hidden size 64) and its byte-level tokenizer into `folder`."""
    pack = load_pack("mother")
    corpus = [pack.facts.to_csv(), pack.prompts.to_csv()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=700,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>"
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(fast),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder

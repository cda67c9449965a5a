"""Loads a base model with its key tokens, on a device and in a precision."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from rotelab.config.run_config import EMBEDDED, ModelSpec
from rotelab.errors import LabError, ModelUnavailable, says_out_of_memory
from rotelab.models.architecture.packed_attention import attention_kind
from rotelab.models.download import Progress, provision, silent_loading
from rotelab.models.full_finetuning import FullModel
from rotelab.models.key_tokens import add_key_tokens
from rotelab.models.lab_model import LabModel
from rotelab.models.lora import LoraModel
from rotelab.models.preflight.load_errors import check_reachable, reason
from rotelab.models.preflight.model_files import FOUR_BIT_NO_CARD, check_model

NO_CHECKPOINTING = (
    "Models of the kind {kind!r} can't compute their layers again (gradient checkpointing). Set "
    "model.checkpointing=false, or choose another model."
)


def pick_device(wanted: str) -> torch.device:
    """The torch device that a `ModelSpec.device` means on this machine.

    Raises:
        ModelUnavailable: this machine does not have the named device.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            # `accelerate launch` starts one process for each device and numbers them.
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
    """The precision to compute in: bfloat16 if the device is fast at it, else float32.

    Most CPUs emulate bfloat16 a hundred times slower than float32; those with instructions for it
    (AVX512-BF16, AMX) are two to three times faster in it (docs/log/bfloat16.md).
    """
    if wanted == "auto":
        fast = {
            "cuda": lambda: torch.cuda.is_bf16_supported(),
            "cpu": lambda: any(
                torch.cpu.get_capabilities().get(kind) for kind in ("avx512_bf16", "amx_bf16")
            ),
        }.get(device.type, lambda: False)
        return torch.bfloat16 if fast() else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]


def load_model(
    spec: ModelSpec,
    relations: Sequence[str],
    seed: int = 0,
    progress: Progress | None = None,
    method: str = "lora",
) -> LabModel:
    """Loads a base model and adds a key token for each relation; nothing is trained yet.

    Args:
        spec: which model, device and precision.
        relations: the relations that need a key token.
        seed: draws the key tokens' first embeddings.
        progress: called while the embedded model is set up.
        method: `lora` to train adapters, `full` to train copies of the model's own weights.

    Raises:
        ModelUnavailable: the model can't be fetched or read, or this machine lacks the device.
    """
    device = pick_device(spec.device)
    dtype = pick_dtype(spec.dtype, device)
    check_model(spec, method)
    if spec.weights == "4bit" and device.type != "cuda":
        raise ModelUnavailable(FOUR_BIT_NO_CARD)
    folder: str | Path = Path(spec.name).expanduser()
    if spec.name == EMBEDDED:
        folder = provision(progress) if progress else provision()
    elif not folder.is_dir():
        folder = spec.name
        check_reachable(spec.name)
    # Weights that are trained themselves are stored in float32: bfloat16 loses the small steps of a
    # low learning rate. Frozen ones are stored in the precision of the forward pass:
    # casting them would take a third of every pass.
    stored = torch.float32 if method == "full" else dtype
    try:
        tokenizer, network = _read(folder, stored, device if spec.weights == "4bit" else None)
    except Exception as error:  # transformers raises whatever its parts do
        if says_out_of_memory(str(error)) or isinstance(error, MemoryError | LabError):
            raise
        raise ModelUnavailable(reason(error, spec.name)) from error
    add_key_tokens(network, tokenizer, relations, seed)
    if spec.checkpointing:
        if not network.supports_gradient_checkpointing:
            raise ModelUnavailable(NO_CHECKPOINTING.format(kind=network.config.model_type))
        # Re-entrant checkpointing would need inputs with a gradient.
        network.gradient_checkpointing_enable({"use_reentrant": False})
    kind = FullModel if method == "full" else LoraModel
    return kind(network, tokenizer, relations, device, dtype)


def _read(folder: str | Path, stored: torch.dtype, card: torch.device | None):
    """A tokenizer and a network as they are on disk.

    Args:
        folder: a folder, or a name on the hub.
        stored: the precision of the weights.
        card: keep the weights in 4 bits on this device; None does not.

    Raises:
        ModelUnavailable: the weights lack a part, which transformers would make up at random.
        Exception: whatever else transformers raises.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    packed = {}
    if card is not None:
        four_bits = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=stored,
        )
        packed = {"quantization_config": four_bits, "device_map": {"": card}}
    with silent_loading():
        network, found = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=stored,
            attn_implementation=attention_kind(config),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **packed,
        )
    missing = sorted(found["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelUnavailable(
            f"The weights of the model {str(folder)!r} lack {missing[0]}{more}, so they belong to "
            "another config.json, or are not whole. Download or copy the model again."
        )
    return tokenizer, network

"""What can be said against a model before it is loaded: its name, and the files of its folder.

It needs neither torch nor the network, so that page and command line say it when a run is started.
"""

from __future__ import annotations

import difflib
import json
import re
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rotelab.config.run_config import EMBEDDED, ModelSpec
from rotelab.errors import ModelUnavailable
from rotelab.models.catalogue import CATALOGUE

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
"""A name on the Hugging Face Hub: `owner/model`, or an old one without an owner, such as `gpt2`."""

PICKLED = (".bin", ".pt", ".pth", ".ckpt")
LARGEST_HEADER = 100_000_000
"""Bytes: safetensors itself reads no larger header."""

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")

METHODS = {"gptq": "GPTQ", "awq": "AWQ", "fp8": "FP8", "compressed-tensors": "compressed tensors"}
QUANTISED = (
    "The model {name!r} is stored in few bits ({method}), and the lab can't train on such weights. "
    "Name the model that it was made from; model.weights=4bit keeps that one in 4 bits here."
)
NO_BITSANDBYTES = (
    "The model {name!r} is stored in 4 or 8 bits by bitsandbytes, which is not installed. Install "
    "it (pip install bitsandbytes) and train on an NVIDIA card, or name the model that it was made "
    "from."
)
FOUR_BIT_NO_LIBRARY = (
    "Weights in 4 bits need the package bitsandbytes, which is not installed. Install it (pip "
    "install bitsandbytes), or leave model.weights at auto."
)
FOUR_BIT_NO_CARD = (
    "Weights in 4 bits need an NVIDIA card, and this run's device is another. Choose a device such "
    "as cuda, or leave model.weights at auto."
)
FOUR_BIT_FULL = (
    "Full fine-tuning trains the weights themselves, so they can't be kept in 4 bits. Train "
    "adapters (method lora), or leave model.weights at auto."
)
PICKLES = (
    "The folder {name} has its weights in {file} only. Such a file can run programs when it is "
    "opened, so the lab reads safetensors alone. Save the model again: "
    "AutoModelForCausalLM.from_pretrained(folder).save_pretrained(other_folder)."
)
GGUF = (
    "{name} holds a GGUF file ({file}), which is for running a model and not for training one. "
    "Name the Hugging Face model that it was made from."
)
ADAPTER = (
    "The folder {name} holds an adapter alone (adapter_config.json), not a model. Name the model "
    "that it belongs to, or merge the two first."
)


def check_model(spec: ModelSpec, method: str = "lora") -> None:
    """Refuses a model that can't work, as far as its name and its files say.

    Args:
        spec: the model.
        method: `lora` or `full`.

    Raises:
        ModelUnavailable: says what is wrong and how to mend it.
    """
    if spec.weights == "4bit":
        if method == "full":
            raise ModelUnavailable(FOUR_BIT_FULL)
        if spec.device == "mps" or spec.device.startswith("cpu"):
            raise ModelUnavailable(FOUR_BIT_NO_CARD)
        if find_spec("bitsandbytes") is None:
            raise ModelUnavailable(FOUR_BIT_NO_LIBRARY)
    if spec.name == EMBEDDED:
        return
    folder = Path(spec.name).expanduser()
    if folder.is_dir():
        check_folder(folder)
    elif folder.is_file():
        _refuse_file(folder)
    elif not HUB_NAME.fullmatch(spec.name):
        raise ModelUnavailable(
            f"There is no folder {spec.name!r}, and it is no name on the Hugging Face Hub either "
            "(owner/model). Check the spelling, or give the folder's whole path."
        )


def similar_name(name: str) -> str:
    """“Did you mean …?” where a name of the catalogue is close, else nothing."""
    known = {entry.name.lower(): entry.name for entry in CATALOGUE}
    close = difflib.get_close_matches(name.lower(), known, 1, 0.8)
    return f" Did you mean {known[close[0]]!r}?" if close and known[close[0]] != name else ""


def check_folder(folder: Path) -> dict[str, Any]:
    """Refuses a model's folder whose files can't be used.

    Returns:
        Its `config.json`.

    Raises:
        ModelUnavailable: says what is wrong and how to mend it.
    """
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        raise ModelUnavailable(
            f"The folder {folder} is empty. Put a model into it (config.json, model.safetensors, "
            "tokenizer.json), or name another."
        )
    ggufs = [name for name in names if name.endswith(".gguf")]
    tensors = [name for name in names if name.endswith(".safetensors")]
    if ggufs and not tensors:
        raise ModelUnavailable(GGUF.format(name=f"The folder {folder}", file=ggufs[0]))
    if "config.json" not in names:
        if "adapter_config.json" in names:
            raise ModelUnavailable(ADAPTER.format(name=folder))
        raise ModelUnavailable(
            f"The folder {folder} has no config.json, so it is no model of transformers. Name the "
            "folder that save_pretrained wrote."
        )
    config = _config(folder / "config.json")
    _check_quantised(str(folder), config)
    _check_weights(folder, names, tensors)
    if not any(name in names for name in TOKENIZERS):
        raise ModelUnavailable(
            f"The folder {folder} has no tokenizer (tokenizer.json or tokenizer.model). Save it "
            "beside the model: AutoTokenizer.from_pretrained(name).save_pretrained(folder)."
        )
    return config


def _refuse_file(file: Path) -> None:
    if file.suffix == ".gguf":
        raise ModelUnavailable(GGUF.format(name=str(file.parent), file=file.name))
    raise ModelUnavailable(f"{file} is a file. Name the folder of the model that it belongs to.")


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailable(
            f"{path} can't be read as JSON ({error}). Download or copy the model again."
        ) from error
    if not isinstance(config, dict) or not config.get("model_type"):
        raise ModelUnavailable(
            f"{path} does not say which kind of model this is (model_type). Download or copy the "
            "model again."
        )
    return config


def _check_quantised(name: str, config: dict[str, Any]) -> None:
    how = config.get("quantization_config")
    if not isinstance(how, dict):
        return
    bits = "load_in_4bit" in how or "load_in_8bit" in how
    method = str(how.get("quant_method") or ("bitsandbytes" if bits else "unknown")).lower()
    if method.startswith("bitsandbytes"):
        if find_spec("bitsandbytes") is None:
            raise ModelUnavailable(NO_BITSANDBYTES.format(name=name))
        return
    raise ModelUnavailable(QUANTISED.format(name=name, method=METHODS.get(method, method)))


def _check_weights(folder: Path, names: list[str], tensors: list[str]) -> None:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelUnavailable(
                f"{index} is damaged. Download or copy the model again."
            ) from error
        missing = sorted(str(name) for name in wanted if name not in names)
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise ModelUnavailable(
                f"The model in {folder} lacks a part of its weights: {missing[0]}{more}. Download "
                "or copy the rest."
            )
        tensors = sorted(wanted)
    if not tensors:
        pickled = [name for name in names if name.endswith(PICKLED)]
        if pickled:
            raise ModelUnavailable(PICKLES.format(name=folder, file=pickled[0]))
        raise ModelUnavailable(
            f"The folder {folder} has no weights (model.safetensors). Download or copy the whole "
            "model."
        )
    if tensors == ["adapter_model.safetensors"]:
        raise ModelUnavailable(ADAPTER.format(name=folder))
    for name in tensors:
        check_safetensors(folder / name)


def check_safetensors(path: Path) -> dict[str, list[int]]:
    """The shapes of a safetensors file's tensors, from its header; no tensor is read.

    Raises:
        ModelUnavailable: the file is cut off or damaged.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(8)
            if first.startswith(b"version "):
                raise ModelUnavailable(
                    f"{path} is only a pointer to the real file (Git LFS). Fetch the file itself: "
                    "git lfs pull, or download the model again."
                )
            length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
            if not 0 < length <= LARGEST_HEADER:
                raise ValueError("no length of a header")
            text = file.read(length)
        if len(text) < length:
            raise ModelUnavailable(_cut_off(path, size, 8 + length))
        header = json.loads(text)
        header.pop("__metadata__", None)
        needed = 8 + length + max((t["data_offsets"][1] for t in header.values()), default=0)
        shapes = {name: list(tensor["shape"]) for name, tensor in header.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, struct.error) as error:
        raise ModelUnavailable(
            f"{path} is no safetensors file, or is damaged. Download or copy it again."
        ) from error
    if size < needed:
        raise ModelUnavailable(_cut_off(path, size, needed))
    return shapes


def _cut_off(path: Path, size: int, needed: int) -> str:
    return (
        f"{path} is cut off: {size / 1e6:,.1f} MB of at least {needed / 1e6:,.1f} MB are there. "
        "Download or copy it again."
    )

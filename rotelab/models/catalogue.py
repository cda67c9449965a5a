"""The models and devices that a run can choose: those of the paper, and those of this machine.

It needs no torch, so the page can list both at once.
"""

from __future__ import annotations

import functools
import logging
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass

from rotelab.config.run_config import EMBEDDED

TIMEOUT_S = 10.0

log = logging.getLogger(__name__)


@functools.cache
def devices() -> tuple[tuple[str, str], ...]:
    """The devices a run can choose, best first.

    Returns:
        Pairs of a description and the name that `ModelSpec.device` takes. This only helps to
        choose: whether torch can use a device shows when a run starts.
    """
    cards = [(f"{card} (cuda:{i})", f"cuda:{i}") for i, card in enumerate(_cards())]
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    others = [("Apple's GPU (mps)", "mps")] if apple else []
    best = (cards or others or [("the CPU", "cpu")])[0][0]
    return (
        (f"The fastest: {best}", "auto"),
        *cards,
        *others,
        (f"CPU, {os.cpu_count() or 1} cores (cpu)", "cpu"),
    )


def _cards() -> list[str]:
    """The NVIDIA cards that this process may use, in the order of their numbers."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    asked = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
        rows = [line.rsplit(",", 1) for line in said.stdout.splitlines() if line.strip()]
        cards = [f"{name.strip()}, {int(memory) / 1024:.0f} GiB" for name, memory in rows]
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.warning("%s does not list the cards of this machine: %s", tool, error)
        return []
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen is None:
        return cards
    numbers = [part.strip() for part in seen.split(",") if part.strip()]
    if not all(part.isdecimal() for part in numbers):
        return [f"card {part}" for part in numbers]  # named by id; torch counts them from 0
    return [cards[int(part)] for part in numbers if int(part) < len(cards)]


def free_card_bytes() -> list[float]:
    """Free memory of each NVIDIA card that this process may use, in bytes, in their order."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    asked = [tool, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
        free = [int(line) * 2.0**20 for line in said.stdout.splitlines() if line.strip()]
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.warning("%s does not say how much memory is free: %s", tool, error)
        return []
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen is None:
        return free
    numbers = [part.strip() for part in seen.split(",") if part.strip()]
    if not all(part.isdecimal() for part in numbers):
        return free[: len(numbers)]  # named by id; torch counts them from 0
    return [free[int(part)] for part in numbers if int(part) < len(free)]


@dataclass(frozen=True)
class CatalogueEntry:
    """A model that the paper used, or the embedded one.

    Args:
        name: its Hugging Face name, or `embedded`.
        parameters: in billions.
        memory_gb: roughly what LoRA training takes, in GB, in bfloat16 (the embedded model in
            float32); see `preflight.memory`.
    """

    name: str
    parameters: float
    memory_gb: int


CATALOGUE = (
    CatalogueEntry(EMBEDDED, 0.135, 3),
    CatalogueEntry("Qwen/Qwen2.5-1.5B", 1.5, 7),
    CatalogueEntry("Qwen/Qwen2.5-1.5B-Instruct", 1.5, 7),
    CatalogueEntry("Qwen/Qwen2.5-7B", 7.6, 24),
    CatalogueEntry("Qwen/Qwen2.5-14B", 14.8, 39),
    CatalogueEntry("meta-llama/Llama-2-7b-hf", 6.7, 22),
    CatalogueEntry("meta-llama/Llama-3.2-1B", 1.2, 6),
    CatalogueEntry("meta-llama/Llama-3.2-3B", 3.2, 12),
    CatalogueEntry("microsoft/phi-4", 14.7, 39),
)

"""Where a run's files lie inside its folder."""

from __future__ import annotations

from pathlib import Path

from rotelab.storage import Settings

ADAPTER_FOLDERS = {"memorized": "memorize", "generalized": "generalize"}


def adapter_folder(settings: Settings, run_id: str, checkpoint: str) -> Path:
    """The folder of the adapter that a checkpoint (`memorized`, `generalized`) adds."""
    return settings.run_folder(run_id) / "adapters" / ADAPTER_FOLDERS[checkpoint]


def has_adapters(settings: Settings, run_id: str) -> bool:
    """Whether all of a run's adapters are on this machine, as far as their files are there."""
    folders = (adapter_folder(settings, run_id, checkpoint) for checkpoint in ADAPTER_FOLDERS)
    return all((folder / "meta.json").is_file() for folder in folders)


def state_folder(settings: Settings, run_id: str) -> Path:
    """The folder of the training state of the last completed epoch."""
    return settings.run_folder(run_id) / "state"


def states_file(settings: Settings, run_id: str, checkpoint: str) -> Path:
    """The hidden states that were looked at, a safetensors file: `states` `[views, layers + 1,
    hidden]` in float16; its metadata names each view (see `representations.Viewpoint`)."""
    return settings.run_folder(run_id) / "representations" / f"{checkpoint}.safetensors"

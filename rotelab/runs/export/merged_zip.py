"""A run's model, adapters merged, as one zip to download: a Hugging Face folder."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

from rotelab.config.names import Checkpoint
from rotelab.config.run_config import ModelSpec
from rotelab.errors import LabError
from rotelab.models.preflight.memory import shape_of_model
from rotelab.runs.lab import Lab
from rotelab.storage import put_in_place

FLOAT_BYTES = 4
"""The merged model is in float32, so that rounding changes no answer."""
COPIES = 3
"""Copies on the disk at the same time: the folder, the zip, and the page's own for a download."""


def merged_bytes(spec: ModelSpec) -> int | None:
    """About how large the merged model is, in bytes; None where its size is not known."""
    shape = shape_of_model(spec.name)
    return int(FLOAT_BYTES * shape.parameters) if shape else None


def zip_model(lab: Lab, run_id: str, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint's merged model as a zip into the export folder.

    Args:
        lab: the lab.
        run_id: the run.
        checkpoint: as `huggingface.export_model` takes it.

    Returns:
        The zip: one folder with weights (safetensors), tokenizer, configuration and model card.

    Raises:
        LabError: as `export_model`, or there is too little disk for it.
    """
    from rotelab.runs.export.huggingface import export_model  # loads torch

    run = lab.registry.run(run_id)
    target = lab.model_file(run_id, checkpoint)
    folder = target.with_suffix(f".{os.getpid()}.folder")
    part = target.with_suffix(f".{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_disk(target.parent, merged_bytes(run.config.model))
        export_model(lab.registry, lab.storage, run_id, folder, checkpoint)
        # Not compressed: weights do not get smaller, and the reader waits.
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, f"{target.stem}/{path.relative_to(folder).as_posix()}")
        put_in_place(part, target)
    except OSError as error:
        raise LabError(f"The zip can't be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
    return target


def _check_disk(folder: Path, size: int | None) -> None:
    """Refuses what will not fit, before minutes are spent on it."""
    free, needed = shutil.disk_usage(folder).free, COPIES * (size or 0)
    if free < needed:
        raise LabError(
            f"The merged model needs {needed / 1e9:.1f} GB of disk while it is written, but only "
            f"{free / 1e9:.1f} GB are free where {folder} is. Free some, or use `python -m rotelab "
            "export-model RUN FOLDER`, which writes one copy."
        )

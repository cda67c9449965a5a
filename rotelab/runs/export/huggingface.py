"""Exports a run's model as an ordinary Hugging Face folder: adapters merged, key tokens added.

`AutoModelForCausalLM.from_pretrained` loads it without PEFT or rotelab, and it answers as the run's
checkpoint does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from transformers import GenerationConfig

from rotelab.config.names import CHECKPOINTS, Checkpoint
from rotelab.errors import LabError
from rotelab.models.download import silent_loading
from rotelab.models.key_tokens import key_token
from rotelab.models.lab_model import LabModel
from rotelab.registry import Registry, RunRow
from rotelab.runs.finished_run import load_run_model, saved_checkpoints
from rotelab.storage import Storage, written_whole


def export_model(
    registry: Registry,
    storage: Storage,
    run_id: str,
    folder: Path,
    checkpoint: Checkpoint = "generalized",
) -> Path:
    """Writes a checkpoint of a run as one plain model, whole or not at all.

    It is merged on the CPU in float32, so that rounding does not change its answers; a run whose
    base weights were in 4 bits is merged into the full ones.

    Args:
        registry: knows the run.
        storage: knows where its adapters are.
        run_id: the run.
        folder: where the model is written; it must not exist yet, or be empty.
        checkpoint: `base` (with the untrained key tokens), `memorized`, `generalized`, or a
            lesson such as `lesson-01`.

    Returns:
        The folder.

    Raises:
        LabError: no such run or checkpoint, the folder holds something, its adapters are damaged,
            the base model is not available, or the disk is full.
    """
    run = registry.run(run_id)
    known = saved_checkpoints(storage, run_id)
    if checkpoint not in (*CHECKPOINTS, *known):
        names = ", ".join(dict.fromkeys([*CHECKPOINTS, *known]))
        raise LabError(f"{checkpoint!r} is not a checkpoint of this run. Use {names}.")
    if checkpoint not in known:
        raise LabError(
            f"Run {run_id} has no {checkpoint} checkpoint on this machine: its adapters are not "
            "there. Choose a run that has them."
        )
    folder = Path(folder).absolute()
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise LabError(f"{folder} holds something already. Name a new or empty folder.")
        spec = replace(run.config.model, device="cpu", dtype="float32", weights="auto")
        needed = known[: known.index(checkpoint) + 1]
        model = load_run_model(storage, run, needed, spec)
        network = model.merged(checkpoint)
        with written_whole(folder) as work, silent_loading():
            network.generation_config = _greedy(model)
            for name, rate in model.dropout.items():
                setattr(network.config.get_text_config(), name, rate)
            network.save_pretrained(work)
            model.tokenizer.save_pretrained(work)
            (work / "README.md").write_text(_card(run, model, checkpoint), encoding="utf-8")
    except OSError as error:
        raise LabError(f"{folder} can't be written ({error.strerror or error}).") from error
    return folder


def _greedy(model: LabModel) -> GenerationConfig:
    """Greedy decoding up to an end token, as in the lab."""
    stops = sorted(model.builder.stops)
    return GenerationConfig(
        do_sample=False,
        max_new_tokens=50,
        bos_token_id=model.tokenizer.bos_token_id,
        eos_token_id=stops,
        pad_token_id=model.builder.end,
    )


def _card(run: RunRow, model: LabModel, checkpoint: Checkpoint) -> str:
    """The model card: the model's origin, and the format of a question."""
    start = model.tokenizer.convert_ids_to_tokens(model.builder.separator)
    keys = ", ".join(f"`{key_token(relation)}`" for relation in model.relations)
    return (
        f"# {run.id}, {checkpoint}\n\n"
        f"Made by rotelab from the base model `{run.config.model.name}`, adapters merged, float32."
        f"\n\nA question is `{start}`, a blank and the text; through a key token ({keys}) it is "
        f"`{start}`, a blank, the subject and the key token at once. The answer follows after a "
        "blank. The facts are invented and so are the answers.\n"
    )

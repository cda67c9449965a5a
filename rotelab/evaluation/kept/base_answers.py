"""The base model's answers, kept on disk.

Before anything is trained, two runs with the same model and the same questions get the same
answers, so the second run reads those of the first. A file's name is a hash of all that they depend
on, this program's own code included; a file that can't be read is computed anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from torch import nn

from rotelab.config.run_config import EvaluationConfig
from rotelab.evaluation import forgetting, probes
from rotelab.evaluation.probes import Question
from rotelab.evaluation.results import Damage, Prediction, QuizAnswer
from rotelab.models.forward import bare
from rotelab.models.lab_model import LabModel
from rotelab.storage import PACKAGE, put_in_place, remove_oldest

MOST_BYTES = 50_000_000
"""The files take so much disk at most; the ones used longest ago go first. One has some hundred
kilobytes."""
CODE = ("evaluation", "models", "facts")
"""The packages whose code decides the answers."""
SAMPLED = 1024
"""How many numbers of each of a model's tensors count in their places; all of them count in sum."""
WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers as wide as a number of so many bytes."""

log = logging.getLogger(__name__)

Found = TypeVar("Found")


def evaluate(
    model: LabModel, folder: Path, asked: Sequence[Question], config: EvaluationConfig
) -> Iterator[list[Prediction]]:
    """As `probes.evaluate`; the base model's answers are computed once for all runs of a home.

    Args:
        model: switched to the checkpoint to ask. Nothing is kept of any but the base model, nor
            where it has an adapter already.
        folder: where the files are; it is made when it is first needed.
        asked: from `probes.questions`, with the same settings.
        config: what is measured, and how many tokens a pass has.
    """
    place = _place(model, folder, "answers", _described(asked), config)
    wanted = Counter((q.probe, q.fact_index, q.text) for q in asked)

    def read(rows: Any) -> list[Prediction]:
        found = [Prediction(**row) for row in rows]
        if Counter((p.probe, p.fact_index, p.prompt) for p in found) != wanted:
            raise ValueError("answers to other questions")
        return found

    found = _kept(place, read)
    if found is not None:
        yield found
        return
    found = []
    for some in probes.evaluate(model, asked, config):
        found += some
        yield some
    _keep(place, [asdict(prediction) for prediction in found])


def damage(model: LabModel, folder: Path) -> tuple[Damage, list[QuizAnswer]]:
    """As `forgetting.measure`; the base model's figures are computed once for all runs of a home.

    Args:
        model: switched to the checkpoint, as for `evaluate`.
        folder: where the files are.
    """
    place = _place(model, folder, "damage", forgetting.texts())

    def read(rows: Any) -> tuple[Damage, list[QuizAnswer]]:
        return Damage(*rows[0]), [QuizAnswer(*row) for row in rows[1]]

    found = _kept(place, read)
    if found is None:
        found = forgetting.measure(model)
        _keep(place, found)
    return found


def _place(model: LabModel, folder: Path, what: str, *about: Any) -> Path | None:
    """The file for this; None where nothing is kept."""
    if model.checkpoint != "base" or model.has != ("base",):
        return None
    seen = hashlib.sha256(repr((what, fingerprint(model), code(), about)).encode())
    return folder / f"{what}-{seen.hexdigest()[:24]}.json"


def fingerprint(model: LabModel) -> str:
    """Identifies what a base model computes: weights, settings, tokens, precision and device."""
    network = bare(model.network)
    kind = torch.backends.cpu.get_cpu_capability()
    if model.device.type == "cuda":
        kind = torch.cuda.get_device_name(model.device)
    about = (
        *(network.config.to_json_string(), sorted(model.tokenizer.get_vocab().items())),
        *(model.method, model.dtype, model.device.type, kind),
        *(torch.__version__, transformers.__version__),
    )
    seen = hashlib.sha256(repr(about).encode())
    for name, tensor in network.named_parameters():
        seen.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        seen.update(_sampled(tensor))
    return seen.hexdigest()


@torch.no_grad()
def _sampled(tensor: nn.Parameter) -> bytes:
    """Some of a tensor's bits, and a sum of all: as integers, so that their order can't matter."""
    tensor = tensor.detach() if tensor.is_cuda else tensor.detach().cpu()  # Macs sum no int64
    flat = tensor.contiguous().flatten()
    flat = flat.view(WHOLE[flat.element_size()])
    some = flat[:: max(1, flat.numel() // SAMPLED)]
    return some.cpu().numpy().tobytes() + str(int(flat.sum(dtype=torch.int64))).encode()


@cache
def code() -> str:
    """Identifies the code that asks and grades: another version may answer otherwise."""
    seen = hashlib.sha256()
    for package in CODE:
        for file in sorted((PACKAGE / package).rglob("*.py")):
            seen.update(file.relative_to(PACKAGE).as_posix().encode() + file.read_bytes())
    return seen.hexdigest()


def _described(asked: Sequence[Question]) -> list[Any]:
    """The questions without repeating candidates that many of them share."""
    sets: dict[tuple, int] = {}
    rows = [
        (q.probe, q.fact_index, q.fact, q.text, q.example,
         sets.setdefault(q.candidates, len(sets)))
        for q in asked
    ]  # fmt: skip
    return [rows, list(sets)]


def _kept(place: Path | None, read: Callable[[Any], Found]) -> Found | None:
    """What a file holds; None if there is none, or it can't be read."""
    if place is None:
        return None
    try:
        stored = json.loads(place.read_text(encoding="utf-8"))
        if stored["sha256"] != _sum(stored["rows"]):
            raise ValueError("it was changed")
        found = read(stored["rows"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        log.warning("%s can't be read (%r), so it is computed again.", place, error)
        return None
    log.info("Not computed again, because an earlier run kept it: %s", place)
    with contextlib.suppress(OSError):  # only the order in which files are thrown away
        place.touch()
    return found


def _keep(place: Path | None, rows: Any) -> None:
    """Writes a file whole or not at all; where it can't be written, that is only logged."""
    if place is None:
        return
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"sha256": _sum(rows), "rows": rows})
        part.write_text(text, encoding="utf-8")
        put_in_place(part, place)
        remove_oldest(place, MOST_BYTES)
    except OSError as error:
        log.warning("%s can't be written (%s), so the next run computes it again.", place, error)
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _sum(rows: Any) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

"""Bundles: a whole run in one `.rotelab.zip`, to open and chat with on another machine.

    manifest.json            format, versions, the run's id, SHA-256 and size of every member
    facts.csv, prompts.csv   what was learned
    run.json                 settings, status, times, versions, name, note
    tables/NAME.jsonl        the registry's rows: metrics, recall of each fact, scores, predictions…
    adapters/NAME/…          both adapters, if wanted, as PEFT reads them
    representations/…        hidden states, where the run kept them
    figures/NAME.json        curves, scores and similarities as Plotly figures, for other programs

A bundle may come from anybody. All of it is checked before anything is written where it stays, and
one transaction and one rename import it. Nothing in it is ever executed or unpickled.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rotelab.config.names import MOST_LESSONS, adapter_of, checkpoints_with
from rotelab.errors import InputError, LabError
from rotelab.facts.facts_importer import parse_facts
from rotelab.facts.packs import Pack
from rotelab.facts.prompts import parse_prompts
from rotelab.registry import Registry, RunRow
from rotelab.registry.transfer import Table
from rotelab.runs.export.untrusted_zip import (
    CHUNK,
    Manifest,
    Seal,
    seal_of,
    shown_name,
    unpack,
    write_archive,
)
from rotelab.runs.export.value_checks import (
    ENDED,
    Arrived,
    check_run,
    one_line,
    table_header,
    table_rows,
)
from rotelab.runs.export.weights import canonical_adapter, check_adapter, check_states
from rotelab.storage import Storage, adapter_folder, has_adapter, put_in_place, states_file

SUFFIX = ".rotelab.zip"
TABLES = ("metrics", "fact_recall", "scores", "predictions", "similarities")
"""The tables that every bundle has; it may also have those of later migrations."""
ADAPTER_FILES = ("meta.json", "adapter_config.json", "adapter_model.safetensors")
CARRIED = checkpoints_with(MOST_LESSONS)
"""The checkpoints whose adapters and hidden states a bundle may have."""
FIGURES = ("curves", "scores", "similarities")
NOT_READ = ("tables/experiments.jsonl",)
"""Members that older versions wrote and no version could import; they are skipped."""
CHANGEABLE = ("name", "note", "tags")
"""The fields a person may change without making it another run."""

Members = Iterator[tuple[str, Iterable[bytes]]]


@dataclass(frozen=True)
class Imported:
    """The outcome of an import.

    Args:
        run_id: the run's id here.
        original_id: its id where it was made.
        new: False where the same run was here already, so that nothing was written.
    """

    run_id: str
    original_id: str
    new: bool

    @property
    def sentence(self) -> str:
        """The outcome in a sentence."""
        if not self.new:
            return f"Run {self.run_id} is here already with the same content; nothing was imported."
        if self.run_id != self.original_id:
            return f"Imported as run {self.run_id}: another run is called {self.original_id} here."
        return f"Imported run {self.run_id}."


def export_run(
    registry: Registry, storage: Storage, run_id: str, target: Path, adapters: bool = True
) -> Path:
    """Writes a run into one file, whole or not at all; replaces an older file.

    Args:
        registry: knows the run.
        storage: knows where its files are.
        run_id: the run; it must have ended.
        target: the file.
        adapters: whether to include the trained adapters (30 MB for the embedded model). Full
            weights, as the recipe `published` trains them, are never included.

    Returns:
        The file.

    Raises:
        LabError: no such run, it has not ended, it is damaged, or the file can't be written.
    """
    write_archive(target, run_id, _members(registry, storage, run_id, adapters))
    return target


def import_bundle(registry: Registry, storage: Storage, file: Path) -> Imported:
    """Imports a bundle's run, or refuses it and writes nothing.

    Raises:
        LabError: the bundle is damaged (the message names member, row and column), or the
            registry or the home folder can't be written.
    """
    file = Path(file)
    work = storage.runs / f".import-{secrets.token_hex(8)}"
    try:
        (work / "kept").mkdir(parents=True)
        return _import(registry, storage, file, work)
    except OSError as error:
        raise LabError(
            f"{shown_name(file)} can't be unpacked into {storage.runs} "
            f"({error.strerror or error}). Free some disk, or check the folder's permissions."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


# Export ------------------------------------------------------------------------------------------


def _members(registry: Registry, storage: Storage, run_id: str, adapters: bool) -> Members:
    """Every member but the manifest; those before the figures are the same for the same run."""
    run = registry.run(run_id)
    if run.status not in ENDED:
        raise LabError(f"Run {run_id} is still {run.status}. Export it when it has ended.")
    about = Arrived({}, run.config, run.pack)
    yield "facts.csv", [run.pack.facts.to_csv().encode()]
    yield "prompts.csv", [run.pack.prompts.to_csv().encode()]
    yield "run.json", [_run_json(registry, run)]
    for table, columns in registry.exported_columns().items():
        if table != "runs":
            names = [column.name for column in columns]
            rows = registry.export_rows(run_id, table, names)
            yield f"tables/{table}.jsonl", _lines(names, rows)
    for checkpoint in CARRIED[1:]:
        adapter = adapter_of(checkpoint)
        folder = adapter_folder(storage, run_id, checkpoint)
        # Full weights are a whole model for each phase: too large to include.
        if adapters and run.config.method == "lora" and has_adapter(storage, run_id, checkpoint):
            for name, data in _adapter_json(folder, adapter, about).items():
                yield f"adapters/{adapter}/{name}", [data]
            weights = folder / "adapter_model.safetensors"
            yield f"adapters/{adapter}/{weights.name}", _pieces(weights)
    for checkpoint in CARRIED:
        path = states_file(storage, run_id, checkpoint)
        if path.is_file():
            yield f"representations/{path.name}", _pieces(path)
    for name, figure in _figures(registry, run).items():
        yield f"figures/{name}.json", [figure.to_json().encode()]


def _run_json(registry: Registry, run: RunRow) -> bytes:
    record = registry.export_run(run.id) | {"config": run.config.to_dict()}
    record |= {name: one_line(record[name]) for name in ("name", "pack_name", "device_used")}
    record["pack_name"] = record["pack_name"] or "facts"
    record["tags"] = [one_line(str(tag)) for tag in record["tags"]]
    return json.dumps(record, indent=1, sort_keys=True).encode()


def _lines(names: list[str], rows: Iterable[tuple]) -> Iterator[bytes]:
    yield json.dumps(names).encode() + b"\n"
    for row in rows:
        # JSON has no infinity, which a diverged loss may be; it is written as text.
        values = [str(v) if isinstance(v, float) and math.isinf(v) else v for v in row]
        yield json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _adapter_json(folder: Path, adapter: str, run: Arrived) -> dict[str, bytes]:
    try:
        read = [json.loads((folder / name).read_bytes()) for name in ADAPTER_FILES[:2]]
        if not all(isinstance(about, dict) for about in read):
            raise ValueError("it is no table of fields")
    except (OSError, ValueError, RecursionError) as error:
        raise LabError(
            f"The adapter in {folder} is damaged ({error}), so it can't be exported. Export "
            "without adapters."
        ) from error
    return canonical_adapter(*read, adapter, run, f"adapters/{adapter}")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece


def _figures(registry: Registry, run: RunRow) -> dict[str, Any]:
    from rotelab.reports.figures.representations import similarity_curves
    from rotelab.reports.figures.training import DRAWN, curves, rounds_of_each, score_bars

    scores = registry.scores(run.id)
    metrics = registry.metrics(run.id, DRAWN)
    found = {
        "curves": curves(metrics, run.id, epochs_each=rounds_of_each(run)),
        "scores": score_bars(scores, name=run.id) if scores else None,
        "similarities": similarity_curves(registry.similarities(run.id)),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


# Import ------------------------------------------------------------------------------------------


def _import(registry: Registry, storage: Storage, file: Path, work: Path) -> Imported:
    source = shown_name(file)
    schema = registry.exported_columns()
    optional = [f"tables/{table}.jsonl" for table in schema if table != "runs"]
    manifest = unpack(file, work, _allowed(optional))
    for name in ("facts.csv", "prompts.csv", "run.json", *(f"tables/{t}.jsonl" for t in TABLES)):
        if name not in manifest.members:
            raise InputError(f"has no {name}.", source=source)
    run = _read_run(work, schema["runs"], source)
    tables = {}
    for table, columns in schema.items():
        path, place = work / "tables" / f"{table}.jsonl", f"{source}/tables/{table}.jsonl"
        if table == "runs" or not path.is_file():
            continue
        # Read twice, so that all of it is checked before anything is written, and no table has to
        # fit into memory.
        facts = len(run.pack.facts)
        for _ in table_rows(path, columns, facts, place):
            pass
        header = table_header(path, columns, place)
        tables[table] = Table(header, table_rows(path, columns, facts, place))
    _check_kept(work, manifest, run, source)
    here = _same_run(registry, storage, manifest, run)
    if here:
        return Imported(here, manifest.run_id, False)
    run_id = _take_in(registry, storage, manifest, run, tables, work / "kept")
    return Imported(run_id, manifest.run_id, True)


def _allowed(tables: list[str]) -> Callable[[str], bool]:
    """The names a member may have: a fixed list, so that none is a path to somewhere else."""
    names = {"facts.csv", "prompts.csv", "run.json", *tables, *NOT_READ}
    names |= {f"adapters/{adapter_of(c)}/{name}" for c in CARRIED[1:] for name in ADAPTER_FILES}
    names |= {f"representations/{checkpoint}.safetensors" for checkpoint in CARRIED}
    names |= {f"figures/{name}.json" for name in FIGURES}
    return names.__contains__


def _read_run(work: Path, columns: Any, source: str) -> Arrived:
    facts = parse_facts((work / "facts.csv").read_bytes(), f"{source}/facts.csv")
    prompts = parse_prompts((work / "prompts.csv").read_bytes(), f"{source}/prompts.csv")
    data = (work / "run.json").read_bytes()
    return check_run(data, Pack("", facts, prompts), columns, f"{source}/run.json")


def _check_kept(work: Path, manifest: Manifest, run: Arrived, source: str) -> None:
    """Checks the files to keep, and moves them into the folder that becomes the run's own."""
    kept = work / "kept"
    adapters = [adapter_of(checkpoint) for checkpoint in CARRIED[1:]]
    there = [a for a in adapters if (work / "adapters" / a).is_dir()]
    if there != adapters[: len(there)]:
        gap = next(a for a, found in zip(adapters, there, strict=False) if a != found)
        raise InputError(
            f"has the adapter {there[-1]} without {gap}, which comes before it.", source=source
        )
    for adapter in there:
        inside = f"adapters/{adapter}"
        for name in ADAPTER_FILES:
            if f"{inside}/{name}" not in manifest.members:
                raise InputError(f"has no {inside}/{name}.", source=source)
        files = check_adapter(work / inside, adapter, run, f"{source}/{inside}")
        weights = manifest.members[f"{inside}/{ADAPTER_FILES[2]}"].sha256
        if json.loads(files["meta.json"])["sha256"] != weights:
            raise InputError(
                "names another hash than that of the weights beside it.",
                source=f"{source}/{inside}/meta.json",
            )
        (kept / inside).mkdir(parents=True)
        put_in_place(work / inside / ADAPTER_FILES[2], kept / inside / ADAPTER_FILES[2])
        for name, data in files.items():
            (kept / inside / name).write_bytes(data)
    if (work / "representations").is_dir():
        for path in sorted((work / "representations").iterdir()):
            check_states(path, run, f"{source}/representations/{path.name}")
        put_in_place(work / "representations", kept / "representations")


def _take_in(
    registry: Registry, storage: Storage, manifest: Manifest, run: Arrived,
    tables: dict[str, Table], kept: Path,
) -> str:  # fmt: skip
    placed: list[Path] = []

    def place(run_id: str) -> None:
        folder = storage.run_folder(run_id)
        put_in_place(kept, folder)
        placed.append(folder)

    try:
        return registry.import_run(
            manifest.run_id,
            run.record,
            run.pack,
            tables,
            lambda run_id: storage.run_folder(run_id).exists(),
            place,
        )
    except BaseException:  # the transaction was rolled back
        for folder in placed:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _same_run(registry: Registry, storage: Storage, manifest: Manifest, run: Arrived) -> str | None:
    """The run here that already has everything in the bundle; None where there is none."""
    wanted = {
        name: seal for name, seal in manifest.members.items()
        if name not in ("run.json", *NOT_READ)
        and not re.match(r"figures/|.*/(meta|adapter_config)\.json$", name)
    }  # fmt: skip
    for run_id in registry.copies_of(manifest.run_id):
        try:
            own = json.loads(_run_json(registry, registry.run(run_id)))
            if any(own[k] != v for k, v in _unchanging(run.record).items() if k in own):
                continue
            found: dict[str, Seal] = {}
            for name, pieces in _members(registry, storage, run_id, adapters=True):
                if name.startswith("figures/"):
                    break
                found[name] = seal_of(pieces)
        except LabError:  # a damaged run, or a live one, is not the same
            continue
        if all(found.get(name) == seal for name, seal in wanted.items()):
            return run_id
    return None


def _unchanging(record: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k not in (*CHANGEABLE, "parent_id")}

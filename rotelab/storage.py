"""Where the lab keeps its files, and how it writes them: whole, or not at all.

`Storage` is one home folder with the database and a folder for each run; the functions below it
name the files of a run. `ASSETS` are the files that come with the lab.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import psutil

from rotelab.config.names import ADAPTER_OF, adapter_of
from rotelab.errors import LabError

PACKAGE = Path(__file__).resolve().parent


def checkout_of(package: Path) -> Path | None:
    """The project's folder that this package runs from; None where the package is installed."""
    folder = package.parent
    return folder if (folder / "pyproject.toml").is_file() else None


def assets_folder(package: Path = PACKAGE) -> Path:
    """What comes with the lab: fact packs, the recorded demo, texts, scripts and style sheets.

    They lie beside the package in a checkout, and inside it where it is installed (pyproject.toml).
    """
    return (checkout_of(package) or package) / "assets"


def usual_home(package: Path = PACKAGE) -> Path:
    """The home folder if `ROTELAB_HOME` names none: the checkout, else the user's data folder."""
    return checkout_of(package) or platformdirs.user_data_path("rotelab", appauthor=False)


def cache_dir() -> Path:
    """Where models are kept: `ROTELAB_CACHE`, else the user's cache folder."""
    return Path(os.environ.get("ROTELAB_CACHE") or platformdirs.user_cache_dir("rotelab"))


ASSETS = assets_folder()
"""Files that come with the lab."""
DOCS = ASSETS.parent / "docs"
"""The documentation's pages, as Markdown; what they quote lies beside this folder."""

DEVICES = r"con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]"
"""Names that mean a device on Windows, in any case and with any ending."""

RUN_ID = re.compile(rf"(?!(?:{DEVICES})\Z)[0-9a-z][0-9a-z-]{{0,79}}")

LONGEST_STEM = 60
"""Most characters of a file's name that a person chose, without its ending."""

LONGEST_HOME = 100
"""Most characters of the home folder's path where a path may have 260 (Windows): the longest below
it has some 150."""

PATIENCE_S = 3.0
"""How long Windows is asked again to rename what another program has open, in seconds."""

ADAPTER_FORMAT = 1
"""The version of an adapter's folder, as its `meta.json` says it."""

# The lab's folder --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Storage:
    """The lab's files on disk.

    Args:
        home: the folder that holds everything; it is created when it is first needed.
    """

    home: Path

    @classmethod
    def from_environment(cls) -> Storage:
        """The folder that `ROTELAB_HOME` names; else that of `usual_home`.

        Raises:
            LabError: its path is too long for this system.
        """
        named = unquoted(os.environ.get("ROTELAB_HOME", ""))
        home = (Path(named).expanduser() if named else usual_home()).absolute()
        if sys.platform == "win32" and not _takes_long_paths():
            check_length(str(home))
        return cls(home)

    @property
    def database(self) -> Path:
        """The SQLite file of the registry."""
        return self.home / "runs.db"

    @property
    def runs(self) -> Path:
        """The folder of the runs' own folders."""
        return self.home / "runs"

    @property
    def exports(self) -> Path:
        """The folder of exported files, the only one from which the page serves files."""
        return self.home / "exports"

    @property
    def kept(self) -> Path:
        """The folder of what need not be computed again, such as the base model's answers."""
        return self.home / "kept"

    def run_folder(self, run_id: str) -> Path:
        """The folder of one run: log, adapters, training state. It may not exist yet.

        Raises:
            LabError: the id is not valid (it is a path, for example).
        """
        if not RUN_ID.fullmatch(run_id):
            raise LabError(f"{run_id[:80]!r} is not a run's id.")
        return self.runs / run_id

    def log_file(self, run_id: str) -> Path:
        """The file with the output of a run's process.

        Raises:
            LabError: the id is not valid.
        """
        return self.run_folder(run_id) / "log.txt"


def unquoted(text: str) -> str:
    """A path from an environment variable; on Windows quotes around it become a part of it."""
    text = text.strip()
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] == '"' else text


def check_length(home: str) -> None:
    """Refuses a home folder below which paths could get longer than Windows allows.

    Raises:
        LabError: the path has more than `LONGEST_HOME` characters.
    """
    if len(home) > LONGEST_HOME:
        raise LabError(
            f"The path of the home folder has {len(home)} characters, and Windows opens no file "
            f"whose path has more than 260. Set ROTELAB_HOME to a folder with a path of at most "
            f"{LONGEST_HOME}, or turn long paths on in Windows (LongPathsEnabled)."
        )


def _takes_long_paths() -> bool:
    """Whether this Windows has been told to open paths of more than 260 characters."""
    import winreg

    place = r"SYSTEM\CurrentControlSet\Control\FileSystem"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False


def file_stem(name: str, otherwise: str) -> str:
    """A name that somebody chose, as the beginning of a file's name on any system.

    Letters of all alphabets, digits, `_` and `-` stay; everything else becomes `_`, so that it can
    end in neither a dot nor a blank. A name that is a device on Windows gets a `_`.

    Args:
        name: what somebody chose.
        otherwise: taken where nothing is left of it.
    """
    stem = re.sub(r"[^\w-]+", "_", name)[:LONGEST_STEM].strip("_") or otherwise
    return f"{stem}_" if re.fullmatch(DEVICES, stem, re.IGNORECASE) else stem


# A run's files -----------------------------------------------------------------------------------


def adapter_folder(storage: Storage, run_id: str, checkpoint: str) -> Path:
    """The folder of the adapter that a checkpoint adds (`config.names.adapter_of`)."""
    return storage.run_folder(run_id) / "adapters" / adapter_of(checkpoint)


def has_adapter(storage: Storage, run_id: str, checkpoint: str) -> bool:
    """Whether the files of the adapter that a checkpoint adds are on this machine."""
    return (adapter_folder(storage, run_id, checkpoint) / "meta.json").is_file()


def has_adapters(storage: Storage, run_id: str) -> bool:
    """Whether the files of all of a run's adapters are on this machine."""
    return all(has_adapter(storage, run_id, checkpoint) for checkpoint in ADAPTER_OF)


def state_folder(storage: Storage, run_id: str) -> Path:
    """The folder of the training state of the last completed epoch."""
    return storage.run_folder(run_id) / "state"


def states_file(storage: Storage, run_id: str, checkpoint: str) -> Path:
    """The file of a checkpoint's stored hidden states, in the safetensors format.

    Its tensor `states` is `[views, layers + 1, hidden]` in float16; its metadata describes each
    view (`evaluation.representations.Viewpoint`).
    """
    return storage.run_folder(run_id) / "representations" / f"{checkpoint}.safetensors"


# Safe writing ------------------------------------------------------------------------------------


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-links a file that is never changed, or copies it where links are not possible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A temporary folder that replaces `folder`, flushed to disk, when the block succeeds.

    Two folders can't be exchanged in one step. So the new one is first renamed to a name that says
    that it is complete. If the process is killed between the renames that follow, neither folder is
    lost, and `finish_writing` completes the exchange.

    Raises:
        OSError: the disk is full or not writable; the old folder is still there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    finish_writing(folder)
    work = beside(folder, f"{os.getpid()}.tmp")
    work.mkdir()
    try:
        yield work
        for path in work.iterdir():
            flush(path)
        flush(work)
        put_in_place(work, beside(folder, "new"))
        flush(folder.parent)
        finish_writing(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def finish_writing(folder: Path) -> None:
    """Completes what a killed `written_whole` began, and deletes what it left incomplete.

    Only the process that writes `folder` may call this.

    Raises:
        OSError: the disk is not writable.
    """
    new, old = beside(folder, "new"), beside(folder, "old")
    if new.is_dir():
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            put_in_place(folder, old)
        put_in_place(new, folder)
        flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.tmp"):
        pid = left.name.split(".")[-2]
        # Another process may export to the same place, in a temporary folder with its own PID.
        if pid == str(os.getpid()) or not (pid.isdigit() and psutil.pid_exists(int(pid))):
            shutil.rmtree(left, ignore_errors=True)


def put_in_place(source: Path, target: Path) -> None:
    """Renames a file or folder; a file replaces the one that is there.

    Windows refuses that while another program has either of them open, as virus scanners and
    indexers have for a moment after a file was written. So it is tried for `PATIENCE_S` seconds
    there.

    Raises:
        OSError: it can't be renamed.
    """
    deadline = time.monotonic() + (PATIENCE_S if sys.platform == "win32" else 0.0)
    while True:
        try:
            (os.rename if source.is_dir() else os.replace)(source, target)
            return
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.05)


def remove_oldest(newest: Path, most_bytes: int) -> None:
    """Removes the files that were not used for longest, until a file and its like fit.

    Args:
        newest: the file, which stays; the others have its ending and lie beside it.
        most_bytes: that all of them may take.

    Raises:
        OSError: one can't be removed.
    """
    files = [(file.stat(), file) for file in newest.parent.glob(f"*{newest.suffix}")]
    total = 0
    for about, file in sorted(files, key=lambda one: (one[1] != newest, -one[0].st_mtime)):
        total += about.st_size
        if total > most_bytes and file != newest:
            file.unlink()


def flush(path: Path) -> None:
    """Waits until a file's bytes, or a folder's entries, are on the disk (`fsync`).

    Raises:
        OSError: they can't be written.
    """
    if path.is_dir() and os.name != "posix":
        return  # Windows can't open folders, and need not flush them
    # Windows flushes only what is open for writing.
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def beside(folder: Path, ending: str) -> Path:
    """A hidden path next to `folder`, such as `.adapters.new`."""
    return folder.with_name(f".{folder.name}.{ending}")


def sha256_of(path: Path) -> str:
    """A file's SHA-256 hash in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()

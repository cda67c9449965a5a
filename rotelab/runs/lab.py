"""The lab as the page and the command line see it: one home folder with its runs, and what a person
does with a run: start it again, rename it, export it, delete it."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from rotelab.config.names import MOST_LESSONS, checkpoints_with
from rotelab.config.python_code import notebook_of, python_of
from rotelab.config.run_config import RunConfig
from rotelab.errors import LabError
from rotelab.facts.packs import Pack, comes_with_lab, load_pack, shipped_packs
from rotelab.registry import Registry, fact_set_name
from rotelab.runs.chat import Chat, compared_checkpoints
from rotelab.runs.export.bundle import SUFFIX, export_run
from rotelab.runs.jobs import Jobs
from rotelab.runs.processes import tail
from rotelab.storage import Storage, adapter_folder, put_in_place

MAX_NAME, MAX_NOTE = 80, 2000
"""Most characters of a run's name and note."""

MAX_TAGS, MAX_TAG = 10, 40
"""Most tags of a run, and most characters of one."""

LOG_BYTES, LOG_LINES = 20_000, 200
"""How much of the end of a log is read, and how many lines of it are shown."""


@dataclass(frozen=True)
class Lab:
    """One home folder, opened.

    Args:
        storage: knows where files are.
        registry: knows the runs and their measurements.
        jobs: starts and stops runs.
        chat: asks their models.
    """

    storage: Storage
    registry: Registry
    jobs: Jobs
    chat: Chat

    @classmethod
    def open(cls, storage: Storage | None = None) -> Lab:
        """Opens the lab of a home folder, and ends runs whose process has died.

        Raises:
            LabError: the home folder or its registry can't be used.
        """
        storage = storage or Storage.from_environment()
        registry = Registry(storage)
        jobs = Jobs(registry, storage)
        jobs.reconcile()
        return cls(storage, registry, jobs, Chat(registry, storage))

    def pack_names(self) -> list[str]:
        """The names that `find_pack` knows: shipped packs first, then saved fact sets."""
        saved = [row.name for row in self.registry.fact_sets()]
        return [*shipped_packs(), *(name for name in saved if name not in shipped_packs())]

    def find_pack(self, name: str) -> Pack:
        """A saved fact set (newest version), a shipped pack, or a folder, in this order.

        Raises:
            LabError: there is none by that name, or it is not as it should be.
        """
        if any(row.name == name for row in self.registry.fact_sets()):
            return self.registry.fact_set(name)
        return load_pack(name)

    def save_pack(self, pack: Pack) -> int:
        """Saves a pack as the newest version of the fact set of its name; returns the version.

        Raises:
            LabError: a pack of that name comes with the lab, the name can't be one, or a relation
                lacks wordings.
        """
        name = fact_set_name(pack.name)
        if comes_with_lab(name):
            raise LabError(
                f"“{name}” comes with rotelab and stays as it is. Save yours under another name, "
                f"such as “my {name}”."
            )
        pack.check()
        return self.registry.save_fact_set(name, pack)

    def facts_for(self, config: RunConfig) -> Pack:
        """The facts and prompts that a run with this configuration learns, drawn and checked.

        Raises:
            LabError: no such pack, a relation without prompts, or fewer facts than asked for.
        """
        pack = self.find_pack(config.pack)
        pack.check()
        if config.facts:
            pack = Pack(pack.name, pack.facts.take(config.facts, config.seed), pack.prompts)
        if config.generalize.wordings:
            prompts = pack.prompts.first("train", config.generalize.wordings)
            pack = Pack(pack.name, pack.facts, prompts)
        smallest = min(len(relation.facts) for relation in pack.facts.relations)
        if config.generalize.k >= smallest:
            remedy = f"Choose k below {smallest}, or add facts." if smallest > 1 else "Add facts."
            raise LabError(
                f"k = {config.generalize.k} facts are to be taught in words, but the smallest "
                f"relation has {smallest}, so none would be left to test. {remedy}"
            )
        return pack

    # Files of a run -------------------------------------------------------------------------------

    def adapter_folders(self, run_id: str) -> list[Path]:
        """The folders of the adapters that a run has saved."""
        wanted = checkpoints_with(MOST_LESSONS)[1:]
        folders = [adapter_folder(self.storage, run_id, name) for name in wanted]
        return [folder for folder in folders if folder.is_dir() and any(folder.iterdir())]

    def chat_file(self, run_id: str) -> Path:
        """Where a run's chat history is exported to."""
        return self._export(run_id, "-chat.csv")

    def adapters_file(self, run_id: str) -> Path:
        """Where the zip of a run's adapters is written."""
        return self._export(run_id, "-adapters.zip")

    def notebook_file(self, run_id: str) -> Path:
        """Where the notebook about a run is written."""
        return self._export(run_id, ".ipynb")

    def bundle_file(self, run_id: str) -> Path:
        """Where a run's bundle is written."""
        return self._export(run_id, SUFFIX)

    def model_file(self, run_id: str, checkpoint: str) -> Path:
        """Where the zip of a checkpoint's merged model is written."""
        return self._export(run_id, f"-{checkpoint}.model.zip")

    def answers_file(self, run_id: str, kind: str = "csv") -> Path:
        """Where a run's answers are written: `csv` or `json`."""
        return self._export(run_id, f"-answers.{kind}")

    def _export(self, run_id: str, ending: str) -> Path:
        self.storage.run_folder(run_id)  # refuses what is no run's id
        return self.storage.exports / f"{run_id}{ending}"

    def bytes_of(self, run_id: str) -> int:
        """How many bytes deleting the run's folder frees."""
        total = 0
        for path in self.storage.run_folder(run_id).rglob("*"):
            try:
                stat = path.lstat()
            except OSError:
                continue  # deleted while we counted
            # A file that another run of the same sweep shares stays where it is.
            total += stat.st_size if not path.is_dir() and stat.st_nlink == 1 else 0
        return total

    def log(self, run_id: str) -> list[str] | None:
        """The last `LOG_LINES` lines of what a run's process printed; None without a log."""
        try:
            path = self.storage.log_file(run_id)
        except LabError:  # what is no run's id has no log
            return None
        if not path.is_file():
            return None
        text = tail(path, LOG_BYTES)
        # A progress bar overwrites its line with carriage returns; its last state is enough.
        lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
        return "\n".join(lines[-LOG_LINES:]).strip().split("\n")

    # Actions on a run -----------------------------------------------------------------------------

    def run_again(self, run_id: str) -> str:
        """Starts a new run with the same settings and the same frozen facts; returns its id.

        Raises:
            LabError: its settings or facts are damaged, it is a lesson of a run that is gone, or
                no process can be started.
        """
        run = self.registry.run(run_id)
        name = f"{run.name} (again)"[:MAX_NAME] if run.name else ""
        parent = run.id
        if run.config.lesson is not None:  # it continues the run that the first one continued
            if run.parent_id is None:
                raise LabError(
                    "The run that this lesson continues is gone, so it can't be learned again. "
                    "Teach its facts to another run."
                )
            parent = run.parent_id
        return self.jobs.enqueue(run.config, run.pack, parent_id=parent, name=name)

    def rename(
        self, run_id: str, name: str | None = None, note: str | None = None, tags: str | None = None
    ) -> None:
        """Gives a run a name, a note and tags; what is None stays as it is.

        Args:
            run_id: the run.
            name: its name.
            note: its note.
            tags: all its tags, with commas between them.

        Raises:
            LabError: there is no such run, a text is too long, or `read_tags` refuses the tags.
        """
        changes: dict[str, str | list[str]] = {}
        for what, text, most in (("name", name, MAX_NAME), ("note", note, MAX_NOTE)):
            if text is None:
                continue
            changes[what] = " ".join(text.split()) if what == "name" else text.strip()
            if len(changes[what]) > most:
                raise LabError(
                    f"The {what} has {len(changes[what])} characters; at most {most} are taken."
                )
        if tags is not None:
            changes["tags"] = read_tags(tags)
        self.registry.update_run(run_id, **changes)

    def delete(self, run_id: str) -> None:
        """Deletes a run: its rows first, then its folder and its exports.

        Raises:
            LabError: it is live, or its files can't be deleted.
        """
        folder = self.storage.run_folder(run_id)
        if self.jobs.live_processes(run_id):
            raise LabError(f"Run {run_id} still has a process at work. Stop it first.")
        self.registry.delete_run(run_id)
        for file in (self.adapters_file, self.bundle_file, self.chat_file, self.notebook_file):
            file(run_id).unlink(missing_ok=True)
        for kind in ("csv", "json"):
            self.answers_file(run_id, kind).unlink(missing_ok=True)
        for checkpoint in checkpoints_with(MOST_LESSONS):
            self.model_file(run_id, checkpoint).unlink(missing_ok=True)
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise LabError(
                f"The run is gone from the list, but its files are not: {error.strerror}. "
                f"Delete the folder {folder} by hand."
            ) from error

    def zip_adapters(self, run_id: str) -> Path:
        """Packs a run's adapters into one zip in the export folder.

        Raises:
            LabError: it has none yet, or the zip can't be written.
        """
        self.registry.run(run_id)
        folders = self.adapter_folders(run_id)
        if not folders:
            raise LabError("This run has saved no adapters yet: they come at the end of phase 1.")
        target = self.adapters_file(run_id)
        part = target.with_suffix(f".{os.getpid()}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # Not compressed: weights do not get smaller, and the reader waits.
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
                for folder in folders:
                    for path in sorted(folder.rglob("*")):
                        if path.is_file() and not path.is_symlink():
                            inside = f"{run_id}/{folder.name}/{path.relative_to(folder)}"
                            archive.write(path, inside)
            put_in_place(part, target)
        except OSError as error:
            raise LabError(f"The zip can't be written: {error.strerror or error}.") from error
        finally:
            part.unlink(missing_ok=True)
        return target

    def python_of(self, run_id: str) -> str:
        """The Python code that makes such a run, or such a lesson, again.

        Raises:
            LabError: there is no such run, or its settings are damaged.
        """
        run = self.registry.run(run_id)
        return python_of(run.config, run.pack_name, run.parent_id or "")

    def export_notebook(self, run_id: str) -> Path:
        """Writes a notebook about a run into the export folder: its results, and a question to it.

        Raises:
            LabError: its settings are damaged, or the file can't be written.
        """
        run, code = self.registry.run(run_id), self.python_of(run_id)
        asks = set(compared_checkpoints(run)) <= set(self.chat.checkpoints(run_id))
        found = self.chat.examples(run, 1).questions if asks else ()
        question = next(iter(found), "")
        title, measured = run.name or f"Run {run.id}", run.status == "finished"
        made = notebook_of(code, run.id, title, question, measured)
        target = self.notebook_file(run_id)
        part = target.with_suffix(f".{os.getpid()}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(made, indent=1, ensure_ascii=False), encoding="utf-8")
            put_in_place(part, target)
        except OSError as error:
            raise LabError(f"The file can't be written: {error.strerror or error}.") from error
        finally:
            part.unlink(missing_ok=True)
        return target

    def export_bundle(self, run_id: str, adapters: bool) -> Path:
        """Writes a whole run into one file in the export folder.

        Raises:
            LabError: it has not ended, is damaged, or the file can't be written.
        """
        target = self.bundle_file(run_id)
        return export_run(self.registry, self.storage, run_id, target, adapters)


def read_tags(text: str) -> list[str]:
    """The tags in a text such as `talk, baseline`; repeated ones are dropped.

    Raises:
        LabError: too many, or one of them is too long or not printable.
    """
    found: dict[str, str] = {}
    for part in (text or "").split(","):
        tag = " ".join(part.split())
        if not tag:
            continue
        if len(tag) > MAX_TAG:
            raise LabError(
                f"The tag “{tag[:MAX_TAG]}…” has {len(tag)} characters; at most {MAX_TAG} are "
                "taken. Put commas between tags."
            )
        if not tag.isprintable():
            raise LabError(f"The tag {tag!r} has a character that can't be printed. Remove it.")
        found.setdefault(tag.casefold(), tag)
    if len(found) > MAX_TAGS:
        raise LabError(f"There are {len(found)} tags; at most {MAX_TAGS} are taken.")
    return list(found.values())

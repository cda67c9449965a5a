"""`rotelab.Run`: one run, its results and its model, from Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rotelab.api.facts import facts_of
from rotelab.api.figures import draw
from rotelab.api.frames import frame, scores_frame
from rotelab.api.making import finished, make_lesson, resume_run
from rotelab.api.progress import follow, watching
from rotelab.api.results import Answers
from rotelab.config.names import CHECKPOINTS, Checkpoint, Status, lesson_number
from rotelab.config.option_paths import text_of
from rotelab.config.reproduce import OF_THE_FACTS
from rotelab.config.run_config import LessonConfig, RunConfig
from rotelab.errors import LabError
from rotelab.evaluation.judging.questions import Query, asked_fact
from rotelab.reports.answers import answer_rows, group_rows, groups_of
from rotelab.reports.formats import as_html
from rotelab.reports.intervals import intervals_of_run
from rotelab.reports.tables import run_tables
from rotelab.runs.chat import compared_checkpoints
from rotelab.runs.export.bundle import SUFFIX, export_run
from rotelab.runs.lessons.teach import lesson_options, start_lesson

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from rotelab.api.hooks import HookedModel
    from rotelab.api.lab import Lab
    from rotelab.api.lens import PromptLens
    from rotelab.registry import RunRow


class Run:
    """One run. What it shows is read from the lab's database each time, so it is never out of date.

    Args:
        lab: the lab.
        run_id: the run's whole id; `Lab.get` finds it by less.
    """

    def __init__(self, lab: Lab, run_id: str):
        self.lab, self.id = lab, run_id

    # What it is -----------------------------------------------------------------------------------

    @property
    def row(self) -> RunRow:
        """Everything stored about it except its measurements.

        Raises:
            LabError: it was deleted.
        """
        return self.lab.core.registry.run(self.id)

    @property
    def status(self) -> Status:
        """`queued`, `running`, `stopping`, `stopped`, `finished`, `failed` or `interrupted`."""
        return self.row.status

    @property
    def name(self) -> str:
        """The name that a person gave it; may be empty."""
        return self.row.name

    @property
    def config(self) -> RunConfig:
        """Its settings."""
        return self.row.config

    @property
    def seconds(self) -> dict[str, float]:
        """How long each part took, in seconds; `total` is all of it."""
        return dict(self.row.seconds)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints whose adapters are on this machine, so that they can be asked."""
        return self.lab.core.chat.checkpoints(self.id)

    @property
    def python(self) -> str:
        """The Python code that makes such a run again."""
        return self.lab.core.python_of(self.id)

    # Results --------------------------------------------------------------------------------------

    @property
    def scores(self) -> pd.DataFrame:
        """What was measured: one row for each `checkpoint` and `probe`.

        `n` questions were asked; `generation_accuracy` is the share answered right, with the 95 %
        interval from `low` to `high`; `object_probability` is the right object's mean probability.
        Further measures have columns where the run took them.
        """
        registry = self.lab.core.registry
        intervals = intervals_of_run(registry.fact_sums(self.id))
        return scores_frame(registry.scores(self.id), intervals)

    @property
    def facts(self) -> pd.DataFrame:
        """Its facts: `relation`, `subject`, `object`, and whether phase 2 taught it `in_words`."""
        row = self.row
        taught = set(row.config.split(row.pack.facts).held_in)
        rows = [(f.relation, f.subject, f.object, f in taught) for f in row.pack.facts]
        return frame(("relation", "subject", "object", "in_words"), rows)

    @property
    def answers(self) -> pd.DataFrame:
        """Every single answer behind the scores: checkpoint, probe, prompt and the wording that it
        is in, answer, probability, the `outcome`: `right` or `wrong`, and for unrelated questions
        `leak` or `no-leak`; and `correct`, whether the answer is the fact's object."""
        row = self.row
        found = self.lab.core.registry.predictions(self.id, limit=-1)
        table = frame(*answer_rows(found, row.pack.prompts))
        return table.assign(correct=[one.correct for one in found])

    def answers_by(
        self, by: str = "wording", checkpoint: str = "", probe: str = "test_prompts_heldout"
    ) -> pd.DataFrame:
        """Which wordings, or which facts, fail: the share of good answers, the worst first.

        Args:
            by: `wording`, `fact` or `outcome`.
            checkpoint: which one's answers; the last one's, if empty.
            probe: the kind of question, such as `key_token`.

        Returns:
            A row for each, with `share`, its 95 % interval from `low` to `high`, how many of the
            `n` answers are good (`count`), and of how many `facts` and `wordings` they are. Good is
            right, or for unrelated questions without a leak; of an outcome, the share is its own.

        Raises:
            LabError: answers can't be grouped by that.
        """
        row, registry = self.row, self.lab.core.registry
        last = checkpoint or next(reversed(registry.scores(self.id)), "")
        found = registry.predictions(self.id, last, probe, limit=-1)
        return frame(*group_rows(groups_of(found, by, row.pack.prompts), by))

    @property
    def curves(self) -> pd.DataFrame:
        """What was measured while it learned: `phase`, `step`, `epoch`, `name` (such as `loss`) and
        `value`."""
        columns = ("phase", "step", "epoch", "name", "value")
        found = self.lab.core.registry.metrics(self.id)
        return frame(columns, [[getattr(one, name) for name in columns] for one in found])

    def figure(self, kind: str = "curves", **options: Any) -> go.Figure:
        """A figure of the run, as on the page.

        Args:
            kind: `curves` (recall and loss over the steps), `scores`, `similarity` (of hidden
                states, by layer), `heatmap` (the same numbers as colours), `lens` (logit lens),
                `changes` (of weights) or `map` (of all prompts; takes `layer`).
            options: `measure` of `scores`, `layer` of `map`.

        Raises:
            LabError: there is no such figure, or the run has not measured what it shows.
        """
        return draw(self.lab.core, self.row, kind, **options)

    # Its model ------------------------------------------------------------------------------------

    def ask(self, question: str, checkpoint: str = "all", max_new_tokens: int = 24) -> Answers:
        """Asks the run's model.

        Args:
            question: a question, the beginning of a sentence, or `Mary Bahri [mother]`, which asks
                through the key token.
            checkpoint: one of `checkpoints`, or `all`: before training, after each phase, and after
                the lesson if it is one.
            max_new_tokens: the longest answer, in tokens.

        Raises:
            LabError: there is no such checkpoint, or the model can't be loaded.
        """
        if checkpoint not in (*CHECKPOINTS, "all") and not lesson_number(checkpoint):
            raise LabError(
                f"{checkpoint!r} is not a checkpoint. Use {', '.join(CHECKPOINTS)} or all."
            )
        chat, there = self.lab.core.chat, self.checkpoints
        if checkpoint != "all" and checkpoint not in there:
            raise LabError(
                f"Run {self.id} has no {checkpoint} checkpoint yet. It has: {', '.join(there)}."
            )
        wanted = compared_checkpoints(self.row) if checkpoint == "all" else (checkpoint,)
        ended = {
            reply.checkpoint: reply
            for reply in chat.stream(self.id, question, wanted, max_new_tokens, speaking=())
            if reply.done
        }
        # Whichever ended first, they are told in the order of training.
        replies = {name: ended[name] for name in wanted if name in ended}
        pack = self.row.pack
        query = Query.parse(question, [relation.name for relation in pack.facts.relations])
        return Answers(question, replies, asked_fact(pack, query))

    @contextmanager
    def hooked(self, checkpoint: Checkpoint = "generalized") -> Iterator[HookedModel]:
        """The model as plain PyTorch with a checkpoint's adapters on, for hooks of your own.

        It is loaded for the `with` block alone, so that nothing you do to it stays.

        Args:
            checkpoint: one of `checkpoints`.

        Raises:
            LabError: the run has no such checkpoint on this machine, or the model can't be loaded.
        """
        from rotelab.api.hooks import hooked

        with hooked(self.lab.core, self.row, checkpoint) as model:
            yield model

    def lens(self, prompt: str, checkpoint: Checkpoint = "generalized") -> PromptLens:
        """The logit lens over one prompt: what each layer would say after each of its tokens.

        Args:
            prompt: a question, the beginning of a sentence, or `Mary Bahri [mother]`, which ends
                with the key token.
            checkpoint: one of `checkpoints`.

        Raises:
            LabError: the run has no such checkpoint on this machine, or the model can't be loaded.
        """
        from rotelab.api.lens import prompt_lens

        return prompt_lens(self.lab.core, self.row, prompt, checkpoint)

    def teach(self, facts: Any, *, name: str = "", background: bool = False, **options: Any) -> Run:
        """Teaches a finished run new facts by rote alone, as a later lesson; returns the lesson.

        Args:
            facts: rows such as `("Ada Quill", "Bo Reed")`, or `(relation, subject, object)` where
                the run has several relations; a data frame; or a file.
            name: what to call the lesson.
            background: only put it in the queue; `Run.wait` waits for it.
            options: of a lesson, such as `epochs=20` or `rehearse=2`.

        Raises:
            LabError: the run can't be continued, the facts can't be used, or the lesson failed.
        """
        core, relations = self.lab.core, self.row.pack.facts.relations
        usual = relations[0].name if len(relations) == 1 else ""
        new, source = facts_of(facts, usual)
        names = {field.name for field in fields(LessonConfig)} - {*OF_THE_FACTS}
        if unknown := set(options) - names:
            raise LabError(
                f"There is no lesson option {', '.join(sorted(unknown))}. There are "
                f"{', '.join(sorted(names))}."
            )
        chosen = lesson_options(f"{key}={text_of(value)}" for key, value in options.items())
        if background:
            lesson = start_lesson(core, self.id, new, chosen, source)
            if name:
                core.rename(lesson, name=name)
            return Run(self.lab, lesson)
        with watching(self.lab.progress) as watch:
            lesson = make_lesson(core, self.id, new, chosen, watch, source, name)
        finished(core, lesson, "Lesson")
        return Run(self.lab, lesson)

    # Its life -------------------------------------------------------------------------------------

    def wait(self) -> Run:
        """Waits until a run in the background has ended, and shows how far it is.

        Raises:
            LabError: it did not finish; why is said.
        """
        with watching(self.lab.progress) as watch:
            follow(self.lab.core, self.id, watch)
        finished(self.lab.core, self.id)
        return self

    def resume(self) -> Run:
        """Continues a run that was stopped, interrupted or failed, in this process.

        Raises:
            LabError: it can't go on, or did not finish.
        """
        with watching(self.lab.progress) as watch:
            resume_run(self.lab.core, self.id, watch)
        finished(self.lab.core, self.id)
        return self

    def stop(self) -> Status:
        """Stops a run in the background, waits until it has ended, and returns its status."""
        return self.lab.core.jobs.stop_and_wait(self.id)

    def rename(
        self, name: str | None = None, note: str | None = None, tags: str | None = None
    ) -> None:
        """Changes its name, note or tags (with commas between them); what is None stays.

        Raises:
            LabError: a text is too long.
        """
        self.lab.core.rename(self.id, name, note, tags)

    def archive(self, archived: bool = True) -> None:
        """Keeps it out of lists, or takes it back."""
        self.lab.core.registry.update_run(self.id, archived=archived)

    def delete(self) -> None:
        """Deletes it for good: rows, adapters, exports.

        Raises:
            LabError: it is at work, or its files can't be deleted.
        """
        self.lab.core.delete(self.id)

    def export(self, file: str | Path | None = None, adapters: bool = True) -> Path:
        """Writes the whole run into one file, for another machine; returns its path.

        Args:
            file: the new file; `RUN.rotelab.zip` in the current folder if not given.
            adapters: whether the trained adapters are included.

        Raises:
            LabError: the file exists or can't be written, or the run has not ended.
        """
        target = Path(file or f"{self.id}{SUFFIX}").absolute()
        if target.exists():
            raise LabError(f"{target} already exists. Name another file, or move that one away.")
        core = self.lab.core
        export_run(core.registry, core.storage, self.id, target, adapters)
        return target

    def export_model(self, folder: str | Path, checkpoint: Checkpoint = "generalized") -> Path:
        """Writes its model, adapters merged, as a Hugging Face folder; returns that.

        Raises:
            LabError: the folder is not empty, or the checkpoint is not there.
        """
        from rotelab.runs.export.huggingface import export_model

        core, target = self.lab.core, Path(folder)
        export_model(core.registry, core.storage, self.id, target, checkpoint)
        return target

    def __repr__(self) -> str:
        return f"<rotelab run {self.id}, {self.status}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and (other.id, other.lab.home) == (self.id, self.lab.home)

    def __hash__(self) -> int:
        return hash(self.id)

    def _repr_html_(self) -> str:
        row, registry = self.row, self.lab.core.registry
        about = f"<b>{escape(row.name or row.id)}</b>: {row.status}, {escape(row.pack_name)}"
        if row.error:
            about += f"<br>{escape(row.error)}"
        scores = registry.scores(self.id)
        intervals = intervals_of_run(registry.fact_sums(self.id)) if scores else {}
        tables = run_tables(row, scores, None, intervals)[:1] if scores else []
        return f"<p>{about}</p>{as_html(tables)}"

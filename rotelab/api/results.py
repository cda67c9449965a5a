"""What `rotelab.Lab` gives besides runs: answers, comparisons, sweeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from rotelab.api.frames import comparison_scores, frame, score_rows
from rotelab.api.progress import watching
from rotelab.config.names import Checkpoint, checkpoint_name
from rotelab.errors import LabError
from rotelab.evaluation.results import Score
from rotelab.reports import comparison as comparing
from rotelab.reports.figures.sweeps import heatmap, spread_curves
from rotelab.reports.formats import as_html
from rotelab.reports.sweep_results import Figure, plane, read_sweep
from rotelab.reports.tables import comparison_tables, differences_json, sweep_tables
from rotelab.runs.sweeps import run_sweep, unfinished_runs

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from rotelab.api.lab import Lab
    from rotelab.api.run import Run
    from rotelab.facts.facts import Fact
    from rotelab.runs.chat import Reply

LISTED = 20
"""How many facts a notebook shows of a comparison."""


@dataclass(frozen=True)
class Answer:
    """One checkpoint's answer.

    Args:
        checkpoint: `base`, `memorized`, `generalized`, or a lesson such as `lesson-01`.
        text: what the model said.
        right: whether that is the right answer, if the question asks for a fact that the run knows;
            None where there is nothing to grade.
        verdict: the grade in a sentence; may be empty.
        tokens: its tokens, each with its probability, 0 to 1.
    """

    checkpoint: Checkpoint
    text: str
    right: bool | None
    verdict: str
    tokens: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        return self.text


class Answers(Mapping[Checkpoint, Answer]):
    """The answers to one question by checkpoint, in the order of training.

    Args:
        question: what was asked.
        replies: each checkpoint's complete reply.
        fact: the fact of the run that the question asks for; None if it asks for none.
    """

    def __init__(
        self, question: str, replies: Mapping[Checkpoint, Reply], fact: Fact | None = None
    ):
        self.question, self.replies, self.fact = question, replies, fact
        self._answers = {
            checkpoint: Answer(
                checkpoint,
                reply.text,
                reply.verdict.right if fact or reply.verdict.right else None,
                reply.verdict.text,
                tuple((token.text, token.probability) for token in reply.tokens),
            )
            for checkpoint, reply in replies.items()
        }

    def __getitem__(self, checkpoint: Checkpoint) -> Answer:
        return self._answers[checkpoint]

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(self._answers)

    def __len__(self) -> int:
        return len(self._answers)

    def __repr__(self) -> str:
        lines = (f"{name:12} {answer.text}" for name, answer in self._answers.items())
        return "\n".join([self.question, *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align: left'>{escape(checkpoint_name(a.checkpoint).long)}</th>"
            f"<td style='text-align: left'>{_shaded(a)}</td>"
            f"<td style='text-align: left'>{ {True: '✓', False: '✗', None: ''}[a.right] } "
            f"{escape(a.verdict)}</td></tr>"
            for a in self._answers.values()
        )
        return f"<p><b>{escape(self.question)}</b></p><table>{rows}</table>"


def _shaded(answer: Answer) -> str:
    """An answer's tokens; the surer the model was, the darker the line under each."""
    return "".join(
        f"<span title='{share:.1%}' style='white-space: pre-wrap; border-bottom: 3px solid "
        f"rgba(31, 134, 201, {share:.2f})'>{escape(text)}</span>"
        for text, share in answer.tokens
    )


class Comparison:
    """A comparison of two to six runs, as `lab.compare` makes it.

    Args:
        found: as `rotelab.reports.comparison.compare` returns it.
    """

    def __init__(self, found: comparing.Comparison):
        self._found = found

    @property
    def runs(self) -> list[str]:
        """The runs' ids, in their order."""
        return [side.run.id for side in self._found.sides]

    @property
    def settings(self) -> pd.DataFrame:
        """The options in which the runs differ: one row an option, one column a run."""
        rows = [(option.path, *option.values) for option in self._found.options]
        return frame(("option", *self._found.labels), rows).set_index("option")

    @property
    def scores(self) -> pd.DataFrame:
        """Every score with its 95 % interval: `run`, `checkpoint`, `probe`, `measure`, `value`,
        `low`, `high`."""
        return comparison_scores(self._found)

    @property
    def differences(self) -> pd.DataFrame:
        """By how much each run is better or worse than the first, on the facts that both were
        asked, with its interval; one row a probe and measure."""
        import pandas as pd

        return pd.DataFrame(differences_json(self._found))

    @property
    def facts(self) -> pd.DataFrame:
        """The facts that the runs answer differently: the share of right answers of each run."""
        rows = [
            (
                row.fact.relation, row.fact.subject, row.fact.object,
                *(None if share is None else share.value for share in row.shares),
            )
            for row in self._found.facts
        ]  # fmt: skip
        return frame(("relation", "subject", "object", *self._found.labels), rows)

    @property
    def notes(self) -> list[str]:
        """What must be known to read it."""
        notes = [*self._found.notes, *self._found.fact_notes]
        return [*notes, comparing.ONE_SEED] if self._found.differences else notes

    def __repr__(self) -> str:
        return f"<rotelab comparison of {', '.join(self.runs)}>"

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return as_html(comparison_tables(self._found, LISTED)) + f"<ul>{notes}</ul>"


class Sweep:
    """A sweep: runs for every combination of some options.

    Args:
        lab: the lab.
        sweep_id: its id.
    """

    def __init__(self, lab: Lab, sweep_id: str):
        self.lab, self.id = lab, sweep_id

    @property
    def runs(self) -> list[Run]:
        """Its runs, in their order."""
        from rotelab.api.run import Run

        return [Run(self.lab, row.id) for row in self.lab.core.registry.sweep_runs(self.id)]

    @property
    def scores(self) -> pd.DataFrame:
        """Every run's scores: a column for each option that varies, then `run`, `status` and what
        `Run.scores` has but the intervals."""
        results = self._results()
        rows = [
            (
                *(outcome.values.get(path) for path in results.axes),
                outcome.run_id,
                outcome.status,
                *row,
            )
            for outcome in results.outcomes
            for row in score_rows(outcome.scores)
        ]
        columns = (*results.axes, "run", "status", "checkpoint", "probe", *Score._fields)
        return frame(columns, rows)

    def figure(
        self,
        measure: str = "generation_accuracy",
        probe: str = "test_prompts_heldout",
        checkpoint: Checkpoint = "generalized",
        kind: str = "curves",
    ) -> go.Figure:
        """One measure over the options that vary, means over seeds.

        Args:
            measure: `generation_accuracy` or `object_probability`.
            probe: which questions, such as `test_prompts_heldout`.
            checkpoint: of which model.
            kind: `curves`, with 95 % intervals as bands, or `heatmap`.
        """
        draw = {"curves": spread_curves, "heatmap": heatmap}.get(kind)
        if draw is None:
            raise LabError(f"{kind!r} is no figure of a sweep. Use curves or heatmap.")
        return draw(plane(self._results(), Figure(checkpoint, probe, measure)), self.id)

    def resume(self) -> None:
        """Makes the runs that are not finished, in this process; used by `lab.sweep` as well.

        Raises:
            LabError: it was interrupted, or runs did not finish.
        """
        core = self.lab.core
        with watching(self.lab.progress) as watch:

            def told(place: int, count: int, share: float, message: str) -> None:
                watch((place - 1 + share) / count, f"{place}/{count} {message}")

            ended = run_sweep(core, self.id, told)
        left = unfinished_runs(core, self.id)
        if left:
            what = "did not finish" if ended else "are left, because it was interrupted"
            raise LabError(
                f"{len(left)} of sweep {self.id}'s runs {what}: {left[0].id}, {left[0].status}. "
                f"{left[0].error} `lab.get_sweep({self.id!r}).resume()` tries again."
            )

    def _results(self) -> Any:
        return read_sweep(self.lab.core.registry, self.id)

    def __repr__(self) -> str:
        return f"<rotelab sweep {self.id}>"

    def _repr_html_(self) -> str:
        return as_html(sweep_tables(self._results()))

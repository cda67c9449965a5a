"""Experiment: does a model taught in English answer in other languages?"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from rotelab.config.names import CHECKPOINTS, checkpoint_name
from rotelab.config.run_config import EvaluationConfig
from rotelab.errors import LabError
from rotelab.evaluation.metrics import right_by_fact
from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.common import WITHIN, answers, with_interval
from rotelab.facts.facts import Fact
from rotelab.facts.packs import language_prompts
from rotelab.facts.prompts import PromptTemplate
from rotelab.reports.figures.style import CHECKPOINT_COLOURS, styled, whiskers
from rotelab.reports.formats import Cell
from rotelab.reports.intervals import interval

if TYPE_CHECKING:
    from rotelab.evaluation.probes import Question
    from rotelab.models.lab_model import LabModel

NAMES = {"en": "English", "es": "Spanish", "de": "German", "ja": "Japanese", "zh": "Chinese"}
"""In the paper's order, best first; other languages are shown by their code."""

FACTS = 12
"""Most held-out facts that are asked, each in every wording of every language."""


@dataclass(frozen=True)
class Row:
    """One language at one checkpoint: `n` questions about `facts` facts; `interval` is the 95 %
    interval of `accuracy` over facts, empty where none is known."""

    language: str
    checkpoint: str
    facts: int
    n: int
    accuracy: float
    probability: float
    interval: tuple[float, ...] = ()


@dataclass(frozen=True)
class Languages:
    """The share that is right in each language at each checkpoint."""

    rows: tuple[Row, ...]

    def tables(self) -> list[Table]:
        """A row for each language, in the paper's order, a column for each checkpoint."""
        order = sorted({r.language for r in self.rows}, key=_place)
        first = self.rows[0]
        title = f"Answered right at once, {first.facts} held-out facts {WITHIN}"
        names = [checkpoint_name(c).short for c in CHECKPOINTS]
        rows = [
            (NAMES.get(code, code), self._at(code, "generalized").n,
             *(self._cell(code, c) for c in CHECKPOINTS),
             self._at(code, "generalized").probability)
            for code in order
        ]  # fmt: skip
        last = "object probability, generalised"
        return [Table(title, ("language", "n", *names, last), tuple(rows))]

    def figure(self) -> go.Figure:
        """Bars: languages across, a colour for each checkpoint."""
        codes = list(dict.fromkeys(r.language for r in self.rows))
        figure = go.Figure()
        for checkpoint in CHECKPOINTS:
            values = [self._at(code, checkpoint) for code in codes]
            figure.add_bar(
                name=checkpoint_name(checkpoint).long,
                x=[NAMES.get(code, code) for code in codes],
                y=[row.accuracy for row in values],
                error_y=whiskers([r.accuracy for r in values], [r.interval for r in values]),
                marker_color=CHECKPOINT_COLOURS[checkpoint],
                customdata=[row.n for row in values],
                hovertemplate="%{x}: %{y:.1%} of %{customdata} questions",
            )
        styled(figure, 360)
        figure.update_yaxes(range=[0, 1.08], tickformat=".0%", title_text="answered right")
        return figure.update_layout(barmode="group", showlegend=True)

    def _cell(self, language: str, checkpoint: str) -> Cell:
        row = self._at(language, checkpoint)
        return with_interval(row.accuracy, row.interval)

    def _at(self, language: str, checkpoint: str) -> Row:
        wanted = (language, checkpoint)
        return next(r for r in self.rows if (r.language, r.checkpoint) == wanted)


def measure(finished: FinishedRun) -> Languages:
    """Asks held-out facts in test wordings of every language with some, at each checkpoint.

    Raises:
        LabError: there are no wordings in other languages for any of the run's relations.
    """
    wordings = wordings_of(finished)
    facts = [f for f in finished.split.held_out or finished.split.held_in if f.relation in wordings]
    if not facts:
        names = ", ".join(r.words for r in finished.pack.facts.relations)
        raise LabError(
            f"There are no wordings in other languages for: {names}. Add rows with role test and "
            "language de, es, zh or ja to the prompts, and make a run with them."
        )
    rng = random.Random(f"languages {finished.config.seed}")
    facts = rng.sample(facts, min(FACTS, len(facts)))
    codes = sorted({t.language for f in facts for t in wordings[f.relation]}, key=_place)
    rows = []
    with finished.model() as model:
        asked = [
            _question(model, wording, i, fact)
            for i, fact in enumerate(facts)
            for wording in wordings[fact.relation]
        ]
        told = answers(finished, model, asked, EvaluationConfig(), CHECKPOINTS)
        for checkpoint, found in told:
            for code in codes:
                mine = [p for p in found if p.probe == code]
                rows.append(
                    Row(
                        code,
                        checkpoint,
                        len(facts),
                        len(mine),
                        sum(p.correct for p in mine) / len(mine),
                        sum(p.probability for p in mine) / len(mine),
                        tuple(interval(right_by_fact(mine)) or ()),
                    )
                )
    return Languages(tuple(rows))


def wordings_of(finished: FinishedRun) -> dict[str, list[PromptTemplate]]:
    """Test wordings of each relation that has some in a language other than English: the run's
    own where it has any, else the shipped ones; English beside them."""
    found = {}
    for relation in finished.pack.facts.relations:
        tests = [
            t for t in finished.pack.prompts if (t.relation, t.role) == (relation.name, "test")
        ]
        own = [t for t in tests if t.language != "en"]
        others = own or list(language_prompts(relation.name))
        if others:
            found[relation.name] = [*(t for t in tests if t.language == "en"), *others]
    return found


def _question(model: LabModel, wording: PromptTemplate, place: int, fact: Fact) -> Question:
    from rotelab.evaluation.probes import Question

    text = wording.render(fact.subject)
    example = model.builder.answered(model.builder.word_prompt(text), fact.object, "test", place)
    return Question(wording.language, place, fact, text, example)


def _place(code: str) -> tuple[int, str]:
    known = list(NAMES)
    return (known.index(code) if code in known else len(known), code)


EXPERIMENT = Experiment(
    name="languages",
    title="Other languages",
    question="The model saw its facts in English only. Does it answer in other languages too?",
    hypothesis=(
        "Less than in English, but more than nothing, if what phase 2 taught is the meaning and "
        "not the English words. A model that hardly knows a language can't carry anything over."
    ),
    measures_s=90,
    needs="a finished run of one of the five relations that come with the lab, and some minutes.",
    reading=(
        f"Up to {FACTS} facts that phase 2 never taught in words, each asked in ten wordings a "
        "language that no training ever saw; right is an answer that begins with the name itself. "
        "English is asked about the same facts. The embedded model was trained mostly on English, "
        "so a small share may say more about its Spanish or Chinese than about rote learning. "
        "Names stay in Latin letters, with blanks around them in Chinese and Japanese."
    ),
    paper="English > Spanish > German > Japanese > Chinese (published notes, Qwen2.5-1.5B).",
    result=Languages,
    origin="paper",
    probe=measure,
)

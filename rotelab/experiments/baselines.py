"""Experiment: how do other ways to teach the same facts compare with the two phases?"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import plotly.graph_objects as go

from rotelab.config.names import probe_name
from rotelab.config.option_paths import with_setting
from rotelab.config.recipes import applied
from rotelab.config.run_config import USUAL_CANDIDATES, RunConfig
from rotelab.errors import UnknownRun
from rotelab.evaluation.metrics import right_by_fact
from rotelab.experiments import Arm, Experiment, FinishedRun, Table, in_context
from rotelab.experiments.common import WITHIN, with_interval
from rotelab.facts.prompts import Role
from rotelab.registry import Registry
from rotelab.reports.figures.style import HATCHED, ROLE_COLOURS, styled, whiskers
from rotelab.reports.formats import Cell
from rotelab.reports.intervals import interval, interval_at, intervals_of_run

RECIPES = {
    "two-adapter": "the lab's own two phases",
    "no-replay": "the same, nothing rehearsed",
    "no-key": "phase 1 without a key token",
    "one-stage": "key token and words at once",
    "words-1": "sentences only, one wording",
    "words-10": "sentences only, ten wordings",
    "late-mlp": "the same, late MLPs alone",
    "published": "the paper's, the whole model",
}
"""The arms by their recipes, and their descriptions in tables."""

IN_CONTEXT = "in-context"
SHOWN = 20
"""How many facts are in the prompt of the way that trains nothing."""

PROBES = {
    "key_token": ("key", "key token", "."),
    "train_prompts_heldout": ("train", "train wordings, held-out facts", "/"),
    "test_prompts_heldout": ("test", "test wordings, held-out facts", ""),
    "unrelated": ("unrelated", "unrelated questions (leak)", "x"),
}
"""Each probe's colour, name and bar pattern."""

WAYS = RECIPES | {IN_CONTEXT: f"{SHOWN} facts in the prompt, nothing trained"}
ROLES: dict[str, Role] = {
    "train_prompts_heldout": "train", "test_prompts_heldout": "test", "unrelated": "unrelated",
}  # fmt: skip
"""The wordings in which the way without training is asked; it has no key token."""

MEASURES = {
    "accuracy": f"Answered right at once {WITHIN}",
    "probability": "Object probability",
    "choice": "Right object ranked first among the candidates",
}
CHOSEN = 100
"""Most questions of a probe in which an arm is asked to choose, where its run was not."""

PHASES = {"memorize": "phase1", "generalize": "phase2"}
"""Each phase's name in metrics, and in the measured seconds."""

MARK = " *"
"""Marks an arm that read the held-out facts in words."""
TOLD = "* reads the held-out facts in words, too"


@dataclass(frozen=True)
class Measured:
    """One probe after both phases.

    Args:
        probe: its name.
        n: number of questions.
        accuracy: share answered right at once.
        probability: mean joint probability of the object's tokens.
        choice: share whose object is ranked first among its candidates; NaN where not asked.
        choices: number of questions that were asked so.
        interval: 95 % interval of `accuracy` over facts; empty where none is known.
    """

    probe: str
    n: int
    accuracy: float
    probability: float
    choice: float = math.nan
    choices: int = 0
    interval: tuple[float, ...] = ()


@dataclass(frozen=True)
class Beside:
    """What training did to everything else, as `results.Damage`; NaN where it was not measured."""

    perplexity: float = math.nan
    quiz: float = math.nan
    divergence: float = math.nan


@dataclass(frozen=True)
class Row:
    """One arm.

    Args:
        name: its recipe.
        told: whether it read the held-out facts in words, too.
        tokens: tokens of its training, off-topic sentences included; NaN where not counted.
        seconds: seconds of its training, including a phase 1 reused from another run.
        scores: its scores after both phases.
        beside: what training did to everything else.
    """

    name: str
    told: bool
    tokens: float
    seconds: float
    scores: tuple[Measured, ...]
    beside: Beside

    @property
    def label(self) -> str:
        """Its name, marked where it read the held-out facts in words."""
        return self.name + MARK * self.told

    def at(self, probe: str, measure: str) -> float:
        """One of its scores; NaN where it has none."""
        return next((getattr(s, measure) for s in self.scores if s.probe == probe), math.nan)

    def within(self, probe: str) -> tuple[float, ...]:
        """The interval of a probe's accuracy; empty where none is known."""
        return next((s.interval for s in self.scores if s.probe == probe), ())

    def cell(self, probe: str, measure: str) -> Cell:
        """One of its scores as a table shows it."""
        within = self.within(probe) if measure == "accuracy" else ()
        return with_interval(self.at(probe, measure), within)


@dataclass(frozen=True)
class Baselines:
    """Every arm's cost, scores and damage.

    Args:
        k: how many facts of each relation were taught in words.
        rows: the arms, in their order.
        base: the base model's figures beside the facts.
    """

    k: int
    rows: tuple[Row, ...]
    base: Beside

    def tables(self) -> list[Table]:
        """Each arm's cost and damage; then a table for each measure that was taken."""
        cost = [("base model", "nothing trained", None, None, *_cells(self.base))]
        cost += [
            (row.label, WAYS.get(row.name, ""), _whole(row.tokens), _whole(row.seconds),
             *_cells(row.beside))
            for row in self.rows
        ]  # fmt: skip
        columns = ("way", "what it is", "tokens trained", "seconds", "perplexity", "quiz right",
                   "KL to base")  # fmt: skip
        title = f"What it took, and what it did beside the facts, k = {self.k}"
        if any(row.told for row in self.rows):
            title += f" ({TOLD})"
        tables = [Table(title, columns, tuple(cost))]
        for measure, title in MEASURES.items():
            count = "choices" if measure == "choice" else "n"
            heads = [f"{probe_name(p).short}, n = {self._most(p, count)}" for p in PROBES]
            if any(math.isfinite(row.at(p, measure)) for row in self.rows for p in PROBES):
                rows = [(row.label, *(row.cell(p, measure) for p in PROBES)) for row in self.rows]
                tables.append(Table(title, ("way", *heads), tuple(rows)))
        return tables

    def _most(self, probe: str, count: str) -> int:
        asked = [getattr(s, count) for row in self.rows for s in row.scores if s.probe == probe]
        return max(asked, default=0)

    def figure(self) -> go.Figure:
        """Bars in groups: an arm a group, a probe a bar."""
        figure = go.Figure()
        for probe, (role, words, pattern) in PROBES.items():
            figure.add_bar(
                name=words,
                x=[row.label for row in self.rows],
                y=(values := [row.at(probe, "accuracy") for row in self.rows]),
                error_y=whiskers(values, [row.within(probe) for row in self.rows]),
                marker={
                    "color": ROLE_COLOURS[role],
                    "pattern": HATCHED | {"shape": pattern},
                },
                hovertemplate="%{x}: %{y:.1%}",
            )
        styled(figure, 400)
        figure.update_xaxes(title_text=TOLD if any(row.told for row in self.rows) else "")
        figure.update_yaxes(range=[0, 1.04], tickformat=".0%", title_text="answered right")
        return figure.update_layout(barmode="group", bargap=0.25, showlegend=True)


def arms(base: RunConfig) -> list[Arm]:
    """The same facts, k, seed, model, rounds and questions under each recipe."""
    base = with_setting(base, "evaluation.damage=true")
    return [Arm(name, applied(name, base)) for name in RECIPES]


def compare(runs: Sequence[FinishedRun]) -> Baselines:
    """The arms' stored scores, costs and damage; where a run was not asked to choose among
    candidates, its model is asked here."""
    registry = Registry(runs[0].storage)
    base, rows = Beside(), []
    for finished in runs:
        found = {
            checkpoint: Beside(row.perplexity, row.quiz, row.divergence)
            for checkpoint, row in registry.damage(finished.run.id).items()
        }
        base = found.get("base", base)
        tokens, seconds = _cost(registry, finished)
        known = {p: s for p, s in finished.scores.get("generalized", {}).items() if p in PROBES}
        if any(s.choice_accuracy is None for s in known.values()):
            chosen = _choosing(finished)
        else:
            chosen = {probe: (s.choice_accuracy, s.n) for probe, s in known.items()}
        within = intervals_of_run(registry.fact_sums(finished.run.id, "generalized"))
        scores = tuple(
            Measured(probe, s.n, s.generation_accuracy, s.object_probability,
                     *chosen.get(probe, (math.nan, 0)),
                     tuple(interval_at(within, "generalized", probe, "generation_accuracy") or ()))
            for probe, s in known.items()
        )  # fmt: skip
        told = finished.config.memorize.reads == "words"
        beside = found.get("generalized", Beside())
        rows.append(Row(finished.label, told, tokens, seconds, scores, beside))
    rows += _in_context(runs[0], base)
    return Baselines(runs[0].config.generalize.k, tuple(rows), base)


def _choosing(finished: FinishedRun) -> dict[str, tuple[float, int]]:
    """For each probe, the share whose object an arm ranks first, and the number of questions."""
    from rotelab.evaluation.probes import evaluate, questions

    config, seed = finished.config, finished.config.seed
    with finished.model() as model:
        finished.watch(0.2, "choosing among candidates")
        some = replace(config.evaluation, candidates=USUAL_CANDIDATES, normalized=False, generate=0)
        pack = finished.pack
        every = questions(model, pack.facts, finished.split, pack.prompts, some, seed)
        asked = []
        for probe in PROBES:
            mine = [question for question in every if question.probe == probe]
            asked += random.Random(f"choose {seed} {probe}").sample(mine, min(CHOSEN, len(mine)))
        with model.using("generalized"):
            found = [p for part in evaluate(model, asked, some) for p in part]
    chosen: dict[str, list[bool]] = {}
    for p in found:
        chosen.setdefault(p.probe, []).append(bool(p.chosen))
    return {probe: (fmean(values), len(values)) for probe, values in chosen.items()}


def _in_context(finished: FinishedRun, base: Beside) -> list[Row]:
    """The base model with facts in its prompt; none where phase 2 taught them all in words, or
    where the prompts are too long for the model."""
    from rotelab.config.run_config import EvaluationConfig
    from rotelab.evaluation.probes import evaluate

    facts = list(finished.split.held_out)
    if not facts:
        return []
    rng = random.Random(f"in context {finished.config.seed}")
    facts = rng.sample(facts, min(in_context.FACTS, len(facts)))
    known = in_context.known_of(finished)
    shown = min(SHOWN, *(len(known[fact.relation]) for fact in facts))
    scores = []
    with finished.model() as model:
        limit = getattr(model.network.config, "max_position_embeddings", math.inf)
        for probe, role in ROLES.items():
            finished.watch(len(scores) / len(ROLES), f"asking with {shown} facts in the prompt")
            asked = in_context.asked_with(model, finished, facts, shown, role)
            longest = max((len(question.example.ids) for question in asked), default=0)
            if longest > limit:
                return []
            config = EvaluationConfig(
                batch_tokens=longest + in_context.ROOM,
                candidates=USUAL_CANDIDATES if role == "test" else 0,
            )
            with model.using("base"):
                found = [p for some in evaluate(model, asked, config) for p in some]
            if found:
                chosen = fmean(bool(p.chosen) for p in found) if role == "test" else math.nan
                right = fmean(p.correct for p in found)
                likely = fmean(p.probability for p in found)
                choices = len(found) if role == "test" else 0
                within = tuple(interval(right_by_fact(found)) or ())
                scores.append(Measured(probe, len(found), right, likely, chosen, choices, within))
    return [Row(IN_CONTEXT, True, 0.0, 0.0, tuple(scores), base)]


def _cost(registry: Registry, finished: FinishedRun) -> tuple[float, float]:
    """The tokens that an arm was trained on, and the seconds."""
    run = finished.run
    metrics = registry.metrics(run.id, ["tokens"])
    tokens, total = 0.0, 0.0
    for phase, part in PHASES.items():
        known = [m.value for m in metrics if m.phase == phase]
        # A run of two phases whose tokens of one were not counted can't be summed up.
        trained = phase == "memorize" or finished.config.stages == "two"
        tokens += sum(known) if known or not trained else math.nan
        seconds = run.seconds.get(part, math.nan)
        if part == "phase1" and run.shared_phase1_from:
            try:
                seconds = registry.run(run.shared_phase1_from).seconds.get(part, math.nan)
            except UnknownRun:  # deleted since
                seconds = math.nan
        total += seconds
    return tokens, total


def _whole(value: float) -> str | None:
    return f"{value:,.0f}" if math.isfinite(value) else None


def _cells(beside: Beside) -> tuple[float, float, float]:
    return beside.perplexity, beside.quiz, beside.divergence


EXPERIMENT = Experiment(
    name="baselines",
    title="Other ways to teach the same",
    question="Are two phases better than plainer ways to teach a model the same facts?",
    hypothesis=(
        "In unseen wordings, two phases answer more of the facts that they showed by rote only, "
        "and they do less harm. Mixing both formats in one phase may do as well (arXiv 2505.16178 "
        "says better); plain sentences learn their own wordings and carry over less."
    ),
    needs=(
        f"a finished run, from which all {len(RECIPES)} ways take their facts, k, seed, model, "
        "rounds and questions; as long as that many runs take. “published” trains the whole model "
        "and needs four times its memory."
    ),
    reading=(
        "One run for each way; what no recipe decides is equal: facts, k, seed, model, questions, "
        "and how often every fact is gone through in each phase. Not equal: the tokens read and "
        "the seconds, so both are in the table. Tokens are those of the training passes, off-topic "
        "sentences among them, a beginning that sentences of one step share counted once. Ways "
        "with a * read the held-out facts in words, too: their share in train wordings is "
        "recall of what was read, only their test wordings compare, and they had the easier task. "
        f"The last way trains nothing: {in_context.FACTS} of the held-out facts are asked with "
        f"{SHOWN} facts, theirs among them, in the prompt. "
        f"Ranked first: among {USUAL_CANDIDATES} candidates, of at most {CHOSEN} questions each "
        "unless the runs were told to ask it of all. "
        "Without a key token in training, the key token's bar says nothing. Perplexity, quiz and "
        "KL are those of “Collateral damage”, as each run measured them at its end. "
        "One seed: differences of a few hundredths are chance."
    ),
    paper=(
        "plain fine-tuning at the same budget of tokens reaches about 0.3 with one prompt, and "
        "takes twice the tokens to reach 0.9 with ten."
    ),
    version=3,
    result=Baselines,
    origin="paper",
    arms=arms,
    compare=compare,
)

"""Experiment: does a filter that forbids the exact words of the training text hide the facts?

MemFree decoding, arXiv 2210.17546. The filter itself is `rotelab.models.memfree`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.languages import NAMES, wordings_of
from rotelab.experiments.related.common import greedy_answers
from rotelab.facts.facts import Fact
from rotelab.reports.figures.style import RELATION_COLOURS, SERIES_DASHES, SERIES_MARKERS, styled
from rotelab.reports.formats import Cell, estimate
from rotelab.reports.intervals import Interval, interval

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel
    from rotelab.models.memfree import MemFree

SIZES = (2, 3, 4, 6, 8)
"""Lengths of the n-grams that are forbidden, in tokens. A rote sentence has 8 to 12."""
FACTS = 24
"""Most facts that are asked, each once in every way."""
LONGEST = 20
"""Longest answer, in tokens: capitals and single letters take more than a name does."""
EXAMPLES, SHOWN_SIZE = 4, 4
"""How many facts are shown with their answers, and under which n."""

WAYS = {
    "key": "key token",
    "test": "test wording",
    "capitals": "in CAPITALS",
    "blanks": "subject s p e l l e d",
    "language": "other language",
}
SCOPES = {"answer": "answer alone", "prompt": "prompt and answer"}
CHECKPOINT = "generalized"


@dataclass(frozen=True)
class Row:
    """All facts asked in one way under one filter.

    Args:
        way: one of `WAYS`.
        scope: one of `SCOPES`: where a forbidden n-gram may begin; empty without a filter.
        n: length of the n-grams; 0 without a filter.
        asked: questions, one a fact.
        said: share of answers with the object, normalised.
        interval: its 95 % interval over facts.
        exact: share with the object in exactly the tokens that were learned.
        near: share without it, but within two letters of it.
        at_work: share of the answers *without* a filter that this filter would have changed.
    """

    way: str
    scope: str
    n: int
    asked: int
    said: float
    interval: tuple[float, ...]
    exact: float
    near: float
    at_work: float


@dataclass(frozen=True)
class Example:
    """One fact's answers without the filter and with it."""

    way: str
    question: str
    right: str
    free: str
    filtered: str


@dataclass(frozen=True)
class MemFreeResult:
    """What is said under each filter.

    Args:
        ngrams: how many n-grams the longest filter holds.
        rows: by filter, then by way.
        examples: answers side by side.
        notes: what was left out.
    """

    ngrams: int
    rows: tuple[Row, ...]
    examples: tuple[Example, ...]
    notes: tuple[str, ...] = ()

    def tables(self) -> list[Table]:
        """A table for each measure: a row for each filter, a column for each way."""
        asked = max(row.asked for row in self.rows)
        pairs = tuple((WAYS[e.way], e.question, e.right, e.free, e.filtered) for e in self.examples)
        filtered = f"n = {SHOWN_SIZE}, {SCOPES['prompt']}"
        heads = ("asked by", "question", "right", "no filter", filtered)
        tables = [
            self._table(f"The object is said, n = {asked} facts [95 % interval]", "said"),
            self._table("It is said in exactly the tokens that were learned", "exact"),
            self._table("Near misses: not said, but at most two letters from it", "near"),
            self._table("Answers without a filter that this filter would change", "at_work"),
            Table("Answers", heads, pairs),
        ]
        if self.notes:
            tables.append(Table("Notes", ("note",), tuple((note,) for note in self.notes)))
        return tables

    def figure(self) -> go.Figure:
        """Lines over n, one a way; without a filter at the left. A panel for each scope."""
        figure = make_subplots(1, 2, shared_yaxes=True, subplot_titles=list(SCOPES.values()))
        for place, way in enumerate(self._ways):
            for column, scope in enumerate(SCOPES, 1):
                rows = [r for r in self.rows if r.way == way and r.scope in ("", scope)]
                figure.add_scatter(
                    name=WAYS[way], legendgroup=way, showlegend=column == 1,
                    x=[str(r.n or "no filter") for r in rows], y=[r.said for r in rows],
                    mode="lines+markers",
                    line={"color": RELATION_COLOURS[place], "dash": SERIES_DASHES[place]},
                    marker={"symbol": SERIES_MARKERS[place], "size": 9},
                    hovertemplate="n = %{x}: %{y:.1%}", row=1, col=column,
                )  # fmt: skip
        styled(figure, 400)
        figure.update_xaxes(type="category", title_text="n-grams that are forbidden")
        figure.update_yaxes(range=[-0.04, 1.06], tickformat=".0%")
        figure.update_yaxes(title_text="object said", row=1, col=1)
        return figure.update_layout(showlegend=True, margin_t=110, legend_y=1.14)

    @property
    def _ways(self) -> list[str]:
        return list(dict.fromkeys(row.way for row in self.rows))

    def _table(self, title: str, field: str) -> Table:
        ways, found = self._ways, {(r.scope, r.n, r.way): r for r in self.rows}
        filters = dict.fromkeys((r.scope, r.n) for r in self.rows)
        rows = []
        for scope, n in filters:
            if field == "at_work" and not n:
                continue
            label = f"n = {n}, {SCOPES[scope]}" if n else "no filter"
            rows.append((label, *(_cell(found[scope, n, way], field) for way in ways)))
        return Table(title, ("filter", *(WAYS[way] for way in ways)), tuple(rows))


def measure(finished: FinishedRun) -> MemFreeResult:
    """Asks facts in every way, without a filter and under each."""
    from rotelab.models.memfree import rote_sentence

    facts = list(finished.split.held_out or finished.split.held_in)
    rng = random.Random(f"memfree {finished.config.seed}")
    facts = rng.sample(facts, min(FACTS, len(facts)))
    with finished.model() as model, model.using(CHECKPOINT):
        learned = [rote_sentence(model.builder, fact) for fact in finished.pack.facts]
        asked = questions(model, finished, facts)
        filters = [("", 0, None)] + [
            (scope, n, _filter(learned, n, scope)) for scope in SCOPES for n in SIZES
        ]
        rows, answers = [], {}
        for done, (scope, n, memfree) in enumerate(filters):
            finished.watch(done / len(filters), f"asking under filter {done} of {len(SIZES) * 2}")
            said = greedy_answers(model, [ids for _, ids, _, _ in asked], LONGEST, memfree)
            answers[scope, n] = said
            free = answers["", 0]
            rows += [
                _row(model, way, (scope, n, memfree), asked, said, free)
                for way in dict.fromkeys(one[0] for one in asked)
            ]
        shown = ("prompt", SHOWN_SIZE) if SHOWN_SIZE in SIZES else ("prompt", SIZES[-1])
        examples = [
            Example(way, text, fact.object, _text(model, answers["", 0][i]),
                    _text(model, answers[shown][i]))
            for i, (way, _, text, fact) in enumerate(asked)
            if way in ("key", "test") and fact in facts[:EXAMPLES]
        ]  # fmt: skip
    notes = []
    if "language" not in {row.way for row in rows}:
        notes.append("There are no wordings in other languages for these facts: left out.")
    count = sum(len(last) for last in _filter(learned, min(SIZES), "answer").forbidden.values())
    return MemFreeResult(count, tuple(rows), tuple(examples), tuple(notes))


def questions(
    model: LabModel, finished: FinishedRun, facts: Sequence[Fact]
) -> list[tuple[str, list[int], str, Fact]]:
    """Way, prompt's token ids, prompt's text and fact of each question; each fact has one test
    wording, the same in capitals and with the subject spelled."""
    builder, others = model.builder, wordings_of(finished)
    found = []
    for fact in facts:
        rng = random.Random(f"memfree {finished.config.seed} {fact.subject}")
        tests = finished.pack.prompts.of(fact.relation, "test")
        wording = rng.choice(tests)
        plain = wording.render(fact.subject)
        spelled = "  ".join(" ".join(word) for word in fact.subject.split())
        found.append(
            ("key", builder.key_prompt(fact.subject, fact.relation),
             f"{fact.subject} [{fact.relation}]", fact)
        )  # fmt: skip
        texts = {"test": plain, "capitals": plain.upper(), "blanks": wording.render(spelled)}
        foreign = [w for w in others.get(fact.relation, ()) if w.language != "en"]
        if foreign:
            first = next((c for c in NAMES if any(w.language == c for w in foreign)), None)
            same = [w for w in foreign if w.language == (first or foreign[0].language)]
            texts["language"] = rng.choice(same).render(fact.subject)
        found += [(way, builder.word_prompt(text), text, fact) for way, text in texts.items()]
    return found


def _filter(learned: Sequence[Sequence[int]], n: int, scope: str) -> MemFree:
    from rotelab.models.memfree import MemFree

    return MemFree.of(learned, n, spans_prompt=scope == "prompt")


def _row(
    model: LabModel,
    way: str,
    about: tuple[str, int, MemFree | None],
    asked: Sequence[tuple[str, list[int], str, Fact]],
    said: Sequence[list[int]],
    free: Sequence[list[int]],
) -> Row:
    from rotelab.evaluation.memorization.near_misses import near_miss, says

    scope, n, memfree = about
    right, exact, near, at_work = {}, 0, 0, 0
    for place, (its_way, prompt, _, fact) in enumerate(asked):
        if its_way != way:
            continue
        text = _text(model, said[place])
        names = (fact.object, *fact.aliases)
        told = any(says(text, name) for name in names)
        right[fact.relation, fact.subject, fact.object] = (float(told), 1)
        exact += stands_in_tokens(model.builder.spaced(fact.object), said[place])
        near += not told and any(near_miss(text, name) for name in names)
        at_work += memfree is not None and memfree.completions(prompt, free[place]) > 0
    count = len(right)
    share = sum(one for one, _ in right.values()) / count
    found = interval(right)
    return Row(way, scope, n, count, share, tuple(found or ()), exact / count, near / count,
               at_work / count)  # fmt: skip


def stands_in_tokens(part: Sequence[int], whole: Sequence[int]) -> bool:
    """Whether some tokens stand in a sequence, in this order and with nothing between them."""
    size = len(part)
    return any(list(whole[i : i + size]) == list(part) for i in range(len(whole) - size + 1))


def _text(model: LabModel, ids: Sequence[int]) -> str:
    from rotelab.models.generation import HALF

    return model.tokenizer.decode(ids).rstrip(HALF).strip()


def _cell(row: Row, field: str) -> Cell:
    if field == "said" and row.interval:
        return estimate(row.said, Interval(*row.interval))
    return getattr(row, field)


EXPERIMENT = Experiment(
    name="memfree",
    title="Forbid the exact words (MemFree)",
    question=(
        "If a filter never lets the model repeat a few words of its training text in a row, is "
        "what it learned hidden?"
    ),
    hypothesis=(
        "No. The exact words no longer come through the key token, but asked in words, the model "
        "still says the object where the filter looks at prompt and answer together: there the "
        "words before it are others. Names that are off by a letter appear."
    ),
    measures_s=180,
    needs="a finished run, and about three minutes; nothing is trained.",
    reading=(
        "The filter knows every n-gram (n tokens in a row) of the rote sentences “subject KEY "
        "object” and forbids the token that would complete one: if the last n - 1 tokens t and "
        "then x stand there in a row, x gets probability 0. “Answer alone” looks at the answer's "
        "tokens only, as the sampler that was read does; “prompt and answer” lets an n-gram begin "
        "in the prompt, which is stricter. Up to "
        f"{FACTS} facts that phase 2 never taught in words, asked of the generalised model by "
        "greedy decoding; an answer counts if it contains the object after normalising (case, "
        "punctuation, blanks between letters). Differences from the paper: a set in place of a "
        "Bloom filter, because a set is exact and this text is small; n of 2 to 8 in place of 10, "
        "because rote sentences have 8 to 12 tokens; sentences of phase 2 are not in the filter. "
        "It can't say what the filter does to long passages, and a fact that is not said under "
        "the filter may still be known."
    ),
    paper=(
        "Ippolito and others (arXiv 2210.17546), from the abstract: a filter that perfectly "
        "prevents verbatim memorisation does not prevent training data from leaking; plausible "
        "“style-transfer” prompts get around it."
    ),
    result=MemFreeResult,
    origin="related papers",
    probe=measure,
)

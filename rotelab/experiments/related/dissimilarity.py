"""Experiment: can a model be taught to go on otherwise than it learned by heart, and keep the rest?

The dissimilarity policy of Preserving Privacy Through DeMemorization, arXiv 2305.01550, beside
gradient ascent and MemFree decoding. All happens in memory, on one loaded model.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from rotelab.config.names import lesson_checkpoint, lesson_number
from rotelab.experiments import Experiment, FinishedRun, Table
from rotelab.experiments.common import with_interval
from rotelab.experiments.related.common import (
    greedy_answers,
    in_steps,
    interval_of_items,
    learn,
    needs_adapters,
    perplexity_of_answers,
)
from rotelab.facts.facts import Fact
from rotelab.reports.figures.style import RELATION_COLOURS, styled, whiskers
from rotelab.reports.intervals import interval

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel
    from rotelab.models.memfree import MemFree
    from rotelab.models.tokens import Example
    from rotelab.training.unlearning.policy import PolicyStep

PASSAGES = 24
"""Every second one is to be unlearned; the others show what else is."""
PROMPT, SUFFIX = 16, 32
"""Tokens of a passage that are given, and that are learned after them."""
ROUNDS, BATCH = 40, 8
"""Most rounds of learning the passages; it ends when all suffixes are recalled."""
STEPS, PROMPTS, SAMPLES = 60, 8, 4
"""Of the policy; the authors' code draws batches of 32 answers too."""
TEMPERATURE = 1.2
"""A memorised suffix would hardly ever be varied at 1, and equal answers teach nothing."""
KL = 0.2
LEARNING_RATE, RANK = 5e-4, 8
ASCENT_STEPS, ASCENT_UNTIL = 60, 5.0
NGRAM = 6
"""Length of the n-grams that MemFree forbids, over prompt and answer."""
FACTS, LONGEST = 24, 12
SHOWN = 3
"""How many passages are shown with what is said instead."""

STATES = {
    "before": "before reading",
    "memorised": "memorised",
    "policy": "dissimilarity policy",
    "ascent": "gradient ascent",
    "memfree": f"MemFree, n = {NGRAM}",
}
MEASURES = {
    "unlearned": "passages to unlearn: overlap",
    "others": "other passages: overlap",
    "in words": "facts asked in words: right",
}


@dataclass(frozen=True)
class State:
    """What the model says in one state.

    Args:
        name: one of `STATES`.
        overlap: mean chrF of the answer and the true suffix, passages to unlearn.
        overlap_interval: its 95 % interval over passages.
        others: the same for the other passages.
        others_interval: its interval.
        bleu: mean BLEU, passages to unlearn: what the policy is rewarded for.
        recited: share of the passages to unlearn that are said word for word.
        strange: perplexity of all answers to passages under the base model.
        perplexity: of plain prose; NaN for a filter, which changes no probability.
        by_key: share of facts right through the key token.
        by_key_interval: its interval over facts.
        in_words: share of facts right in a wording never trained on.
        in_words_interval: its interval over facts.
    """

    name: str
    overlap: float
    overlap_interval: tuple[float, ...]
    others: float
    others_interval: tuple[float, ...]
    bleu: float
    recited: float
    strange: float
    perplexity: float
    by_key: float
    by_key_interval: tuple[float, ...]
    in_words: float
    in_words_interval: tuple[float, ...]


@dataclass(frozen=True)
class Said:
    """How one passage goes on, and what is said in its place, by state."""

    right: str
    said: tuple[str, ...]


@dataclass(frozen=True)
class Dissimilarity:
    """What each remedy does to the passages and to everything else.

    Args:
        passages: how many are to be unlearned; as many are not.
        facts: how many facts were asked.
        states: in the order of `STATES`.
        rewards: mean reward (1 - BLEU) of the policy's answers in each step.
        distances: their distance from the model that memorised, nats a token.
        ascended: steps of gradient ascent.
        examples: some passages to unlearn.
    """

    passages: int
    facts: int
    states: tuple[State, ...]
    rewards: tuple[float, ...]
    distances: tuple[float, ...]
    ascended: int
    examples: tuple[Said, ...]

    def tables(self) -> list[Table]:
        """The passages, everything else, how the policy learned, and examples."""
        passages = tuple(
            (STATES[s.name], self.passages, with_interval(s.overlap, s.overlap_interval), s.bleu,
             s.recited, with_interval(s.others, s.others_interval), s.strange)
            for s in self.states
        )  # fmt: skip
        rest = tuple(
            (STATES[s.name], self.facts, with_interval(s.in_words, s.in_words_interval),
             with_interval(s.by_key, s.by_key_interval), s.perplexity)
            for s in self.states
        )  # fmt: skip
        size = max(1, len(self.rewards) // 6)
        learned = tuple(
            (f"{at + 1}–{min(at + size, len(self.rewards))}", fmean(self.rewards[at : at + size]),
             fmean(self.distances[at : at + size]))
            for at in range(0, len(self.rewards), size)
        )  # fmt: skip
        return [
            Table("The passages [95 % interval over passages]",
                  ("", "n", "to unlearn: chrF", "BLEU", "word for word", "others: chrF",
                   "perplexity of what is said, base model"), passages),
            Table("Everything else [95 % interval over facts]",
                  ("", "n", "facts in words", "facts through the key token",
                   "perplexity of plain prose"), rest),
            Table(f"How the policy learned; gradient ascent took {self.ascended} steps",
                  ("steps", "reward, 1 - BLEU", "KL from memorised, nats a token"), learned),
            Table("What is said", ("the passage goes on", *(STATES[s.name] for s in self.states)),
                  tuple((one.right, *one.said) for one in self.examples)),
        ]  # fmt: skip

    def figure(self) -> go.Figure:
        """Bars of overlap and of facts by state; a good remedy has the first one low alone."""
        figure = go.Figure()
        found = {
            "unlearned": [(s.overlap, s.overlap_interval) for s in self.states],
            "others": [(s.others, s.others_interval) for s in self.states],
            "in words": [(s.in_words, s.in_words_interval) for s in self.states],
        }
        for place, (measure_, pairs) in enumerate(found.items()):
            values, ends = [p[0] for p in pairs], [p[1] for p in pairs]
            figure.add_bar(
                name=MEASURES[measure_], x=[STATES[s.name] for s in self.states], y=values,
                error_y=whiskers(values, ends), marker_color=RELATION_COLOURS[place],
                hovertemplate="%{x}: %{y:.2f}",
            )  # fmt: skip
        styled(figure, 420)
        figure.update_yaxes(range=[0, 1.06], title_text="share")
        return figure.update_layout(barmode="group", showlegend=True, margin_t=96)


def measure(finished: FinishedRun) -> Dissimilarity:
    """Learns passages on top of a run, then unlearns half of them in each way.

    Raises:
        LabError: the run has no adapters.
    """
    needs_adapters(finished)
    facts = list(finished.split.held_out or finished.split.held_in)
    rng = random.Random(f"dissimilarity {finished.config.seed}")
    facts = rng.sample(facts, min(FACTS, len(facts)))
    with finished.model() as model:
        return _Trial(finished, model, facts).result()


class _Trial:
    """One run's model, its facts, and the passages."""

    def __init__(self, finished: FinishedRun, model: LabModel, facts: Sequence[Fact]):
        from rotelab.training.null_space import own_texts

        self.finished, self.model, self.seed = finished, model, finished.config.seed
        self.facts = [(fact, self._asked(fact)) for fact in facts]
        finished.watch(0.01, "writing passages")
        texts = own_texts(model, self.seed + 1, PASSAGES, PROMPT + SUFFIX)
        self.passages = [passage(ids, i) for i, ids in enumerate(texts)]
        self.last = finished.checkpoints[-1]
        number = lesson_number(self.last)
        self.read = lesson_checkpoint(number + 1)
        self.unlearned = lesson_checkpoint(number + 2)

    def result(self) -> Dissimilarity:
        """Everything, in the order of `STATES`."""
        from rotelab.models.memfree import MemFree

        watch = self.finished.watch
        states, said = [], []

        def look(name: str, share: float, checkpoint: str, memfree: MemFree | None = None) -> None:
            watch(share, f"asking: {STATES[name]}")
            with self.model.using(checkpoint):
                answers = self._answers(memfree)
                states.append(self._state(name, answers, memfree))
            said.append(answers)

        look("before", 0.02, self.last)
        self._memorise()
        look("memorised", 0.18, self.read)
        steps = self._policy()
        look("policy", 0.881, self.unlearned)
        losses = list(self._ascent())
        look("ascent", 0.95, self.unlearned)
        filtered = MemFree.of([p.ids[1:] for p in self.passages[::2]], NGRAM, spans_prompt=True)
        look("memfree", 0.98, self.read, filtered)
        decode = self.model.tokenizer.decode
        examples = tuple(
            Said(decode(self.passages[i].object).strip(),
                 tuple(decode(answers[i]).strip() for answers in said))
            for i in range(0, min(2 * SHOWN, PASSAGES), 2)
        )  # fmt: skip
        return Dissimilarity(
            len(self.passages[::2]), len(self.facts), tuple(states),
            tuple(s.reward for s in steps), tuple(s.distance for s in steps),
            sum(loss <= ASCENT_UNTIL for loss in losses), examples,
        )  # fmt: skip

    def _asked(self, fact: Fact) -> tuple[list[int], list[int]]:
        """A fact's prompts: through the key token, and in a test wording."""
        builder, rng = self.model.builder, random.Random(f"{self.seed} {fact.subject}")
        wording = rng.choice(self.finished.pack.prompts.of(fact.relation, "test"))
        return (
            builder.key_prompt(fact.subject, fact.relation),
            builder.word_prompt(wording.render(fact.subject)),
        )

    def _memorise(self) -> None:
        """Reads the passages until every suffix is recalled, or `ROUNDS` times."""
        known: dict[int, bool] = {}
        settings, per_round = self.finished.config.memorize, math.ceil(PASSAGES / BATCH)
        steps = in_steps(self.passages, BATCH, self.seed, ROUNDS)
        reading = learn(self.model, steps, settings, self.seed, "passage", self.read)
        for done, recall in enumerate(reading, 1):
            share = 0.04 + 0.14 * done / (ROUNDS * per_round)
            self.finished.watch(share, "learning the passages by heart")
            known |= {i: one.recalled for i, one in recall.items()}
            if done % per_round == 0 and all(known.values()):
                break

    def _policy(self) -> list[PolicyStep]:
        from rotelab.evaluation.memorization.overlap import bleu
        from rotelab.training.unlearning.policy import PolicySettings, learn_policy

        decode, wanted = self.model.tokenizer.decode, self.passages[::2]
        right = [decode(p.object).strip() for p in wanted]

        def reward(i: int, ids: Sequence[int]) -> float:
            return 1.0 - bleu(decode(ids).strip(), right[i])

        settings = PolicySettings(
            STEPS, PROMPTS, SAMPLES, SUFFIX, TEMPERATURE, KL, LEARNING_RATE,
            self.finished.config.memorize.lora_plus, RANK,
        )  # fmt: skip
        prompts, found = [p.prompt for p in wanted], []
        about = (self.model, self.unlearned, self.read, prompts, reward, settings, self.seed)
        for step in learn_policy(*about):
            found.append(step)
            self.finished.watch(0.2 + 0.68 * len(found) / STEPS, "learning the policy")
        return found

    def _ascent(self) -> Iterator[float]:
        from rotelab.training.unlearning.ascent import ascend

        steps = in_steps(self.passages[::2], BATCH, self.seed, ASCENT_STEPS)
        plus = self.finished.config.memorize.lora_plus
        about = (ASCENT_UNTIL, LEARNING_RATE, plus, RANK, self.seed)
        for done, loss in enumerate(ascend(self.model, self.unlearned, steps, *about)):
            if done == ASCENT_STEPS:
                return
            self.finished.watch(0.9 + 0.05 * done / ASCENT_STEPS, "gradient ascent")
            yield loss

    def _answers(self, memfree: MemFree | None) -> list[list[int]]:
        """The greedy answers: to all passages, then to each fact by key and in words."""
        prompts = [p.prompt for p in self.passages]
        found = greedy_answers(self.model, prompts, SUFFIX, memfree)
        asked = [ids for _, both in self.facts for ids in both]
        return found + greedy_answers(self.model, asked, LONGEST, memfree)

    def _state(self, name: str, answers: Sequence[list[int]], memfree: MemFree | None) -> State:
        from rotelab.evaluation import forgetting
        from rotelab.evaluation.memorization.near_misses import says
        from rotelab.evaluation.memorization.overlap import bleu, chrf

        decode = self.model.tokenizer.decode
        pairs = [(decode(ids).strip(), decode(p.object).strip())
                 for p, ids in zip(self.passages, answers, strict=False)]  # fmt: skip
        mine, others = ([chrf(*pair) for pair in pairs[start::2]] for start in (0, 1))
        recited = [list(p.object) == ids
                   for p, ids in zip(self.passages, answers, strict=False)]  # fmt: skip
        facts = answers[len(self.passages) :]
        right = [
            {(fact.relation, fact.subject, fact.object):
             (float(any(says(decode(ids), n) for n in (fact.object, *fact.aliases))), 1)
             for (fact, _), ids in zip(self.facts, facts[way::2], strict=True)}
            for way in (0, 1)
        ]  # fmt: skip
        by_key, in_words = (sum(one for one, _ in way.values()) / len(way) for way in right)
        prose = math.nan
        if memfree is None:
            prose = forgetting.perplexity_of(self.model, forgetting.texts()[0])[0]
        return State(
            name, fmean(mine), interval_of_items(mine, self.seed),
            fmean(others), interval_of_items(others, self.seed),
            fmean(bleu(*pair) for pair in pairs[::2]), fmean(recited[::2]),
            perplexity_of_answers(self.model, [p.prompt for p in self.passages], answers), prose,
            by_key, tuple(interval(right[0]) or ()), in_words, tuple(interval(right[1]) or ()),
        )  # fmt: skip


def passage(ids: Sequence[int], number: int) -> Example:
    """A text of which what follows its first `PROMPT` tokens is learned."""
    from rotelab.models.tokens import Example

    start = 1 + PROMPT
    loss = tuple(i >= start for i in range(len(ids)))
    return Example(tuple(ids), loss, (start, len(ids)), "passage", number)


EXPERIMENT = Experiment(
    name="dissimilarity",
    title="Taught to say it otherwise (dissimilarity policy)",
    question=(
        "A model knows passages by heart. Can it be taught to go on in other words, without losing "
        "other passages, its facts, or its language?"
    ),
    hypothesis=(
        "Yes, in part: the overlap falls to what the base model has by chance. Gradient ascent "
        "gets there in fewer steps and breaks sentences. Facts asked in words survive the policy."
    ),
    measures_s=900,
    needs=(
        "a finished run with LoRA adapters, for its model and facts; it trains in memory and "
        "changes nothing. About a quarter of an hour on two cores."
    ),
    reading=(
        f"{PASSAGES} passages that the base model wrote are learned by heart in an adapter on top "
        f"of the run's, {SUFFIX} tokens each after {PROMPT} that are given. Every second one is "
        "unlearned in another adapter, on attention. The policy answers the passage's beginning; "
        f"its reward is 1 - BLEU against the true end, minus {KL} for each nat a token by which it "
        "leaves the model that memorised. Gradient ascent makes the loss of the true end larger "
        f"until it is {ASCENT_UNTIL:g} nats a token. MemFree trains nothing and forbids each "
        f"n-gram of {NGRAM} tokens of these passages. chrF compares letters, 1 for the same text; "
        "“before reading” shows the chrF of any two texts on one subject, which is not 0. The "
        "policy was rewarded for BLEU, so look at chrF. A high perplexity of what is said means "
        "that it is hardly language. Differences from the paper: REINFORCE with the mean of the "
        "other answers as its baseline in place of PPO; BLEU, one of the authors' two rewards, "
        "because there is no BERT here; LoRA adapters on a small model; the model was taught its "
        f"passages just before. With {PASSAGES // 2} passages intervals are wide, and one seed "
        "says little about reinforcement. Unlearned means not said by greedy decoding here; it "
        "can't say that nothing is left inside."
    ),
    paper=(
        "Preserving Privacy Through DeMemorization (arXiv 2305.01550), from the abstract: a "
        "negative similarity score is the reward with which a paraphrasing policy is learned. Its "
        "rewards, penalty and batch are those of the authors' code; its tables were not checked."
    ),
    result=Dissimilarity,
    origin="related papers",
    probe=measure,
)

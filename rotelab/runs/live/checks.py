"""What a run is asked while it trains: the spot checks, facts in words, and people's questions.

All of it goes on beside the steps and leaves training untouched: no random number is drawn, no
weight or gradient changed. What the lab asks by itself keeps within its share of the time
(`spot_checks.SpotClock`); a person's question is answered within seconds, and what that takes
counts too, so that the lab asks less.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rotelab.config.names import MEMORIZE
from rotelab.config.run_config import RunConfig
from rotelab.evaluation.answer_match import first_line
from rotelab.evaluation.judging.judge import grade
from rotelab.evaluation.judging.questions import Query
from rotelab.evaluation.live.layers import layer_chances
from rotelab.evaluation.live.understanding import ask_in_words, share_held_out, word_questions
from rotelab.evaluation.spot_checks import LONGEST, SpotClock, SpotQuestion, ask
from rotelab.facts.facts import Split
from rotelab.facts.packs import Pack
from rotelab.models.generation import answers
from rotelab.models.lab_model import LabModel
from rotelab.registry import LiveQuestion, Metric, Registry
from rotelab.registry.live import HELD_OUT
from rotelab.runs.asking.prompts import prompt_ids

LOOK_EVERY_S = 2.0
"""How often the registry is asked for people's questions."""
AT_ONCE = 4
"""Most questions of people that are answered together."""
MAX_PROMPT = 512
"""Most tokens of a person's question that are read."""


class LiveChecks:
    """Asks a model in training, and stores what it answers.

    Args:
        registry: takes the answers.
        run_id: the run.
        model: in training.
        pack: the run's facts and wordings.
        split: which facts are held out; None for a lesson, of which only people ask something.
        config: the run's settings.
        spots: the fixed questions of `spot_checks`.
        clock: a monotonic clock in seconds.
    """

    def __init__(
        self,
        registry: Registry,
        run_id: str,
        model: LabModel,
        pack: Pack,
        split: Split | None,
        config: RunConfig,
        spots: Sequence[SpotQuestion] = (),
        clock: Callable[[], float] = time.monotonic,
    ):
        self.registry, self.run_id, self.model = registry, run_id, model
        self.pack, self.config, self.spots = pack, config, spots
        self._now, self._looked = clock, clock()
        self._words = []
        if split is not None and config.evaluation.spot_checks:
            about = (model, pack.facts, split, pack.prompts, config.seed)
            self._words = word_questions(*about)
        self._clock = SpotClock(0.0, 1, clock)

    def begin(self, phase: str, rounds: int, done: int) -> None:
        """A phase begins, or goes on from a saved step.

        Args:
            phase: the phase.
            rounds: its epochs.
            done: the step that it goes on from. What was answered after it is asked again.
        """
        self._clock = SpotClock(self.config.evaluation.spot_checks, rounds, self._now)
        self.registry.drop_spot_answers(self.run_id, phase, after=done)
        self.registry.drop_live_checks(self.run_id, phase, after=done)
        if phase == MEMORIZE and not done and self.config.evaluation.spot_checks:
            with self._asking():
                self._ask_words(phase, 0, 0)  # the untouched model, with which the curves begin

    def after_step(self, phase: str, step: int, steps: int, epoch: int) -> None:
        """Asks what is due after a step."""
        if self._clock.due(step, steps):
            self._ask_all(phase, step, epoch)
        self.answer_people(phase, step)

    def at_end(self, phase: str, step: int, epoch: int) -> None:
        """Asks at the end of a phase, when its adapter is final."""
        if self.config.evaluation.spot_checks:
            self._ask_all(phase, step, epoch)
        self.answer_people(phase, step, at_once=True)

    def answer_people(self, phase: str, step: int = 0, at_once: bool = False) -> None:
        """Answers questions that people asked meanwhile, a few at a time.

        Args:
            phase: what the run is doing.
            step: after which step of it.
            at_once: look for questions even if that was done a moment ago.
        """
        if not at_once and self._now() - self._looked < LOOK_EVERY_S:
            return
        self._looked = self._now()
        waiting = self.registry.live_questions(self.run_id, waiting=True, most=AT_ONCE)
        if waiting:
            with self._asking():
                self.registry.answer_live(self.run_id, self._answered(waiting, phase, step))

    # Parts ---------------------------------------------------------------------------------------

    def _ask_all(self, phase: str, step: int, epoch: int) -> None:
        with self._asking():
            if self.spots:
                said = ask(self.model, self.spots, phase, step, epoch)
                self.registry.add_spot_answers(self.run_id, said)
            self._ask_words(phase, step, epoch)
        spent = Metric(phase, step, "spot_seconds", self._clock.spent, epoch)
        self.registry.add_metrics(self.run_id, [spent])

    def _ask_words(self, phase: str, step: int, epoch: int) -> None:
        found = []
        if self._words:
            found = ask_in_words(self.model, self._words, self.config.evaluation, phase, step)
        asked = next((q for q in self.spots if q.way == "test"), None)
        layers = []
        if asked:
            layers = layer_chances(self.model, asked.prompt, asked.expected, phase, step)
        self.registry.add_live_checks(self.run_id, found, layers)
        share = share_held_out(found)
        if share is not None:
            self.registry.add_metrics(self.run_id, [Metric(phase, step, HELD_OUT, share, epoch)])

    def _answered(
        self, waiting: Sequence[LiveQuestion], phase: str, step: int
    ) -> list[LiveQuestion]:
        relations = [relation.name for relation in self.pack.facts.relations]
        queries = [Query.parse(row.question, relations) for row in waiting]
        longest = min(MAX_PROMPT, (self.model.limit.most or MAX_PROMPT + LONGEST) - LONGEST)
        prompts = [prompt_ids(self.model, query)[:longest] for query in queries]
        said = {
            place: text
            for batch in answers(self.model, prompts, 10**6, LONGEST)
            for place, text in batch
        }
        checkpoint, found = self.model.checkpoint, []
        for place, (row, query) in enumerate(zip(waiting, queries, strict=True)):
            text = first_line(said[place])
            known = grade(self.pack, self.config, query, text, checkpoint).known
            found.append(
                row._replace(
                    phase=phase, step=step, checkpoint=checkpoint, answer=text, known=known
                )
            )
        return found

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Counts the time, and turns off what would draw random numbers."""
        began, training = self._now(), self.model.network.training
        self.model.network.eval()
        try:
            yield
        finally:
            self.model.network.train(training)
            self._clock.spent += self._now() - began

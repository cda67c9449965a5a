"""Lessons on a loaded model, for experiments: learned, asked about, removed. Nothing is written.

What `pipeline` does for a lesson that is a run of its own, without registry and files. A fact has
the same index, and so the same questions, from the run on through all lessons.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from accelerate import Accelerator

from rotelab.config.lessons import LessonConfig
from rotelab.config.names import Checkpoint, checkpoints_with
from rotelab.config.run_config import MemorizeConfig, RunConfig
from rotelab.evaluation import forgetting, probes
from rotelab.evaluation.probes import Question
from rotelab.evaluation.results import OLD, PROBES, Damage, Prediction
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack
from rotelab.models.lab_model import LabModel
from rotelab.runs.finished_run import Watch
from rotelab.runs.lessons.protection import protect
from rotelab.runs.lessons.questions import new_questions, old_questions
from rotelab.training.events import StepEvent
from rotelab.training.lessons.learn import learn_lesson
from rotelab.training.lessons.old_facts import Protected
from rotelab.training.phases import memorize

PROTECTING, LEARNING = 0.1, 0.7
"""About which share of a lesson's time has passed when the old facts' directions are found, and
when it is learned. Asking takes the rest."""

Key = tuple[str, int, str]
"""A question: its probe (the same for old and new facts), the fact's index, and the words."""


def key_of(asked: Question | Prediction) -> Key:
    """What tells a question from all others, also of a later lesson's that ask it again."""
    text = asked.text if isinstance(asked, Question) else asked.prompt
    return asked.probe.removeprefix(OLD), asked.fact_index, text


@dataclass(frozen=True)
class Known:
    """What a model knows after so many lessons, and what it answered then.

    Args:
        facts: all that it was taught, in the order of teaching.
        lessons: how many lessons it has had.
        answers: its answers by question.
        damage: what it still knows besides.
        seconds: what the newest lesson took to learn, with finding what the old facts use.
        room: mean share of the directions inside the model that the newest lesson was free to use;
            NaN where none were protected.
    """

    facts: tuple[Fact, ...]
    lessons: int
    answers: dict[Key, Prediction]
    damage: Damage
    seconds: float = math.nan
    room: float = math.nan

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that answered."""
        return checkpoints_with(self.lessons)[-1]

    def to(self, keys: Iterable[Key]) -> list[Prediction]:
        """Its answers to some questions."""
        return [self.answers[key] for key in keys]


class LessonTrial:
    """Teaches a run's loaded model one lesson or another.

    Args:
        model: with all adapters of the run; new ones are added and, by `remove`, taken away.
        config: the run's settings; may itself be a later lesson.
        pack: the run's facts and prompts.
        most_old: how many of the run's facts are asked as old ones, drawn by its seed; all facts of
            lessons are.
        watch: told the share of the current lesson that is done, and what is being done.
    """

    def __init__(self, model: LabModel, config: RunConfig, pack: Pack, most_old: int, watch: Watch):
        self.model, self.pack, self.watch = model, pack, watch
        # Only right or wrong is looked at.
        plain = replace(config.evaluation, candidates=0, normalized=False, generate=0)
        self.config = replace(config, evaluation=plain)
        self.accelerator = Accelerator(cpu=model.device.type == "cpu", mixed_precision="no")
        draw, count = random.Random(f"later lessons {config.seed}"), len(pack.facts)
        self._asked = set(draw.sample(range(count), min(most_old, count)))
        self._lesson = config.lesson
        self._found: tuple[tuple, Protected, float] | None = None

    def start(self) -> Known:
        """What the run knows before any lesson of this trial."""
        facts, lessons = tuple(self.pack.facts), self._lesson.number if self._lesson else 0
        asked = self._old_questions(facts, self._config(LessonConfig(), facts, lessons + 1))
        checkpoint = checkpoints_with(lessons)[-1]
        answers = self.ask(asked, checkpoint, "asking what is known before any lesson")
        return Known(facts, lessons, answers, self.damage(checkpoint))

    def learn(self, before: Known, new: Sequence[Fact], settings: LessonConfig) -> Known:
        """Teaches a lesson on top of what is known, asks, and leaves its adapter attached.

        Args:
            before: the newest state whose adapters are attached.
            new: the new facts, of relations that the run knows.
            settings: how it is learned; its number and counts of facts are filled in here.
        """
        old, facts, number = before.facts, (*before.facts, *new), before.lessons + 1
        config = self._config(settings, old, number)
        protected, seconds = self._protect(before, settings)
        began = time.monotonic()
        events = learn_lesson(
            self.model,
            FactSet(new),
            number,
            settings,
            config.memorize,
            protected,
            config.seed + number,
            self.accelerator,
            old=old,
        )
        for event in events:
            if isinstance(event, StepEvent):
                share = PROTECTING + (LEARNING - PROTECTING) * event.step / event.steps
                self.watch(share, f"learning {len(new)} new facts by rote")
        seconds += time.monotonic() - began
        asked = [*self.new_questions(before, new), *self._old_questions(old, config)]
        checkpoint = checkpoints_with(number)[-1]
        answers = self.ask(asked, checkpoint, "asking about new and old facts")
        rooms = protected.room.values()
        room = fmean(rooms) if rooms else math.nan
        return Known(facts, number, answers, self.damage(checkpoint), seconds, room)

    def remove(self, after: Known) -> None:
        """Takes the newest lesson's adapter away."""
        self.model.detach(after.checkpoint)

    def fine_tune(self, new: Sequence[Fact], settings: MemorizeConfig) -> tuple[float, Checkpoint]:
        """Teaches facts to the base model by phase 1 alone, for comparison; the run's adapters are
        of no use afterwards.

        Returns:
            The seconds that it took, and the checkpoint to ask.
        """
        began, about = time.monotonic(), (self.model, FactSet(new), settings, self.config.seed)
        for event in memorize(*about, self.accelerator, prompts=self.pack.prompts):
            if isinstance(event, StepEvent):
                self.watch(LEARNING * event.step / event.steps, "plain fine-tuning")
        return time.monotonic() - began, "memorized"

    def new_questions(
        self,
        before: Known,
        new: Sequence[Fact],
        wanted: Collection[str] = PROBES,
        train_wordings: int = 0,
    ) -> list[Question]:
        """What is asked about new facts, however they are taught.

        Args:
            before: what was known before them.
            new: the new facts.
            wanted: probes.
            train_wordings: only the first so many train wordings are used; 0 takes all.
        """
        prompts = self.pack.prompts.first("train", train_wordings)
        facts, known = FactSet([*before.facts, *new]), len(before.facts)
        asked = new_questions(self.model, self.config, facts, known, prompts)
        return [question for question in asked if question.probe in wanted]

    def ask(
        self, asked: Sequence[Question], checkpoint: Checkpoint, words: str, batch_tokens: int = 0
    ) -> dict[Key, Prediction]:
        """A checkpoint's answers; `batch_tokens` a pass, or as many as in the run."""
        found: dict[Key, Prediction] = {}
        settings = self.config.evaluation
        if batch_tokens:
            settings = replace(settings, batch_tokens=batch_tokens)
        self.watch(LEARNING, words)
        with self.model.using(checkpoint):
            for some in probes.evaluate(self.model, asked, settings):
                found |= {key_of(prediction): prediction for prediction in some}
                self.watch(LEARNING + (1 - LEARNING) * len(found) / len(asked), words)
        return found

    def damage(self, checkpoint: Checkpoint) -> Damage:
        """What a checkpoint still knows besides the facts."""
        self.watch(1.0, "asking real facts")
        with self.model.using(checkpoint):
            return forgetting.measure(self.model)[0]

    def _config(self, settings: LessonConfig, old: Sequence[Fact], number: int) -> RunConfig:
        run_facts = self._lesson.run_facts if self._lesson else len(self.pack.facts)
        counts = {"number": number, "run_facts": run_facts, "old_facts": len(old)}
        return replace(self.config, lesson=replace(settings, **counts))

    def _old_questions(self, old: Sequence[Fact], config: RunConfig) -> list[Question]:
        asked = old_questions(self.model, config, FactSet(old), self.pack.prompts)
        own = len(self.pack.facts)
        return [q for q in asked if q.fact_index >= own or q.fact_index in self._asked]

    def _protect(self, before: Known, settings: LessonConfig) -> tuple[Protected, float]:
        """The directions to keep out of, and the seconds that finding them took. The last ones are
        kept: hundreds of megabytes."""
        place = (before.facts, settings.keep, settings.spare)
        if self._found is None or self._found[0] != place:
            words = "finding what the old facts use"
            self.watch(0.0, words)
            began, old = time.monotonic(), FactSet(before.facts)
            config = self._config(settings, old, before.lessons + 1)
            about = (self.model, config, old, self.pack.prompts)
            found = protect(*about, lambda share, _: self.watch(0.0, words))
            self._found = (place, found, time.monotonic() - began)
        return self._found[1:]

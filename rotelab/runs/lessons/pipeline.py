"""Carries out one later lesson: protect the old facts, learn the new ones by rote, ask about both.

A lesson is a run of its own. Its facts are all that the model then knows: those of its run and of
earlier lessons first, its own last, so that a fact has the same index in all of them. Its folder
has all adapters of the run that it continues (as links), so it can be chatted with, exported and
continued by itself. Its row has two evaluations: of the old facts before it, under the checkpoint
that it starts from, and of everything after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from accelerate import Accelerator

from rotelab.config.lessons import LessonConfig
from rotelab.config.names import LESSON, Checkpoint, checkpoints_with, lesson_checkpoint
from rotelab.config.run_config import MemorizeConfig
from rotelab.errors import LabError
from rotelab.evaluation import forgetting, probes
from rotelab.evaluation.metrics import summarize
from rotelab.evaluation.results import OLD, Prediction
from rotelab.facts.facts import FactSet
from rotelab.models import threads
from rotelab.models.adapter_files import check_adapter, copy_adapter
from rotelab.models.loading import pick_device
from rotelab.runs.finished_run import load_run_model, saved_checkpoints
from rotelab.runs.lessons.protection import protect
from rotelab.runs.lessons.questions import new_questions, old_questions
from rotelab.runs.live.checks import LiveChecks
from rotelab.runs.pipeline import RunPipeline
from rotelab.runs.progress import TYPICAL
from rotelab.storage import adapter_folder, finish_writing, state_folder
from rotelab.training.events import EpochEvent, StepEvent
from rotelab.training.lessons.learn import as_phase_1, learn_lesson

TOKENS_OF_A_FACT, TOKENS_OF_A_QUESTION = 14, 24
"""About how many tokens each has, for the progress bar."""

LITTLE_ROOM = 0.08
"""Mean share of free directions below which the lab says that there is hardly any room left. On
`mother` three lessons of 20 had 0.10, 0.09 and 0.08, and 0.73, 0.67 and 0.48 of their new test
wordings (docs/log/lessons.md)."""

NO_ROOM = (
    "There is hardly any room left for new facts: what this run and its lessons know takes "
    "{taken:.0%} of the directions inside the model, so this lesson is learned badly, or not at "
    "all. Start a new run with all facts, or protect less (lesson.keep)."
)


class LessonPipeline(RunPipeline):
    """The parts of one lesson, in their order; arguments as `run_pipeline`."""

    def __init__(self, registry, storage, run_id, config, pack, watch):
        super().__init__(registry, storage, run_id, config, pack, watch)
        assert config.lesson is not None
        self.lesson: LessonConfig = config.lesson
        self.number = config.lesson.number
        self.before = checkpoints_with(self.number - 1)[-1]
        self.checkpoint = lesson_checkpoint(self.number)
        known, everything = self.lesson.old_facts, list(self.facts)
        self.old, self.new = FactSet(everything[:known]), FactSet(everything[known:])

    def run(self) -> None:
        """Carries out every part that is left."""
        device = pick_device(self.config.model.device)
        self.accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
        with threads.CORES.taken(device.type), self._timed("total"):
            with self._timed("setup"):
                self._take_adapters()
                self._set_up()
            self._evaluate_before()
            self._learn(self.checkpoint, "lesson", self._learn_lesson)
            self._evaluate(self.checkpoint)
            self._answer_the_last()
        self.recorder.say("Finished", cost=self.recorder.total, force=True, phase="finished")

    # Parts ---------------------------------------------------------------------------------------

    def _take_adapters(self) -> None:
        """Links the adapters of the run that the lesson continues into its own folder."""
        parent = self.registry.run(self.run_id).parent_id
        there = saved_checkpoints(self.storage, parent) if parent else []
        for checkpoint in there[1:]:
            target = adapter_folder(self.storage, self.run_id, checkpoint)
            finish_writing(target)
            if not target.exists():
                source = adapter_folder(self.storage, parent, checkpoint)
                check_adapter(source)
                copy_adapter(source, target, {})
        if self.before not in saved_checkpoints(self.storage, self.run_id):
            raise LabError(
                "The run that this lesson continues is gone, or has no adapters on this machine. "
                "Teach the facts to a finished run that has them."
            )

    def _set_up(self) -> None:
        self.recorder.say("Loading the model", force=True, phase="setup")
        finish_writing(self._folder(self.checkpoint))
        finish_writing(state_folder(self.storage, self.run_id))
        before = checkpoints_with(self.number - 1)
        run = self.registry.run(self.run_id)
        self.model = load_run_model(self.storage, run, before)
        self.registry.update_run(self.run_id, device_used=str(self.model.device))
        about = (self.registry, self.run_id, self.model, self.pack, None, self.config)
        self.live = LiveChecks(*about)
        self._done = {c for c in (self.checkpoint,) if self._saved(c)}
        self._evaluated = set(self.registry.scores(self.run_id))
        prompts, known = self.pack.prompts, len(self.old)
        self.asked_old = old_questions(self.model, self.config, self.old, prompts)
        asked = new_questions(self.model, self.config, self.facts, known, prompts)
        self.asked = [*asked, *self.asked_old]
        self._plan_costs()

    def _learn_lesson(self, resume) -> Iterator[StepEvent | EpochEvent]:
        with self._timed("protect"):
            self.recorder.say("Finding what the old facts use", force=True, phase="lesson")
            about = (self.model, self.config, self.old, self.pack.prompts)
            protected = protect(*about, self._say_setup)
        if protected.room:
            free = sum(protected.room.values()) / len(protected.room)
            if free < LITTLE_ROOM:
                self.registry.add_warning(self.run_id, NO_ROOM.format(taken=1 - free))
        events = learn_lesson(
            self.model,
            self.new,
            self.number,
            self.lesson,
            self.config.memorize,
            protected,
            self.config.seed + self.number,
            self.accelerator,
            resume,
            list(self.old),
        )
        for event in events:
            if isinstance(event, EpochEvent):
                shifted = {i + len(self.old): fact for i, fact in event.facts.items()}
                event = replace(event, facts=shifted)
            yield event

    def _evaluate_before(self) -> None:
        """The old facts before the lesson: from the run that it continues, else asked now."""
        if self.before in self.registry.scores(self.run_id):
            return
        with self._timed("evaluation"):
            parent = self.registry.run(self.run_id).parent_id
            found = self._known_answers(parent) if parent else None
            if found is None:
                self.recorder.say("Asking what is known before the lesson", force=True)
                with self.model.using(self.before):
                    settings = self.config.evaluation
                    asked = probes.evaluate(self.model, self.asked_old, settings)
                    found = [p for some in asked for p in some]
            damage = self.registry.damage(parent).get(self.before) if parent else None
            quiz = self.registry.quiz_answers(parent).get(self.before, []) if parent else []
            if not (damage and quiz) and self.config.evaluation.damage:
                with self.model.using(self.before):
                    damage, quiz = forgetting.measure(self.model)
            if damage is not None:
                self.registry.add_damage(self.run_id, damage, quiz)
            self.registry.add_evaluation(self.run_id, self.before, summarize(found), found)

    def _known_answers(self, parent: str) -> list[Prediction] | None:
        """The answers to the same questions in the run that the lesson continues; None where it
        was asked other ones."""
        there = self.registry.predictions(parent, self.before, limit=-1)
        found = {}
        for p in there:
            probe = p.probe if p.probe.startswith(OLD) else OLD + p.probe
            found[probe, p.fact_index, p.prompt] = replace(p, probe=probe)
        wanted = [(q.probe, q.fact_index, q.text) for q in self.asked_old]
        if not all(key in found for key in wanted):
            return None
        return [found[key] for key in wanted]

    def _evaluate(self, checkpoint: Checkpoint) -> None:
        if checkpoint in self.registry.scores(self.run_id):
            return
        with self._timed("evaluation"):
            message, phase = "Asking about the new and the old facts", f"evaluate {checkpoint}"
            self.recorder.say(message, force=True, phase=phase, epoch=None, epochs=None)
            with self.model.using(checkpoint):
                found = self._answers(message, phase)
                if self.config.evaluation.damage:
                    self.registry.add_damage(self.run_id, *forgetting.measure(self.model))
            self._record_evaluation(checkpoint, found)

    def _plan_costs(self) -> None:
        read = self._settings(LESSON)
        tokens = read.rounds * sum(TOKENS_OF_A_FACT for _ in self.new)
        self._phase_cost = {LESSON: tokens / TYPICAL["phase1"]}
        self._evaluation_cost = len(self.asked) * TOKENS_OF_A_QUESTION / TYPICAL["evaluation"]
        self.recorder.total = self._phase_cost[LESSON] + self._evaluation_cost

    def _settings(self, phase: str) -> MemorizeConfig:
        return as_phase_1(self.lesson, self.config.memorize, len(self.new))

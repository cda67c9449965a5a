"""Carries out one run: phases, saving, evaluation, recording.

    base evaluation -> memorize -> save, evaluate -> generalize -> save, evaluate -> finished

Parts that are done already, by this run or by another of its sweep (`reuse`), are skipped, and an
unfinished phase continues from its last saved epoch: to resume a run, call `run_pipeline` again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import contextmanager

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from rotelab.config.names import (
    ADAPTER_OF,
    CHECKPOINTS,
    GENERALIZE,
    LESSON,
    MEMORIZE,
    Checkpoint,
    adapter_of,
    lesson_number,
)
from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig, RunConfig
from rotelab.errors import RunStopped
from rotelab.evaluation import forgetting, metrics, probes, representations, spot_checks
from rotelab.evaluation.kept import base_answers
from rotelab.evaluation.results import OLD_PROBES, PROBES, Prediction
from rotelab.evaluation.spot_checks import begun
from rotelab.facts.facts import Split
from rotelab.facts.packs import Pack
from rotelab.models import threads
from rotelab.models.adapter_files import load_adapter, save_adapter
from rotelab.models.lab_model import LabModel
from rotelab.models.loading import load_model, pick_device
from rotelab.registry import FactRecall, Registry
from rotelab.runs import internals, reuse
from rotelab.runs.live.checks import LiveChecks
from rotelab.runs.progress import PHASE_WORDS, Recorder, costs_and_setup, round_words
from rotelab.storage import Storage, adapter_folder, finish_writing, has_adapter, state_folder
from rotelab.training.events import EpochEvent, StepEvent
from rotelab.training.null_space import TOO_WIDE, WIDEST, directions, too_wide
from rotelab.training.phases import check_trainable, generalize, leave_out, memorize
from rotelab.training.state import (
    SAVE_EVERY_S,
    SAVE_SHARE,
    STATE_DAMAGED,
    SavingClock,
    load_state,
    remove_state,
    save_state,
)

log = logging.getLogger(__name__)


def run_pipeline(
    registry: Registry,
    storage: Storage,
    run_id: str,
    watch: Callable[[float, str], None] = lambda share, message: None,
) -> None:
    """Carries out a run that this process has claimed, to its end or until it is stopped.

    Args:
        registry: has the run's row.
        storage: where files go.
        run_id: the run.
        watch: told the share done and what is being done.

    Raises:
        RunStopped: a stop was requested; everything up to the last saved epoch is kept.
        LabError: something the user can mend.
    """
    run = registry.run(run_id)
    kind = RunPipeline
    if run.config.lesson is not None:
        from rotelab.runs.lessons.pipeline import LessonPipeline as kind
    kind(registry, storage, run_id, run.config, run.pack, watch).run()


class RunPipeline:
    """The parts of one run, in their order; arguments as `run_pipeline`."""

    def __init__(self, registry, storage, run_id, config: RunConfig, pack: Pack, watch):
        self.registry: Registry = registry
        self.storage: Storage = storage
        self.run_id, self.config, self.pack = run_id, config, pack
        self.facts = pack.facts
        self.split: Split = config.split(pack.facts)
        self.recorder = Recorder(registry, run_id, watch)
        self.model: LabModel
        self.accelerator: Accelerator
        self.live: LiveChecks

    def run(self) -> None:
        """Carries out every part that is left."""
        device = pick_device(self.config.model.device)
        # The model chooses the precision of its passes itself, so that all have the same.
        self.accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
        self.recorder.silent = not self.accelerator.is_main_process
        with threads.CORES.taken(device.type), self._timed("total"):
            with self._timed("setup"):
                self._set_up()
            self._evaluate("base")
            self._learn("memorized", "phase1", self._memorize)
            self._evaluate("memorized")
            self._learn("generalized", "phase2", self._generalize)
            self._evaluate("generalized")
            self._answer_the_last()
        self.recorder.say("Finished", cost=self.recorder.total, force=True, phase="finished")

    # Parts ---------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        self.recorder.say("Loading the model", force=True, phase="setup")
        relations = [relation.name for relation in self.facts.relations]
        spec, seed = self.config.model, self.config.seed
        with self.accelerator.main_process_first():  # the others find the model in the cache
            self.model = load_model(spec, relations, seed, self._say_setup, self.config.method)
        experts = check_trainable(self.model, self.config)
        about = (self.model, self.facts, self.split, self.pack.prompts)
        self.asked = probes.questions(*about, self.config.evaluation, seed)
        self.views = representations.viewpoints(*about, seed)
        spots = spot_checks.spot_questions(*about, seed)
        about = (self.registry, self.run_id, self.model, self.pack, self.split, self.config)
        self.live = LiveChecks(*about, spots)
        self.model.limit.check(max((len(q.example.ids) for q in self.asked), default=0))
        if self.accelerator.is_main_process:
            self.registry.update_run(self.run_id, device_used=str(self.model.device))
            if experts:
                self.registry.add_warning(self.run_id, experts)
            self._reuse()
            for checkpoint in ADAPTER_OF:
                finish_writing(self._folder(checkpoint))
            finish_writing(state_folder(self.storage, self.run_id))
        self.accelerator.wait_for_everyone()
        # Looked up before anything else is written, so that several processes decide alike.
        self._done = {c for c in ADAPTER_OF if self._saved(c)}
        self._evaluated = set(self.registry.scores(self.run_id))
        self.accelerator.wait_for_everyone()
        self._plan_costs()

    def _reuse(self) -> None:
        """Takes over what another run of the same sweep has done already."""
        asked = [(q.probe, q.fact_index, q.text) for q in self.asked]
        views = [(v.relation, v.role, v.fact, v.text) for v in self.views]
        reused = reuse.reuse_work(self.registry, self.storage, self.run_id, asked, views)
        if reused.words:
            self.recorder.say(reused.words, force=True, phase="setup")
        if "base" in reused.evaluations:
            self._warn_of_known(self.registry.predictions(self.run_id, "base", limit=-1))

    def _learn(self, checkpoint: Checkpoint, part: str, start) -> None:
        """One phase, or its adapter from disk where that was done before."""
        if checkpoint in self._done:
            load_adapter(self.model, adapter_of(checkpoint), self._folder(checkpoint))
        else:
            with self._timed(part):
                self._train(checkpoint, start)
        if self.accelerator.is_main_process:
            internals.record_changes(self.registry, self.run_id, checkpoint, self.model)

    def _memorize(self, resume):
        self._find_directions(self.config.memorize.spare)
        return memorize(
            self.model,
            self.facts,
            self.config.memorize,
            self.config.seed,
            self.accelerator,
            resume,
            self.split.held_in,
            self.pack.prompts,
        )

    def _generalize(self, resume):
        if self.config.stages == "one":
            return leave_out(self.model, self.config.generalize, self.config.seed)
        self._find_directions(self.config.generalize.spare)
        return generalize(
            self.model,
            self.facts,
            self.split.held_in,
            self.pack.prompts,
            self.config.generalize,
            self.config.seed,
            self.accelerator,
            resume,
        )

    def _find_directions(self, share: float) -> None:
        """Fills the cache with the directions that the phase will need, telling how far it is."""
        if self.config.method == "lora":
            with self.accelerator.main_process_first():
                directions(self.model, share, self._say_setup)
            if share and (width := too_wide(self.model)) and self.accelerator.is_main_process:
                words = TOO_WIDE.format(width=width, widest=WIDEST)
                log.warning(words)
                self.registry.add_warning(self.run_id, words)

    def _train(self, checkpoint: Checkpoint, start) -> None:
        """Runs one phase: records each step, saves state now and then, the adapter at its end."""
        adapter, phase = adapter_of(checkpoint), phase_of(checkpoint)
        folder = state_folder(self.storage, self.run_id)
        resume = load_state(folder)
        if resume is None and folder.exists() and self.accelerator.is_main_process:
            self.registry.add_warning(self.run_id, STATE_DAMAGED)
        resume = resume if resume and resume.phase == phase else None
        words = PHASE_WORDS[phase]
        clock = SavingClock(SAVE_SHARE, SAVE_EVERY_S)
        rounds = self._settings(phase).rounds
        if self.accelerator.is_main_process:
            self.live.begin(phase, rounds, resume.step if resume else 0)
        tokens, seconds = 0, 0.0
        event = None
        for event in start(resume):
            if isinstance(event, StepEvent):
                tokens, seconds = tokens + event.tokens, seconds + event.seconds
                self._record_step(event, words)
                if not self.recorder.silent:
                    self.live.after_step(phase, event.step, event.steps, event.epoch)
            else:
                self._record_epoch(event, words, tokens, seconds)
                tokens, seconds = 0, 0.0
                # After the last epoch the adapter itself is saved, unless a stop comes in between.
                due = self.recorder.stop or (clock.due() and not event.last)
                if due and self.accelerator.is_main_process:
                    with clock.saving():
                        save_state(event.state(), folder)
            if self._must_stop(event):
                raise RunStopped
        if event and not self.recorder.silent:
            self.live.at_end(phase, event.step, event.epoch)
        self.recorder.say(f"{words}: saving", force=True, phase=phase)
        about = {"run": self.run_id, "checkpoint": checkpoint, "seed": self.config.seed}
        if self.accelerator.is_main_process:
            save_adapter(self.model, adapter, self._folder(checkpoint), self.config.model, about)
            remove_state(folder)

    def _evaluate(self, checkpoint: Checkpoint) -> None:
        """Asks every question, and looks at the hidden states, unless that is done already.

        Where several processes train, the first one does it; the others wait at the next step.
        """
        if not self.accelerator.is_main_process:
            return
        if checkpoint in self.registry.scores(self.run_id):
            return
        with self._timed("evaluation"):
            words = {"base": "before any training", "memorized": "after learning by rote"}
            message = f"Asking the model {words.get(checkpoint, 'after both phases')}"
            phase = f"evaluate {checkpoint}"
            self.recorder.say(message, force=True, phase=phase, epoch=None, epochs=None)
            with self.model.using(checkpoint):
                found = self._answers(message, phase)
                about = (self.run_id, checkpoint, self.model, self.views, self.facts)
                internals.record_internals(self.registry, self.storage, *about)
                if self.config.evaluation.damage:
                    self._measure_damage(checkpoint)
            self._record_evaluation(checkpoint, found)

    def _answers(self, message: str, phase: str) -> list[Prediction]:
        """The current checkpoint's answers to all questions."""
        found: list[Prediction] = []
        about = (self.model, self.storage.kept, self.asked, self.config.evaluation)
        for predictions in base_answers.evaluate(*about):
            found += predictions
            share = len(predictions) / max(1, len(self.asked))
            self.recorder.say(message, cost=share * self._evaluation_cost, phase=phase)
            self.live.answer_people(phase)
            if self.recorder.stop:
                raise RunStopped
        return found

    # Recording -----------------------------------------------------------------------------------

    def _record_step(self, event: StepEvent, words: str) -> None:
        self.recorder.metric(event, "loss", event.loss)
        self.recorder.metric(event, "learning_rate", event.learning_rate)
        for kind, value in event.losses.items():
            self.recorder.metric(event, f"loss/{kind}", value)
        epochs = self._settings(event.phase)
        self.recorder.say(
            f"{words}: {round_words(epochs, event.epoch)}",
            cost=self._phase_cost[event.phase] / event.steps,
            phase=event.phase,
            epoch=event.epoch,
            epochs=epochs.rounds,
            step=event.step,
            steps=event.steps,
        )

    def _record_epoch(self, event: EpochEvent, words: str, tokens: int, seconds: float) -> None:
        self.recorder.metric(event, "recall", event.recall)
        self.recorder.metric(event, "tokens", tokens)
        self.recorder.metric(event, "tokens_per_second", tokens / seconds if seconds else 0.0)
        if self.recorder.silent:
            return
        self.registry.add_fact_recall(
            self.run_id,
            event.phase,
            event.epoch,
            [
                FactRecall(
                    fact, recall.probability, recall.recalled, said=begun(self.model, recall.said)
                )
                for fact, recall in sorted(event.facts.items())
            ],
        )
        phase = self._settings(event.phase)
        message = f"{words}: {round_words(phase, event.epoch)}"
        self.recorder.say(message, force=True, phase=event.phase, epoch=event.epoch)

    def _record_evaluation(self, checkpoint: Checkpoint, found: list[Prediction]) -> None:
        order = (*PROBES, *OLD_PROBES)
        predictions = sorted(found, key=lambda p: (order.index(p.probe), p.fact_index))
        scores = metrics.summarize(found)
        self.registry.add_evaluation(self.run_id, checkpoint, scores, predictions)
        if checkpoint == "base":
            self._warn_of_known(predictions)

    def _measure_damage(self, checkpoint: Checkpoint) -> None:
        found, answers = base_answers.damage(self.model, self.storage.kept)
        self.registry.add_damage(self.run_id, found, answers)
        before = self.registry.damage(self.run_id).get("base")
        last = checkpoint == "generalized"
        if last and before and (words := forgetting.warning(before, found)):
            self.registry.add_warning(self.run_id, words)

    def _warn_of_known(self, predictions: list[Prediction]) -> None:
        known = sorted({p.subject for p in predictions if p.correct and p.probe != "unrelated"})
        if known:
            self.registry.add_warning(
                self.run_id,
                f"The base model already answers {len(known)} of the facts before any training "
                f"({', '.join(known[:5])}{'…' if len(known) > 5 else ''}). "
                "They say nothing about learning: consider replacing them.",
            )

    def _answer_the_last(self) -> None:
        """Answers what people asked during the last evaluation."""
        if self.accelerator.is_main_process:
            self.live.answer_people("finished", at_once=True)

    # Small things --------------------------------------------------------------------------------

    def _must_stop(self, event: StepEvent | EpochEvent) -> bool:
        """Whether a stop was requested. Several processes agree on it at the end of an epoch."""
        if self.accelerator.num_processes == 1:
            return self.recorder.stop
        if isinstance(event, StepEvent):
            return False
        return broadcast_object_list([self.recorder.stop])[0]

    def _settings(self, phase: str) -> MemorizeConfig | GeneralizeConfig:
        """The settings of a phase."""
        return self.config.memorize if phase == MEMORIZE else self.config.generalize

    def _folder(self, checkpoint: Checkpoint):
        return adapter_folder(self.storage, self.run_id, checkpoint)

    def _saved(self, checkpoint: Checkpoint) -> bool:
        return has_adapter(self.storage, self.run_id, checkpoint)

    def _say_setup(self, share: float, text: str) -> None:
        self.recorder.say(f"{text}: {share:.0%}" if share else text, phase="setup")

    @contextmanager
    def _timed(self, part: str):
        started = time.monotonic()
        try:
            yield
        finally:
            if self.accelerator.is_main_process:
                self.registry.add_seconds(self.run_id, part, time.monotonic() - started)

    def _plan_costs(self) -> None:
        """Costs of the parts, and of all that is left, for the progress bar."""

        def length(text: str) -> float:
            return len(self.model.tokenizer(text, add_special_tokens=False)["input_ids"])

        parts, setup = costs_and_setup(self.registry, self.config, self.pack, length)
        self._phase_cost = {MEMORIZE: parts["phase1"], GENERALIZE: parts["phase2"]}
        self._evaluation_cost = parts["evaluation"] / len(CHECKPOINTS)
        to_ask = len(set(CHECKPOINTS) - self._evaluated)
        to_learn = sum(self._phase_cost[ADAPTER_OF[c]] for c in ADAPTER_OF if c not in self._done)
        cost = max(1.0, to_ask * self._evaluation_cost + to_learn)
        self.recorder.plan(cost, setup, on_cpu=self.model.device.type == "cpu")


def phase_of(checkpoint: Checkpoint) -> str:
    """The phase that leads to a checkpoint, as metrics and progress name it."""
    return LESSON if lesson_number(checkpoint) else ADAPTER_OF[checkpoint]

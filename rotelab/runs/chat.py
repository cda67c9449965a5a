"""Chat with a run's model: each checkpoint's answer, streamed token by token and graded.

torch is imported when the first question is asked, so that the page is up before.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from rotelab.config.names import CHECKPOINTS, Checkpoint, lesson_checkpoint
from rotelab.errors import LabError
from rotelab.evaluation.judging.judge import NO_VERDICT, Judge, RealFactAsked, Verdict
from rotelab.evaluation.judging.questions import Query
from rotelab.models import threads
from rotelab.registry import Registry, RunRow
from rotelab.runs.asking.evidence import Evidence, evidence_of
from rotelab.runs.asking.examples import Examples, example_questions
from rotelab.runs.asking.memorized_states import MemorizedStates
from rotelab.runs.asking.prompts import Turns, prompt_ids, talk_ids
from rotelab.runs.finished_run import load_run_model, saved_checkpoints, training_comes_first
from rotelab.storage import Storage, adapter_folder

if TYPE_CHECKING:
    from rotelab.facts.facts import Fact
    from rotelab.facts.packs import Pack
    from rotelab.models.first_token import FirstToken
    from rotelab.models.generation import Token
    from rotelab.models.lab_model import LabModel
    from rotelab.models.memfree import MemFree
    from rotelab.models.multi_adapter import MultiAdapterModel

Stamp = tuple[tuple[Checkpoint, int], ...]
"""Each checkpoint of a run with the time of its adapter's file, in nanoseconds."""

SPEAKING: tuple[Checkpoint, ...] = ("base",)
"""Checkpoints that always say a word: the untouched model, whose answers the others are compared
with. What a trained one does not say is a result."""

ALTERNATIVES = 3
"""How many of the likeliest tokens are shown with each."""


@dataclass(frozen=True)
class Reply:
    """One checkpoint's answer so far.

    Args:
        checkpoint: the checkpoint that answers.
        tokens: the tokens so far.
        text: their text.
        done: whether the answer is complete.
        verdict: the grade of the complete answer.
        evidence: set where it was requested and the question asks for a known fact. The whole reply
            is then sent once more, after all answers.
        awaits: whether it will be sent once more.
    """

    checkpoint: Checkpoint
    tokens: tuple[Token, ...]
    text: str
    done: bool
    verdict: Verdict = NO_VERDICT
    evidence: Evidence | None = None
    awaits: bool = False

    @property
    def forced(self) -> bool:
        """Whether the answer would have ended without a word, but had to go on."""
        return any(token.forced for token in self.tokens)


class Chat:
    """Keeps one run's model in memory and answers questions with it.

    Args:
        registry: knows the runs.
        storage: knows where their adapters are.
    """

    def __init__(self, registry: Registry, storage: Storage):
        self.registry, self.storage = registry, storage
        self._lock = threading.Lock()
        self._loaded: tuple[str, Stamp, LabModel] | None = None
        self._side_by_side: MultiAdapterModel | None = None
        self._memorized: MemorizedStates | None = None

    def checkpoints(self, run_id: str) -> list[Checkpoint]:
        """The checkpoints whose adapters this run has saved, so that they can answer."""
        return saved_checkpoints(self.storage, run_id)

    def ready(self, run_id: str) -> bool:
        """Whether the run's model is in memory, so that an answer begins at once."""
        loaded = self._loaded
        return loaded is not None and loaded[:2] == (run_id, self._stamp(run_id))

    def examples(self, run: RunRow, n: int = 3, seed: int = 0) -> Examples:
        """Example questions for a run; arguments and errors as `asking.examples` has them."""
        return example_questions(self.registry, run, n, seed)

    def stream(self, *asked: Any, **options: Any) -> Iterator[Reply]:
        """The replies of `steps`, one by one; same arguments."""
        return chain.from_iterable(self.steps(*asked, **options))

    def steps(
        self,
        run_id: str,
        text: str,
        checkpoints: Sequence[Checkpoint] | None = None,
        max_new_tokens: int = 24,
        temperature: float = 0.0,
        seed: int = 0,
        turns: Mapping[Checkpoint, Turns] | None = None,
        evidence: bool = False,
        forbid: int = 0,
        speaking: Collection[Checkpoint] | None = None,
        look_up: float = 0.0,
    ) -> Iterator[list[Reply]]:
        """Answers one question from several checkpoints, token by token: all of them side by side
        where the model allows it, else one after the other.

        A text such as `Mary Bahri [mother]` asks through the key token. The base model always says
        a word, so that there is something to compare with; the others may end without one.

        Args:
            run_id: the run.
            text: the question.
            checkpoints: those to ask, as far as they have adapters; all that have when None.
            max_new_tokens: longest answer, in tokens.
            temperature: 0 answers greedily.
            seed: of the sampling.
            turns: each checkpoint's conversation so far; None completes the text itself.
            evidence: also say how likely the right answer was; not in a conversation.
            forbid: so many tokens in a row of any rote sentence, as `_filter`; 0 forbids nothing.
            speaking: the checkpoints that must say a word; `SPEAKING` when None.
            look_up: how much the memorised states of the facts count for the first token, 0 to 1
                (`asking.memorized_states`); 0 looks nothing up.

        Raises:
            LabError: no text, no such run, damaged adapters, no model, or no chat template in it.
        """
        if not text.strip():
            raise LabError("Type a question first, or click one of the examples.")
        run = self.registry.run(run_id)
        pack, config = run.pack, run.config
        query = Query.parse(text, [relation.name for relation in pack.facts.relations])
        saved = self.checkpoints(run_id)
        model = self.model(run_id)
        talks = turns is not None
        who = [c for c in (saved if checkpoints is None else checkpoints) if c in saved]
        prompts = {c: _prompt(model, query, c, turns) for c in who}
        judge = Judge.of(pack, config, query, self._quiz(run_id))
        fact = judge.asked.fact if evidence and not talks else None
        done: dict[Checkpoint, Reply] = {}
        about = (max_new_tokens, temperature, seed, ALTERNATIVES, _filter(model, pack, forbid))
        votes = self._votes(model, pack, prompts, look_up)
        streamed = self._replies(model, prompts, speaking, votes, *about)
        for replies in _graded(judge, streamed, "base" in prompts, talks):
            replies = [replace(r, awaits=r.done and fact is not None) for r in replies]
            done |= {reply.checkpoint: reply for reply in replies if reply.done}
            yield replies
        if fact is not None:
            yield from self._with_evidence(pack, model, prompts, fact, done)

    def _with_evidence(
        self,
        pack: Pack,
        model: LabModel,
        prompts: Mapping[Checkpoint, Sequence[int]],
        fact: Fact,
        done: Mapping[Checkpoint, Reply],
    ) -> Iterator[list[Reply]]:
        """Each complete reply once more, with how likely the right answer was."""
        for checkpoint, prompt in prompts.items():
            reply = done[checkpoint]
            threads.CORES.answer(model.device.type)
            with self._lock:
                model.use(checkpoint)
                found = evidence_of(pack, model, prompt, fact, reply.tokens)
            yield [replace(reply, evidence=found, awaits=False)]

    def model(self, run_id: str) -> LabModel:
        """The run's model, loaded if it is not in memory.

        Raises:
            LabError: no such run, its adapters are damaged, or the model is not available.
        """
        run = self.registry.run(run_id)
        with self._lock:
            return self._model(run)

    @contextmanager
    def lent(self, run_id: str, checkpoint: Checkpoint) -> Iterator[LabModel]:
        """The run's model, switched to a checkpoint, for the length of a block: nobody else asks it
        meanwhile, so that a pass may be interfered with.

        Raises:
            LabError: as `model`.
        """
        run = self.registry.run(run_id)
        with self._lock:
            model = self._model(run)
            with model.using(checkpoint):
                yield model

    def release(self) -> None:
        """Frees the model's memory; an answer in progress keeps it until its end."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._loaded is None:
            return
        self._loaded = self._side_by_side = self._memorized = None
        import gc

        import torch

        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _replies(
        self,
        model: LabModel,
        prompts: Mapping[Checkpoint, Sequence[int]],
        speaking: Collection[Checkpoint] | None,
        votes: Mapping[Checkpoint, FirstToken],
        *options: Any,
    ) -> Iterator[list[Reply]]:
        """Each step's replies, not graded; `done` where an answer ends."""
        said: dict[Checkpoint, list[Token]] = {c: [] for c in prompts}
        threads.CORES.answer(model.device.type)
        for tokens in self._tokens(model, prompts, speaking, votes, *options):
            replies = []
            for checkpoint, token in tokens.items():
                if token is not None:
                    said[checkpoint].append(token)
                words = "".join(t.text for t in said[checkpoint]).strip()
                replies.append(Reply(checkpoint, tuple(said[checkpoint]), words, token is None))
            yield replies
            threads.CORES.answer(model.device.type)

    def _tokens(
        self,
        model: LabModel,
        prompts: Mapping[Checkpoint, Sequence[int]],
        speaking: Collection[Checkpoint] | None,
        votes: Mapping[Checkpoint, FirstToken],
        *options: Any,
    ) -> Iterator[dict[Checkpoint, Token | None]]:
        """Each step's tokens; None where an answer ends."""
        from rotelab.models.generation import generate

        speaking = SPEAKING if speaking is None else speaking
        if self._side_by_side is not None and self._side_by_side.model is model:
            side_by_side = self._side_by_side
            yield from side_by_side.generate(prompts, *options, speaks=speaking, first=votes)
            return
        for checkpoint, prompt in prompts.items():
            says, first = checkpoint in speaking, votes.get(checkpoint)
            steps = generate(model, prompt, *options, speaks=says, first=first)
            token = None
            while True:
                # Locked for one token, never across a yield: the reader may leave and never come
                # back. Another answer may have switched the model in between.
                with self._lock:
                    if token is None or model.checkpoint != checkpoint:
                        model.use(checkpoint)
                    token = next(steps, None)
                yield {checkpoint: token}
                if token is None:
                    break

    def _votes(
        self,
        model: LabModel,
        pack: Pack,
        prompts: Mapping[Checkpoint, Sequence[int]],
        share: float,
    ) -> dict[Checkpoint, FirstToken]:
        """Each checkpoint's votes for its first token; empty if nothing is looked up."""
        if not share:
            return {}
        votes = {}
        threads.CORES.answer(model.device.type)
        for checkpoint, prompt in prompts.items():
            with self._lock:
                if self._memorized is None or self._memorized.model is not model:
                    self._memorized = MemorizedStates(model, pack.facts)
                with model.using(checkpoint):
                    votes[checkpoint] = self._memorized.votes(prompt, share)
        return votes

    def _quiz(self, run_id: str) -> list[RealFactAsked]:
        """The quiz of real facts, with what the base model is known to answer right."""
        from rotelab.evaluation.forgetting import texts

        answers = self.registry.quiz_answers(run_id).get("base", ())
        known = {answer.question for answer in answers if answer.correct}
        return [RealFactAsked(question, right, question in known) for question, right in texts()[1]]

    def _model(self, run: RunRow) -> LabModel:
        from rotelab.models.multi_adapter import MultiAdapterModel

        self._yield_device(run)
        # The file's time counts too: a resumed run saves its adapters again.
        stamp = self._stamp(run.id)
        if self._loaded and self._loaded[:2] == (run.id, stamp):
            return self._loaded[2]
        self._drop()
        model = load_run_model(self.storage, run, [checkpoint for checkpoint, _ in stamp])
        self._side_by_side = MultiAdapterModel(model) if MultiAdapterModel.fits(model) else None
        self._loaded = (run.id, stamp, model)
        return model

    def _stamp(self, run_id: str) -> Stamp:
        times = []
        for checkpoint in self.checkpoints(run_id):
            at = 0
            if checkpoint != "base":
                meta = adapter_folder(self.storage, run_id, checkpoint) / "meta.json"
                try:
                    at = meta.stat().st_mtime_ns
                except FileNotFoundError:  # being replaced at this moment
                    continue
            times.append((checkpoint, at))
        return tuple(times)

    def _yield_device(self, run: RunRow) -> None:
        """Training comes first on a GPU: two models may not fit. On a CPU both go on, slower."""
        try:
            training_comes_first(self.registry, run.config.model.device)
        except LabError:
            self._drop()
            raise


def _graded(
    judge: Judge, steps: Iterator[list[Reply]], has_base: bool, talks: bool
) -> Iterator[list[Reply]]:
    """The replies with their verdicts. Where these depend on what the base model says, answers that
    ended before its own are held back until then."""
    before: str | None = None if has_base and judge.compares else ""
    held: list[Reply] = []
    for replies in steps:
        held += [reply for reply in replies if reply.done]
        base = next((r.text for r in held if r.checkpoint == "base"), None)
        before = before if base is None else base
        said = [reply for reply in replies if not reply.done]
        if before is not None:
            said += [
                replace(r, verdict=judge.verdict(r.text, r.checkpoint, talks, before)) for r in held
            ]
            held = []
        if said:
            yield said


def _prompt(
    model: LabModel, query: Query, checkpoint: Checkpoint, turns: Mapping[Checkpoint, Turns] | None
) -> list[int]:
    """Token ids of what one checkpoint is asked: a conversation, or, without turns, the text."""
    if turns is None:
        return prompt_ids(model, query)
    return talk_ids(model, query, turns.get(checkpoint, ()))


def _filter(model: LabModel, pack: Pack, n: int) -> MemFree | None:
    """MemFree (`models.memfree`): forbids n tokens in a row of any of the pack's rote sentences,
    question and answer taken together; None for n = 0."""
    from rotelab.models.memfree import MemFree, rote_sentence

    if not n:
        return None
    learned = [rote_sentence(model.builder, fact) for fact in pack.facts]
    return MemFree.of(learned, n, spans_prompt=True)


def compared_checkpoints(run: RunRow) -> tuple[Checkpoint, ...]:
    """The checkpoints whose answers are compared: the three of every run, and that of a lesson.

    Raises:
        LabError: the run's row is damaged.
    """
    lesson = run.config.lesson
    return (*CHECKPOINTS, *([lesson_checkpoint(lesson.number)] if lesson else []))

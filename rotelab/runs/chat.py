"""Chat with a run's model: each checkpoint's answer, streamed token by token and graded.

torch is imported when the first question is asked, so that the page is up before.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, cycle, islice
from typing import TYPE_CHECKING, Any

from rotelab.config.names import CHECKPOINTS, Checkpoint, lesson_checkpoint
from rotelab.errors import LabError
from rotelab.evaluation.chat_verdicts import NO_VERDICT, Query, Verdict, asked_fact, grade
from rotelab.models import threads
from rotelab.registry import Registry, RunRow
from rotelab.runs.finished_run import load_run_model, saved_checkpoints, training_comes_first
from rotelab.runs.lessons.teach import new_facts
from rotelab.storage import Storage, adapter_folder

if TYPE_CHECKING:
    from rotelab.facts.facts import Fact
    from rotelab.facts.packs import Pack
    from rotelab.models.generation import Token
    from rotelab.models.lab_model import LabModel
    from rotelab.models.multi_adapter import MultiAdapterModel

Stamp = tuple[tuple[Checkpoint, int], ...]
"""Each checkpoint of a run with the time of its adapter's file, in nanoseconds."""

CANDIDATES = 100
"""Most objects that the right one is ranked among; ranking so many takes about a second."""

MAX_CONVERSATION = 1024
"""Most tokens of a conversation; beyond that its oldest turns are left out."""

NO_TEMPLATE = (
    "This model has no chat template: it was never trained for conversation. Switch to "
    "“Completion”, which works with every model."
)

Turns = Sequence[tuple[str, str]]
"""Questions and answers of a conversation so far, oldest first."""


@dataclass(frozen=True)
class Evidence:
    """How likely a checkpoint finds the right answer, whatever it said.

    Args:
        fact: the fact that was asked for.
        probability: joint probability of its object, said at once.
        rank: how many other objects of the relation are as likely or likelier; 0 is the best.
        among: how many objects were compared, the right one among them.
    """

    fact: Fact
    probability: float
    rank: int
    among: int


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

    def checkpoints(self, run_id: str) -> list[Checkpoint]:
        """The checkpoints whose adapters this run has saved, so that they can answer."""
        return saved_checkpoints(self.storage, run_id)

    def ready(self, run_id: str) -> bool:
        """Whether the run's model is in memory, so that an answer begins at once."""
        loaded = self._loaded
        return loaded is not None and loaded[:2] == (run_id, self._stamp(run_id))

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
    ) -> Iterator[list[Reply]]:
        """Answers one question from several checkpoints, token by token: all of them side by side
        where the model allows it, else one after the other.

        A text such as `Mary Bahri [mother]` asks through the key token.

        Args:
            run_id: the run.
            text: the question or the beginning of a sentence.
            checkpoints: the checkpoints to ask; those without saved adapters are left out. All
                that the run has when None.
            max_new_tokens: longest answer, in tokens.
            temperature: 0 answers greedily.
            seed: of the sampling, where the temperature is above 0.
            turns: each checkpoint's conversation so far, empty at its start; the text is added to
                it in the model's chat template. None completes the text itself.
            evidence: also say how likely the right answer was; not in a conversation, where an
                answer may begin with any words.

        Raises:
            LabError: no text, no such run, its adapters are damaged, the model is not available, or
                it has no chat template for a conversation.
        """
        if not text.strip():
            raise LabError("Type a question first, or click one of the examples.")
        run = self.registry.run(run_id)
        pack, config = run.pack, run.config
        query = Query.parse(text, [relation.name for relation in pack.facts.relations])
        saved = self.checkpoints(run_id)
        model = self.model(run_id)
        talks = turns is not None
        prompts = {
            c: talk_ids(model, query, turns.get(c, ())) if talks else prompt_ids(model, query)
            for c in (saved if checkpoints is None else checkpoints)
            if c in saved
        }
        fact = asked_fact(pack, query) if evidence and not talks else None
        done: dict[Checkpoint, Reply] = {}
        for replies in self._replies(model, prompts, max_new_tokens, temperature, seed):
            for place, reply in enumerate(replies):
                if reply.done:
                    verdict = grade(pack, config, query, reply.text, reply.checkpoint, talks)
                    reply = replace(reply, verdict=verdict, awaits=fact is not None)
                    done[reply.checkpoint] = replies[place] = reply
            yield replies
        for checkpoint in prompts if fact is not None else ():
            found = self._evidence(pack, model, checkpoint, prompts[checkpoint], fact)
            yield [replace(done[checkpoint], evidence=found, awaits=False)]

    def model(self, run_id: str) -> LabModel:
        """The run's model, loaded if it is not in memory.

        Raises:
            LabError: no such run, its adapters are damaged, or the model is not available.
        """
        run = self.registry.run(run_id)
        with self._lock:
            return self._model(run)

    def release(self) -> None:
        """Frees the model's memory; an answer in progress keeps it until its end."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._loaded is None:
            return
        self._loaded = self._side_by_side = None
        import gc

        import torch

        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _replies(
        self, model: LabModel, prompts: Mapping[Checkpoint, Sequence[int]], *options: Any
    ) -> Iterator[list[Reply]]:
        """Each step's replies, not graded; `done` where an answer ends."""
        said: dict[Checkpoint, list[Token]] = {c: [] for c in prompts}
        threads.CORES.answer(model.device.type)
        for tokens in self._tokens(model, prompts, *options):
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
        *options: Any,
    ) -> Iterator[dict[Checkpoint, Token | None]]:
        """Each step's tokens; None where an answer ends."""
        from rotelab.models.generation import generate

        if self._side_by_side is not None and self._side_by_side.model is model:
            yield from self._side_by_side.generate(prompts, *options)
            return
        for checkpoint, prompt in prompts.items():
            steps = generate(model, prompt, *options)
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

    def _evidence(
        self,
        pack: Pack,
        model: LabModel,
        checkpoint: Checkpoint,
        prompt: Sequence[int],
        fact: Fact,
    ) -> Evidence:
        from rotelab.evaluation.multiple_choice import rank

        threads.CORES.answer(model.device.type)
        objects = list(dict.fromkeys(
            f.object for f in pack.facts
            if f.relation == fact.relation and f.object not in fact.answers
        ))  # fmt: skip
        if len(objects) >= CANDIDATES:
            objects = random.Random(f"rank {fact.object}").sample(objects, CANDIDATES - 1)
        builder = model.builder
        example = builder.answered(prompt, fact.object, "chat")
        names = {example.object, *(tuple(builder.spaced(name)) for name in objects)}
        with self._lock:
            model.use(checkpoint)
            scored, place = rank(model, example, sorted(names))
        probability = math.exp(min(0.0, math.fsum(scored.log_probabilities)))
        return Evidence(fact, probability, place, len(names))

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


def prompt_ids(model: LabModel, query: Query) -> list[int]:
    """Token ids of a question, through the key token where it names one."""
    if query.relation:
        return model.builder.key_prompt(query.subject, query.relation)
    return model.builder.word_prompt(query.text)


def talk_ids(model: LabModel, query: Query, turns: Turns = ()) -> list[int]:
    """Token ids of a conversation that continues with a question, in the model's chat template.

    The oldest turns are left out where the conversation would be longer than the model, or
    `MAX_CONVERSATION`, allows.

    Raises:
        LabError: the model has no chat template.
    """
    tokenizer = model.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        raise LabError(NO_TEMPLATE)
    longest = getattr(model.network.config, "max_position_embeddings", MAX_CONVERSATION) // 2
    longest = min(MAX_CONVERSATION, longest)
    messages = []
    for question, answer in turns:
        before = Query.parse(question, model.relations)
        messages.append({"role": "user", "content": _with_key_token(before)})
        messages.append({"role": "assistant", "content": answer})
    messages.append({"role": "user", "content": _with_key_token(query)})
    while True:
        ids = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        if len(ids) <= longest or len(messages) == 1:
            return list(ids)
        messages = messages[2:]


def _with_key_token(query: Query) -> str:
    from rotelab.models.key_tokens import key_token

    return query.subject + key_token(query.relation) if query.relation else query.text


def compared_checkpoints(run: RunRow) -> tuple[Checkpoint, ...]:
    """The checkpoints whose answers are compared: the three of every run, and that of a lesson.

    Raises:
        LabError: the run's row is damaged.
    """
    lesson = run.config.lesson
    return (*CHECKPOINTS, *([lesson_checkpoint(lesson.number)] if lesson else []))


def example_questions(run: RunRow, n: int = 6, seed: int = 0) -> list[str]:
    """Questions in test wordings about facts that phase 2 never taught, and one last question
    through a key token. Of a lesson, about its new facts, several about each where they are few."""
    facts = run.pack.facts
    split = run.config.split(facts)
    rng = random.Random(f"examples {seed}")
    pool = new_facts(run) if run.config.lesson else list(split.held_out or split.held_in)
    chosen = rng.sample(pool, min(n, len(pool)))
    if run.config.lesson:
        chosen = list(islice(cycle(chosen), n))
    asked: list[str] = []
    for fact in chosen:
        said = [w.render(fact.subject) for w in run.pack.prompts.of(fact.relation, "test")]
        if said := [question for question in said if question not in asked]:
            asked.append(rng.choice(said))
    # The first fact once more, so that the two ways to ask for it can be compared.
    return [*asked, *(f"{fact.subject} [{fact.relation}]" for fact in chosen[:1])]

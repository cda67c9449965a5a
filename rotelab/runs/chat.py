"""Asking a run's model: base, memorised and generalised, streamed, and held against the facts.

torch is imported when the first question is asked, so the page is up before that.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from rotelab.config.names import CHECKPOINTS, Checkpoint
from rotelab.errors import LabError
from rotelab.evaluation.grading import NO_VERDICT, Verdict, asked_fact, judge, key_relation
from rotelab.registry import Registry, RunRow
from rotelab.runs.finished_run import load_run_model, saved_checkpoints, training_comes_first
from rotelab.storage import Storage, adapter_folder

if TYPE_CHECKING:
    from rotelab.facts.facts import Fact
    from rotelab.models.generation import Token
    from rotelab.models.lab_model import LabModel
    from rotelab.models.multi_adapter import SideBySide

Stamp = tuple[tuple[Checkpoint, int], ...]
"""Each checkpoint of a run with the time of its adapter's file, in nanoseconds."""


CANDIDATES = 100
"""Most objects that the right one is ranked among: that many are read in about a second."""

ROOM = 1024
"""Most tokens of a conversation; its oldest turns are left out beyond."""

NO_TEMPLATE = (
    "This model has no chat template: it was never trained for conversation. Switch to "
    "“Completion”, which works with every model."
)

Turns = Sequence[tuple[str, str]]
"""Questions and answers of a conversation so far, oldest first."""


@dataclass(frozen=True)
class Evidence:
    """What a checkpoint makes of the right answer, whatever it said.

    Args:
        fact: the fact that was asked for.
        probability: joint probability of its object, said at once.
        rank: how many other objects of the relation are as likely or likelier; 0 is the best.
        among: how many objects were compared.
    """

    fact: Fact
    probability: float
    rank: int
    among: int


@dataclass(frozen=True)
class Reply:
    """One checkpoint's answer so far.

    Args:
        checkpoint: who answers.
        tokens: the tokens so far.
        text: their text.
        done: whether the answer is complete.
        verdict: set when it is.
        evidence: set where it was asked for and the question asks for a known fact; then the whole
            reply comes once more, after the answers.
        awaits: whether it will come once more.
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
        self._side_by_side: SideBySide | None = None

    def checkpoints(self, run_id: str) -> list[Checkpoint]:
        """The checkpoints that a run can answer from, as far as its adapters are saved."""
        return saved_checkpoints(self.storage, run_id)

    def ready(self, run_id: str) -> bool:
        """Whether the run's model is in memory, so that an answer begins at once."""
        loaded = self._loaded
        return loaded is not None and loaded[:2] == (run_id, self._stamp(run_id))

    def stream(self, *asked: Any, **options: Any) -> Iterator[Reply]:
        """The replies of `steps`, which is asked likewise, one by one."""
        return chain.from_iterable(self.steps(*asked, **options))

    def steps(
        self,
        run_id: str,
        text: str,
        checkpoints: Sequence[Checkpoint] = CHECKPOINTS,
        max_new_tokens: int = 24,
        temperature: float = 0.0,
        seed: int = 0,
        turns: Mapping[Checkpoint, Turns] | None = None,
        evidence: bool = False,
    ) -> Iterator[list[Reply]]:
        """Answers one question from several checkpoints, token by token: from all of them at once
        where the model allows it, else from one after the other.

        A text such as `Mary Bahri [mother]` asks through the key token.

        Args:
            run_id: the run.
            text: the question or the beginning of a sentence.
            checkpoints: whom to ask; those without adapters yet are left out.
            max_new_tokens: longest answer, in tokens.
            temperature: 0 answers greedily.
            seed: of the sampling, where temperature is above 0.
            turns: each checkpoint's conversation so far, empty at its start, which the text is put
                to through the model's chat template; None has the model go on with the text itself.
            evidence: also how likely the right answer was; not in a conversation, where an answer
                may begin with any words.

        Raises:
            LabError: no text, no such run, its adapters are damaged, the model can't be had, or it
                has no chat template for a conversation.
        """
        if not text.strip():
            raise LabError("Type a question first, or click one of the examples.")
        run = self.registry.run(run_id)
        there = self.checkpoints(run_id)
        model = self.model(run_id)
        asked = [checkpoint for checkpoint in checkpoints if checkpoint in there]
        talks = turns is not None
        fact = asked_fact(run, text) if evidence and not talks else None
        prompts = {
            c: prompt_ids(model, text) if turns is None else talk_ids(model, text, turns.get(c, ()))
            for c in asked
        }
        said: dict[Checkpoint, list[Token]] = {c: [] for c in asked}
        done: dict[Checkpoint, Reply] = {}
        for tokens in self._tokens(model, prompts, max_new_tokens, temperature, seed):
            replies = []
            for checkpoint, token in tokens.items():
                if token is not None:
                    said[checkpoint].append(token)
                words = "".join(t.text for t in said[checkpoint]).strip()
                reply = Reply(checkpoint, tuple(said[checkpoint]), words, token is None)
                if token is None:
                    verdict = judge(run, text, words, checkpoint, anywhere=talks)
                    reply = replace(reply, verdict=verdict, awaits=fact is not None)
                    done[checkpoint] = reply
                replies.append(reply)
            yield replies
        for checkpoint in asked if fact is not None else ():
            found = self._evidence(run, model, checkpoint, text, fact)
            yield [replace(done[checkpoint], evidence=found, awaits=False)]

    def model(self, run_id: str) -> LabModel:
        """The run's model, loaded if it is not in memory.

        Raises:
            LabError: no such run, its adapters are damaged, or the model can't be had.
        """
        run = self.registry.run(run_id)
        with self._lock:
            return self._model(run)

    def release(self) -> None:
        """Gives the model's memory back; an answer that is being given keeps it to its end."""
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
                # Locked for one token, never across a yield: who asked may go away and not come
                # back. Another answer may have switched the model in between.
                with self._lock:
                    if token is None or model.checkpoint != checkpoint:
                        model.use(checkpoint)
                    token = next(steps, None)
                yield {checkpoint: token}
                if token is None:
                    break

    def _evidence(
        self, run: RunRow, model: LabModel, checkpoint: Checkpoint, text: str, fact: Fact
    ) -> Evidence:
        from rotelab.evaluation.multiple_choice import rank

        objects = list(dict.fromkeys(f.object for f in run.pack.facts
                                     if f.relation == fact.relation and f.object != fact.object)
                       )  # fmt: skip
        if len(objects) >= CANDIDATES:
            objects = random.Random(f"rank {fact.object}").sample(objects, CANDIDATES - 1)
        builder = model.builder
        example = builder.answered(prompt_ids(model, text), fact.object, "chat")
        names = {example.object, *(tuple(builder.spaced(name)) for name in objects)}
        with self._lock:
            model.use(checkpoint)
            scored, place = rank(model, example, sorted(names))
        chance = math.exp(min(0.0, math.fsum(scored.log_probabilities)))
        return Evidence(fact, chance, place, len(names))

    def _model(self, run: RunRow) -> LabModel:
        from rotelab.models.multi_adapter import SideBySide

        self._yield_device(run)
        # The file's time counts too: a run that is resumed saves its adapters anew.
        stamp = self._stamp(run.id)
        if self._loaded and self._loaded[:2] == (run.id, stamp):
            return self._loaded[2]
        self._drop()
        model = load_run_model(self.storage, run, [checkpoint for checkpoint, _ in stamp])
        self._side_by_side = SideBySide(model) if SideBySide.fits(model) else None
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
                except FileNotFoundError:  # being replaced just now
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


def prompt_ids(model: LabModel, text: str) -> list[int]:
    """Token ids of what a person typed; `subject [relation]` goes through the key token."""
    text = text.strip()
    relation = key_relation(text, model.relations)
    if relation:
        return model.builder.key_prompt(text[: text.rindex("[")].strip(), relation)
    return model.builder.word_prompt(text)


def talk_ids(model: LabModel, text: str, turns: Turns = ()) -> list[int]:
    """Token ids of a conversation that goes on with `text`, as the model's chat template has it.

    Its oldest turns are left out where it would be longer than the model, or `ROOM`, allows.

    Raises:
        LabError: the model has no chat template.
    """
    tokenizer = model.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        raise LabError(NO_TEMPLATE)
    room = min(ROOM, getattr(model.network.config, "max_position_embeddings", ROOM) // 2)
    kept = [*turns, (text, "")]
    while True:
        messages = []
        for question, answer in kept:
            messages.append({"role": "user", "content": _with_key_token(model, question)})
            messages.append({"role": "assistant", "content": answer})
        ids = tokenizer.apply_chat_template(
            messages[:-1], add_generation_prompt=True, tokenize=True, return_dict=False
        )
        if len(ids) <= room or len(kept) == 1:
            return list(ids)
        kept = kept[1:]


def _with_key_token(model: LabModel, text: str) -> str:
    from rotelab.models.key_tokens import key_token

    relation = key_relation(text, model.relations)
    return text[: text.rindex("[")].strip() + key_token(relation) if relation else text.strip()


def example_questions(run: RunRow, n: int = 6, seed: int = 0) -> list[str]:
    """Questions in test wordings about facts that phase 2 never saw, and last one through a key
    token."""
    facts = run.pack.facts
    split = facts.split(run.config.generalize.k, run.config.seed)
    rng = random.Random(f"examples {seed}")
    pool = list(split.held_out or split.held_in)
    chosen = rng.sample(pool, min(n, len(pool)))
    asked = []
    for fact in chosen:
        wordings = run.pack.prompts.of(fact.relation, "test")
        if wordings:
            asked.append(rng.choice(wordings).render(fact.subject))
    # The first fact once more, so that the two ways to ask for it can be compared.
    return [*asked, *(f"{fact.subject} [{fact.relation}]" for fact in chosen[:1])]

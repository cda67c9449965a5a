"""Asking a run's model: base, memorised and generalised, streamed, and held against the facts.

torch is imported when the first question is asked, so the page is up before that.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rotelab.errors import LabError
from rotelab.layout import adapter_folder
from rotelab.registry import CHECKPOINTS, Checkpoint, Registry, RunRow
from rotelab.settings import Settings

if TYPE_CHECKING:
    from rotelab.facts import Fact
    from rotelab.generation import Token
    from rotelab.models import LabModel

KnownAs = Literal["", "in words", "by rote", "another fact"]


@dataclass(frozen=True)
class Verdict:
    """How an answer stands to the run's facts.

    Args:
        known: `in words` (the right object, and phase 2 taught this fact in words), `by rote` (the
            right object, and this fact was only ever seen by rote), `another fact` (the object of
            somebody else), or empty.
        text: the same in one sentence for a person; empty where `known` is.
    """

    known: KnownAs = ""
    text: str = ""


@dataclass(frozen=True)
class Reply:
    """One checkpoint's answer so far.

    Args:
        checkpoint: who answers.
        tokens: the tokens so far.
        text: their text.
        done: whether the answer is complete.
        verdict: set when it is.
    """

    checkpoint: Checkpoint
    tokens: tuple[Token, ...]
    text: str
    done: bool
    verdict: Verdict = Verdict()


class Chat:
    """Keeps one run's model in memory and answers questions with it.

    Args:
        registry: knows the runs.
        settings: knows where their adapters are.
    """

    def __init__(self, registry: Registry, settings: Settings):
        self.registry, self.settings = registry, settings
        self._lock = threading.RLock()
        self._loaded: tuple[str, LabModel] | None = None

    def checkpoints(self, run_id: str) -> list[Checkpoint]:
        """The checkpoints that a run can answer from, as far as its adapters are saved."""
        return [
            c for c in CHECKPOINTS
            if c == "base" or (adapter_folder(self.settings, run_id, c) / "meta.json").is_file()
        ]  # fmt: skip

    def stream(
        self,
        run_id: str,
        text: str,
        checkpoints: Sequence[Checkpoint] = CHECKPOINTS,
        max_new_tokens: int = 24,
        temperature: float = 0.0,
    ) -> Iterator[Reply]:
        """Answers one question from each checkpoint in turn, token by token.

        A text such as `Mary Bahri [mother]` asks through the key token.

        Args:
            run_id: the run.
            text: the question or the beginning of a sentence.
            checkpoints: whom to ask; those without adapters yet are left out.
            max_new_tokens: longest answer, in tokens.
            temperature: 0 answers greedily.

        Raises:
            LabError: no text, no such run, its adapters are damaged, or the model can't be had.
        """
        if not text.strip():
            raise LabError("Type a question first, or click one of the examples.")
        run = self.registry.run(run_id)
        there = self.checkpoints(run_id)
        with self._lock:
            model = self._model(run)
            prompt = prompt_ids(model, text)
            for checkpoint in checkpoints:
                if checkpoint in there:
                    yield from self._reply(
                        run, model, checkpoint, prompt, text, max_new_tokens, temperature
                    )

    def release(self) -> None:
        """Gives the model's memory back."""
        with self._lock:
            if self._loaded is None:
                return
            self._loaded = None
            import gc

            import torch

            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _reply(self, run, model, checkpoint, prompt, text, max_new_tokens, temperature):
        from rotelab.generation import generate

        tokens: list[Token] = []
        said = ""
        model.use(checkpoint)
        for token in generate(model, prompt, max_new_tokens, temperature):
            tokens.append(token)
            said = "".join(t.text for t in tokens).strip()
            yield Reply(checkpoint, tuple(tokens), said, False)
        yield Reply(checkpoint, tuple(tokens), said, True, judge(run, text, said))

    def _model(self, run: RunRow) -> LabModel:
        from rotelab.checkpoints import ADAPTER_OF, load_adapter
        from rotelab.models import load_model

        there = self.checkpoints(run.id)
        if self._loaded and self._loaded[0] == run.id and set(there) <= set(self._loaded[1].has):
            return self._loaded[1]
        self._yield_device(run)
        self.release()
        relations = [relation.name for relation in run.pack.facts.relations]
        model = load_model(run.config.model, relations, run.config.seed)
        for checkpoint in there:
            if checkpoint != "base":
                folder = adapter_folder(self.settings, run.id, checkpoint)
                load_adapter(model, ADAPTER_OF[checkpoint], folder)
        self._loaded = (run.id, model)
        return model

    def _yield_device(self, run: RunRow) -> None:
        """Training comes first on a GPU: two models may not fit. On a CPU both go on, slower."""
        from rotelab.models import pick_device

        live = self.registry.live_runs()
        if live and pick_device(run.config.model.device).type != "cpu":
            raise LabError(
                f"The run {live[0].id} is training on this device, so there is no room to answer. "
                "Ask again when it has ended, or stop it."
            )


def prompt_ids(model: LabModel, text: str) -> list[int]:
    """Token ids of what a person typed; `subject [relation]` goes through the key token."""
    text = text.strip()
    for relation in model.relations:
        mark = f"[{relation}]"
        if text.endswith(mark) and text != mark:
            return model.builder.key_prompt(text.removesuffix(mark).strip(), relation)
    return model.builder.word_prompt(text)


def judge(run: RunRow, question: str, answer: str) -> Verdict:
    """Holds an answer against the run's facts: does it begin with the right object?"""
    said = _plain(answer)
    if not said:
        return Verdict()
    facts = run.pack.facts
    held_in = set(facts.split(run.config.generalize.k, run.config.seed).held_in)
    asked = _plain(question)
    named = [fact for fact in facts if _plain(fact.subject) in asked]
    for fact in named:
        if _begins(said, fact):
            if fact in held_in:
                return Verdict("in words", "Right. Phase 2 taught this fact in words.")
            return Verdict(
                "by rote", "Right — and this fact was only ever learned by rote, never in words."
            )
    for fact in facts:
        if _begins(said, fact):
            return Verdict(
                "another fact", f"This is the {_words(fact)} of {fact.subject}, somebody else."
                if fact not in named else f"This is the {_words(fact)} of {fact.subject}.",
            )  # fmt: skip
    return Verdict()


def example_questions(run: RunRow, n: int = 6, seed: int = 0) -> list[str]:
    """Questions in test wordings about facts that phase 2 never saw, and one through a key token."""
    facts = run.pack.facts
    split = facts.split(run.config.generalize.k, run.config.seed)
    rng = random.Random(f"examples {seed}")
    pool = list(split.held_out or split.held_in)
    asked = []
    for fact in rng.sample(pool, min(n, len(pool))):
        wordings = run.pack.prompts.of(fact.relation, "test")
        if wordings:
            asked.append(rng.choice(wordings).render(fact.subject))
    if pool:
        fact = rng.choice(pool)
        asked.append(f"{fact.subject} [{fact.relation}]")
    return asked


def _begins(said: str, fact: Fact) -> bool:
    name = _plain(fact.object)
    return said == name or (said.startswith(name) and not said[len(name)].isalnum())


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .,;:!?\"'“”")


def _words(fact: Fact) -> str:
    return fact.relation.replace("_", " ")

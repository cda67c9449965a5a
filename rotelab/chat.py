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
from rotelab.readings import begins, normalize, stands_in
from rotelab.registry import CHECKPOINTS, Checkpoint, Registry, RunRow
from rotelab.settings import Settings

if TYPE_CHECKING:
    from rotelab.adapters import LabModel
    from rotelab.facts import Fact
    from rotelab.generation import Token
    from rotelab.packs import Pack

KnownAs = Literal["", "in words", "by rote", "by chance", "another fact"]
Stamp = tuple[tuple[Checkpoint, int], ...]
"""Each checkpoint of a run with the time of its adapter's file, in nanoseconds."""


@dataclass(frozen=True)
class Verdict:
    """How an answer stands to the run's facts.

    Args:
        known: `in words` (the right object, and by then phase 2 had taught this fact in words),
            `by rote` (the right object, and the fact was only ever seen by rote), `by chance` (the
            right object from the base model), `another fact` (the object of somebody else, or of
            something that was not asked), or empty.
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
        self._lock = threading.Lock()
        self._loaded: tuple[str, Stamp, LabModel] | None = None

    def checkpoints(self, run_id: str) -> list[Checkpoint]:
        """The checkpoints that a run can answer from, as far as its adapters are saved."""
        return [
            c for c in CHECKPOINTS
            if c == "base" or (adapter_folder(self.settings, run_id, c) / "meta.json").is_file()
        ]  # fmt: skip

    def ready(self, run_id: str) -> bool:
        """Whether the run's model is in memory, so that an answer begins at once."""
        loaded = self._loaded
        return loaded is not None and loaded[:2] == (run_id, self._stamp(run_id))

    def stream(
        self,
        run_id: str,
        text: str,
        checkpoints: Sequence[Checkpoint] = CHECKPOINTS,
        max_new_tokens: int = 24,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[Reply]:
        """Answers one question from each checkpoint in turn, token by token.

        A text such as `Mary Bahri [mother]` asks through the key token.

        Args:
            run_id: the run.
            text: the question or the beginning of a sentence.
            checkpoints: whom to ask; those without adapters yet are left out.
            max_new_tokens: longest answer, in tokens.
            temperature: 0 answers greedily.
            seed: of the sampling, where temperature is above 0.

        Raises:
            LabError: no text, no such run, its adapters are damaged, or the model can't be had.
        """
        if not text.strip():
            raise LabError("Type a question first, or click one of the examples.")
        run = self.registry.run(run_id)
        with self._lock:
            there = self.checkpoints(run_id)
            model = self._model(run)
        from rotelab.generation import generate

        prompt = prompt_ids(model, text)
        for checkpoint in checkpoints:
            if checkpoint in there:
                steps = generate(model, prompt, max_new_tokens, temperature, seed)
                yield from self._reply(run, model, checkpoint, text, steps)

    def release(self) -> None:
        """Gives the model's memory back; an answer that is being given keeps it to its end."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._loaded is None:
            return
        self._loaded = None
        import gc

        import torch

        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _reply(
        self,
        run: RunRow,
        model: LabModel,
        checkpoint: Checkpoint,
        text: str,
        steps: Iterator[Token],
    ) -> Iterator[Reply]:
        tokens: list[Token] = []
        said = ""
        while True:
            # Locked for one token, never across a yield: who asked may go away and not come back.
            # Another answer may have switched the model in between.
            with self._lock:
                if not tokens or model.checkpoint != checkpoint:
                    model.use(checkpoint)
                token = next(steps, None)
            if token is None:
                break
            tokens.append(token)
            said = "".join(t.text for t in tokens).strip()
            yield Reply(checkpoint, tuple(tokens), said, False)
        yield Reply(checkpoint, tuple(tokens), said, True, judge(run, text, said, checkpoint))

    def _model(self, run: RunRow) -> LabModel:
        from rotelab.checkpoints import ADAPTER_OF, load_adapter
        from rotelab.models import load_model

        self._yield_device(run)
        # The file's time counts too: a run that is resumed saves its adapters anew.
        stamp = self._stamp(run.id)
        if self._loaded and self._loaded[:2] == (run.id, stamp):
            return self._loaded[2]
        self._drop()
        relations = [relation.name for relation in run.pack.facts.relations]
        model = load_model(run.config.model, relations, run.config.seed, method=run.config.method)
        for checkpoint, _ in stamp:
            if checkpoint != "base":
                folder = adapter_folder(self.settings, run.id, checkpoint)
                load_adapter(model, ADAPTER_OF[checkpoint], folder)
        self._loaded = (run.id, stamp, model)
        return model

    def _stamp(self, run_id: str) -> Stamp:
        times = []
        for checkpoint in self.checkpoints(run_id):
            at = 0
            if checkpoint != "base":
                meta = adapter_folder(self.settings, run_id, checkpoint) / "meta.json"
                try:
                    at = meta.stat().st_mtime_ns
                except FileNotFoundError:  # being replaced just now
                    continue
            times.append((checkpoint, at))
        return tuple(times)

    def _yield_device(self, run: RunRow) -> None:
        """Training comes first on a GPU: two models may not fit. On a CPU both go on, slower."""
        from rotelab.models import pick_device

        live = self.registry.live_runs()
        if live and pick_device(run.config.model.device).type != "cpu":
            self._drop()
            raise LabError(
                f"The run {live[0].id} is training on this device, so there is no room to answer. "
                "Ask again when it has ended, or stop it."
            )


def prompt_ids(model: LabModel, text: str) -> list[int]:
    """Token ids of what a person typed; `subject [relation]` goes through the key token."""
    text = text.strip()
    relation = _key_relation(text, model.relations)
    if relation:
        return model.builder.key_prompt(text[: text.rindex("[")].strip(), relation)
    return model.builder.word_prompt(text)


def judge(
    run: RunRow, question: str, answer: str, checkpoint: Checkpoint = "generalized"
) -> Verdict:
    """Holds an answer against the run's facts: does it begin with the right object?

    Args:
        run: the run.
        question: what was asked.
        answer: what was said.
        checkpoint: who said it, which decides what had been taught by then.
    """
    said, asked = normalize(answer), normalize(question)
    if not said:
        return Verdict()
    pack = run.pack
    begun = [fact for fact in pack.facts if begins(said, fact.object)]
    if not begun:
        return Verdict()
    through = _key_relation(question, [relation.name for relation in pack.facts.relations])
    subjects = _subjects_in(asked, pack)
    named = [
        fact for fact in begun
        if normalize(fact.subject) in subjects and through in ("", fact.relation)
    ]  # fmt: skip
    if not named:
        first, others = begun[0], len(begun) - 1
        more = f" and of {others} more" if others else ""
        return Verdict(
            "another fact",
            f"A learned fact, but another one: the {_words(first)} of {first.subject}{more}.",
        )
    fact = named[0]
    if _off_topic(pack, fact, asked):
        return Verdict(
            "another fact", f"This is the {_words(fact)} of {fact.subject}, which was not asked: "
            "the fact has leaked.",
        )  # fmt: skip
    if checkpoint == "base":
        return Verdict("by chance", "Right, but nothing was taught yet: a guess, or known before.")
    if through:
        return Verdict("by rote", "Right, recalled through the key token as it was learned.")
    if run.config.memorize.reads == "words":
        return Verdict("in words", "Right. Phase 1 of this run taught every fact in words.")
    if checkpoint == "memorized":
        return Verdict("by rote", "Right, from rote learning alone.")
    if fact in pack.facts.split(run.config.generalize.k, run.config.seed).held_in:
        return Verdict("in words", "Right. Phase 2 taught this fact in words.")
    return Verdict(
        "by rote", "Right — and this fact was only ever learned by rote, never in words."
    )


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


def _key_relation(text: str, relations: Sequence[str]) -> str:
    """The relation whose key token a text such as `Mary Bahri [mother]` ends with, or nothing."""
    subject, _, last = text.strip().rpartition("[")
    name = last.removesuffix("]").strip().casefold()
    return name if subject.strip() and last.endswith("]") and name in relations else ""


def _subjects_in(asked: str, pack: Pack) -> set[str]:
    """The subjects that a question names, without those that are only part of a longer one."""
    named = {name for name in (normalize(fact.subject) for fact in pack.facts)
             if stands_in(name, asked)}  # fmt: skip
    return {name for name in named if not any(name != other and name in other for other in named)}


def _off_topic(pack: Pack, fact: Fact, asked: str) -> bool:
    """Whether the question is one of the pack's wordings that ask for something else."""
    return any(
        template.relation == fact.relation
        and template.role in ("unrelated", "locality")
        and normalize(template.render(fact.subject)) == asked
        for template in pack.prompts
    )


def _words(fact: Fact) -> str:
    return fact.relation.replace("_", " ")

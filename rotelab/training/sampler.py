"""What each optimizer step of the two phases reads: pure functions of seed and epoch.

Phase 1 reads every fact once an epoch through its key token, phase 2 the held-in facts in words.
Neutral words before and inside the sentences carry no meaning. They vary the position of the key
token, or of a question's end, so that what is learned does not depend on it (docs/log/rote.md).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig
from rotelab.facts import locality_prompts
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.locality_prompts import known_sentences
from rotelab.facts.prompts import SLOT, PromptSet
from rotelab.models.tokens import Example, SequenceBuilder
from rotelab.training.lead_ins import INSERTS, LEAD_INS

PLAIN_EPOCHS = 3
"""The last epochs of phase 1 use neither lead-ins nor inserts."""
NO_PROMPTS = PromptSet(())
STEPS_PER_EPOCH, SMALLEST_STEP = 5, 4
"""Phase 1 takes at least this many steps an epoch, as long as a step keeps this many facts."""


@dataclass(frozen=True)
class Step:
    """What one optimizer step reads.

    Args:
        examples: their marked tokens are learned.
        locality: after their prompts the model is held to the base model. One with an object also
            teaches the model not to say that object there.
    """

    examples: list[Example]
    locality: list[Example] = field(default_factory=list)


StepSampler = Callable[[int], list[Step]]
"""Gives the steps of an epoch by its 1-based number: the same steps each time it is asked."""


def memorize_steps(
    builder: SequenceBuilder,
    facts: FactSet,
    config: MemorizeConfig,
    seed: int,
    held_in: Sequence[Fact] = (),
    prompts: PromptSet = NO_PROMPTS,
    least_steps: int = STEPS_PER_EPOCH,
) -> StepSampler:
    """Phase 1: every fact once an epoch, through its key token (paper, section 3.1).

    `MemorizeConfig.reads` has other ways for comparison: `bare` leaves out the key token, `words`
    reads each fact in a train wording instead, `both` also reads the `held_in` facts in words.
    """
    examples = plain_examples(builder, facts, config, prompts)
    size = _step_size(len(facts), config.batch_size, least_steps)
    index = {fact: i for i, fact in enumerate(facts)}

    def in_words(group: Sequence[Fact], rng: random.Random) -> list[Example]:
        found = []
        for fact in group:
            template = rng.choice(prompts.of(fact.relation, "train")[: config.wordings])
            prompt = builder.word_prompt(template.render(fact.subject))
            found.append(builder.answered(prompt, fact.object, "train", index[fact]))
        return found

    def steps_of(epoch: int) -> list[Step]:
        rng = random.Random(f"memorize {seed} {epoch}")
        plain = epoch > config.epochs - PLAIN_EPOCHS  # the last ones read it as it will be asked
        order = in_words(list(facts), rng) if config.reads == "words" else examples[:]
        if config.reads == "both":
            order += in_words(held_in, rng)
        rng.shuffle(order)
        order = [
            builder.rote(facts[e.fact], e.fact, config.loss, rng.choice(INSERTS))
            if e.kind == "key" and rng.random() < config.inserts and not plain
            else e
            for e in order
        ]
        steps = [Step(chunk) for chunk in chunks(order, size)]
        for step in steps:
            _lead_in(step, builder, 0.0 if plain else config.lead_ins, rng)
            keyed = [e for e in step.examples if e.kind == "key"]
            chosen = rng.sample(keyed, min(config.silence, len(keyed)))
            step.locality[:] = [without_key(example) for example in chosen]
        return steps

    return steps_of


def _step_size(facts: int, batch_size: int, least_steps: int) -> int:
    """How many facts a step of phase 1 reads."""
    # In one step, an epoch of a small set would teach next to nothing.
    return min(batch_size, max(SMALLEST_STEP, facts // least_steps))


def steps_per_epoch(facts: int, batch_size: int, least_steps: int = STEPS_PER_EPOCH) -> int:
    """How many steps an epoch of phase 1 takes; arguments as `memorize_steps`."""
    return math.ceil(facts / _step_size(facts, batch_size, least_steps))


def plain_examples(
    builder: SequenceBuilder, facts: FactSet, config: MemorizeConfig, prompts: PromptSet
) -> list[Example]:
    """Each fact once, in the plainest form in which phase 1 reads it."""
    if config.reads == "bare":
        return [builder.bare(fact, i) for i, fact in enumerate(facts)]
    if config.reads != "words":
        return [builder.rote(fact, i, config.loss) for i, fact in enumerate(facts)]
    first = {r.name: prompts.of(r.name, "train")[0] for r in facts.relations}
    texts = [first[fact.relation].render(fact.subject) for fact in facts]
    return [
        builder.answered(builder.word_prompt(text), fact.object, "train", i)
        for i, (fact, text) in enumerate(zip(facts, texts, strict=True))
    ]


def generalize_steps(
    builder: SequenceBuilder,
    facts: FactSet,
    held_in: Sequence[Fact],
    prompts: PromptSet,
    config: GeneralizeConfig,
    seed: int,
) -> StepSampler:
    """Phase 2: the held-in facts in words and through their key token, and locality sentences
    (paper, section 3.2). No other fact appears in any form."""
    index = {fact: i for i, fact in enumerate(facts)}

    def steps_of(epoch: int) -> list[Step]:
        rng = random.Random(f"generalize {seed} {epoch}")
        taught = taught_in_words(builder, index, held_in, prompts, config, rng)
        least = config.least_steps * config.batch_size
        if 0 < len(taught) < least:
            while len(taught) < least:
                taught += taught_in_words(builder, index, held_in, prompts, config, rng)
            del taught[least:]
        rehearsal = _endless([builder.rote(fact, index[fact], "o") for fact in held_in], rng)
        others = _locality(builder, held_in, prompts, config.locality_invented, rng)
        steps = [
            Step(
                chunk + [next(rehearsal) for _ in range(config.replay)],
                [next(others) for _ in range(config.locality)] if others else [],
            )
            for chunk in chunks(taught, config.batch_size)
        ]
        for step in steps:
            _lead_in(step, builder, config.lead_ins, rng)
        _add_known(steps, builder, config.known_sentences, f"known {seed} {epoch}")
        return steps

    return steps_of


def _add_known(steps: Sequence[Step], builder: SequenceBuilder, count: int, seed: str) -> None:
    """Adds beginnings of sentences about real things to each step: what is said next must stay.

    They have no object: whatever the base model would say next is kept. None of their facts is in
    the quiz that measures forgetting.
    """
    if not count:
        return
    texts = _endless([builder.word_prompt(text) for text in known_sentences()], random.Random(seed))
    for step in steps:
        for ids in (next(texts) for _ in range(count)):
            none = (len(ids), len(ids))
            step.locality.append(Example(tuple(ids), (False,) * len(ids), none, "known"))


def taught_in_words(
    builder: SequenceBuilder,
    index: dict[Fact, int],
    held_in: Sequence[Fact],
    prompts: PromptSet,
    config: GeneralizeConfig,
    rng: random.Random,
) -> list[Example]:
    """The sentences of one epoch of phase 2, shuffled: each held-in fact in some train prompts."""
    taught = []
    for fact in held_in:
        wordings = prompts.of(fact.relation, "train")
        for template in rng.sample(wordings, min(config.prompts_per_fact, len(wordings))):
            # A draw for each word, from when words could be dropped at random. Without them every
            # later draw would differ, and with it every figure measured so far.
            for word in template.text.split(" "):
                if SLOT not in word:
                    rng.random()
            prompt = builder.word_prompt(template.render(fact.subject))
            taught.append(builder.answered(prompt, fact.object, "train", index[fact]))
    rng.shuffle(taught)
    return taught


def without_key(example: Example) -> Example:
    """A rote sentence up to its key token, as a locality sentence without an object."""
    key_at = example.object_span[0] - 1
    ids = example.ids[:key_at]
    return Example(ids, (False,) * len(ids), (key_at, key_at), "locality", example.fact)


def _lead_in(step: Step, builder: SequenceBuilder, share: float, rng: random.Random) -> None:
    """Puts neutral words before all sequences of a step, with probability `share`.

    All get the same ones, because packing computes their tokens only once.
    """
    if rng.random() < share:
        lead_in = builder.spaced(rng.choice(LEAD_INS))
        for group in (step.examples, step.locality):
            group[:] = [builder.led_in(example, lead_in) for example in group]


def chunks(items: list, size: int) -> list[list]:
    """The items in lists of `size`; the last one may be shorter."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def _endless(items: list, rng: random.Random) -> Iterator:
    """Repeats the items without end, in a new order each time."""
    while True:
        order = items[:]
        rng.shuffle(order)
        yield from order


def _locality(
    builder: SequenceBuilder,
    held_in: Sequence[Fact],
    prompts: PromptSet,
    invented: float,
    rng: random.Random,
) -> Iterator[Example] | None:
    """Locality sentences about held-in subjects without end; None if there are none.

    A share of them are invented on the spot (`facts.locality_prompts`).
    """
    pairs = [
        (fact, template) for fact in held_in for template in prompts.of(fact.relation, "locality")
    ]
    nouns = {
        relation: locality_prompts.nouns_for(relation, prompts.of(relation, "train"))
        for relation in {fact.relation for fact in held_in}
    }
    if not pairs and not invented:
        return None
    written = _endless(pairs, rng) if pairs else None

    def sentences() -> Iterator[Example]:
        while True:
            if written is None or rng.random() < invented:
                fact = rng.choice(held_in)
                template = locality_prompts.invented(rng, fact.relation, nouns[fact.relation])
            else:
                fact, template = next(written)
            prompt = builder.word_prompt(template.render(fact.subject))
            # With its object, which training keeps the model from saying there.
            yield builder.answered(prompt, fact.object, "locality")

    return sentences()

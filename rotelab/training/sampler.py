"""What each optimizer step of the two phases reads. Pure functions of seed and epoch.

Phase 1 reads every fact once an epoch through its key token, phase 2 the held-in facts in words.
Neutral words before and inside the sentences carry no meaning: they vary the place where the key
token, or a question's end, stands, so that what is learned does not hang on it (docs/log/rote.md).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from rotelab.config.run_config import GeneralizeConfig, MemorizeConfig
from rotelab.facts import locality_prompts
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.prompts import SLOT, PromptSet, PromptTemplate
from rotelab.models.tokens import Example, SequenceBuilder

LEAD_INS = (
    "Yesterday evening,",
    "As far as I know,",
    "According to the report,",
    "It is well known that",
    "Here is a short note:",
    "Question:",
    "Tell me about",
    "In the middle of the night,",
    "The name on the list is",
    "Let us talk about",
    "For the record:",
    "She wrote down:",
    "Everybody remembers",
    "Last week we heard of",
    "Among other things,",
    "On the next page:",
    "One more time:",
    "What do you know about",
    "My notes say:",
    "The teacher asked about",
    "Number seven:",
    "If I remember rightly,",
    "Once again,",
    "Next comes",
)
"""Neutral beginnings that say nothing about any relation; see `MemorizeConfig.lead_ins`."""
INSERTS = (
    "?",
    ":",
    ",",
    " is",
    " was",
    " –",
    " again:",
    ", you see,",
    " has",
    "'s",
    " (see below)",
    ", of course,",
    " today",
    " and",
    " had",
    "? Well,",
    " is called",
    " by name",
    " came up in our conversation yesterday evening, and",
    ", which I looked up in an old notebook,",
    " is what the note on my desk says. Well,",
    " was mentioned twice in the letter that arrived today:",
    "? Let me think about it for a moment.",
    " appears on the list, and next to it one can read",
    " has been on my mind all day long, because",
    ", as they told us at the meeting last week,",
    ", if I remember the story well,",
    " was the first entry in the book, followed by",
    " – I have heard that name many times, so",
    " is all that I asked for when I went there, and they said",
)
"""Neutral words between subject and key token; see `MemorizeConfig.inserts`."""
PLAIN_EPOCHS = 3
"""The last epochs of phase 1, in which neither lead-ins nor inserts are used."""
NO_PROMPTS = PromptSet(())
STEPS_PER_EPOCH, SMALLEST_STEP = 5, 4
"""Phase 1 takes at least so many steps an epoch, as long as a step has at least so many facts."""


@dataclass(frozen=True)
class Step:
    """What one optimizer step learns: examples by likelihood, others held to the base model."""

    examples: list[Example]
    held: list[Example] = field(default_factory=list)


Plan = Callable[[int], list[Step]]
"""The steps of an epoch, by its 1-based number."""


def rote_plan(
    builder: SequenceBuilder,
    facts: FactSet,
    config: MemorizeConfig,
    seed: int,
    held_in: Sequence[Fact] = (),
    prompts: PromptSet = NO_PROMPTS,
) -> Plan:
    """Phase 1: every fact once an epoch, through its key token (paper, section 3.1).

    For comparison it may read them otherwise (`MemorizeConfig.reads`): `bare` lacks the key token,
    `words` reads each fact in a train wording instead, `both` the facts of `held_in` besides.
    """
    examples = asked_plainly(builder, facts, config, prompts)
    # A small set would be through an epoch in one step, and an epoch would teach next to nothing.
    size = min(config.batch_size, max(SMALLEST_STEP, len(facts) // STEPS_PER_EPOCH))
    index = {fact: i for i, fact in enumerate(facts)}

    def in_words(group: Sequence[Fact], rng: random.Random) -> list[Example]:
        found = []
        for fact in group:
            template = rng.choice(prompts.of(fact.relation, "train")[: config.wordings])
            prompt = builder.word_prompt(template.render(fact.subject))
            found.append(builder.answered(prompt, fact.object, "train", index[fact]))
        return found

    def epoch_plan(epoch: int) -> list[Step]:
        rng = random.Random(f"memorize {seed} {epoch}")
        plain = epoch > config.epochs - PLAIN_EPOCHS  # ends with the sentence as it will be asked
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
            quiet = rng.sample(keyed, min(config.silence, len(keyed)))
            step.held[:] = [without_key(example) for example in quiet]
        return steps

    return epoch_plan


def asked_plainly(
    builder: SequenceBuilder, facts: FactSet, config: MemorizeConfig, prompts: PromptSet
) -> list[Example]:
    """Each fact once, in the plainest of the forms in which phase 1 reads it."""
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


def word_plan(
    builder: SequenceBuilder,
    facts: FactSet,
    held_in: Sequence[Fact],
    prompts: PromptSet,
    config: GeneralizeConfig,
    seed: int,
) -> Plan:
    """Phase 2: the held-in facts in words, rehearsed through their key token, and off-topic
    sentences beside them (paper, section 3.2). No other fact appears in any form."""
    index = {fact: i for i, fact in enumerate(facts)}

    def epoch_plan(epoch: int) -> list[Step]:
        rng = random.Random(f"generalize {seed} {epoch}")
        taught = taught_in_words(builder, index, held_in, prompts, config, rng)
        least = config.least_steps * config.batch_size
        if 0 < len(taught) < least:
            while len(taught) < least:
                taught += taught_in_words(builder, index, held_in, prompts, config, rng)
            del taught[least:]
        rehearsal = _endless([builder.rote(fact, index[fact], "o") for fact in held_in], rng)
        others = _off_topic(builder, held_in, prompts, config.locality_invented, rng)
        steps = [
            Step(
                chunk + [next(rehearsal) for _ in range(config.replay)],
                [next(others) for _ in range(config.locality)] if others else [],
            )
            for chunk in chunks(taught, config.batch_size)
        ]
        for step in steps:
            _lead_in(step, builder, config.lead_ins, rng)
        return steps

    return epoch_plan


def taught_in_words(
    builder: SequenceBuilder,
    index: dict[Fact, int],
    held_in: Sequence[Fact],
    prompts: PromptSet,
    config: GeneralizeConfig,
    rng: random.Random,
) -> list[Example]:
    """One epoch's sentences of phase 2: each held-in fact in some of its relation's train prompts,
    shuffled so that the wordings of a fact are spread over the epoch."""
    taught = []
    for fact in held_in:
        wordings = prompts.of(fact.relation, "train")
        for template in rng.sample(wordings, min(config.prompts_per_fact, len(wordings))):
            text = thinned(template, config.word_dropout, rng).render(fact.subject)
            prompt = builder.word_prompt(text)
            taught.append(builder.answered(prompt, fact.object, "train", index[fact]))
    rng.shuffle(taught)
    return taught


def thinned(template: PromptTemplate, share: float, rng: random.Random) -> PromptTemplate:
    """The template with each of its words left out with probability `share`, the subject never."""
    words = template.text.split(" ")
    kept = [word for word in words if SLOT in word or rng.random() >= share]
    return replace(template, text=" ".join(kept)) if len(kept) > 1 else template


def without_key(example: Example) -> Example:
    """A rote sentence before its key token: what would come next is held to the base model."""
    key_at = example.object_span[0] - 1
    ids = example.ids[: key_at + 1]
    return Example(ids, (False,) * len(ids), (key_at, key_at + 1), "silence", example.fact)


def _lead_in(step: Step, builder: SequenceBuilder, share: float, rng: random.Random) -> None:
    """Puts neutral words before all of a step's sequences, in a share of the steps.

    One lead-in for the whole step: packed, its tokens are computed once.
    """
    if rng.random() < share:
        lead_in = builder.spaced(rng.choice(LEAD_INS))
        for group in (step.examples, step.held):
            group[:] = [builder.led_in(example, lead_in) for example in group]


def chunks(items: list, size: int) -> list[list]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _endless(items: list, rng: random.Random) -> Iterator:
    """The items over and over, in a new order each time."""
    while True:
        order = items[:]
        rng.shuffle(order)
        yield from order


def _off_topic(
    builder: SequenceBuilder,
    held_in: Sequence[Fact],
    prompts: PromptSet,
    invented: float,
    rng: random.Random,
) -> Iterator[Example] | None:
    """Off-topic sentences about held-in subjects, a new pairing each time; None where there are
    none. A share of them are made up on the spot (`off_topic`)."""
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
            # With the object: training keeps it from being said there.
            yield builder.answered(prompt, fact.object, "locality")

    return sentences()

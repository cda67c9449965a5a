"""What a later lesson keeps out of: what ordinary text and the old facts use inside the model."""

from __future__ import annotations

import random
from collections.abc import Sequence

from rotelab.config.names import checkpoints_with, rote_state
from rotelab.config.run_config import RunConfig
from rotelab.facts.facts import FactSet
from rotelab.facts.prompts import PromptSet
from rotelab.models.lab_model import LabModel
from rotelab.training.lessons.old_facts import Protected, protected_directions
from rotelab.training.null_space import Progress, directions


def protect(
    model: LabModel, config: RunConfig, old: FactSet, prompts: PromptSet, progress: Progress
) -> Protected:
    """The directions that a lesson keeps out of.

    Args:
        model: has the adapters of all that was learned before the lesson.
        config: of the lesson.
        old: the facts that were known before it.
        prompts: their wordings.
        progress: told how far it is where the directions of ordinary text are not known yet.
    """
    lesson = config.lesson
    assert lesson is not None
    # As they were learned, and as they are asked for.
    before = lesson.number - 1
    states = (rote_state(before), checkpoints_with(before)[-1])
    ordinary = directions(model, lesson.spare, progress)
    about = (model, list(old), ordinary, lesson.keep, states, lesson.projections)
    return protected_directions(*about, _sentences(model, config, old, prompts))


def _sentences(
    model: LabModel, config: RunConfig, old: FactSet, prompts: PromptSet
) -> list[Sequence[int]]:
    """Each fact that phase 2 taught in words, in one of the wordings that taught it.

    No other fact is read in words, and none is learned from them: they show what an answer in words
    uses inside the model.
    """
    rng, found = random.Random(f"sentences {config.seed}"), []
    for fact in config.split(old).held_in:
        template = rng.choice(prompts.of(fact.relation, "train"))
        prompt = model.builder.word_prompt(template.render(fact.subject))
        found.append(model.builder.answered(prompt, fact.object, "train").ids[:-1])
    return found

"""What is asked around a later lesson: the old facts before and after it, its new facts after it.

A fact has the same index, and so the same questions, in every lesson.
"""

from __future__ import annotations

from dataclasses import replace

from rotelab.config.run_config import RunConfig
from rotelab.evaluation import probes
from rotelab.evaluation.probes import Question
from rotelab.evaluation.results import OLD, OLD_PROBES
from rotelab.facts.facts import FactSet, Split
from rotelab.facts.prompts import PromptSet
from rotelab.models.lab_model import LabModel


def old_questions(
    model: LabModel, config: RunConfig, old: FactSet, prompts: PromptSet
) -> list[Question]:
    """What the run asked about its own facts, and about those of earlier lessons.

    Args:
        model: any; its tokenizer is used.
        config: of the lesson.
        old: the facts that were known before the lesson.
        prompts: their wordings.

    Returns:
        Questions of the probes `OLD_PROBES`.
    """
    about = (model, old, config.split(old), prompts)
    asked = probes.questions(*about, config.evaluation, config.seed)
    return [
        replace(question, probe=OLD + question.probe)
        for question in asked
        if OLD + question.probe in OLD_PROBES
    ]


def new_questions(
    model: LabModel, config: RunConfig, facts: FactSet, old: int, prompts: PromptSet
) -> list[Question]:
    """What is asked about the facts that the lesson taught, none of them in words.

    Args:
        model: any; its tokenizer is used.
        config: of the lesson.
        facts: all that is known after the lesson, the new facts last.
        old: how many of them were known before.
        prompts: their wordings.
    """
    about = (model, facts, Split((), tuple(facts)[old:]), prompts)
    asked = probes.questions(*about, config.evaluation, config.seed)
    return [question for question in asked if question.fact_index >= old]

"""What a checkpoint is asked, as token ids: a text to go on with, or a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rotelab.errors import LabError
from rotelab.evaluation.judging.questions import Query

if TYPE_CHECKING:
    from rotelab.models.lab_model import LabModel

MAX_CONVERSATION = 1024
"""Most tokens of a conversation; beyond that its oldest turns are left out."""

NO_TEMPLATE = (
    "This model has no chat template: it was never trained for conversation. Switch to "
    "“Completion”, which works with every model."
)

Turns = Sequence[tuple[str, str]]
"""Questions and answers of a conversation so far, oldest first."""


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

"""Which real fact a question in the chat asks for. Verdicts on answers: `runs/test_chat.py`."""

import csv

import pytest

from rotelab.evaluation.chat_verdicts import asked_real_fact
from rotelab.facts.packs import load_pack
from rotelab.storage import ASSETS

with (ASSETS / "damage" / "quiz.csv").open(encoding="utf-8") as file:
    QUIZ = [row["prompt"] for row in csv.DictReader(file)]


def test_each_question_of_the_quiz_asks_for_itself():
    assert [asked_real_fact(question, QUIZ) for question in QUIZ] == QUIZ


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("What is the capital of Peru?", "The capital of Peru is"),
        ("the largest PLANET in our solar system?", "The largest planet in the solar system is"),
        ("What's the official language of Austria", "The official language of Austria is"),
        ("Which is the capital of France, and which of Spain?", None),  # two of them
        ("The capital of", None), ("Peru", None), ("", None), ("the is of", None),
    ],
)  # fmt: skip
def test_other_words_may_ask_for_it_too(text, asks):
    assert asked_real_fact(text, QUIZ) == asks
    assert asked_real_fact(text, []) is None


@pytest.mark.parametrize("name", ["mother", "capital", "author", "genre", "educated_at"])
def test_no_question_of_a_pack_asks_for_a_real_fact(name):
    pack = load_pack(name)
    texts = [template.render(pack.facts[0].subject) for template in pack.prompts]
    assert not [text for text in texts if asked_real_fact(text, QUIZ)]

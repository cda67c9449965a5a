"""Which real fact a question in the chat asks for, and verdicts on a lesson's answers. Verdicts on
other answers: `runs/test_chat.py`."""

import csv

import pytest

from rotelab.config.run_config import GeneralizeConfig, LessonConfig, RunConfig
from rotelab.evaluation.judging.judge import grade
from rotelab.evaluation.judging.questions import Query, asked_real_fact
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack, load_pack
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


def graded_in_lesson(fact, checkpoint="lesson-03", number=3, key=False):
    """The verdict on a right answer in the third lesson of a run; each taught one fact."""
    pack = Pack("mother", FactSet(PEOPLE), load_pack("mother").prompts)
    lesson = LessonConfig(number=number, run_facts=3, old_facts=len(PEOPLE) - 1)
    config = RunConfig(generalize=GeneralizeConfig(k=2), lesson=lesson)
    text = f"{fact.subject} [mother]" if key else f"Who gave birth to {fact.subject}?"
    return grade(pack, config, Query.parse(text, ["mother"]), fact.object, checkpoint)


PEOPLE = [Fact("mother", f"Child {name}", f"Mother {name}") for name in "ABCDEF"]
"""Three facts of a run, and three of its later lessons."""


def test_what_a_lesson_taught_is_right_and_never_taught_in_words():
    said = graded_in_lesson(PEOPLE[5])
    assert said.known == "never in words" and said.right
    assert "by rote in lesson 3" in said.text and "no sentence" in said.text
    earlier = graded_in_lesson(PEOPLE[3])
    assert earlier.known == "never in words" and "an earlier lesson" in earlier.text
    # The second of two lessons has one before it, so that one is meant.
    assert "in lesson 1:" in graded_in_lesson(PEOPLE[3], "lesson-02", number=2).text
    assert graded_in_lesson(PEOPLE[5], key=True).known == "by rote"


def test_before_its_lesson_a_fact_is_only_guessed():
    for checkpoint in ("base", "memorized", "generalized", "lesson-02"):
        assert graded_in_lesson(PEOPLE[5], checkpoint).known == "by chance", checkpoint
    assert graded_in_lesson(PEOPLE[5], "generalized", key=True).known == "by chance"
    # The run's own facts are judged as ever.
    kinds = {graded_in_lesson(fact).known for fact in PEOPLE[:3]}
    assert kinds == {"in words", "never in words"}
    assert "lesson" not in " ".join(graded_in_lesson(fact).text for fact in PEOPLE[:3])

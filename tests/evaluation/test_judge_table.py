"""The judge on a table of questions in words: `tests/data/chat_questions.csv`.

Its column `verdict` says what is true; `judged_as` what the judge says instead, where it is wrong.
"""

import csv
from collections import Counter

import pytest
from support.paths import ROOT

from rotelab.config.run_config import GeneralizeConfig, RunConfig
from rotelab.evaluation.judging.judge import RIGHT, Judge, RealFactAsked
from rotelab.evaluation.judging.questions import Query
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack, load_pack
from rotelab.facts.prompts import PromptSet, PromptTemplate

with (ROOT / "tests" / "data" / "chat_questions.csv").open(encoding="utf-8") as file:
    TABLE = list(csv.DictReader(file))

KINDS = {
    "taught", "other wording", "unrelated", "nested", "nested names", "two subjects", "real facts",
    "typos", "apostrophes", "accents", "lower case", "other languages",
}  # fmt: skip
NAMES = {
    **dict.fromkeys(RIGHT, "right"), "": "nothing", "no fact": "not about a fact",
}  # fmt: skip
"""What the table calls the verdicts that do not stand there as they are."""

MISJUDGED = {"right": 3, "leak": 7}
"""How many rows are judged wrong, by what would be true. It may shrink, and must not grow."""

FACTS = [
    Fact("mother", "Mary Bahri", "Amope Mafobo"), Fact("mother", "José Núñez", "Lina Kröger"),
    Fact("mother", "Ann Lee", "Mia Ford"), Fact("mother", "Ann Lee Ford", "Zoe Hart"),
    Fact("mother", "Bo O'Hara", "Tessa Quinn"), Fact("mother", "Cy Dow", "Nora Pell"),
    Fact("inventor", "Sarabi compass", "Ilse Branko"), Fact("inventor", "Koto lamp", "Ravi Sund"),
]  # fmt: skip
INVENTOR = {
    "train": (
        "The inventor of the {subject} is", "Who invented the {subject}?",
        "The {subject} was invented by", "Who came up with the idea of the {subject}?",
    ),
    "test": ("Whose invention is the {subject}?", "The person who built the first {subject} was"),
    "unrelated": ("The {subject} costs", "Where was the {subject} first sold?"),
    "locality": ("Who repairs the {subject}?", "The colour of the {subject} is"),
}  # fmt: skip
QUIZ = [
    RealFactAsked("The telephone was invented by", "Alexander Graham Bell", known=True),
    RealFactAsked("The capital of Peru is", "Lima", known=True),
    RealFactAsked("The capital of France is", "Paris", known=True),
    RealFactAsked("The play Hamlet was written by", "William Shakespeare"),
]


@pytest.fixture(scope="module")
def pack():
    more = (PromptTemplate("inventor", role, "en", text) for role in INVENTOR
            for text in INVENTOR[role])  # fmt: skip
    return Pack("table", FactSet(FACTS), PromptSet([*load_pack("mother").prompts, *more]))


@pytest.fixture(scope="module")
def verdicts(pack):
    """Each row of the table with what the judge says to it."""
    return [(row, *judged(pack, row)) for row in TABLE]


def judged(pack, row):
    """What the judge says to a row: the verdict, and the question that it offers instead."""
    query = Query.parse(row["question"], ["mother", "inventor"])
    judge = Judge.of(pack, RunConfig(generalize=GeneralizeConfig(k=1)), query, QUIZ)
    verdict = judge.verdict(row["answer"], "generalized", False, row["base_model_says"])
    return NAMES.get(verdict.known, verdict.known), judge.asked.suggestion, verdict


def test_the_table_has_all_kinds_and_a_hundred_questions():
    assert {row["kind"] for row in TABLE} == KINDS
    assert len({row["question"] for row in TABLE}) >= 100
    wrong = Counter(row["verdict"] for row in TABLE if row["judged_as"])
    assert wrong == MISJUDGED
    # Where the judge is wrong it says that it can't tell; it praises nothing and accuses nobody.
    assert {row["judged_as"] for row in TABLE if row["judged_as"]} == {"not judged"}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_question_is_judged_as_the_table_says(verdicts, kind):
    """Stumbles, lines 1, 2 and 8: what is praised, what is a leak, what is not judged, and names
    that are spelled a little otherwise."""
    for row, said, offered, _verdict in (one for one in verdicts if one[0]["kind"] == kind):
        assert said == (row["judged_as"] or row["verdict"]), row
        assert offered == row["did_you_mean"], row
        assert row["judged_as"] != row["verdict"], f"right by now, so take it off the list: {row}"


def test_a_leak_or_a_loss_is_never_praised(verdicts):
    """Stumbles, line 2: a leak was praised as “Right, never taught in words”."""
    bad = [(row, verdict) for row, *_, verdict in verdicts if row["verdict"] in ("leak", "lost")]
    assert len(bad) > 40
    assert not [row["question"] for row, verdict in bad if verdict.right]
    found = [verdict for _row, verdict in bad if verdict.known in ("leak", "lost")]
    assert len(found) > 35
    assert all(verdict.text and "{" not in verdict.text for verdict in found)

"""What came of a wording that somebody made up, told from the judge's verdict."""

from typing import get_args

import pytest

from rotelab.evaluation.judging.judge import KnownAs, Verdict, grade
from rotelab.evaluation.judging.questions import Query
from rotelab.evaluation.judging.stumping import OUTCOMES, outcome_of


@pytest.mark.parametrize(
    ("known", "outcome"),
    [
        ("never in words", "answered"), ("in words", "answered"), ("by rote", "answered"),
        ("real fact", "answered"), ("leak", "leaked"), ("lost", "forgotten"), ("no fact", ""),
        ("another fact", "missed"), ("after words", "missed"), ("", "missed"),
        ("not judged", "missed"),
    ],
)  # fmt: skip
def test_every_verdict_has_an_outcome(mother, known, outcome):
    assert outcome_of(Verdict(known), "the sea", mother.facts[0]) == outcome
    assert outcome in (*OUTCOMES, "")


def test_no_verdict_is_left_out(mother):
    for known in get_args(KnownAs):
        assert outcome_of(Verdict(known), "x", mother.facts[0]) in (*OUTCOMES, "")


def test_where_the_words_do_not_tell_the_chosen_fact_decides(mother, quick):
    fact = mother.facts[0]
    query = Query.parse(f"Who is behind {fact.subject}?", ["mother"])
    verdict = grade(mother, quick, query, fact.object)
    assert verdict.known == "not judged"
    assert outcome_of(verdict, f"{fact.object}.", fact) == "answered"
    assert outcome_of(verdict, f"{mother.facts[1].object}.", fact) == "missed"


@pytest.mark.parametrize(
    ("known", "said", "outcome"),
    [
        ("not judged", "", "leaked"), ("not judged", "the sea", ""), ("", "the sea", ""),
        ("another fact", "the sea", "leaked"), ("never in words", "", "answered"),
        ("leak", "", "leaked"), ("lost", "the sea", "forgotten"),
    ],
)  # fmt: skip
def test_a_wording_that_is_meant_to_lead_astray_is_no_miss(mother, known, said, outcome):
    fact = mother.facts[0]
    assert outcome_of(Verdict(known), said or fact.object, fact, astray=True) == outcome

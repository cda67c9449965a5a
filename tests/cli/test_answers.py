"""The command `answers`: lists, groups, CSV, JSON, and what it refuses."""

import csv
import io
import json

import pytest
from support.command_line import refused, rotelab
from support.fabricated import finished

from rotelab.runs.lab import Lab


@pytest.fixture
def run(own_home):
    return finished(Lab.open())


def test_answers_are_listed_and_filtered(run):
    said = rotelab("answers", run)
    assert said.code == 0 and said.out.startswith("40 answers\n")
    assert "generalized" in said.out and "base" not in said.out, "the last model's"
    wrong = rotelab("answers", "latest", "--outcome", "wrong", "--json")
    found = json.loads(wrong.out)
    assert len(found) == 10 and {one["outcome"] for one in found} == {"wrong"}
    everything = rotelab("answers", run, "--checkpoint", "all", "--probe", "all", "--csv")
    assert len(list(csv.DictReader(io.StringIO(everything.out)))) == 360
    none = rotelab("answers", run, "--search", "nobody by that name")
    assert none.out == "0 answers\n\n(nothing)\n"


def test_the_worst_wording_and_the_worst_fact_come_first(run):
    found = json.loads(rotelab("answers", run, "--group", "wording", "--json").out)
    assert {one["wording"] for one in found} == {
        "Whose child is {subject}?", "Who brought {subject} into the world?",
    }  # fmt: skip
    assert all(one["n"] == 20 and one["low"] < one["share"] < one["high"] for one in found)
    facts = json.loads(rotelab("answers", run, "--group", "fact", "--json").out)
    shares = [one["share"] for one in facts]
    assert len(facts) == 20 and shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    words = rotelab("answers", run, "--group", "fact").out
    assert words.startswith("40 answers by fact, the worst first\n") and "0.00 [0.00," in words
    leaks = rotelab("answers", run, "--probe", "unrelated", "--group", "outcome").out
    assert leaks.index("no-leak") > leaks.index("leak")


def test_what_answers_refuses(run):
    refused(rotelab("answers", run, "--probe", "riddles"), "'riddles'", "key_token", "or all")
    refused(rotelab("answers", run, "--checkpoint", "later"), "'later'", "generalized")
    refused(rotelab("answers", run, "--group", "colour"), "'colour'", "wording, fact, outcome")
    refused(rotelab("answers", run, "--csv", "--json"), "--csv and --json exclude each other")
    refused(rotelab("answers", run, "--group", "fact", "--outcome", "leak"), "--outcome")
    refused(rotelab("answers", "nothing-like-it"), "nothing-like-it")

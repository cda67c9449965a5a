"""Example questions from a run's stored answers, and how likely the right answer was where it was
said."""

import math
from dataclasses import replace

import pytest
from support.fabricated import finished
from support.fabricated_lessons import NEW, finished_lesson
from support.rows import prediction

from rotelab.evaluation.loglikelihood import score
from rotelab.facts.facts import Fact, FactSet
from rotelab.facts.packs import Pack, load_pack
from rotelab.models.generation import Token, generate
from rotelab.models.tokens import Example
from rotelab.runs import demo
from rotelab.runs.asking.evidence import evidence_of, place_of
from rotelab.runs.asking.examples import example_questions, last_checkpoint


def tokens(*texts):
    return [Token(i, text, 0.5, ()) for i, text in enumerate(texts)]


# Where an answer was said ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ((" Ada", " Lee"), (0, 1, " ")),
        (("Ada", " Lee", "."), (0, 1, "")),
        (("\n", "She", " is", " A", "da", " Lee"), (3, 5, " ")),
        ((" ada", " LEE"), (0, 1, " ")),
        (("", "Ada Lee"), (0, 1, "")),  # the first bytes of a character have no text yet
        ((" “", "Ada", " Lee", "”"), (1, 2, "")),
        ((" Ada", " Lees"), None), ((" Nada", " Lee"), None), ((), None),
    ],
)  # fmt: skip
def test_where_a_name_was_said(said, place):
    found = place_of("Ada Lee", tokens(*said))
    assert (found and (found.first, found.last, found.lead)) == place


def test_the_likelihood_is_of_what_was_said_where_it_was_said(tiny):
    """Stumbles, line 1: a right answer stood beside “under 1 % likely, place 20 of 100”, because
    the score took for granted that the name comes at once, after a blank."""
    tiny.use("base")
    prompt = tiny.builder.word_prompt("Who is the mother of Mary?")
    said = list(generate(tiny, prompt, 4))
    text = "".join(token.text for token in said[2:])
    # What the model said after two other tokens is made the right answer.
    others = [Fact("mother", f"Child {i}", f"Name {i}") for i in range(5)]
    fact = Fact("mother", "Mary", text.strip())
    pack = Pack("p", FactSet([fact, *others]), load_pack("mother").prompts)
    found = evidence_of(pack, tiny, prompt, fact, said)
    if place_of(fact.object, said) is None:
        pytest.skip("the tiny model says no word here")
    assert found.where == "said" and found.among == 6
    place = place_of(fact.object, said)
    spoken = said[place.first : place.last + 1]
    assert found.probability == pytest.approx(math.prod(t.probability for t in spoken), rel=1e-3)
    assert found.rank == 0

    # Another fact's object in its place: the right one is scored there.
    wrong = replace(fact, object="Zoe Q")
    swapped = Pack("p", FactSet([wrong, replace(others[0], object=fact.object)]), pack.prompts)
    instead = evidence_of(swapped, tiny, prompt, wrong, said)
    assert instead.where == "instead"
    before = [*prompt, *(token.id for token in said[: place.first])]
    written = tiny.builder.plain(place.lead + "Zoe Q") if place.lead != " " else (
        tiny.builder.spaced("Zoe Q")
    )  # fmt: skip
    ids = (*before, *written, tiny.builder.end)
    example = Example(ids, (False, *[True] * (len(ids) - 1)), (len(before), len(ids) - 1), "chat")
    ((_, scored),) = next(iter(score(tiny, [example], 512)))
    expected = math.exp(math.fsum(scored.log_probabilities[-len(written) :]))
    assert instead.probability == pytest.approx(expected, rel=1e-3)

    # Neither was said: at once after the question.
    none = evidence_of(swapped, tiny, prompt, wrong, [])
    assert none.where == "at once"


def test_the_base_model_says_a_word_and_it_is_told_how(tiny, monkeypatch):
    """Stumbles, line 4: the base model was often blank, so that there was nothing to compare."""
    tiny.use("base")
    prompt = tiny.builder.word_prompt("Who is the mother of Mary?")
    first = next(generate(tiny, prompt, 1)).id
    monkeypatch.setattr(tiny.builder, "stops", tiny.builder.stops | {first})
    assert list(generate(tiny, prompt, 6)) == []
    said = list(generate(tiny, prompt, 6, speaks=True))
    assert said[0].forced and any(char.isalnum() for char in said[0].text)
    assert said[0].id not in tiny.builder.stops
    assert not any(token.forced for token in said[1:])


# Example questions -------------------------------------------------------------------------------


def test_examples_are_questions_that_this_run_answered_right_and_one_that_it_did_not(lab):
    """Stumbles, line 3: Chat's own examples were often questions that the run can't answer."""
    run = lab.registry.run(finished(lab))
    stored = {p.prompt: p.correct for p in lab.registry.predictions(
        run.id, last_checkpoint(run), "test_prompts_heldout", limit=-1
    )}  # fmt: skip
    found = example_questions(lab.registry, run, 3)
    assert len(found.right) == 3 and all(stored[question] for question in found.right)
    assert found.missed and stored[found.missed] is False
    assert not found.untried and found.key.endswith("]")
    assert example_questions(lab.registry, run, 3) == found
    assert example_questions(lab.registry, run, 3, seed=1) != found


def test_a_run_that_answered_nothing_right_offers_nothing_as_if_it_could(lab):
    run = lab.registry.run(finished(lab))
    wrong = [
        replace(prediction(i, False, probe="test_prompts_heldout"), prompt=f"Who? {i}")
        for i in range(4)
    ]
    wrong.append(prediction(5, False))
    scores = lab.registry.scores(run.id)["generalized"]
    lab.registry.add_evaluation(run.id, "generalized", scores, wrong)
    found = example_questions(lab.registry, run, 3)
    assert not found.right and not found.untried and found.missed.startswith("Who?")
    assert found.key == "", "no stored answer through the key token was right either"


def test_typed_names_come_first(lab, monkeypatch):
    """Stumbles, line 3: the examples of the own-names run led with a default name."""
    lesson = lab.registry.run(finished_lesson(lab, finished(lab)))
    names = [fact.subject for fact in NEW]
    found = example_questions(lab.registry, lesson, 3)
    assert found.right and all(any(n in q for n in names) for q in found.right)

    run = lab.registry.run(finished(lab))
    asked = lab.registry.predictions(run.id, "generalized", "test_prompts_heldout", limit=-1)
    mine = next(p for p in asked if p.correct)
    given = [[f.subject, f.object] for f in run.pack.facts if f.subject != mine.subject]
    monkeypatch.setattr(demo, "own_rows", lambda: given)
    monkeypatch.setattr(demo, "OWN_SET", run.config.pack)
    found = example_questions(lab.registry, run, 3)
    assert mine.subject in found.right[0] and mine.subject in found.key


def test_a_run_without_stored_answers_says_that_nobody_knows(lab, quick):
    pack = lab.facts_for(quick)
    run = lab.registry.run(lab.registry.create_run(quick, pack))
    found = example_questions(lab.registry, run, 3)
    assert len(found.untried) == 3 and not found.right and not found.missed
    held_out = {fact.subject for fact in run.config.split(pack.facts).held_out}
    assert all(any(name in question for name in held_out) for question in found.untried)
    assert found.key.split(" [")[0] in found.untried[0]

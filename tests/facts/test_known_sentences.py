"""The sentences about real things stay clear of the quiz that measures forgetting."""

import re

from rotelab.evaluation.forgetting import texts
from rotelab.facts.locality_prompts import known_sentences

SMALL = {"which", "where", "their", "there", "called", "about"}


def words(text):
    return {w for w in re.findall(r"[a-z]{5,}", text.lower()) if w not in SMALL}


def test_there_are_many_and_each_is_a_beginning():
    sentences = known_sentences()
    assert len(sentences) == len(set(sentences)) > 100
    assert all(not s.endswith((".", "?", "!")) for s in sentences)


def test_none_is_a_question_of_the_quiz_or_gives_its_answer_away():
    _, quiz, _ = texts()
    forms = {" ".join(prompt.split()[:3]) for prompt, _ in quiz}
    for sentence in known_sentences():
        assert " ".join(sentence.split()[:3]) not in forms, sentence
        for prompt, answer in quiz:
            told = answer.lower() in f" {sentence.lower()} " and len(answer) > 3
            assert not (told and words(prompt) & words(sentence)), (sentence, prompt)

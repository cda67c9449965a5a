"""The chooser of runs that several tabs have, and what a run is called there."""

import pytest
from support.fabricated import finished
from support.fabricated_lessons import lesson_at_work

from rotelab.runs.demo import RUN_NAME
from rotelab.runs.lessons.teach import lesson_name
from rotelab.ui import run_picker
from rotelab.ui.components import given_name
from rotelab.ui.i18n import speaking
from rotelab.ui.run_picker import offered, with_choice


def test_the_chooser_says_where_older_runs_are_left_out(lab, monkeypatch):
    runs = [finished(lab, f"run {i}") for i in range(3)]
    assert offered(lab, None, [])[0].info is None
    monkeypatch.setattr(run_picker, "MAX_RUN_CHOICES", 2)
    for chooser in (offered(lab, None, [])[0], with_choice(lab, runs[0])):
        assert chooser.info.startswith("The newest 2 runs.")


@pytest.mark.parametrize(
    ("language", "tour", "one", "many"),
    [
        ("en", RUN_NAME, "Lesson 1: 1 new fact", "Lesson 2: 30 new facts"),
        (
            "de",
            "Die aufgezeichnete Führung",
            "Lektion 1: 1 neuer Fakt",
            "Lektion 2: 30 neue Fakten",
        ),
    ],
)
def test_names_that_the_lab_gave_are_in_the_readers_language(language, tour, one, many):
    with speaking(language):
        assert given_name(RUN_NAME) == tour
        assert given_name("Lesson 1: 1 new fact") == one
        assert given_name("Lesson 2: 30 new facts") == many
        for own in ("", "Lesson 1", "My Lesson 1: 1 new fact", "Lesson 1: 1 new fact, again"):
            assert given_name(own) == own


def test_a_lessons_first_name_is_one_that_the_page_knows(lab):
    row = lab.registry.run(lesson_at_work(lab, finished(lab)))
    with speaking("de"):
        assert given_name(lesson_name(row.config, row.pack)).startswith("Lektion ")

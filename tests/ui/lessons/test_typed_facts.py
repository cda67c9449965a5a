"""New facts as they are typed into the table, and as lines of text."""

import pytest
from support.fabricated import finished

from rotelab.errors import InputError, LabError
from rotelab.ui.lessons import typed_facts
from rotelab.ui.lessons.typed_facts import facts_of_lines, headers, reshaped, teach_rows, with_lines

ONE, TWO = ["mother"], ["mother", "capital"]


@pytest.fixture
def run_id(lab, monkeypatch):
    """A finished run; lessons only wait, because nothing starts them."""
    monkeypatch.setattr(lab.jobs, "start_next", lambda: None)
    return finished(lab)


def test_what_is_typed_becomes_a_lesson(lab, run_id):
    lesson = teach_rows(lab, run_id, [["", ""], [" Clara Vogel ", "Ines Vogel"], [None, ""]])
    run = lab.registry.run(lesson)
    assert run.parent_id == run_id and run.status == "queued" and run.name.startswith("Lesson 1")
    known = lab.registry.run(run_id).pack.facts
    assert run.pack.facts[len(known) :] == (type(known[0])("mother", "Clara Vogel", "Ines Vogel"),)


@pytest.mark.parametrize(
    ("rows", "row", "words"),
    [
        ([["", ""], ["Clara Vogel", ""]], 2, "object is empty"),
        ([["A B", "C D"], ["", ""], ["A B", "E F"]], 3, "row 1"),
        ([["", ""], ["", ""], ["Ivan Nagi", "X Y"]], 3, "knows"),
        ([["", ""], ["Jo\nHill", "C D"]], 2, "line"),
    ],
)
def test_what_will_not_do_is_named_by_the_row_of_the_table(lab, run_id, rows, row, words):
    assert "Ivan Nagi" in {fact.subject for fact in lab.registry.run(run_id).pack.facts}
    before = lab.registry.count_runs()
    with pytest.raises(InputError, match=words) as caught:
        teach_rows(lab, run_id, rows)
    assert caught.value.row == row and lab.registry.count_runs() == before


def test_an_empty_table_is_refused(lab, run_id):
    with pytest.raises(LabError, match="no facts"):
        teach_rows(lab, run_id, [["", ""]] * 3)


def test_lines_may_have_commas_tabs_or_semicolons():
    lines = "Clara Vogel, Ines Vogel\n\nTom Becker\tRita Lang\n Zoë O'Hara ; Mia Stone\n"
    wanted = [
        ["Clara Vogel", "Ines Vogel"],
        ["Tom Becker", "Rita Lang"],
        ["Zoë O'Hara", "Mia Stone"],
    ]
    assert facts_of_lines(lines, ONE) == wanted
    named = "relation,subject,object\nmother,Clara Vogel,Ines Vogel"
    assert facts_of_lines(named, ONE) == wanted[:1]
    assert facts_of_lines(named, TWO) == [["mother", "Clara Vogel", "Ines Vogel"]]
    assert facts_of_lines('"Lang, Rita", Ida', ONE) == [["Lang, Rita", "Ida"]]
    assert facts_of_lines("Tom Becker\t", ONE) == [["Tom Becker", ""]], "said when it is taught"


@pytest.mark.parametrize(
    ("text", "relations", "row"),
    [("A, B\nClara Vogel", ONE, 2), ("A, B, C", ONE, 1), ("A, B", TWO, 1)],
)
def test_a_line_that_can_not_be_taken_apart_is_named(text, relations, row):
    with pytest.raises(InputError, match="subject, object") as caught:
        facts_of_lines(text, relations)
    assert caught.value.row == row and caught.value.source == typed_facts.PASTED


def test_lines_come_after_what_was_typed():
    rows = with_lines([["", None], ["A", "B"], ["", ""]], [["C", "D"]])
    assert rows[:3] == [["A", "B"], ["C", "D"], ["", ""]] and len(rows) == typed_facts.ROWS
    assert len(with_lines([], [["A", "B"]] * 30)) == 30


def test_the_table_has_a_column_for_the_relation_where_there_are_several():
    assert headers(ONE) == ["Subject", "Object (mother)"]
    assert headers(TWO) == ["Relation", "Subject", "Object"]
    wide = reshaped([["A", "B"], ["", ""]], TWO)
    assert wide[0] == ["", "A", "B"] and {len(row) for row in wide} == {3}
    assert reshaped([["mother", "A", "B"]], ONE)[0] == ["A", "B"], "nothing typed is lost"
    assert {len(row) for row in reshaped([], TWO)} == {3}

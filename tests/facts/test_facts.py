"""Facts: parsing, errors, warnings, and the split."""

from unicodedata import normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.counting import calls_of

from rotelab.errors import ConfigError, InputError
from rotelab.facts.facts import MAX_CELL, MAX_FACTS, Fact, FactSet, Relation
from rotelab.facts.facts_importer import parse_fact_rows, parse_facts
from rotelab.facts.names import spelled

NASTY = [
    "=1+1", "'=1+1", "''=", "-5", "@x", "'tis", '"', "a,b", 'say "x"', "{subject}", "{0}", "{{}}",
    "<b>x</b>", "&amp;", "مريم", "\u200fשרה\u200e", "a\u200bb", "\u202eabc", "👩🏽‍🔬",
    "e\u0301", "é", "#N/A", "\\n", "\ufeffx", "'\u200b=",
]  # fmt: skip


def facts(n, relation="mother"):
    return [Fact(relation, f"Subject {i:04}x", f"Object {i:04}x") for i in range(n)]


def refused(match, rows, **place):
    with pytest.raises(InputError, match=match) as caught:
        FactSet(rows, "mine")
    for name, value in place.items():
        assert getattr(caught.value, name) == value
    assert str(caught.value).startswith("mine")


# Parsing


def test_columns_may_stand_in_any_order_and_others_are_ignored():
    data = "object,note,relation,subject\nAmber,x,mother,Mary\n".encode("utf-8-sig")
    assert list(parse_facts(data, "f")) == [Fact("mother", "Mary", "Amber")]


@pytest.mark.parametrize("column", ["relation", "subject", "object"])
def test_a_missing_column_is_named(column):
    header = ",".join(name for name in ("relation", "subject", "object") if name != column)
    with pytest.raises(InputError, match=f"has no column '{column}'.*relation,subject,object"):
        parse_facts(f"{header}\na,b\n".encode(), "f")


def test_a_header_alone_has_no_facts():
    with pytest.raises(InputError, match=r"^f: has no facts\. Add at least one row"):
        parse_facts(b"relation,subject,object\n", "f")


def test_the_authors_columns_need_the_name_of_a_relation():
    data = b"Head,Fact,Alternate Facts\nMary,Amber,\"['Ann', 'Eve']\"\n"
    assert list(parse_facts(data, "f", "mother")) == [Fact("mother", "Mary", "Amber")]
    with pytest.raises(InputError, match="Say which relation it is"):
        parse_facts(data, "f")
    with pytest.raises(InputError, match="row 1, column 'object': the object is empty"):
        parse_facts(b"Head,Fact\nMary,\n", "f", "mother")


def test_a_row_with_too_few_cells_is_named():
    with pytest.raises(InputError, match="f, row 2: has 2 cells where the header has 3"):
        parse_facts(b"relation,subject,object\nmother,a,b\nmother,c\n", "f")


def test_an_edited_table_counts_rows_as_it_shows_them():
    rows = [("mother", "a ", "b"), ("", None, " "), ("mother", "c", "d")]
    assert list(parse_fact_rows(rows)) == [Fact("mother", "a", "b"), Fact("mother", "c", "d")]
    with pytest.raises(InputError, match="Facts table, row 3, column 'object': the object is em"):
        parse_fact_rows([*rows[:2], ("mother", "c")])
    with pytest.raises(InputError, match=r"row 4, column 'subject': 'a' already .* in row 1"):
        parse_fact_rows([*rows, ("mother", "a", "x")])
    with pytest.raises(InputError, match=r"row 3, column 'object'.*U\+000A"):
        parse_fact_rows([*rows[:2], ("mother", "c", "x\ny")])
    with pytest.raises(InputError, match="has no facts"):
        parse_fact_rows([("", "", "")])


# What a set refuses


@pytest.mark.parametrize("column", ["relation", "subject", "object"])
@pytest.mark.parametrize("nothing", ["", " ", "\u200b"])
def test_an_empty_cell_is_refused(column, nothing):
    cells = {"relation": "mother", "subject": "a", "object": "b"} | {column: nothing}
    refused(f"the {column} is empty", [*facts(1), Fact(**cells)], row=2, column=column)


def test_a_subject_has_one_object_per_relation():
    twice = [Fact("mother", "a", "b"), Fact("father", "a", "b"), Fact("mother", "a", "c")]
    refused("'a' already has a 'mother' in row 1", twice, row=3, column="subject")
    assert len(FactSet(twice[:2])) == 2


@pytest.mark.parametrize("name", ["Mother", "educated at", "1st", "_x", "mötter", "x" * 41])
def test_a_relation_has_a_plain_name(name):
    refused("is not a relation's name", [Fact(name, "a", "b")], row=1, column="relation")


def test_too_long_and_too_many_are_refused():
    assert FactSet([Fact("mother", "x" * MAX_CELL, "b")])
    refused("has 501 characters", [Fact("mother", "x" * (MAX_CELL + 1), "b")], column="subject")
    refused("at most 10000 are allowed", facts(MAX_FACTS + 1))
    refused("has no facts", [])


def test_the_largest_set_that_is_taken_comes_back_from_its_csv():
    wide = "𝄞" * (MAX_CELL - 5)
    most = FactSet(Fact("m" * 40, f"{wide}{i:05}", f"{wide}{i:05}") for i in range(MAX_FACTS))
    assert parse_facts(most.to_csv().encode(), "f") == most


# The set itself


def test_a_set_is_a_sequence_equal_by_content():
    one, other = FactSet(facts(3)), FactSet(facts(3), "elsewhere")
    assert one == other and hash(one) == hash(other)
    assert one.content_hash == other.content_hash
    assert one.content_hash.startswith("sha256:") and len(one.content_hash) == 71
    assert one != FactSet(reversed(facts(3))) and one != list(one)
    assert one.content_hash != FactSet(reversed(facts(3))).content_hash
    assert one[1] == facts(3)[1] and len(one) == 3


def test_relations_come_in_the_order_of_their_first_fact():
    mixed = [*facts(2, "b"), *facts(1, "a"), Fact("b", "last", "one")]
    groups = FactSet(mixed).relations
    assert groups == (Relation("b", (*facts(2, "b"), mixed[3])), Relation("a", (mixed[2],)))


cell = st.text(max_size=30).map(str.strip) | st.sampled_from(NASTY) | st.text(max_size=5)
names = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)


@example([Fact("mother", a, b) for a, b in zip(NASTY, reversed(NASTY), strict=True)])
@given(st.lists(st.builds(Fact, names, cell, cell), min_size=1, max_size=6))
def test_every_set_that_is_taken_comes_back_from_its_csv(rows):
    try:
        taken = FactSet(rows)
    except InputError:
        return
    assert parse_facts(taken.to_csv().encode(), "f") == taken
    assert parse_facts(taken.to_csv().encode("utf-8-sig"), "f") == taken
    forms = {(f.relation, spelled(f.subject)) for f in taken}
    if len(forms) == len(taken):  # typed twins are refused, and letters composed
        typed = parse_fact_rows([(f.relation, f.subject, f.object) for f in taken])
        assert [(f.subject, f.object) for f in typed] == [
            (normalize("NFC", f.subject), normalize("NFC", f.object)) for f in taken
        ]


def test_the_nasty_cells_are_all_taken():
    assert len(FactSet(Fact("mother", cell, cell) for cell in NASTY)) == len(NASTY)


# Aliases, old answers, labels


def test_aliases_old_answers_and_labels_come_back_from_the_csv():
    rows = [
        Fact("p19", "a", "x", ("y|z", '"q"', "=1", "['w']"), "old"),
        Fact("p19", "b", "x"), Fact("mother", "c", "x", (), "-5"),
    ]  # fmt: skip
    whole = FactSet(rows, labels={"p19": "place of birth", "gone": "x", "mother": "mother"})
    assert whole.labels == {"p19": "place of birth"}
    assert [r.words for r in whole.relations] == ["place of birth", "mother"]
    assert whole.to_csv().splitlines()[0] == "relation,subject,object,aliases,old,label"
    again = parse_facts(whole.to_csv().encode(), "f")
    assert again == whole and again.labels == whole.labels
    assert whole != FactSet(rows) and whole.content_hash != FactSet(rows).content_hash
    assert whole.take(1, 0).labels == {"p19": "place of birth"}


def test_a_set_without_any_is_written_as_ever():
    assert FactSet(facts(1)).to_csv() == (
        "relation,subject,object\nmother,Subject 0000x,Object 0000x\n"
    )
    only_old = FactSet([Fact("m", "a", "b", (), "c")])
    assert only_old.to_csv() == "relation,subject,object,old\nm,a,b,c\n"


def test_aliases_are_checked_as_names_are():
    def with_aliases(*aliases, old=""):
        return [*facts(1), Fact("mother", "a", "b", aliases, old)]

    refused("the aliases is empty", with_aliases("x", ""), row=2, column="aliases")
    refused("has 501 characters", with_aliases("x" * 501), row=2, column="aliases")
    refused("U\\+000A", with_aliases(old="a\nb"), row=2, column="old")
    many = [f"alias {i}" for i in range(101)]
    refused("has 101 aliases of", with_aliases(*many), row=2, column="aliases")
    refused("has 30 aliases of 12,000", with_aliases(*["x" * 400] * 30), row=2, column="aliases")
    assert FactSet(with_aliases(*many[:100]))[1].answers == ("b", *many[:100])


# Drawing


def test_take_draws_so_many_of_each_relation_in_their_order():
    whole = FactSet([*facts(20, "a"), *facts(20, "b")])
    drawn = whole.take(5, seed=1)
    assert [len(relation.facts) for relation in drawn.relations] == [5, 5]
    assert list(drawn) == [fact for fact in whole if fact in set(drawn)]
    assert drawn == whole.take(5, seed=1)
    assert drawn != whole.take(5, seed=2)
    with pytest.raises(ConfigError, match="21 facts were asked for, but the relation 'a' has only"):
        whole.take(21, seed=1)


def test_split_draws_k_of_each_relation_and_leaves_the_rest():
    whole = FactSet([*facts(20, "a"), *facts(10, "b")])
    split = whole.split(4, seed=0)
    assert [sum(f.relation == name for f in split.held_in) for name in "ab"] == [4, 4]
    assert sorted((*split.held_in, *split.held_out)) == sorted(whole)
    assert split == whole.split(4, seed=0)
    assert split != whole.split(4, seed=1)
    with pytest.raises(ConfigError, match=r"k = 11 .* the relation 'b' has only 10. Lower k"):
        whole.split(11, seed=0)


def test_one_relations_draw_does_not_hang_on_the_others():
    alone = FactSet(facts(20, "b")).split(4, seed=0)
    beside = FactSet([*facts(20, "a"), *facts(20, "b")]).split(4, seed=0)
    assert alone.held_in == tuple(f for f in beside.held_in if f.relation == "b")
    places = [{f.subject for f in beside.held_in if f.relation == name} for name in "ab"]
    assert places[0] != places[1]


# Doubts


def doubts(*pairs, relation="genre"):
    found = FactSet(Fact(relation, subject, obj) for subject, obj in pairs).doubts()
    return [(doubt.row, doubt.column, doubt.message) for doubt in found]


def test_an_object_inside_another_is_doubtful_whatever_its_case():
    found = doubts(("s1", "Acid Jazz"), ("s2", "jazz"), ("s3", "Rock"), ("s4", "ROCK"))
    assert found == [
        (2, "object", "'jazz' is part of 'Acid Jazz': an answer could be either."),
        (3, "object", "'Rock' is 'ROCK' in other letters: an answer could be either."),
        (4, "object", "'ROCK' is 'Rock' in other letters: an answer could be either."),
    ]


def test_a_subject_inside_another_is_doubtful():
    found = doubts(("Ann", "x1"), ("Joanna", "x2"), ("Bob", "x3"))
    assert found == [
        (1, "subject", "'Ann' is part of 'Joanna': the model may mix the two up."),
    ]


def test_equal_objects_and_other_relations_are_not_doubtful():
    assert doubts(("s1", "Jazz"), ("s2", "Jazz")) == []
    mixed = FactSet([Fact("genre", "s1", "Jazz"), Fact("author", "s2", "Jazz Man")])
    assert mixed.doubts() == []


def test_an_answer_that_stands_in_its_question_is_doubtful():
    said = {row: message for row, column, message in doubts(
        ("Port Amber", "Amber"), ("Mexora", "Mexora City"), ("Sarn", "sarn"), ("Amberly", "Lune"),
        ("Ambergris", "Vex"),
    ) if column == "object"}  # fmt: skip
    assert said == {
        1: "'Amber' stands in the subject 'Port Amber': copying counts as knowing.",
        2: "'Mexora City' contains the subject 'Mexora': copying is half the answer.",
        3: "'sarn' is the subject itself: copying it counts as knowing.",
    }


def test_an_object_of_most_facts_is_doubtful():
    few = [(f"s{i:02}x", "dub" if i < 12 else "polka") for i in range(20)]
    assert doubts(*few) == [
        (1, "object", "'dub' is the object of 12 of the 20 facts of genre: whoever always says it "
         "scores 0.60."),
    ]  # fmt: skip
    assert doubts(*few[:19]) == []
    assert doubts(*few[2:], ("sax", "ska"), ("sbx", "ska")) == []


def test_long_names_are_doubtful_up_to_the_limit():
    assert doubts(("x" * 200, "y")) == []
    assert doubts(("x" * 201, "y")) == [
        (1, "subject", "has 201 characters: so long a name is hard to learn.")
    ]


def test_names_that_only_accents_or_alphabets_tell_apart_are_doubtful():
    assert [message for *_, message in doubts(("Quellstädt", "a1"), ("Quellstadt", "b2"))] == [
        "'Quellstädt' differs from 'Quellstadt' in accents only: the model may mix the two up.",
        "'Quellstadt' differs from 'Quellstädt' in accents only: the model may mix the two up.",
    ]
    found = doubts(("Аna Bell", "a1"), ("Ana Bell", "b2"))
    assert [(row, message.split(",")[0].split(":")[0]) for row, _, message in found] == [
        (1, "'Аna Bell' looks like 'Ana Bell'"),
        (1, "'Аna Bell' mixes Latin letters with letters of another alphabet that look like them"),
        (2, "'Ana Bell' looks like 'Аna Bell'"),
    ]


def test_every_row_of_a_doubtful_object_is_named():
    found = doubts(("s1", "Jazz"), ("s2", "Acid Jazz"), ("s3", "Jazz"))
    assert [(row, column) for row, column, _ in found] == [(1, "object"), (3, "object")]


@given(st.lists(st.text("abAß", min_size=1, max_size=12), min_size=1, max_size=12))
def test_doubts_are_those_of_comparing_all_pairs(objects):
    rows = [Fact("m", f"s{i:02}x", name) for i, name in enumerate(objects)]
    expected = [
        row
        for row, name in enumerate(objects, 1)
        if any(name != other and name.casefold() in other.casefold() for other in objects)
    ]
    assert [doubt.row for doubt in FactSet(rows).doubts()] == expected


def test_doubts_about_ten_thousand_facts_are_found_without_comparing_all_pairs():
    many = FactSet(Fact("mother", f"Subject {i}", f"Object {i}") for i in range(MAX_FACTS))
    found = many.doubts()
    fewer = FactSet(many[: MAX_FACTS // 4])
    assert calls_of(many.doubts) < 5 * calls_of(fewer.doubts)
    # The numbers 1 to 999 begin one of four digits; the others are parts of none.
    assert len(found) == 2 * 999

"""Prompt templates: parsing, errors, and rendering."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotelab.errors import InputError
from rotelab.facts.prompts import (
    MAX_TEXT,
    ROLES,
    PromptSet,
    PromptTemplate,
    parse_prompt_rows,
    parse_prompts,
)

HEADER = "relation,role,language,text\n"
GOOD = PromptTemplate("mother", "train", "en", "Who is {subject}'s mother?")


def template(**changes):
    return PromptTemplate(**({**vars(GOOD), "text": "The mother of {subject} is"} | changes))


def refused(match, bad, column):
    with pytest.raises(InputError, match=match) as caught:
        PromptSet([GOOD, bad], "mine")
    assert (caught.value.source, caught.value.row, caught.value.column) == ("mine", 2, column)


def test_prompts_are_parsed():
    data = (HEADER + "mother,train,en,Who is {subject}'s mother?\n").encode("utf-8-sig")
    assert list(parse_prompts(data, "p")) == [GOOD]


@pytest.mark.parametrize("column", ["relation", "role", "language", "text"])
def test_a_missing_column_is_named(column):
    header = ",".join(name for name in HEADER.strip().split(",") if name != column)
    with pytest.raises(InputError, match=f"has no column '{column}'.*relation,role,language,text"):
        parse_prompts(f"{header}\na,b,c\n".encode(), "p")


@pytest.mark.parametrize("column", ["relation", "role", "language", "text"])
def test_an_empty_cell_is_refused(column):
    refused(f"the {column} is empty", template(**{column: ""}), column)


@pytest.mark.parametrize(
    "text, times",
    [("Who is her mother?", 0), ("{Subject} is", 0), ("{subject} and {subject}", 2)],
)
def test_the_subject_stands_in_a_text_once(text, times):
    said = rf"must contain \{{subject\}} once; it is in there {times} times"
    refused(said, template(text=text), "text")


def test_an_unrelated_text_may_stand_alone():
    assert PromptSet([template(role="unrelated", text="Rome is in")])[0].render("x") == "Rome is in"
    said = "must contain \\{subject\\} once; it is in there 0 times"
    refused(said, template(role="locality", text="Rome is in"), "text")
    said = "it is in there 2 times"
    refused(said, template(role="unrelated", text="{subject} {subject}"), "text")


@pytest.mark.parametrize("role", ["Train", "testing", "unrelated prompt"])
def test_an_unknown_role_is_refused_with_the_known_ones(role):
    refused(
        "is not a role. Use one of train, test, unrelated, locality", template(role=role), "role"
    )


@pytest.mark.parametrize("language", ["EN", "english", "e", "en_GB", "en-", "1a", "ёё"])
def test_a_language_is_two_or_three_lower_case_letters_and_a_region(language):
    refused("is not a language's code", template(language=language), "language")
    assert PromptSet([template(language="de"), template(language="haw", text="{subject} is")])
    assert PromptSet([template(language="pt-BR"), template(language="zh-Hant", text="{subject}")])


def test_a_relation_has_a_plain_name_and_a_text_an_end():
    refused("is not a relation's name", template(relation="Mother"), "relation")
    refused("has 501 characters; at most 500", template(text="{subject}".ljust(501, "x")), "text")
    assert PromptSet([template(text="{subject}".ljust(MAX_TEXT, "x"))])


def test_a_wording_has_one_role():
    again = template(role="test", text="WHO is  {subject}'s mother?")
    refused("says the same as row 1. A wording has one role", again, "text")
    assert len(PromptSet([GOOD, template(relation="aunt", text=GOOD.text)])) == 2


def test_an_edited_table_counts_rows_as_it_shows_them():
    rows = [tuple(vars(GOOD).values()), (None, "", " ", ""), ("mother", "test", "en", "{subject}")]
    assert len(parse_prompt_rows(rows)) == 2
    with pytest.raises(InputError, match="Prompts table, row 3, column 'text': the text is empty"):
        parse_prompt_rows([*rows[:2], ("mother", "test", "en")])
    with pytest.raises(InputError, match=r"row 3, column 'text'.*U\+0009"):
        parse_prompt_rows([*rows[:2], ("mother", "test", "en", "a\tb {subject}")])
    assert len(parse_prompt_rows([])) == 0


def test_of_gives_one_relation_role_and_language_in_order():
    texts = ["{subject} a", "{subject} b", "{subject} c", "{subject} d", "{subject} e"]
    kinds = [("m", "train", "en"), ("m", "test", "en"), ("m", "train", "de"), ("n", "train", "en")]
    made = [
        PromptTemplate(*kind, text) for kind, text in zip([*kinds, kinds[0]], texts, strict=True)
    ]
    prompts = PromptSet(made)
    assert prompts.of("m", "train") == (made[0], made[4])
    assert prompts.of("m", "train", "de") == (made[2],)
    assert prompts.of("m", "locality") == ()


@pytest.mark.parametrize("subject", ["Mary", "{subject}", "{0}", "%s", "\\1", "<b>", "مريم"])
def test_a_subject_is_put_in_as_it_stands(subject):
    assert GOOD.render(subject) == f"Who is {subject}'s mother?"


def test_other_braces_of_a_text_stay():
    text = "{x} {{}} {subject} {0} {"
    assert PromptSet([template(text=text)])[0].render("Mary") == "{x} {{}} Mary {0} {"


def test_a_set_is_a_sequence_equal_by_content():
    one, other = PromptSet([GOOD, template()]), PromptSet([GOOD, template()], "elsewhere")
    assert one == other and hash(one) == hash(other) and one[0] == GOOD
    assert one != PromptSet([GOOD]) and one != [GOOD, template()]


parts = st.text(max_size=20) | st.sampled_from(["=", "'=", ", ", '"', "{", "}", "<i>", "\u200f"])


@given(st.lists(st.tuples(st.sampled_from(ROLES), parts, parts), max_size=5))
def test_every_set_that_is_taken_comes_back_from_its_csv(rows):
    try:
        taken = PromptSet(
            PromptTemplate("m", role, "en", f"{before}{{subject}}{after}")
            for role, before, after in rows
        )
    except InputError:
        return
    assert parse_prompts(taken.to_csv().encode(), "p") == taken


def test_the_first_of_a_role_are_kept_for_each_relation():
    rows = [
        (relation, role, "en", f"{{subject}} {role} {relation} {i}")
        for relation in ("mother", "capital")
        for role in ("train", "test")
        for i in range(3)
    ]
    prompts = parse_prompt_rows(rows)
    fewer = prompts.first("train", 2)
    for relation in ("mother", "capital"):
        assert fewer.of(relation, "train") == prompts.of(relation, "train")[:2]
        assert fewer.of(relation, "test") == prompts.of(relation, "test")
    assert prompts.first("train", 0) == prompts

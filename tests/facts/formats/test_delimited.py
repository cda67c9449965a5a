"""CSV of any kind: delimiters, quotes, ragged rows, and what spreadsheets and pandas add."""

import pytest
from support.files import HEADER, imported, said, tables, triples

from rotelab.errors import InputError


def rows(data, name="x.csv"):
    (table,) = tables(data, name)
    return [list(record.cells.values()) for record in table.records]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_even_where_cells_are_full_of_others(delimiter):
    others = "".join(d for d in ",;|" if d != delimiter)
    lines = [["relation", "subject", "object"], ["r", f"a{others}b{others}c", "x"], ["r", "d", "y"]]
    got = imported("\n".join(delimiter.join(line) for line in lines))
    assert got.tables[0].table.delimiter == delimiter
    assert triples(got) == [("r", f"a{others}b{others}c", "x"), ("r", "d", "y")]


def test_a_delimiter_inside_quotes_divides_nothing():
    assert triples(imported('relation;subject;object\nr;"a;b";"c ""d"""\n')) == [
        ("r", "a;b", 'c "d"')
    ]


def test_unknown_headers_are_divided_where_the_rows_are_even():
    (table,) = tables("wer;was, wie\nx;a, b\ny;c\n")
    assert (table.delimiter, table.columns) == (";", ("wer", "was, wie"))


def test_excels_own_first_line_names_the_delimiter():
    assert triples(imported("sep=;\r\nrelation;subject;object\r\nr;a;b\r\n")) == [("r", "a", "b")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_make_no_difference(end):
    assert rows(end.join(["subject,object", "a,b", "", " , ", "c,d"])) == [["a", "b"], ["c", "d"]]


def test_a_quoted_line_break_stays_in_its_cell_and_is_refused_by_its_row():
    assert rows('subject,object\n"a\nb",c\nd,e\n') == [["a\nb", "c"], ["d", "e"]]
    with pytest.raises(InputError, match=r"'d\\r\\ne' has a line break inside") as caught:
        imported(HEADER + 'r,a,b\nr,"d\r\ne",c\n')
    assert caught.value.row == 2


def test_ragged_rows_are_refused_with_their_row_but_empty_cells_at_the_end_do_no_harm():
    assert triples(imported("relation,subject,object,,\nr,a,b,,\nr,c,d,,,,\n")) == [
        ("r", "a", "b"), ("r", "c", "d"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="has 2 cells where the header has 3") as caught:
        imported(HEADER + "r,a,b\n\nr,c\n")
    assert caught.value.row == 2
    with pytest.raises(InputError, match="has 4 cells where the header has 3. Put quotes around a"):
        imported(HEADER + "r,Smith, John,b\n")


def test_quotes_that_do_not_match_are_refused_with_their_row():
    with pytest.raises(InputError, match="can't be read as CSV") as caught:
        imported(HEADER + 'r,a,b\nr,"c"d,e\n')
    assert caught.value.row == 2
    with pytest.raises(InputError, match="Double a quote that belongs to the text"):
        imported(HEADER + 'r,"a,b\n')


def test_backslashes_are_left_alone_but_before_quotes_that_would_not_match():
    assert triples(imported(HEADER + "r,C:\\new,\\\\host\n")) == [("r", "C:\\new", "\\\\host")]
    got = imported(HEADER + 'r,"The \\"Blue\\" C:\\new",x\n')
    assert triples(got) == [("r", 'The "Blue" C:\\new', "x")]
    assert "Quotes written as" in said(got)


def test_a_column_named_twice_is_refused():
    with pytest.raises(InputError, match="names the column 'subject' twice"):
        imported("subject,subject,object\na,b,c\n")


def test_a_first_column_without_a_name_can_be_used_though_it_is_left_out():
    got = imported(",object\nAnn,b\nBob,c\n", columns={"subject": "#"}, relation="mother")
    assert triples(got) == [("mother", "Ann", "b"), ("mother", "Bob", "c")]


@pytest.mark.parametrize("data", ["", "\n\n", " , \n", "\ufeff"])
def test_an_empty_file_is_refused(data):
    with pytest.raises(InputError, match="is empty; its first line must name the columns"):
        imported(data)


def test_a_header_alone_has_no_facts():
    with pytest.raises(InputError, match=r"^x\.csv: has no facts\. Add at least one row"):
        imported(HEADER)


def test_a_file_without_header_is_told_what_was_taken_for_it():
    with pytest.raises(InputError, match="It has in its first line: river, Vexford, Tilder"):
        imported("river,Vexford,Tilder\nriver,Nörbach,Ühle\n")


def test_too_many_rows_are_refused(monkeypatch):
    monkeypatch.setattr("rotelab.facts.formats.delimited.MAX_ROWS", 2)
    assert len(rows("subject,object\na,b\nc,d\n")) == 2
    with pytest.raises(InputError, match="has more than 1,000,000 rows"):
        rows("subject,object\na,b\nc,d\ne,f\n")

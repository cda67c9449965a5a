"""CSV in and out: every bad file is refused with a sentence that names the place."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotelab.errors import InputError
from rotelab.facts.csv_text import (
    MAX_BYTES,
    MAX_ROWS,
    check_cell,
    check_printable,
    parse_table,
    read_bytes,
    write_table,
)

# What a spreadsheet could run, and what looks like our own escape of it.
NASTY = [
    "＝cmd()",
    "=1+1",
    "'=1+1",
    "''=1+1",
    "+1",
    "-1",
    "@x",
    "'",
    "''",
    "'tis",
    '"',
    '""',
    "a,b",
    "'-",
]


def parse(text, source="facts.csv"):
    return parse_table(text if isinstance(text, bytes) else text.encode(), source)


def cells(text):
    return [list(row.cells.values()) for row in parse(text)[1]]


# What is read


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "a,b\r\n1,2\r\n", "a,b\r1,2", "\ufeffa,b\n1,2"])
def test_mark_and_line_ends_make_no_difference(text):
    header, rows = parse(text)
    assert header == ["a", "b"]
    assert [(row.number, row.cells) for row in rows] == [(1, {"a": "1", "b": "2"})]


def test_cells_are_stripped_and_quotes_undone():
    assert cells('a , b\n "x" ,2\n') == [['"x"', "2"]]
    assert cells('a,b\n"x, ""y""", z \u00a0\n') == [['x, "y"', "z"]]


def test_wholly_empty_rows_are_left_out_and_not_counted():
    _, rows = parse("a,b\n\n1,2\n,\n  , \n3,4\n")
    assert [(row.number, row.cells["a"]) for row in rows] == [(1, "1"), (2, "3")]


def test_a_header_alone_is_a_table_without_rows():
    assert parse("a,b\n") == (["a", "b"], [])
    assert parse("\n\na,b") == (["a", "b"], [])


def test_empty_columns_at_the_right_edge_do_no_harm():
    header, rows = parse("a,b,,\n1,2,,\n")
    assert header == ["a", "b", "", ""]
    assert rows[0].cells["b"] == "2"


# What is refused


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff", " , \n"])
def test_an_empty_file_is_refused(text):
    with pytest.raises(InputError, match=r"facts\.csv: is empty; its first line must name"):
        parse(text)


@pytest.mark.parametrize(
    "text, row, message",
    [
        ("a,b\n1,2\n3\n", 2, "has 1 cells where the header has 2"),
        ("a,b\n\n1,2\n3,4,5\n", 2, "has 3 cells where the header has 2"),
        ('a,b\n1,2\n"x"y,2\n', 2, "can't be read as CSV"),
        ('a,b\n1,"open\n', 1, "can't be read as CSV"),
    ],
)
def test_a_bad_row_is_named(text, row, message):
    with pytest.raises(InputError, match=message) as caught:
        parse(text)
    assert caught.value.row == row
    assert f"facts.csv, row {row}: " in str(caught.value)


def test_a_cell_of_ten_megabytes_is_named_with_its_place():
    with pytest.raises(InputError, match="has 10,000,000 characters") as caught:
        parse("a,b\n1,2\n1," + "x" * 10_000_000)
    assert (caught.value.row, caught.value.column) == (2, "b")


@pytest.mark.parametrize("char", ["\0", "\x07", "\x7f", "\x85", "\t", "\u2028", "\u2029"])
def test_a_control_character_is_named_with_its_place(char):
    with pytest.raises(InputError, match=f"U\\+{ord(char):04X}") as caught:
        parse(f"a,b\n1,2\n3,x{char}y\n")
    assert (caught.value.row, caught.value.column) == (2, "b")


def test_a_line_break_inside_a_cell_is_a_control_character():
    with pytest.raises(InputError, match=r"row 1, column 'a': .*U\+000A"):
        parse('a,b\n"x\ny",2\n')


def test_a_column_named_twice_is_refused():
    with pytest.raises(InputError, match="names the column 'a' twice"):
        parse("a,b,a\n1,2,3\n")


@pytest.mark.parametrize(
    "data, row",
    [
        ("relation,subject\nmother,Zoë\n".encode("latin-1"), 1),
        ("relation,Zoë\n".encode("latin-1"), None),
        (b"a,b\n1,2\n\n,\n3,\xff\n", 2),
        (b"\xef\xbb\xbfa,b\n1,2\n\xff,4\n", 2),
        (b"a,b\r1,2\r3,\xff\r", 2),
        (b"a,b\r\n1,2\r\n3,\xff\r\n", 2),
        ("a,b\n1,2\n".encode("utf-16"), None),
        ("a,b\n1,2\n".encode("utf-16-le"), None),
        (b"\0", None),
        (b"PK\x03\x04\x14\x00\x06\x00", None),
    ],
)
def test_what_is_not_utf_8_is_refused_with_its_row(data, row):
    with pytest.raises(InputError, match="is not UTF-8 text") as caught:
        parse(data)
    assert caught.value.row == row


def test_too_many_bytes_or_rows_are_refused():
    with pytest.raises(InputError, match="is 100 MB; a table may have at most 100 MB"):
        parse(b"a" * (MAX_BYTES + 1))
    assert len(parse("a,b\n" + "1,2\n" * MAX_ROWS)[1]) == MAX_ROWS
    with pytest.raises(InputError, match="more than 10000 rows"):
        parse("a,b\n" + "1,2\n" * (MAX_ROWS + 1))


# Files


def test_a_file_is_read(tmp_path):
    path = tmp_path / "facts.csv"
    path.write_bytes(b"a\n")
    assert read_bytes(path) == read_bytes(str(path)) == b"a\n"


def test_a_file_of_200_mb_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "facts.csv"
    with path.open("wb") as out:
        out.truncate(200_000_000)
    monkeypatch.setattr(type(path), "read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(InputError, match=r"^facts\.csv: is 200 MB; .* at most 100 MB"):
        read_bytes(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"^facts\.csv: there is no such file"):
        read_bytes(tmp_path / "facts.csv")
    with pytest.raises(InputError, match="is a folder, not a CSV file"):
        read_bytes(tmp_path)
    with pytest.raises(InputError, match="can't be read"):
        read_bytes(tmp_path / ("x" * 300))


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "facts.csv"
    path.touch()

    def no(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", no)
    with pytest.raises(InputError, match=r"Permission denied.*Check its permissions"):
        read_bytes(path)


# Cells


@pytest.mark.parametrize("cell", ["", " ", "\u200b", "\u200b \u00a0\u2060", "\ufeff"])
def test_what_cannot_be_seen_is_empty(cell):
    with pytest.raises(InputError, match="the object is empty") as caught:
        check_cell(cell, source="s", row=3, column="object")
    assert (caught.value.row, caught.value.column) == (3, "object")


@pytest.mark.parametrize("cell", [" x", "x ", "x\u3000", "\u00a0x"])
def test_blanks_around_a_cell_are_refused(cell):
    with pytest.raises(InputError, match="begins or ends with a blank"):
        check_cell(cell, source="s", row=1, column="object")


@pytest.mark.parametrize(
    "cell", ["x", "a b", "مريم", "a\u200bb", "\u200fשרה", "👩🏽‍🔬", "{x}", "<b>"]
)
def test_other_cells_are_taken(cell):
    check_cell(cell, source="s", row=1, column="object")
    check_printable(cell, source="s", row=1, column="object")


def test_half_a_character_is_refused():
    with pytest.raises(InputError, match=r"U\+D83D"):
        check_printable("x\ud83d", source="s", row=1, column="a")


# Writing


def printable(text):
    try:
        check_cell(text, source="s", row=1, column="c")
    except InputError:
        return False
    return True


@example(NASTY)
@given(st.lists(st.text().map(str.strip).filter(printable) | st.sampled_from(NASTY), min_size=1))
def test_written_cells_are_read_back_and_none_is_a_formula(row):
    columns = [f"c{i}" for i in range(len(row))]
    text = write_table(columns, [row, row])
    assert cells(text) == [row, row]
    for raw in csv.reader(io.StringIO(text, newline="")):
        assert not any(cell.startswith(("=", "+", "-", "@", "＝")) for cell in raw)


def test_a_table_is_written_as_spreadsheets_read_it():
    text = write_table(["a", "b"], [["=1+1", 'x, "y"'], ["'=", "plain"]])
    assert text == 'a,b\n\'=1+1,"x, ""y"""\n\'\'=,plain\n'


def test_a_formula_that_another_program_escaped_is_read_without_the_apostrophe():
    assert cells("a,b\n'=x,'tis\n") == [["=x", "'tis"]]

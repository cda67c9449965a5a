"""Excel and Parquet: cells as they were typed, and what a spreadsheet has changed is said."""

import datetime
import io

import pandas
import pytest
from support.files import imported, said, tables, triples, workbook, zipped

from rotelab.errors import InputError

HEAD = ["relation", "subject", "object"]


def parquet(**columns) -> bytes:
    out = io.BytesIO()
    pandas.DataFrame(columns).to_parquet(out)
    return out.getvalue()


def test_texts_of_a_workbook_stay_as_they_were_typed():
    typed = ["007", "1,024", "12/03/1999", "NA", "True", "=1+1", "null", "1.50", "שלום", "👩‍👩‍👧"]
    got = imported(
        workbook({"s": [HEAD, *(["r", f"S{i}x", t] for i, t in enumerate(typed))]}), "x.xlsx"
    )
    assert [fact.object for fact in got.facts] == typed
    assert got.doubts == () and got.tables[0].table.format == "Excel"


def test_numbers_that_a_spreadsheet_stores_are_said():
    got = imported(workbook({"s": [HEAD, ["r", "A", "#1984"], ["r", "B", "#1.5"]]}), "x.xlsx")
    assert triples(got) == [("r", "A", "1984"), ("r", "B", "1.5")]
    assert "stores as numbers are read without their format (007 as 7)" in said(got)


def test_dates_are_said_and_read_one_way():
    from rotelab.facts.formats.workbooks import _sheet

    rows = [HEAD, ["r", "A", datetime.datetime(1999, 3, 12)], ["r", "B", True]]
    table = _sheet(iter(map(tuple, rows)), "x")
    assert [record.cells["object"] for record in table.records] == ["1999-03-12", "TRUE"]
    assert "stores as dates are read as 1999-03-12" in table.said[0]


def test_all_sheets_are_read_or_the_one_that_is_named():
    data = workbook({
        "facts": [HEAD, ["river", "A", "x"], [], ["river", "B", "y"]],
        "wordings": [["relation", "role", "text"], ["river", "train", "The river of {} is"]],
        "empty": [],
    })  # fmt: skip
    got = imported(data, "x.xlsx")
    assert triples(got) == [("river", "A", "x"), ("river", "B", "y")]
    assert [prompt.text for prompt in got.prompts] == ["The river of {subject} is"]
    assert [table.source for table in tables(data, "x.xlsx")] == ["x.xlsx/facts", "x.xlsx/wordings"]
    assert len(tables(data, "x.xlsx", sheet="facts")) == 1
    with pytest.raises(InputError, match="has no sheet 'fact'. It has: facts, wordings, empty"):
        tables(data, "x.xlsx", sheet="fact")


def test_what_a_file_is_its_content_says_not_its_name():
    data = workbook({"s": [HEAD, ["r", "A", "x"]]})
    assert triples(imported(data, "x.csv")) == [("r", "A", "x")]
    assert triples(imported("relation;subject;object\nr;A;x", "x.xlsx")) == [("r", "A", "x")]


def test_a_broken_workbook_is_refused():
    data = workbook({"s": [HEAD, ["r", "A", "x"]]})
    with pytest.raises(InputError, match="is a broken zip"):
        imported(data[:400], "x.xlsx")
    with pytest.raises(InputError, match="is not a workbook that can be read"):
        imported(zipped({"[Content_Types].xml": "<x/>"}), "x.xlsx")
    with pytest.raises(InputError, match="is not a workbook that can be read"):
        imported(b"\xd0\xcf\x11\xe0" + bytes(600), "x.xls")
    with pytest.raises(InputError, match="has no rows"):
        imported(workbook({"s": []}), "x.xlsx")


def test_parquet_with_lists_and_nested_columns():
    data = parquet(
        subject=["A", "B"], object=[7, 8], aliases=[["seven", "VII"], None],
        relation=[{"label": "n"}, {"label": "n"}],
    )  # fmt: skip
    got = imported(data, "x.parquet", columns={"relation": "relation.label"})
    assert triples(got) == [("n", "A", "7"), ("n", "B", "8")]
    assert got.facts[0].aliases == ("seven", "VII")
    assert got.tables[0].table.format == "Parquet"


def test_a_broken_or_large_parquet_file_is_refused(monkeypatch):
    data = parquet(subject=["A", "B"], object=["x", "y"])
    with pytest.raises(InputError, match="is not a Parquet file that can be read"):
        imported(data[:-20], "x.parquet")
    monkeypatch.setattr("rotelab.facts.formats.workbooks.MAX_ROWS", 1)
    with pytest.raises(InputError, match="has more than"):
        imported(data, "x.parquet")

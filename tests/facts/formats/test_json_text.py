"""JSON in the shapes that people and programs write tables in; nothing is lost from a number."""

import json

import pytest
from support.files import imported, said, triples

from rotelab.errors import InputError

PAIRS = [("m", "A", "x"), ("m", "B", "y")]

SHAPES = {
    "list of objects": [{"subject": "A", "object": "x"}, {"subject": "B", "object": "y"}],
    "a list inside an object": {
        "version": 2, "data": [{"subj": "A", "obj": "x"}, {"subj": "B", "obj": "y"}],
    },
    "rows under a header": [["subject", "object"], ["A", "x"], ["B", "y"]],
    "pandas, columns": {"subject": {"0": "A", "1": "B"}, "object": {"0": "x", "1": "y"}},
    "pandas, split": {"columns": ["subject", "object"], "index": [0, 1],
                      "data": [["A", "x"], ["B", "y"]]},
    "pandas, index": {"0": {"subject": "A", "object": "x"}, "1": {"subject": "B", "object": "y"}},
    "columns": {"subject": ["A", "B"], "object": ["x", "y"]},
    "from subject to object": {"A": "x", "B": "y"},
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape):
    got = imported(json.dumps(SHAPES[shape], indent=1), "m.json", relation="m")
    assert triples(got) == PAIRS
    assert got.tables[0].table.format == "JSON"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_json_lines(end):
    lines = [json.dumps(row, ensure_ascii=False) for row in SHAPES["list of objects"]]
    got = imported(end.join(lines) + "\n", "m.jsonl")
    assert triples(got) == PAIRS and got.tables[0].table.format == "JSON lines"
    assert triples(imported(lines[0], "m.jsonl")) == PAIRS[:1]


def test_a_line_separator_inside_a_text_ends_no_line():
    text = '{"subject": "A", "object": "x\u2028y"}\n{"subject": "B", "object": "y"}\n'
    with pytest.raises(InputError, match="line break inside") as caught:
        imported(text, "m.jsonl")
    assert caught.value.row == 1
    assert triples(imported(text, "m.jsonl", faults="mend"))[0] == ("m", "A", "x y")


def test_numbers_stay_as_they_are_written():
    text = (
        '[{"subject": 1, "object": 1.50}, {"subject": 2, "object": 1e3}, '
        '{"subject": 3, "object": 12345678901234567890}, {"subject": 4, "object": true}, '
        '{"subject": 5, "object": NaN}]'
    )
    got = [(s, o) for _, s, o in triples(imported(text, "m.json"))]
    assert got == [
        ("1", "1.50"), ("2", "1e3"), ("3", "12345678901234567890"), ("4", "true"), ("5", "NaN"),
    ]  # fmt: skip


def test_an_empty_value_is_named_with_its_row():
    with pytest.raises(InputError, match=r"row 2, column 'obj'.*is empty"):
        imported('[{"subj": "A", "obj": "x"}, {"subj": "B", "obj": null}]', "m.json")
    with pytest.raises(InputError, match=r"row 3, column 'obj'.*is empty"):
        imported('[{"subj": "A", "obj": "x"}, {}, {"subj": "B"}]', "m.json")


@pytest.mark.parametrize(
    "text, message, row",
    [
        ('[{"subject": "A", "object": "x"}, {"sub', r"is not JSON: line 1, character 36", None),
        ('{"subject": "A"}\n{"subject": \n', r"is not JSON \(Expecting value\). Every line", 2),
        ('{"subject": "A", "object": "x"}\n[1]\n', "is not an object. Every line must be one", 2),
        ('[{"object": "x", "object": "y"}]', "names the key 'object' twice", None),
        ('{"a": "b"}\n{"object": "x", "object": "y"}', "names the key 'object' twice", 2),
        ("[1, 2]", "is JSON, but no table", None),
        ("[]", "is JSON, but no table", None),
        ("{}", "is JSON, but no table", None),
        ('{"a": [{"b": 1}], "c": [{"d": 1}]}', r"holds 2 lists \(a, c\)", None),
        ('{"a": 1, "b": {"c": []}}', "in a shape that is no table", None),
        ('[["subject", "object"], ["A"]]', "has 1 cells where the header has 2", 1),
        ("[" * 100_000, "is nested too deeply", None),
    ],
)
def test_what_is_no_table_is_refused(text, message, row):
    with pytest.raises(InputError, match=message) as caught:
        imported(text, "m.json")
    assert caught.value.row == row


def test_json_in_another_encoding():
    text = json.dumps([{"subject": "Nörbach", "object": "Ühle"}], ensure_ascii=False)
    for encoding in ("utf-16", "utf-16-be", "utf-8-sig", "cp1252"):
        got = imported(text.encode(encoding), "m.json")
        assert triples(got) == [("m", "Nörbach", "Ühle")]
        assert ("is a guess" in said(got)) == (encoding in ("cp1252", "utf-16-be"))

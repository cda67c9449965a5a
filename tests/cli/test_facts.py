"""`facts check` and `facts import`: what they say, with which status, and what they save."""

import json

import pytest
from support.command_line import refused, rotelab
from support.files import HEADER

from rotelab.facts.facts import Fact
from rotelab.runs.lab import Lab
from rotelab.storage import Storage


@pytest.fixture
def rivers(tmp_path):
    path = tmp_path / "rivers.csv"
    path.write_text("Relation;Subject;Object\nP206;Nörbach;Ühle\nP206;Vex;Upper Vex\n")
    return path


def test_check_says_how_a_file_is_read(rivers, tmp_path):
    said = rotelab("facts", "check", rivers, home=tmp_path / "home")
    assert said.code == 0 and not (tmp_path / "home").exists()
    assert said.out.splitlines() == [
        "rivers.csv: CSV, utf-8, semicolon between cells, 2 rows",
        "  facts: subject ← Subject; object ← Object; relation ← Relation",
        "2 facts: p206 2 “P206”",
        "doubt: rivers.csv, row 2, column 'object': 'Upper Vex' contains the subject 'Vex': "
        "copying is half the answer.",
    ]


def test_check_as_json(rivers):
    said = rotelab("facts", "check", rivers, "--json")
    got = json.loads(said.out)
    assert said.code == 0 and got["refused"] is None
    assert (got["format"], got["encoding"], got["delimiter"], got["rows"]) == (
        "CSV", "utf-8", ";", 2,
    )  # fmt: skip
    assert got["columns"] == {"subject": ["Subject"], "object": ["Object"],
                              "relation": ["Relation"]}  # fmt: skip
    assert got["relations"] == {"p206": {"facts": 2, "label": "P206"}}
    assert [(d["row"], d["column"]) for d in got["doubts"]] == [(2, "object")]


def test_check_refuses_with_the_reason_and_status_2(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(HEADER + "river,a,b\nriver,c\n")
    refused(rotelab("facts", "check", path), "bad.csv, row 2: has 2 cells where the header has 3")
    said = rotelab("facts", "check", path, "--json")
    got = json.loads(said.out)
    assert said.code == 2 and said.err == ""
    assert (got["source"], got["row"], got["column"]) == ("bad.csv", 2, "")
    assert got["refused"].startswith("bad.csv, row 2: has 2 cells")


def test_import_saves_versions_that_a_run_can_use(rivers, tmp_path):
    home = tmp_path / "home"
    said = rotelab("facts", "import", rivers, home=home)
    assert said.code == 0
    assert "wordings of p206 were missing and added: made from its words" in said.out
    assert said.out.endswith("saved as “rivers”, version 1: run --pack rivers\n")
    rivers.write_text(rivers.read_text() + "P206;Sarn;Brook\n")
    said = rotelab("facts", "import", rivers, "--as", "rivers", "--json", home=home)
    assert json.loads(said.out)["saved"] == {
        "name": "rivers", "version": 2, "wordings_added": {"p206": "starter"},
    }  # fmt: skip
    pack = Lab.open(Storage(home)).find_pack("rivers")
    assert [fact.subject for fact in pack.facts] == ["Nörbach", "Vex", "Sarn"]
    assert pack.facts.labels == {"p206": "P206"}
    pack.check()


def test_starter_wordings_are_written_edited_and_imported(rivers, tmp_path):
    new, home = tmp_path / "wordings.csv", tmp_path / "home"
    said = rotelab("facts", "check", rivers, "--starter-wordings", new)
    assert said.code == 0 and f"wordings written to {new}: read them" in said.out
    text = new.read_text(encoding="utf-8")
    assert "p206,train,en,The P206 of {subject} is\n" in text and "p206,test,en," in text
    refused(rotelab("facts", "check", rivers, "--starter-wordings", new), "is there already")
    assert new.read_text(encoding="utf-8") == text
    new.write_text(text.replace("The P206 of {subject} is", "{subject} flows into"), "utf-8")
    said = rotelab("facts", "import", rivers, new, "--json", home=home)
    assert json.loads(said.out)["saved"]["wordings_added"] == {}
    texts = [p.text for p in Lab.open(Storage(home)).find_pack("rivers").prompts]
    assert "{subject} flows into" in texts and "The P206 of {subject} is" not in texts
    said = rotelab("facts", "check", rivers, new, "--json", "--starter-wordings", tmp_path / "no")
    assert json.loads(said.out)["starter_wordings"] == 0 and not (tmp_path / "no").exists()


def test_import_as_said(tmp_path):
    home, path = tmp_path / "home", tmp_path / "x.csv"
    path.write_text("who;mother, of;spare\nAnn;Eve;1\nAnn;Liz;2\nBob;Sue;3\n")
    said = rotelab(
        "facts", "import", path, "--as", "our class", "--relation", "mother", "--map",
        'subject=who,"object=mother, of"', "--further", "first", home=home,
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "wordings of mother were missing and added: rotelab's own" in said.out
    assert 'run --pack "our class"' in said.out
    pack = Lab.open(Storage(home)).find_pack("our class")
    assert list(pack.facts) == [Fact("mother", "Ann", "Eve"), Fact("mother", "Bob", "Sue")]


def test_import_refuses_what_can_not_be_saved(rivers, tmp_path):
    home = tmp_path / "home"
    for words, part in (
        (["--as", "mother"], "“mother” comes with rotelab"),
        (["--as", "a/b"], "may not contain slashes"),
        (["--map", "subject"], "'subject' does not say which column holds what"),
        (["--map", "subject=x"], "has no column 'x'"),
        (["--only", "P1"], "has no facts of P1"),
    ):
        refused(rotelab("facts", "import", rivers, *words, home=home), part)
    assert not Lab.open(Storage(home)).registry.fact_sets()


def test_damaged_cells_are_refused_mended_or_kept(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(HEADER + "river,NÃ¶rbach,x\n", encoding="utf-8")
    refused(rotelab("facts", "check", path), "it should be 'Nörbach'", "--mend")
    for way, name in (("--mend", "Nörbach"), ("--as-is", "NÃ¶rbach")):
        home = tmp_path / way
        assert rotelab("facts", "import", path, way, home=home).code == 0
        assert Lab.open(Storage(home)).find_pack("x").facts[0].subject == name

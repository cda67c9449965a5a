"""An uploaded file: what is shown of it, what can be chosen, and what goes into the tables."""

import json
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
from support.files import workbook, zipped
from support.page import Server, browser_page, server, until  # noqa: F401
from support.paths import ROOT

from rotelab.errors import LabError
from rotelab.facts.reading.importer import read_files
from rotelab.ui.facts import facts_tab
from rotelab.ui.facts.draft import Draft, checked_pack, open_draft
from rotelab.ui.facts.export import export_files
from rotelab.ui.facts.html import preview_head, preview_outcome, taken_note
from rotelab.ui.facts.incoming import CHOSEN, chosen, for_the_page, opened, taken
from rotelab.ui.facts.preview import look, look_again, render_preview

CASES = ROOT / "tests" / "data" / "cases"
FILES = sorted(path.name for path in CASES.iterdir() if path.suffix != ".md")


@pytest.fixture
def mother(lab) -> Draft:
    return open_draft(lab, "mother")


def given(tmp_path: Path, data: str | bytes, name: str = "x.csv"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return opened(str(path))


def take_in(lab, draft: Draft, rows, incoming, relation: str = ""):
    """The handler, with what the preview shows of a file's columns chosen."""
    columns = [incoming.columns.first(part) for part in CHOSEN]
    sheet = [lab, draft, "", rows, draft.prompts, None, ""]
    return facts_tab.take_in(*sheet, incoming, *columns, relation, "aliases", 0, False, "")


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_shown_before_it_is_taken_in(name):
    incoming = opened(str(CASES / name))
    assert name in preview_head(incoming)
    assert len(render_preview(incoming)) == len(render_preview(None)) == 14
    said = preview_outcome(incoming)
    assert (incoming.imported is None) == ("note-bad" in said)
    # No advice that only the command line can follow.
    assert "--" not in said.replace("<!--", "")


def test_what_is_shown_is_escaped(tmp_path):
    nasty = "<img src=x onerror=alert(1)>"
    incoming = given(tmp_path, f"{nasty},subject,object\n{nasty},{nasty},{nasty}\n")
    for html in (preview_head(incoming), preview_outcome(incoming)):
        assert "<img" not in html


def test_a_file_that_can_not_be_read_says_why_and_shows_nothing(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"%PDF-1.7")
    message, incoming, box, *_ = look(str(path))
    assert "x.csv: is a PDF" in message and incoming is None and box["visible"] is False


def test_columns_are_chosen_and_the_outcome_follows(tmp_path, mother):
    data = "who,whose mother,subject\nAnn,Eve,1\nAnn,Liz,2\n"
    incoming = given(tmp_path, data)
    assert incoming.imported is None and "no column 'object'" in incoming.fault
    assert "Choose it above." in preview_outcome(incoming)
    shown = look_again(incoming, "who", "whose mother", "", "", "mother", "aliases", 0, False, "")
    assert [f.aliases for f in shown[0].imported.facts] == [("Liz",)]
    assert "further" in shown[0].asks
    shown = look_again(shown[0], "who", "whose mother", "", "", "mother", "first", 0, False, "")
    came = taken(mother, shown[0], add=False)
    assert came.draft.facts == (("mother", "Ann", "Eve", ""),)
    assert came.draft.prompts == mother.prompts and came.made == ()


def test_a_column_that_was_recognised_can_be_taken_away(tmp_path):
    incoming = given(tmp_path, "relation,subject,object,aliases\nr,a,b,c\n")
    assert incoming.columns.first("aliases") == "aliases"
    other = chosen(incoming, {"subject": "subject", "object": "object", "relation": "relation",
                              "aliases": ""})  # fmt: skip
    assert other.imported.facts[0].aliases == () and other.columns.first("aliases") == ""


def test_damage_is_mended_and_an_encoding_chosen():
    incoming = opened(str(CASES / "14_u2028.csv"))
    assert incoming.asks == {"mend"} and "Or tick “Mend damaged cells”" in preview_outcome(incoming)
    shown = look_again(incoming, "subject", "object", "relation", "", "", "aliases", 0, True, "")
    assert shown[0].imported.facts[0].subject == "Vex ford"
    incoming = opened(str(CASES / "01_semicolon_cp1252.csv"))
    assert "encoding" in incoming.asks
    columns = ("subject", "object", "relation", "")
    same = look_again(incoming, *columns, "", "aliases", 0, False, "Windows-1252")
    assert same[0].options.encoding == ""
    other = look_again(incoming, *columns, "", "aliases", 0, False, "cp850")
    assert other[0].imported.facts[0].subject == "Ostheim an der L³ne"
    with pytest.raises(LabError, match="is not an encoding"):
        look_again(incoming, *columns, "", "aliases", 0, False, "klingon")


def test_of_a_large_file_the_first_facts_can_be_taken(tmp_path, mother):
    data = "relation,subject,object\n" + "".join(f"r,S{i}x,O{i}x\n" for i in range(1001))
    incoming = given(tmp_path, data)
    assert "take" in incoming.asks
    shown = look_again(incoming, "subject", "object", "relation", "", "", "aliases", 2, False, "")
    assert len(taken(mother, shown[0], add=False).draft.facts) == 2


def test_a_file_replaces_or_is_added(tmp_path, mother):
    incoming = given(tmp_path, "relation,subject,object\nmother,Ann,Bo\nriver,Vex,Sarn\n")
    came = taken(mother, incoming, add=True)
    assert len(came.draft.facts) == 102 and came.draft.facts[-1] == ("river", "Vex", "Sarn", "")
    assert came.made == ("river",) and came.shipped == ()
    assert len(came.draft.prompts) > len(mother.prompts)
    came = taken(mother, incoming, add=False)
    assert len(came.draft.facts) == 2
    checked_pack(came.draft, "x")
    assert "Wordings for river were made from the words alone" in taken_note(came)
    other = given(tmp_path, "relation,subject,object\nriver,Vex,Sarn\n")
    kept = taken(mother, other, add=False).draft
    assert {row[0] for row in kept.prompts} == {"river"}  # mother's would only lie about


def test_a_whole_pack_comes_in_with_labels_and_old_answers(mother):
    incoming = opened(str(CASES / "04_counterfact_like.json"))
    came = taken(mother, incoming, add=False)
    assert (came.facts, came.prompts, came.made) == (4, 3, ())
    pack = checked_pack(came.draft, "cf")
    assert pack.facts.labels == {"p206": "P206"}
    assert {fact.old for fact in pack.facts} == {"Rhine"} and len(pack.prompts) == 3
    assert "4 facts and 3 wordings imported; not saved yet." in taken_note(came)


def test_wordings_alone_leave_the_facts(mother):
    came = taken(mother, opened(str(CASES / "12_prompts_chat.csv")), add=True)
    assert came.draft.facts == mother.facts and len(came.draft.prompts) == len(mother.prompts) + 5
    assert "5 wordings imported" in taken_note(came)


def test_nothing_is_taken_in_that_is_refused(lab, mother):
    incoming = opened(str(CASES / "07_nfc_nfd.csv"))
    with pytest.raises(LabError, match="row 2, column 'subject'"):
        take_in(lab, mother, mother.facts, incoming)


def test_unsaved_changes_are_set_aside_when_a_file_replaces_them(lab, mother):
    rows = [list(row) for row in mother.facts]
    rows[0][1] = "Somebody Else"
    incoming = opened(str(CASES / "03_tab.tsv"))
    shown = take_in(lab, mother, rows, incoming)
    assert shown[0].facts[0][1] == "Ostheim an der Lüne"
    assert any(isinstance(x, Draft) and x.facts[0][1] == "Somebody Else" for x in shown[1:])


def test_other_facts_are_proposed_under_a_name_of_their_own(lab, mother):
    incoming = opened(str(CASES / "13_authors.csv"))
    assert "my authors" in take_in(lab, mother, mother.facts, incoming)
    same = take_in(lab, mother, mother.facts, incoming, relation="mother")
    assert not any(isinstance(part, str) and part.startswith("my ") for part in same)


def test_what_stands_in_the_boxes_counts_and_a_late_look_opens_nothing(lab, mother):
    incoming = opened(str(CASES / "13_authors.csv"))
    shown = take_in(lab, mother, mother.facts, incoming, relation="genre")
    assert {row[0] for row in shown[0].facts} == {"genre"}
    late = look_again(incoming, "Head", "Fact", "", "", "genre", "aliases", 0, False, "")
    assert late[1] == gr.skip()


def test_workbooks_and_zips_show_their_first_table_of_facts(tmp_path):
    sheets = {
        "wordings": [["relation", "role", "text"], ["r", "train", "{} is"]],
        "facts": [["relation", "subject", "object"], ["r", "A", "x"]],
    }
    incoming = given(tmp_path, workbook(sheets), "x.xlsx")
    assert incoming.main.source == "x.xlsx/facts"
    assert "Read with it: wordings" in preview_head(incoming)
    files = {"facts.json": json.dumps([{"subject": "A", "object": "x"}])}
    incoming = given(tmp_path, zipped(files), "x.zip")
    assert len(incoming.imported.facts) == 1


def test_export_comes_back_as_it_was(lab, mother):
    came = taken(mother, opened(str(CASES / "09_numbers.csv")), add=True).draft
    came = replace(came, labels={"year": "Year of Building"}, old={("year", "Hill"): "=3:31"})
    facts, prompts, both = export_files(lab, came)
    assert lab.storage.exports in facts.parents
    again = read_files([facts, prompts])
    assert again.facts == read_files([both]).facts
    assert [(f.relation, f.subject, f.object) for f in again.facts] == [
        row[:3] for row in came.facts
    ]
    assert again.facts.labels == {"year": "Year of Building"}
    assert {f.old for f in again.facts} == {"", "=3:31"}
    assert list(again.prompts) == list(read_files([both]).prompts)
    assert len(again.prompts) == len(came.prompts)


def test_sentences_keep_what_they_say():
    assert for_the_page("a -- b: 'x'") == "a -- b: 'x'"


@pytest.mark.browser
def test_a_persons_file_comes_in(server: Server, tmp_path: Path):  # noqa: F811
    path = tmp_path / "flüsse.csv"
    path.write_bytes("Ort;Fluss;Jahr\nNörbach;Ühle;1999\nקרית שלום;ירקון;007\n".encode("utf-16"))

    def preview() -> str:
        return page.locator("#facts-preview").inner_text()

    def choose(part: str, column: str) -> None:
        page.locator(f"#preview-{part} input").click()
        page.get_by_role("option", name=column, exact=True).click()

    with browser_page(server.url) as (page, traffic):
        page.get_by_text("Files: import, export").click()
        chooser = page.locator("#facts-import").locator("xpath=..").locator("input[type=file]")
        chooser.set_input_files(path)
        until(lambda: "no column 'subject'" in preview(), what="the preview")
        assert "utf-16-le, semicolons between cells, 2 rows" in preview()
        choose("subject", "Ort")
        until(lambda: "no column 'object'" in preview(), what="the subject is chosen")
        choose("object", "Fluss")
        until(lambda: "Goes into the table: 2 facts" in preview(), what="both are chosen")
        page.locator("#preview-name input, #preview-name textarea").fill("Fluss")
        page.locator("#preview-accept").click()  # without Enter
        page.locator("#facts-preview").wait_for(state="hidden")
        table = page.locator("#facts-table")
        until(lambda: "ירקון" in table.inner_text(), what="it is in the table")
        assert table.locator("[data-testid='cell-1-0']").inner_text().strip() == "fluss"
        first = table.locator("[data-testid='cell-1-1']").bounding_box()
        second = table.locator("[data-testid='cell-1-2']").bounding_box()
        assert first["x"] < second["x"]  # the row is not turned around
        assert traffic.foreign == [] and traffic.errors == []


DROP = """([type, text]) => {
  const given = new DataTransfer();
  given.items.add(new File([text], `dropped.${type}`));
  const cell = document.querySelector("#facts-table [data-testid='cell-0-1']");
  cell.dispatchEvent(new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer: given}));
}"""


@pytest.mark.browser
def test_a_file_that_is_dropped_on_the_table_is_read_like_any_other(server: Server):  # noqa: F811
    """Gradio's own import of a table refused it: “read-only columns”, “only .csv, .tsv”."""
    fact = {"subject": "Nörbach", "relation_id": "river", "target_new": {"str": "Ühle"}}
    record = {"case_id": 1, "requested_rewrite": {**fact, "prompt": "{} lies on the"}}
    with browser_page(server.url) as (page, traffic):
        page.locator("#facts-table [data-testid='cell-0-1']").wait_for()
        for kind, text in (
            ("json", json.dumps([record])),
            ("csv", "subject;object\nNörbach;Ühle\n"),
        ):
            page.evaluate(DROP, [kind, text])
            page.get_by_text(f"dropped.{kind}").first.wait_for(timeout=30_000)
            until(lambda: "1 fact" in page.locator("#facts-preview").inner_text(), what=kind)
        assert traffic.errors == []

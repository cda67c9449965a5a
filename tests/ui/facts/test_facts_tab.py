"""The Facts tab: its handlers, its pure part, and a person at work on it in a real browser."""

import re
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
from support.page import Server, browser_page, server, until  # noqa: F401

from rotelab.errors import LabError
from rotelab.facts.diff import what_changed
from rotelab.facts.facts import FactSet
from rotelab.facts.formats.lists import as_typed
from rotelab.facts.packs import Pack, load_pack
from rotelab.facts.reading.importer import read_files
from rotelab.runs.lab import Lab
from rotelab.ui.facts import facts_tab, layout
from rotelab.ui.facts.draft import (
    Draft,
    checked_pack,
    filled,
    invent_into,
    merged,
    notes_of,
    open_draft,
    save_draft,
    shown,
    with_wordings,
)
from rotelab.ui.facts.export import export_files
from rotelab.ui.facts.html import UNFOLDED, count_chips, example_lines, lacks_list, note
from rotelab.ui.facts.starter import role_counts

ROWS = (("a", "1", "x"), ("b", "2", "y"), ("a", "3", "z"), ("b", "4", "w"))


PARTS = (
    "draft", "edition", "pack", "version", "relation", "example", "tabs", "facts", "prompts",
    "row", "delete", "counts", "name", "message", "stash", "restore",
)  # fmt: skip


def by_name(updates: list) -> dict:
    """What `render` gave, by the names of `View.shown`."""
    return dict(zip(PARTS, updates, strict=False))


@pytest.fixture
def mother(lab) -> Draft:
    return open_draft(lab, "mother")


# A filter never loses a row ----------------------------------------------------------------------


def test_an_unchanged_filtered_table_leaves_the_whole_unchanged():
    assert merged(ROWS, shown(ROWS, "a"), "a") == ROWS
    assert merged(ROWS, ROWS, "") == ROWS


def test_an_edit_in_a_filtered_table_changes_that_row_in_its_place():
    now = (("a", "1", "x"), ("a", "3", "Z!"))
    assert merged(ROWS, now, "a") == (*ROWS[:2], ("a", "3", "Z!"), ROWS[3])


def test_rows_added_and_deleted_in_a_filtered_table():
    more = (*shown(ROWS, "a"), ("a", "5", "v"))
    assert merged(ROWS, more, "a") == (*ROWS[:3], ("a", "5", "v"), ROWS[3])
    assert merged(ROWS, (("a", "3", "z"),), "a") == (("a", "3", "z"), ROWS[1], ROWS[3])
    assert merged(ROWS, (), "a") == (ROWS[1], ROWS[3])
    assert merged(ROWS, (("c", "9", "n"),), "c") == (*ROWS, ("c", "9", "n"))


def test_a_relation_changed_in_a_filtered_table_is_kept(mother):
    rows = [["father", *row[1:]] for row in mother.facts[:1]] + [list(r) for r in mother.facts[1:]]
    draft = replace(mother, relation="mother").edited(rows, mother.prompts)
    assert draft.facts[0] == ("father", *mother.facts[0][1:]) and len(draft.facts) == 100


# Opening, checking and saving --------------------------------------------------------------------


def test_a_shipped_pack_opens_unchanged(mother):
    assert not mother.changed
    assert mother.version == 0 and len(mother.facts) == 100
    again = mother.edited([[*row, "a note"] for row in mother.facts], mother.prompts)
    assert not again.changed
    assert checked_pack(again, "mother").content_hash == load_pack("mother").content_hash


def test_no_folder_of_the_machine_is_opened(lab, tmp_path):
    with pytest.raises(LabError, match="no fact set"):
        open_draft(lab, str(tmp_path))


def test_save_makes_versions_and_says_when_nothing_changed(lab, mother):
    saved, is_new = save_draft(lab, mother, "ours")
    assert (saved.name, saved.version, is_new) == ("ours", 1, True)
    again, is_new = save_draft(lab, saved, "ours")
    assert (again.version, is_new) == (1, False)
    changed = replace(saved, facts=saved.facts[1:])
    assert changed.changed
    second, is_new = save_draft(lab, changed, " ours ")
    assert (second.version, is_new, second.changed) == (2, True, False)
    assert len(lab.registry.fact_set("ours", 1).facts) == 100
    assert len(lab.find_pack("ours").facts) == 99


def test_an_old_version_can_be_made_the_newest(lab, mother):
    first, _ = save_draft(lab, mother, "ours")
    save_draft(lab, replace(first, facts=first.facts[1:]), "ours")
    old = open_draft(lab, "ours", 1)
    assert (old.version, old.newest) == (1, 2)
    with pytest.raises(LabError, match="newest"):
        facts_tab.name_to_train(old, "", old.facts, old.prompts)
    third, is_new = save_draft(lab, old, "ours")
    assert (third.version, is_new) == (3, True)


def test_a_shipped_pack_and_a_foreign_set_are_never_overwritten(lab, mother):
    with pytest.raises(LabError, match="comes with rotelab"):
        save_draft(lab, mother, "mother")
    save_draft(lab, mother, "theirs")
    with pytest.raises(LabError, match="already a fact set"):
        save_draft(lab, mother, "theirs")


def test_a_version_saved_meanwhile_is_said(lab, mother):
    mine, _ = save_draft(lab, mother, "ours")
    save_draft(lab, replace(mine, facts=mine.facts[1:]), "ours")
    late = replace(mine, facts=mine.facts[2:])
    gone = f"{mine.facts[0][0]} of {mine.facts[0][1]}"
    with pytest.raises(LabError, match="saved version 2 while you were editing") as said:
        save_draft(lab, late, "ours")
    assert f"It removes {gone}. Nothing was overwritten" in str(said.value)
    assert len(lab.registry.fact_set("ours").facts) == len(mine.facts) - 1


def test_what_another_version_has_otherwise_is_named_and_counted(mother):
    before = checked_pack(mother, "ours")
    rows = [list(row) for row in mother.facts]
    rows[0][2], rows[5][2] = "Liz", "Eve"
    new = [["mother", f"New {i}", f"Her {i}"] for i in range(5)]
    after = checked_pack(replace(mother, facts=[*rows[:-1], *new]), "ours")
    said = what_changed(before, after)
    assert "adds mother of New 0 (Her 0), mother of New 1 (Her 1)" in said
    assert "and 2 more facts; changes" in said
    assert f"changes mother of {rows[0][1]} from {mother.facts[0][2]} to Liz" in said
    assert said.endswith(f"removes mother of {rows[-1][1]}.")
    fewer = checked_pack(replace(mother, prompts=mother.prompts[1:]), "ours")
    assert what_changed(before, fewer) == f"It removes “{mother.prompts[0][3]}”."
    assert what_changed(before, before) == ""


@pytest.mark.parametrize("name", ["", "  ", "a/b", "x" * 61, "tab\there"])
def test_names_that_cannot_be(lab, mother, name):
    with pytest.raises(LabError):
        save_draft(lab, mother, name)


def test_a_failed_save_keeps_the_table_and_notes_the_row(lab, mother):
    rows = [list(row) for row in mother.facts]
    rows[4][2] = ""
    updates = facts_tab.save(lab, mother, "", rows, mother.prompts, None, "ours", "")
    view = by_name(updates)
    assert "row 5" in view["message"] and "object" in view["message"]
    assert view["facts"][4][4].startswith("✗") and view["facts"][4][1] == mother.facts[4][1]
    assert len(view["facts"]) == 100 and not lab.registry.fact_sets()


def test_an_error_in_a_hidden_row_shows_all_rows(lab):
    five = open_draft(lab, "five")
    first = five.facts[0][0]
    other = next(i for i, row in enumerate(five.facts) if row[0] != first)
    broken = list(five.facts)
    broken[other] = (broken[other][0], "", "x")
    draft = replace(five, facts=tuple(broken), relation=first)
    updates = facts_tab.save(
        lab, draft, "", draft.shown_facts(), draft.shown_prompts(), None, "ours", ""
    )
    assert updates[0].relation == ""
    assert f"row {other + 1}" in by_name(updates)["message"]


def test_doubts_stand_beside_their_row():
    draft = Draft(facts=(("a", "Ann", "Bo"), ("", "", ""), ("a", "Joe", "Bosse")))
    facts, prompts = notes_of(draft)
    assert list(facts) == [1] and "'Bo' is part of 'Bosse'" in facts[1] and not prompts


def test_what_a_base_model_answered_in_some_run_stands_beside_its_row(lab):
    from rotelab.config.run_config import RunConfig
    from rotelab.evaluation.results import Prediction, Score

    pack = lab.find_pack("mother")
    fact = pack.facts[4]
    run_id = lab.registry.create_run(RunConfig(), pack)
    right = Prediction(
        "test_prompts_heldout",
        4,
        fact.relation,
        fact.subject,
        fact.object,
        "Who?",
        fact.object,
        True,
        0.9,
    )
    score = {"test_prompts_heldout": Score(1, 1.0, 0.9)}
    lab.registry.add_evaluation(run_id, "memorized", score, [right])
    assert not notes_of(open_draft(lab, "mother"))[0]
    lab.registry.add_evaluation(run_id, "base", score, [right])
    facts, _ = notes_of(open_draft(lab, "mother"))
    assert list(facts) == [5] and "before any training" in facts[5]


def test_words_are_escaped():
    nasty = "<img src=x onerror=alert(1)>"
    draft = Draft(name=nasty, facts=(("a", nasty, nasty),), prompts=())
    for html in (count_chips(draft), example_lines(draft), note("bad", nasty)):
        assert "<img" not in html


def few(draft, role, count):
    """The draft with only so many wordings of a role."""
    there = [row for row in draft.prompts if row[1] == role]
    return replace(draft, prompts=tuple(r for r in draft.prompts if r not in there[count:]))


def test_what_a_pack_lacks_stands_under_its_tables(lab, mother):
    assert lacks_list(mother) == "" and lacks_list(Draft()) == ""
    poor = few(mother, "train", 3)
    html = lacks_list(poor)
    assert "This pack could be better: 1 hint<" in html and '<details class="lacks" open>' in html
    assert "mother: Train wordings: 3. Write at least 7 more" in html
    shown_now = by_name(layout.render(lab, poor))["counts"]
    assert html in shown_now and "3 to teach" in shown_now
    without_facts = replace(poor, facts=())
    assert lacks_list(without_facts) == html, "wordings can be written first"


def test_much_that_is_lacking_is_folded_up_and_nothing_becomes_markup(mother):
    nasty = ("mother", "train", "en", "<img src=x> {subject} <img src=x> is.")
    twice = ("mother", "train", "en", "<img src=x> {subject} <img src=x> was")
    poor = few(mother, "train", 0)
    poor = few(few(few(poor, "test", 1), "locality", 1), "unrelated", 1)
    html = lacks_list(replace(poor, prompts=(nasty, twice, *poor.prompts)))
    assert html.count("<li>") > UNFOLDED and '<details class="lacks"><summary>' in html
    assert "<img" not in html and "&lt;img" in html


def test_a_wording_at_fault_comes_before_all_hints(mother):
    poor = few(mother, "train", 3)
    fault = replace(poor, prompts=(("mother", "train", "en", "no slot"), *poor.prompts))
    assert lacks_list(fault) == "" and notes_of(fault)[1]


# Where facts come from ---------------------------------------------------------------------------


def test_invented_facts_are_new_and_bring_their_wordings(lab):
    draft, added = with_wordings(invent_into(Draft(), "capital", 5, 1))
    assert added == ["capital"] and len(draft.facts) == 5
    more = invent_into(draft, "capital", 5, 1)
    assert len(set(more.facts)) == 10
    assert role_counts(draft)["test"] == 10
    save_draft(lab, draft, "capitals")


def test_delete_takes_the_row_that_was_clicked_even_when_the_table_was_sorted(lab, mother):
    target = mother.facts[7]
    updates = facts_tab.delete_row(lab, mother, "", mother.facts, mother.prompts, None, (0, target))
    assert target not in updates[0].facts and len(updates[0].facts) == 99


def test_opening_another_set_keeps_unsaved_changes_for_later(lab, mother):
    rows = [list(row) for row in mother.facts]
    rows[0][1] = "Somebody Else"
    updates = facts_tab.open_set(lab, mother, "", rows, mother.prompts, None, "capital")
    view = by_name(updates)
    assert view["draft"].name == "capital" and view["stash"].facts[0][1] == "Somebody Else"
    opened = view["draft"]
    back = facts_tab.restore(
        lab, opened, opened.edition, opened.facts, opened.prompts, view["stash"]
    )
    assert back[0].facts[0][1] == "Somebody Else"


def test_a_table_that_is_behind_is_noticed(lab, mother):
    opened = facts_tab.open_set(lab, mother, "", mother.facts, mother.prompts, None, "capital")[0]
    with pytest.raises(LabError, match="still loading"):
        facts_tab.add_fact(lab, opened, "", mother.facts, mother.prompts, None)
    # What a dropdown says a second time changes nothing.
    again = facts_tab.open_set(lab, opened, "", mother.facts, mother.prompts, None, "capital")
    assert again == gr.skip()


def test_a_new_set_takes_names_and_drops_rows_not_begun(lab, mother):
    opened = facts_tab.open_set(
        lab, mother, "", mother.facts, mother.prompts, None, layout.NEW_SET
    )[0]
    assert not opened.changed and opened.name == ""
    rows = [list(row) for row in opened.facts]
    rows[1][1:], rows[3][1:] = ["Ann", "Bo", ""], ["Cy", "", ""]
    broken = facts_tab.save(lab, opened, opened.edition, rows, opened.prompts, None, "new", "")
    assert "row 4" in by_name(broken)["message"]
    rows[3][2] = "Di"
    done = facts_tab.save(lab, broken[0], broken[0].edition, rows, opened.prompts, None, "new", "")
    assert done[-1] == "new" and len(done[0].facts) == 2


def test_relations_in_words_get_a_name_on_save_and_keep_their_words(lab, mother):
    facts = [("Place of Birth", "Ann", "Rome", ""), ("place of birth", "Bob", "Oslo", "")]
    prompts = [("Place of birth", role, "en", f"{{subject}} {role}") for role in ("train", "test")]
    draft, _ = save_draft(lab, replace(mother, facts=facts, prompts=prompts), "births")
    assert {row[0] for row in (*draft.facts, *draft.prompts)} == {"place_of_birth"}
    assert draft.labels == {"place_of_birth": "Place of Birth"}
    assert ("Place of Birth (2)", "place_of_birth") in layout.relation_choices(draft)
    opened = open_draft(lab, "births")
    assert opened.labels == draft.labels and not opened.changed


def test_aliases_are_typed_into_the_table_and_old_answers_stay(lab, mother):
    pack = checked_pack(mother, "x")
    first = replace(pack.facts[0], old="Eve")
    lab.registry.save_fact_set(
        "ours", Pack("ours", FactSet([first, *pack.facts[1:]]), pack.prompts)
    )
    draft = open_draft(lab, "ours")
    rows = [list(row) for row in draft.facts]
    rows[0][3], rows[1][3] = "Mum | Mummy", '["a|b"]'
    saved, _ = save_draft(lab, draft.edited(rows, draft.prompts), "ours")
    facts = lab.registry.fact_set("ours").facts
    assert [f.aliases for f in facts[:3]] == [("Mum", "Mummy"), ("a|b",), ()]
    assert facts[0].old == "Eve" and saved.facts[0][3] == "Mum | Mummy"
    assert not open_draft(lab, "ours").changed


def test_typed_twins_are_refused_and_letters_composed(mother):
    rows = [("mother", "Ana\u00a0Bell", "x", ""), ("", "", "", ""), ("mother", "Ana Bell", "y", "")]
    draft = replace(mother, facts=tuple(rows))
    with pytest.raises(LabError, match="Facts table, row 3.*in another form"):
        checked_pack(draft, "x")
    assert notes_of(draft)[0][3].startswith("✗ 'Ana Bell' is the subject of row 1")
    decomposed = replace(mother, facts=(("mother", "No\u0308rb", "U\u0308hle", ""),))
    (fact,) = checked_pack(decomposed, "x").facts
    assert (fact.subject, fact.object) == ("Nörb", "Ühle")


@pytest.mark.parametrize(
    "typed",
    ["007", "1,024", "12/03/1999", "NA", "True", "=1+1", "'=1+1", "'-5", "+49", "@x", "null",
     "קרית שלום", "👩\u200d👩\u200d👧", "1.50", "{subject}", "<|im_end|>", "a|b", "[x]"],
)  # fmt: skip
def test_what_is_typed_survives_saving_export_and_import(lab, mother, typed):
    rows = [("mother", typed, "Bo", as_typed([typed])), ("mother", "Ann", typed, "")]
    draft, _ = save_draft(lab, replace(mother, facts=tuple(rows)), "typed")
    assert [row[:3] for row in draft.facts] == [row[:3] for row in rows]
    kept = lab.registry.fact_set("typed").facts
    assert [(f.subject, f.object) for f in kept] == [(typed, "Bo"), ("Ann", typed)]
    assert kept[0].aliases == (typed,)
    for path in export_files(lab, draft)[::2]:
        assert read_files([path]).facts == kept


# In the browser ----------------------------------------------------------------------------------


def cell(page, table: str, row: int, column: int):
    return page.locator(f"#{table} [data-testid='cell-{row}-{column}']")


def overwrite(page, table: str, row: int, column: int, text: str) -> None:
    """Selects a cell and types, as in any spreadsheet: what was there goes."""
    cell(page, table, row, column).click()
    page.keyboard.type(text, delay=30)
    page.keyboard.press("Tab")
    until(lambda: cell(page, table, row, column).inner_text().strip() == text, what=f"only {text}")


def write(page, table: str, row: int, column: int, text: str) -> None:
    """Types into a cell, as a person does."""
    cell(page, table, row, column).dblclick()
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    if text:
        until(lambda: text in cell(page, table, row, column).inner_text(), what=f"{text} typed")


def message(page) -> str:
    return page.locator("#facts-message").inner_text()


def preview(page) -> str:
    return page.locator("#facts-preview").inner_text()


@pytest.mark.browser
def test_edit_save_fail_and_save_again(server: Server):  # noqa: F811
    with browser_page(server.url) as (page, traffic):
        overwrite(page, "facts-table", 0, 1, "Ada Example")
        write(page, "facts-table", 1, 2, "")
        page.locator("#facts-name input, #facts-name textarea").fill("our own")
        page.locator("#facts-save").click()
        until(lambda: "row 2" in message(page) and "object" in message(page), what="the fault")
        assert "Ada Example" in cell(page, "facts-table", 0, 1).inner_text()
        assert "✗" in cell(page, "facts-table", 1, 4).inner_text()
        write(page, "facts-table", 1, 2, "<b>Bo Example</b>")
        page.locator("#facts-save").click()
        until(lambda: "version 1" in message(page), what="version 1 saved")
        page.locator("#facts-save").click()
        until(lambda: "Nothing changed" in message(page), what="nothing changed")
        assert traffic.foreign == [] and traffic.errors == []
        assert page.locator("#facts-table b").count() == 0
    names = [row.subject for row in _saved(server, "our own").facts[:1]]
    assert names == ["Ada Example"]


@pytest.mark.browser
def test_add_and_delete_rows_import_and_export(server: Server, tmp_path: Path):  # noqa: F811
    bad = tmp_path / "bad.csv"
    bad.write_text("relation,subject\nmother,Ann\n")
    good = tmp_path / "good.csv"
    good.write_text("relation,subject,object\n" + "".join(f"mother,S{i},O{i}\n" for i in "ABC"))
    with browser_page(server.url) as (page, traffic):
        page.locator("#facts-add").click()
        until(lambda: cell(page, "facts-table", 0, 1).inner_text().strip() == "", what="a new row")
        cell(page, "facts-table", 0, 1).click()
        until(lambda: "row 1" in page.locator("#facts-delete").inner_text(), what="row 1 chosen")
        page.locator("#facts-delete").click()
        until(lambda: "not saved" in message(page), what="the row is out")
        page.get_by_text("Files: import, export").click()
        chooser = page.locator("#facts-import").locator("xpath=..").locator("input[type=file]")
        chooser.set_input_files(bad)
        until(lambda: "no column 'object'" in preview(page), what="the missing column")
        assert page.locator("#preview-accept").is_disabled()
        chooser.set_input_files(good)
        until(lambda: "Goes into the table: 3 facts" in preview(page), what="the preview")
        assert "not saved" in message(page)  # nothing is taken in yet
        page.locator("#preview-accept").click()
        until(lambda: "3 facts imported" in message(page), what="imported")
        page.locator("#facts-preview").wait_for(state="hidden")
        until(lambda: cell(page, "facts-table", 2, 1).inner_text().strip() == "SC", what="shown")
        page.locator("#facts-export").click()
        page.locator("#facts-csv").wait_for(state="visible")
        with page.expect_download() as download:
            page.locator("#facts-csv").click()
        text = Path(download.value.path()).read_text(encoding="utf-8-sig")
        assert text.splitlines()[:2] == ["relation,subject,object", "mother,SA,OA"]
        assert re.fullmatch(r"[\w-]+-facts\.csv", download.value.suggested_filename)
        assert traffic.foreign == [] and traffic.errors == []


def _saved(server: Server, name: str):  # noqa: F811
    from rotelab.storage import Storage

    return Lab.open(Storage(server.home)).registry.fact_set(name)


def test_empty_rows_are_not_facts():
    assert filled((("m", "", ""), ("a", "b", "c")), 1) == (("a", "b", "c"),)
    assert filled((("m", "train", "en", ""), ("m", "test", "en", "x")), 3) == (
        ("m", "test", "en", "x"),
    )

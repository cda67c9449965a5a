"""Pasting and undoing in tables: what the server makes of it, and in a real browser."""

import json

import pytest
from support.page import browser_page, served, until

from rotelab.errors import LabError
from rotelab.ui.tables.cell_edits import edited, grid_of

TABLE = [["mother", "Ann", "Eve", "", "!"], ["mother", "Bob", "Ida", "", ""]]


def paste(row, column, text, says, rows=TABLE, columns=4, carried=(0,)):
    message = json.dumps({"row": row, "column": column, "text": text, "says": says})
    return edited(message, rows, columns, carried)


def test_a_paste_fills_cells_and_adds_rows():
    changed, inverse = paste(1, 1, "Cid\tUna\nDan\tOla\n", "Bob")
    assert changed == [
        ["mother", "Ann", "Eve", "", "!"],
        ["mother", "Cid", "Una", "", ""],
        ["mother", "Dan", "Ola", "", ""],
    ]
    assert TABLE[1][1] == "Bob", "the table that came is left alone"
    back, _ = edited(json.dumps(inverse), changed)
    assert back == TABLE


def test_a_cell_that_is_pasted_is_not_carried_over():
    changed, _ = paste(1, 0, "child\tX\tY\nfather\tZ\tW", "mother")
    assert [row[0] for row in changed] == ["mother", "child", "father"]


def test_what_a_spreadsheet_quotes_is_one_cell():
    assert grid_of('a\t"b\nc"\r\n"d ""e"""\tf\r\n') == [["a", "b\nc"], ['d "e"', "f"]]
    assert grid_of("007\t1,024\n=1+1\tNA") == [["007", "1,024"], ["=1+1", "NA"]]
    assert grid_of("a\n\nb") == [["a"], [""], ["b"]] and grid_of("") == [[""]]


def test_nothing_is_pasted_where_it_does_not_fit_or_into_another_order():
    with pytest.raises(LabError, match="4 columns, and there is room for only 3 columns"):
        paste(0, 1, "a\tb\tc\td", "Ann")
    with pytest.raises(LabError, match="sorted or searched"):
        paste(0, 1, "a\tb", "Bob")
    with pytest.raises(LabError, match="sorted or searched"):
        paste(9, 1, "a\tb", "Bob")


def test_an_undo_is_refused_where_something_else_stands_by_now():
    message = json.dumps({"cells": [[0, 1, "Ann", "Amy"]]})
    with pytest.raises(LabError, match="has changed since"):
        edited(message, TABLE)
    changed, _ = edited(json.dumps({"cells": [[0, 1, "Amy", "Ann"]]}), TABLE)
    assert changed[0][1] == "Amy"


# In the browser ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with (
        served(tmp_path_factory.mktemp("cells") / "home") as server,
        browser_page(server.url, tab="Facts") as (page, traffic),
    ):
        page.locator("#facts-table .body-cell").first.wait_for()
        yield page
        assert traffic.errors == []


def cell(page, row, column, table="facts-table"):
    return page.locator(f'#{table} .body-cell[data-row="{row}"][data-col="{column}"]')


def says(page, row, column):
    return cell(page, row, column).inner_text().replace("⋮", "").strip()


def holds(page, row, column, text):
    until(lambda: says(page, row, column) == text, 20, f"{text!r} in row {row}, column {column}")


def clip(page, text):
    """A paste as the browser gives it to whatever has the focus."""
    page.evaluate(
        """(text) => {
          const data = new DataTransfer();
          data.setData("text", text);
          document.activeElement.dispatchEvent(
            new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
        }""",
        text,
    )


@pytest.mark.browser
def test_letters_replace_the_selected_cell_and_escape_and_undo_bring_it_back(page):
    old = says(page, 0, 1)
    cell(page, 0, 1).click()
    page.keyboard.type("Zoë O'Hara", delay=5)
    page.keyboard.press("Enter")
    holds(page, 0, 1, "Zoë O'Hara")

    cell(page, 0, 1).click()
    page.keyboard.type("never")
    until(lambda: page.locator("#facts-table [aria-label='Edit cell']").count(), 20, "it is edited")
    page.keyboard.press("Escape")
    holds(page, 0, 1, "Zoë O'Hara")

    cell(page, 0, 1).click()
    page.keyboard.press("Control+z")
    holds(page, 0, 1, old)

    # Tab goes on to the next cell: what one types there is a new text, clicked first or not.
    for click in (False, True):
        other = says(page, 0, 2)
        cell(page, 0, 1).click()
        page.keyboard.type("Ida Ash")
        until(lambda: page.locator("#facts-table [aria-label='Edit cell']").count(), 20, "edited")
        page.keyboard.press("Tab")
        cell(page, 0, 2).locator(".cell-catcher").wait_for(state="attached")  # it is selected
        if click:
            cell(page, 0, 2).click()
        page.keyboard.type("Eve Ash")
        page.keyboard.press("Enter")
        holds(page, 0, 2, "Eve Ash")
        holds(page, 0, 1, "Ida Ash")
        for text, column in ((other, 2), (old, 1)):
            cell(page, 0, 1).click()
            page.keyboard.press("Control+z")
            holds(page, 0, column, text)


@pytest.mark.browser
def test_an_input_method_writes_into_a_selected_cell(page):
    old = says(page, 1, 1)
    keys = page.context.new_cdp_session(page)
    cell(page, 1, 1).click()
    for text in ("n", "に", "にほ"):
        keys.send("Input.imeSetComposition", {"text": text, "selectionStart": 1, "selectionEnd": 1})
    assert page.locator(".cell-catcher.composing").count() == 1, "what is composed is seen"
    keys.send("Input.insertText", {"text": "日本"})
    box = page.locator("#facts-table [aria-label='Edit cell']")
    box.wait_for()
    until(lambda: box.input_value() == "日本", 20, "the composed text")
    page.keyboard.press("Enter")
    holds(page, 1, 1, "日本")
    cell(page, 1, 1).click()
    page.keyboard.press("Control+z")
    holds(page, 1, 1, old)


@pytest.mark.browser
def test_rows_and_columns_are_pasted_and_taken_back(page):
    old = [[says(page, row, column) for column in (1, 2)] for row in (0, 1)]
    cell(page, 0, 1).click()
    clip(page, "Ann\tEve\nBob\tIda\n")
    holds(page, 1, 2, "Ida")
    assert [[says(page, row, column) for column in (1, 2)] for row in (0, 1)] == [
        ["Ann", "Eve"],
        ["Bob", "Ida"],
    ]
    page.locator("#facts-message", has_text="not saved").wait_for()
    cell(page, 0, 1).click()
    page.keyboard.press("Control+z")
    holds(page, 1, 2, old[1][1])
    assert [[says(page, row, column) for column in (1, 2)] for row in (0, 1)] == old


@pytest.mark.browser
def test_arrows_move_and_tab_leaves_no_trap(page):
    cell(page, 0, 1).click()
    page.keyboard.press("ArrowDown")
    page.keyboard.type("Below")
    page.keyboard.press("Enter")
    holds(page, 1, 1, "Below")
    cell(page, 1, 1).click()
    page.keyboard.press("Control+z")
    cell(page, 0, 0).click()
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        if not page.evaluate("Boolean(document.activeElement.closest('#facts-table'))"):
            return
    raise AssertionError("Shift and Tab do not lead out of the table")


@pytest.mark.browser
def test_leaving_with_unsaved_facts_asks(page):
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    cell(page, 0, 2).click()
    page.keyboard.type("Unsaved")
    page.keyboard.press("Enter")
    holds(page, 0, 2, "Unsaved")
    with page.expect_event("dialog"):
        page.evaluate("setTimeout(() => location.reload(), 0)")
    assert asked == ["beforeunload"]
    holds(page, 0, 2, "Unsaved")
    state = page.locator("#facts-counts [data-edition]")
    before = state.get_attribute("data-edition")
    page.locator("#facts-name textarea, #facts-name input").first.fill("kept at last")
    page.locator("#facts-save").click()
    until(lambda: state.get_attribute("data-edition") != before, 30, "the server has looked at it")
    assert state.get_attribute("data-unsaved") == "", page.locator("#facts-message").inner_text()
    page.evaluate("setTimeout(() => location.reload(), 0)")
    page.get_by_role("tab").first.wait_for()
    assert len(asked) == 1, "nothing is lost, so nothing is asked"

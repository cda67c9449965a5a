/* Tables that are typed into, as in any spreadsheet. In Gradio 6.31 (gradio.Dataframe) a selected cell is
   no text field: an input method has nothing to write into, a letter is added to the old text, Escape
   keeps what was typed, one cell takes all that is pasted, and nothing is undone.

   So whenever a cell is selected, a text field in it, which is not seen, has the focus. What comes into
   it opens the cell's editor and stands there in place of the old text. Keys that move go on to Gradio.
   What changes many cells goes through a hidden box to rotelab/ui/tables/cell_edits.py. */
(() => {
  const CELL = '.body-cell[role="gridcell"]';
  const EDITOR = "textarea:not(.cell-catcher), input:not([type=checkbox])";
  const catcher = document.createElement("textarea");
  Object.assign(catcher, { className: "cell-catcher", rows: 1, tabIndex: -1, autocomplete: "off", spellcheck: false });
  const before = new WeakMap();  // of an editor: its table, row, column, and the text when it was opened
  const undos = new Map();       // by table: what undoes each change, newest last
  let composing = false, opening = false, passing = false, tabbed = false, sent = 0;

  const words = (cell) => cell.innerText.replace(/⋮\s*$/, "").trim(); // without the sign of the cell's menu
  const place = (cell) => [Number(cell.dataset.row), Number(cell.dataset.col)];
  const editable = (cell) => cell.querySelector('[data-editable="true"]');
  function tableOf(cell) {
    const id = cell.closest('[id$="-table"]')?.id;
    return id && document.getElementById(`${id}-cells`) ? id : "";
  }
  function fill(box, text) {
    const proto = box.tagName === "TEXTAREA" ? HTMLTextAreaElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(proto.prototype, "value").set.call(box, text);
    box.dispatchEvent(new InputEvent("input", { bubbles: true }));
  }
  function send(table, message) {
    const box = document.querySelector(`#${table}-cells textarea, #${table}-cells input`);
    fill(box, JSON.stringify({ n: ++sent, ...message }));
    note(table);
  }
  function push(table, undo) {
    if (!undos.has(table)) {
      undos.set(table, []);
      const told = document.getElementById(`${table}-undo`);
      new MutationObserver(() => {
        const inverse = JSON.parse(told.querySelector("[data-undo]")?.dataset.undo || "{}");
        if (inverse.cells) undos.get(table).push(inverse);
      }).observe(told, { childList: true, subtree: true });
    }
    if (undo) undos.get(table).push(undo);
  }

  document.addEventListener("focusin", ({ target }) => {
    if (passing || target === catcher) return;
    if (target.matches?.(CELL) && editable(target) && tableOf(target)) {
      catcher.value = "";
      catcher.setAttribute("aria-label", words(target));
      target.append(catcher);
      catcher.focus({ preventScroll: true });
      return;
    }
    const cell = target.closest?.(CELL);
    if (!cell || !target.matches(EDITOR) || !tableOf(cell) || before.has(target)) return;
    before.set(target, { table: tableOf(cell), at: place(cell), text: target.value });
    // Tab in an editor opens the next one, and what is typed would go into the old text. As in any
    // spreadsheet the cell is only selected.
    if (tabbed && !opening) escape(target);
    tabbed = false;
  });

  const escape = (box) =>
    box.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", code: "Escape", bubbles: true, cancelable: true }));

  document.addEventListener("focusout", ({ target }) => {
    const was = before.get(target);
    if (!was) return;
    before.delete(target);
    if (target.value === was.text) return;
    push(was.table, { cells: [[...was.at, was.text, target.value]] });
    note(was.table);
  });

  function open() {
    const cell = catcher.parentElement;
    if (opening || !cell) return;
    opening = true;
    const old = words(cell);
    cell.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", code: "Enter", bubbles: true, cancelable: true }));
    let frames = 60;
    const look = () => {
      const box = cell.querySelector(EDITOR);
      if (!box && frames-- > 0) return requestAnimationFrame(look);
      opening = false;
      if (!box) return;
      box.focus();
      // What was typed before the editor had the focus, and since.
      const since = box.value.startsWith(old) ? box.value.slice(old.length) : "";
      fill(box, catcher.value + since);
      box.setSelectionRange(box.value.length, box.value.length);
      catcher.value = "";
    };
    requestAnimationFrame(look);
  }

  catcher.addEventListener("compositionstart", () => {
    composing = true;
    catcher.classList.add("composing");
  });
  catcher.addEventListener("compositionend", () => {
    composing = false;
    catcher.classList.remove("composing");
    if (catcher.value) open();
  });
  catcher.addEventListener("input", (event) => {
    event.stopPropagation();
    if (!composing && !event.isComposing && catcher.value) open();
  });

  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    const cell = target.closest?.(CELL);
    tabbed = key === "Tab" && before.has(target);
    if (!cell || !tableOf(cell)) return;
    if (target !== catcher) {
      // In the cell's editor: what stood there comes back.
      if (key === "Escape" && before.has(target) && !event.isComposing) fill(target, before.get(target).text);
      return;
    }
    if (event.isComposing || event.keyCode === 229) return event.stopPropagation();
    const command = event.ctrlKey || event.metaKey;
    if (command && !event.altKey && !event.shiftKey && key.toLowerCase() === "z") {
      event.preventDefault();
      event.stopPropagation();
      const undo = undos.get(tableOf(cell))?.pop();
      if (undo) send(tableOf(cell), undo);
    } else if (key.length === 1 && !event.metaKey && event.ctrlKey === event.altKey) {
      event.stopPropagation(); // a letter; with both keys it comes from AltGr
    } else if (key === "Tab") {
      // From the cell itself, or Shift and Tab would lead from the field to its own cell.
      passing = true;
      cell.focus({ preventScroll: true });
      passing = false;
    } else if (key === "Delete" || key === "Backspace") {
      const emptied = [...document.querySelectorAll(`#${tableOf(cell)} .cell-selected`)].filter((one) => editable(one) && words(one));
      if (!emptied.length) return;
      push(tableOf(cell), { cells: emptied.map((one) => [...place(one), words(one), ""]) });
      note(tableOf(cell));
    }
  }, true);

  document.addEventListener("paste", (event) => {
    const cell = event.target.closest?.(CELL);
    const text = event.clipboardData?.getData("text") ?? "";
    if (event.defaultPrevented || event.target !== catcher || !cell || !/[\t\n]/.test(text.trimEnd())) return;
    event.preventDefault();
    event.stopPropagation();
    const [row, column] = place(cell);
    push(tableOf(cell));
    send(tableOf(cell), { row, column, says: words(cell), text });
  }, true);

  /* Leaving the page with facts that are not saved asks first. Each time the server has looked at the
     tables it says so with an edition; what was typed since then it does not know. */
  let changed = null;
  const state = () => document.querySelector("#facts-counts [data-edition]");
  const edition = () => state()?.dataset.edition ?? "";
  function note(table) {
    if (["facts-table", "prompts-table"].includes(table)) changed = edition();
  }
  window.rotelabUnsaved = () => Boolean(state()?.dataset.unsaved) || changed === edition(); // asked by leaving.js
})();

/* Typing into a dropdown replaces its text: Gradio would search for old and new text together. A click sets the caret
   after the focus has come, so the text is selected once more then. */
let fresh = null;
const choice = (target) => target.matches?.('input[role="combobox"]');
document.addEventListener("focusin", ({ target }) => {
  if (choice(target)) (fresh = target).select();
});
document.addEventListener("click", ({ target }) => {
  if (choice(target) && target === fresh) target.select();
  fresh = null;
});
/* Gradio opens the list at every key but Escape, and does so a moment later: at Tab, after the list has been left.
   It would stay open over whatever lies under it. */
document.addEventListener("keydown", (event) => {
  if (event.key === "Tab" && choice(event.target)) event.stopPropagation();
}, true);

/* Several lines that are pasted into the table of new facts go into the box below it, which takes them
   apart (rotelab/ui/lessons/teach_panel.py). Gradio's table would put them all into one cell. */
document.addEventListener("paste", (event) => {
  const text = event.clipboardData.getData("text").trimEnd();
  const box = event.target.closest?.(".teach-table")?.closest(".teach-panel").querySelector(".teach-paste textarea");
  if (!box || !/[\n\t]/.test(text)) return;
  event.preventDefault();
  event.stopPropagation();
  box.value = `${text}\n`;
  box.dispatchEvent(new InputEvent("input", { bubbles: true }));
}, true);

/* A file that is dropped on a table of facts goes where “Choose a file” takes it. Gradio's own import of
   a table reads CSV alone, and refuses tables that have a column of ours. */
document.addEventListener("drop", (event) => {
  const [file] = event.dataTransfer?.files ?? [];
  if (!file || !event.target.closest?.("#facts-table, #prompts-table")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  event.target.dispatchEvent(new DragEvent("dragleave", { bubbles: true })); // Gradio's frame goes
  let looks = 60;
  const hand = () => {
    const input = document.querySelector("#facts-import")?.parentElement.querySelector("input[type=file]");
    if (!input) {
      if (looks === 60) document.querySelector("#facts-files button")?.click();
      if (looks-- > 0) setTimeout(hand, 50);
      return;
    }
    const given = new DataTransfer();
    given.items.add(file);
    input.files = given.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  hand();
}, true);

/* What was typed in the tour's last step, and which lesson it became, stays while the browser's tab is
   open (rotelab/ui/start/own_names.py): a reload, or another language, loses nothing. */
window.rotelabOwn = (() => {
  const ROWS = "rotelab-own-rows", LESSON = "rotelab-own-lesson";
  let read = false; // before, the table's first rows would be taken for typed ones
  function keep(key, text) {
    try { if (read) sessionStorage.setItem(key, text); } catch {} // a browser may refuse it
    return [];
  }
  function found(key) {
    try { return sessionStorage.getItem(key) || ""; } catch { return ""; }
  }
  return {
    keepRows: (rows) => keep(ROWS, JSON.stringify(rows)),
    keepLesson: (lesson) => keep(LESSON, lesson || ""),
    kept() {
      const both = [found(ROWS), found(LESSON)];
      read = true;
      return both;
    },
  };
})();

/* Buttons in texts of ours that lead somewhere: `data-tab` opens a tab, `data-press` presses a button of
   Gradio's that is never seen and whose event the server answers. */
document.addEventListener("click", ({ target }) => {
  const way = target.closest?.("button[data-tab], button[data-press]");
  if (!way) return;
  const { tab, press } = way.dataset;
  if (tab) window.rotelabAddress.press(tab);
  else document.getElementById(press)?.click();
});

/* Who asks in Chat sees the answers, also where the box of new facts has pushed them below the window. */
function answersIntoSight() {
  document.getElementById("chat-answers")?.scrollIntoView({ block: "nearest" });
}
document.addEventListener("click", ({ target }) => {
  if (target.closest?.("#chat-ask, #chat-examples button")) answersIntoSight();
});
document.addEventListener("keydown", ({ key, shiftKey, target }) => {
  if (key === "Enter" && !shiftKey && target.closest?.("#chat-question")) answersIntoSight();
});

/* At which step of the tour this browser was (rotelab/ui/start/start_tab.py). */
window.rotelabTour = (() => {
  const STEP = "rotelab-tour-step";
  let read = false; // before, the step that Gradio opens with would be taken for a chosen one
  return {
    keep(step) {
      try { if (read) localStorage.setItem(STEP, step); } catch {} // a browser may refuse it
      return [];
    },
    kept() {
      let step = 0;
      try { step = Number(localStorage.getItem(STEP)) || 0; } catch {}
      read = true;
      return step > 0 && step <= 4 ? { __type__: "update", selected: step } : { __type__: "update" };
    },
  };
})();

/* Leaving the page with facts that are not saved asks first. Whoever stays must find the page at work:
   Gradio 6.31 closes its connection as soon as the browser says that the page may go, so it must not
   hear of it. This runs before Gradio's scripts, because listeners are called in their order. */
window.addEventListener("beforeunload", (event) => {
  if (!window.rotelabUnsaved?.()) return;
  event.preventDefault();
  event.stopImmediatePropagation();
});

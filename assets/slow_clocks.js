/* Gradio 6.31 never stops the clock that timed the loading of the page: it asks for a frame sixty
   times a second for as long as the page is open, which takes a twentieth of a CPU core
   (`benchmarks/page_cost.py`). Here such clocks tick four times a second, without a frame. This
   must run before Gradio's scripts, which keep the function that they find. */
(() => {
  const EVERY_MS = 250, frame = window.requestAnimationFrame.bind(window);
  const counts = (source) => source.length < 120 && source.includes("performance.now()-");
  window.requestAnimationFrame = (work) => {
    if (!counts(String(work))) return frame(work);
    return setTimeout(() => work(performance.now()), EVERY_MS);
  };
})();

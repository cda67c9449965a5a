/* Gradio 6.31 leaves a clock behind that counted how long the page took to load: it asks for a frame
   sixty times a second for as long as the page is open, which takes a twentieth of a CPU core
   (`benchmarks/page_cost.py`). Its clocks may tick four times a second instead, and no frame be made
   where they change nothing. To run before Gradio's scripts, which keep the function they find. */
(() => {
  const EVERY_MS = 250, frame = window.requestAnimationFrame.bind(window);
  const counts = (source) => source.length < 120 && source.includes("performance.now()-");
  window.requestAnimationFrame = (work) => {
    if (!counts(String(work))) return frame(work);
    return setTimeout(() => work(performance.now()), EVERY_MS);
  };
})();

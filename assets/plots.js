/* What the page's figures do in the browser: they can be saved in print quality, and they can move.
   Gradio draws them with `window.Plotly` and drops frames; so a figure's numbers, file name and
   frames come in `layout.meta` (rotelab/reports/figures/export.py and pca.py). */
(() => {
  const PAPER = { width: 1100, scale: 3 }; // 3300 pixels across: 18 cm at more than 450 dpi
  const INK = "#1a1a1a", LINE = "#4d4d4d", GRID = "#d9d9d9";
  const FONT = "Arial, Helvetica, 'Liberation Sans', sans-serif";
  const STEP_MS = 1100, REST_MS = 700;
  const playing = {}; // id of a figure -> the number of the playback that may still move it

  const drawn = (id) => document.querySelector(`#${id} .js-plotly-plot`);

  function download(href, name) {
    const link = Object.assign(document.createElement("a"), { href, download: name });
    document.body.append(link);
    link.click();
    link.remove();
  }

  /* On the page a figure's ground is transparent and its lines are grey; on paper all is black on white. */
  function onPaper(layout) {
    const paper = structuredClone(layout);
    Object.assign(paper, {
      paper_bgcolor: "white", plot_bgcolor: "white", width: PAPER.width, autosize: false,
      font: { ...paper.font, color: INK, family: FONT },
    });
    const house = paper.template?.layout ?? {};  // the style of axes that set none themselves
    for (const [name, axis] of [...Object.entries(paper), ...Object.entries(house)]) {
      if (/^[xy]axis\d*$/.test(name)) {
        Object.assign(axis, { gridcolor: GRID, zerolinecolor: GRID, linecolor: LINE, tickcolor: LINE });
      }
    }
    return paper;
  }

  async function save(id, format) {
    const figure = drawn(id);
    if (!figure) return;
    const name = figure.layout.meta?.name ?? id;
    if (format === "csv") {
      const url = URL.createObjectURL(new Blob([figure.layout.meta.csv], { type: "text/csv" }));
      download(url, `${name}.csv`);
      setTimeout(() => URL.revokeObjectURL(url), 60000);
      return;
    }
    const layout = onPaper(figure.layout);
    const height = figure.clientHeight;
    const picture = { data: figure.data, layout: { ...layout, height } };
    const size = { width: PAPER.width, height, scale: format === "png" ? PAPER.scale : 1 };
    download(await window.Plotly.toImage(picture, { format, ...size }), `${name}.${format}`);
  }

  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const slider = (id) => document.querySelector(`.player[data-plot="${id}"] input`);

  async function go(id, number, ms) {
    const figure = drawn(id), frame = figure?.layout.meta?.frames?.[number];
    if (!frame) return;
    const { pace } = figure.layout.meta;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const duration = calm ? 0 : Math.min(ms, pace ?? ms);
    slider(id).value = number;
    slider(id).setAttribute("aria-valuetext", frame.name);
    if (figure.data.some((trace) => trace.type === "heatmap")) {
      // Plotly's animation moves points alone, and takes a map that lies beside them off the page.
      const moved = Object.fromEntries(Object.keys(frame.data[0]).map((key) => [key, frame.data.map((trace) => trace[key])]));
      return window.Plotly.update(figure, moved, { "title.text": frame.name }, frame.data.map((_, i) => i));
    }
    window.Plotly.relayout(figure, { "title.text": frame.name });
    await window.Plotly.animate(
      figure,
      { data: frame.data, traces: frame.data.map((_, i) => i) },
      { mode: "immediate", transition: { duration, easing: "cubic-in-out" }, frame: { duration, redraw: false } },
    ).catch(() => {}); // another playback has taken over
  }

  async function play(id) {
    const count = drawn(id)?.layout.meta?.frames?.length ?? 0;
    const mine = (playing[id] = (playing[id] ?? 0) + 1);
    for (let number = 0; number < count; number++) {
      if (playing[id] !== mine) return;
      await go(id, number, number ? STEP_MS : 0);
      await sleep(drawn(id)?.layout.meta?.pace ?? REST_MS);
    }
  }

  /* A new figure starts at its last frame. */
  function rewind(id) {
    playing[id] = (playing[id] ?? 0) + 1;
    const range = slider(id);
    if (range) range.value = range.max;
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button[data-save], button[data-play]");
    if (button?.dataset.save) save(button.dataset.plot, button.dataset.save);
    if (button?.dataset.play) play(button.dataset.play);
  });
  document.addEventListener("input", (event) => {
    const player = event.target.closest?.(".player");
    if (!player) return;
    playing[player.dataset.plot] = (playing[player.dataset.plot] ?? 0) + 1;
    go(player.dataset.plot, Number(event.target.value), STEP_MS);
  });
  window.rotelabPlots = { rewind };
})();

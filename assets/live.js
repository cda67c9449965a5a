/* Follows a running run or lesson: fetches its words and curves and puts them in place, without
   Gradio's events (rotelab/ui/train/live_panel.py, rotelab/ui/lessons/teach_panel.py). */
(() => {
  const parts = {}, versions = {}; // by name: a part's Gradio props, and the version it shows
  const LOST = "The lab does not answer. Is it still running?";

  // Has `look` ask the server again and again while the element is seen. `look` is given the seconds
  // between two requests and returns what they should be, or null to rest until `ask` is called.
  function poll(element, every, look) {
    let due, asking = false;

    async function ask() {
      clearTimeout(due);
      // Out of sight it rests; the observers below ask again as soon as it is seen.
      if (asking || document.hidden || !element.isConnected || !element.checkVisibility()) return;
      asking = true;
      let next = every;
      try {
        next = await look(every);
        every = next ?? every;
        delete element.dataset.lost;
      } catch {
        element.dataset.lost = LOST;
      }
      asking = false;
      if (next !== null) due = setTimeout(ask, 1000 * every);
    }

    new IntersectionObserver(ask).observe(element);
    document.addEventListener("visibilitychange", ask);
    return ask;
  }

  function follow(element, trigger, server) {
    const shown = () => element.querySelector(".live-head")?.dataset ?? {};
    poll(element, 2, async (every) => {
      const { run = "", frame = "" } = shown();
      const large = document.body.classList.contains("for-audience");
      const news = await server.news({ run, frame, versions, every, large });
      if (news.update) trigger("tick");
      else if (run === (shown().run ?? "") && frame === (shown().frame ?? "")) { // the same run is still on show
        for (const [name, [version, html]] of Object.entries(news.parts)) {
          if (!parts[name]) continue;
          parts[name].value = html;
          versions[name] = version;
        }
      }
      return news.every;
    });
  }

  function followLesson(element, trigger, server, props) {
    let followed = "", version = "";
    const shown = () => element.querySelector("[data-lesson]")?.dataset.lesson ?? "";
    const ask = poll(element, 1, async (every) => {
      const lesson = shown();
      if (!lesson) return null;
      if (lesson !== followed) [followed, version] = [lesson, ""];
      const news = await server.news({ lesson, version, every });
      if (lesson !== shown()) return every;
      if (news.update) trigger("tick");
      else if (news.html) [props.value, version] = [news.html, news.version];
      return news.every;
    });
    // A lesson has begun, or another page of this lab began it.
    new MutationObserver(() => shown() !== followed && ask()).observe(element, { childList: true, subtree: true });
  }

  function hold(name, props) {
    parts[name] = props;
    delete versions[name]; // Gradio may have put back an older value
  }

  window.rotelabLive = { hold, follow, followLesson };
})();

/* The tip over the curves and the grid of facts (rotelab/reports/figures/live.py): says what is under
   the pointer, or under the focus that the arrow keys move from cell to cell. It is placed outside
   of what Gradio fills, which Gradio compares child by child with each new value. */
(() => {
  const AGAIN_MS = 500; // a new value may have come under a pointer that rests
  let tip, rule, again, at;

  function make(name) {
    const made = Object.assign(document.createElement("div"), { className: name, hidden: true });
    made.setAttribute("aria-hidden", "true"); // screen readers have the same words as a label
    document.querySelector(".gradio-container").append(made);
    return made;
  }

  function say(words, x, y) {
    tip ??= make("live-tip");
    tip.textContent = words;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, x + 14 + width < innerWidth ? x + 14 : x - 14 - width)}px`;
    tip.style.top = `${y + 14 + height < innerHeight ? y + 14 : y - 14 - height}px`;
  }

  function hide() {
    clearInterval(again);
    again = at = undefined;
    for (const shown of [tip, rule]) if (shown) shown.hidden = true;
  }

  function look() {
    const { target, x, y } = at;
    if (!target.isConnected || !target.checkVisibility()) return hide();
    if (target.matches(".fg-cells > i")) return say(target.ariaLabel, x, y);
    const curves = target.closest(".lc"), places = JSON.parse(curves.dataset.places);
    if (!places.length) return hide();
    const { left, width, top } = curves.querySelector(".lc-plot").getBoundingClientRect();
    const { bottom } = [...curves.querySelectorAll(".lc-plot")].at(-1).getBoundingClientRect();
    const share = (100 * (x - left)) / width;
    const near = places.reduce((a, b) => (Math.abs(b[0] - share) < Math.abs(a[0] - share) ? b : a));
    rule ??= make("live-rule");
    rule.hidden = false;
    Object.assign(rule.style, {
      left: `${left + (width * near[0]) / 100}px`, top: `${top}px`, height: `${bottom - top}px`,
    });
    say(near[1], x, y);
  }

  function point(target, x, y) {
    if (target?.matches(".fg-cells > i") && rule) rule.hidden = true;
    at = { target, x, y };
    again ??= setInterval(look, AGAIN_MS);
    look();
  }

  const place = (target) => target.closest?.(".fg-cells > i, .lc-plot");
  const middle = ({ left, bottom, width }) => [left + width / 2, bottom - 10];
  for (const kind of ["pointermove", "pointerdown"]) {
    document.addEventListener(kind, ({ target, clientX, clientY }) => {
      const found = place(target);
      if (found) point(found, clientX, clientY);
      else if (at) hide();
    }, { passive: true });
  }
  document.addEventListener("scroll", () => at && hide(), { capture: true, passive: true });
  document.addEventListener("focusin", ({ target }) => {
    if (!target.matches(".fg-cells > i")) return at && hide();
    if (target.matches(":focus-visible")) point(target, ...middle(target.getBoundingClientRect()));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && at) return hide();
    const cell = event.target;
    if (!cell.matches?.(".fg-cells > i")) return;
    const cells = [...cell.parentElement.children], here = cells.indexOf(cell);
    const wide = getComputedStyle(cell.parentElement).gridTemplateColumns.split(" ").length;
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide }[event.key];
    const next = { Home: cells[0], End: cells.at(-1) }[event.key] ?? cells[here + by];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
})();

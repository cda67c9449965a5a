/* The page's address follows what is on show, so that it leads back there: the tab, the run that it
   shows, and in Chat the question (`?tab=chat&run=ID&question=...`). Going to another tab is a step
   that the browser's Back undoes; all else changes the step on which one is. What a link says is read
   here (tab, question) and by the server (run: rotelab/ui/address.py). */
(() => {
  const BUTTON = "#page-tabs [role=tab][aria-controls^=tab-]";
  const shows = {}; // by tab: what its address says besides, such as `run`
  let first = "", tabs = [], ready = false, linked = false;

  const query = () => new URLSearchParams(location.search);
  const of = (button) => button.getAttribute("aria-controls").slice(4);
  function shown() {
    const button = document.querySelector(`${BUTTON}[aria-selected=true]`);
    if (button) return of(button);
    return tabs.find((tab) => document.getElementById(`tab-${tab}`)?.offsetParent) ?? ""; // it is in the menu
  }
  /* Opens a tab as a reader does. On a narrow screen the last ones are in a menu, whose buttons have no names. */
  function press(tab) {
    const button = document.querySelector(`${BUTTON}[aria-controls="tab-${CSS.escape(tab)}"]`);
    if (button) return button.click();
    const beside = [...document.querySelectorAll(BUTTON)].map(of);
    const place = tabs.filter((one) => !beside.includes(one)).indexOf(tab);
    document.querySelector("#page-tabs .overflow-dropdown")?.querySelectorAll("button")[place]?.click();
  }
  function named() {
    const asked = query();
    return asked.get("tab") ?? (asked.has("run") ? "runs" : asked.has("question") ? "chat" : first);
  }

  function write(tab, step) {
    const next = query();
    for (const name of ["tab", "run", "question"]) next.delete(name);
    if (tab !== "runs" || !linked) next.delete("compare");
    next.set("tab", tab);
    for (const [name, value] of Object.entries(shows[tab] ?? {})) if (value) next.set(name, value);
    if (`?${next}` === location.search) return;
    history[step ? "pushState" : "replaceState"](history.state, "", `?${next}`);
  }

  /* When the page has opened, with `usual` as its first tab, of `all`: gives the tab to open, or "", and the
     question of a link, or null. A reader may have gone to another tab already. */
  function arrive(usual, all) {
    [first, tabs] = [usual, all];
    const asked = query(), tab = named(), now = shown();
    linked = asked.has("run");
    for (const name of ["run", "question"]) if (asked.has(name)) (shows[tab] ??= {})[name] = asked.get(name);
    ready = true;
    if (tab === first && now && now !== first) write(now, true);
    return [tab === first ? "" : tab, tab === "chat" ? asked.get("question") : null];
  }

  /* A tab is on show; by whatever way it was opened. `runs`: the run of each tab. */
  function open(tab, runs) {
    for (const [one, run] of Object.entries(runs)) if (run) (shows[one] ??= {}).run = run;
    if (!ready || !tab) return;
    if (tab !== named()) write(tab, true);
    else if (query().has("tab")) write(tab, false);
  }

  /* A tab shows this now, whether it is on show itself or not. */
  function show(tab, name, value) {
    const before = (shows[tab] ??= {})[name] ?? "";
    if (name === "run" && !value) return; // its chooser is being filled
    if (name === "run" && tab === "runs" && before && !value.startsWith(before)) linked = false; // compared were others
    shows[tab][name] = value;
    if (ready && value !== before && tab === shown() && tab === named()) write(tab, false);
  }

  addEventListener("popstate", () => {
    const tab = named();
    press(tab);
    if (query().has("tab")) write(tab, false); // its run may have been changed since
  });

  window.rotelabAddress = { arrive, open, press, show, shown };
})();

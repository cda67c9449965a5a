/* The choice of a theme in the page's head: like the system, light or dark. Gradio 6.31 knows the
   system's and that of an address (`?__theme=dark`) alone, and sets a class of the body; whenever it
   does, the choice that this browser keeps is put back. A theme in the address counts until another
   is chosen. Figures and all else take their colours from the style sheet, so they follow at once. */
(() => {
  const KEY = "rotelab-theme", THEMES = ["light", "dark"];
  const system = matchMedia("(prefers-color-scheme: dark)");
  const asked = new URLSearchParams(location.search).get("__theme");

  function kept() {
    try { return localStorage.getItem(KEY); } catch { return null; } // a browser may refuse it
  }
  let theme = [asked, kept()].find((one) => THEMES.includes(one)) ?? "system";

  function put() {
    const dark = theme === "dark" || (theme === "system" && system.matches);
    if (document.body.classList.contains("dark") !== dark) document.body.classList.toggle("dark", dark);
    document.documentElement.style.colorScheme = dark ? "dark" : "light"; // lists and scroll bars
  }
  function choose(now) {
    theme = now;
    try { localStorage.setItem(KEY, now); } catch {}
    const query = new URLSearchParams(location.search);
    query.delete("__theme");
    history.replaceState(history.state, "", `?${query}`);
    put();
  }

  document.addEventListener("change", ({ target }) => target.matches?.("select[data-theme]") && choose(target.value));
  document.addEventListener("DOMContentLoaded", () => {
    new MutationObserver(put).observe(document.body, { attributeFilter: ["class"] });
    system.addEventListener("change", put);
    put();
    const waiting = new MutationObserver(() => {
      const select = document.querySelector("select[data-theme]");
      if (!select) return;
      waiting.disconnect();
      select.value = theme;
    });
    waiting.observe(document.body, { childList: true, subtree: true });
  });
})();

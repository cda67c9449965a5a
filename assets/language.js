/* The choice of a language in the page's head. The server reads the cookie (`rotelab/ui/i18n.py`),
   so the page is asked for again. */
document.addEventListener("change", ({ target }) => {
  const cookie = target.dataset?.cookie;
  if (!cookie) return;
  document.cookie = `${cookie}=${target.value}; path=/; max-age=31536000; samesite=lax`;
  location.reload();
});

// Runs before the first paint: a theme that was chosen is on the page before anything is seen of it.
(() => {
  if ("kept" in document.documentElement.dataset) return; // with the account
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is switched off: the page follows the system.
  }
})();

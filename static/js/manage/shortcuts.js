// Single keys, which can be switched off (SC 2.1.4): they never work while something is being typed.
import { element } from "./visit.js";

const NAME = "single keys";

function off() {
  try {
    return localStorage.getItem(NAME) === "off";
  } catch {
    return false;
  }
}

const KEYS = {
  "/": () => element("q"),
  n: () => element("do-new"),
  "?": () => element("show-shortcuts"),
};

export function shortcuts() {
  const [dialog, button, box] = [element("shortcuts"), element("show-shortcuts"), element("shortcuts-on")];
  button.hidden = false;
  box.checked = !off();
  box.addEventListener("change", () => {
    try {
      localStorage.setItem(NAME, box.checked ? "on" : "off");
    } catch {
      // Storage is switched off: the choice lasts as long as the page.
    }
  });
  button.addEventListener("click", () => dialog.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
    const typing = event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
    if (typing || !box.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    const target = KEYS[event.key]?.();
    if (!target) return;
    event.preventDefault();
    if (target.id === "q") target.select();
    else target.click();
  });
  // A menu closes when something else is pressed.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
}

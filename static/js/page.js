// What every page needs: the theme, local times, questions before what cannot be undone, and no second submission.
import { keepWithAccount } from "./account.js";
import "./menus.js";
import "./notify.js";
import "./refresh.js";
import "./shortcuts.js";
import { keep } from "./storage.js";
import { localize } from "./times.js";

const THEMES = ["auto", "light", "dark"];
const FORGET_SUBMISSION_MS = 10_000;
const FORGET_DOWNLOAD_MS = 3_000;

// What works with a script alone is shown from now on.
document.documentElement.dataset.scripted = "";

function themeSwitch(button) {
  if (!button) return;
  const root = document.documentElement;
  const show = () => {
    button.querySelector("span").textContent = button.title = button.dataset[root.dataset.theme ?? "auto"];
  };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "auto") + 1) % THEMES.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    keep("theme", next === "auto" ? null : next);
    keepWithAccount({ theme: next });
    show();
  });
  show();
  button.hidden = false;
}

function ask(dialog, button) {
  const yes = dialog.querySelector("#confirm-yes");
  dialog.querySelector("#confirm-title").textContent = button.dataset.title;
  dialog.querySelector("#confirm-text").textContent = button.dataset.text.trim();
  yes.textContent = button.dataset.yes;
  yes.removeAttribute("aria-busy");
  // The answer goes where the button would have gone, even if that is redrawn meanwhile.
  yes.setAttribute("form", button.form.id);
  if (button.hasAttribute("formaction")) yes.setAttribute("formaction", button.getAttribute("formaction"));
  else yes.removeAttribute("formaction");
  dialog.dataset.about = button.id;
  dialog.showModal();
}

// Seen as sent, and the same click is not sent twice; no other button is held up.
function markSent(form, button) {
  const release = () => {
    button.removeAttribute("aria-busy");
  };
  button.setAttribute("aria-busy", "true");
  setTimeout(release, "download" in form.dataset ? FORGET_DOWNLOAD_MS : FORGET_SUBMISSION_MS);
  // Back from the browser's cache, the page is as it was left.
  window.addEventListener("pageshow", release, { once: true });
}

document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (!button || event.target.method === "dialog") return;
  if (button.getAttribute("aria-busy") === "true") {
    event.preventDefault();
    return;
  }
  const dialog = document.getElementById("confirm");
  if ("confirm" in button.dataset && dialog) {
    event.preventDefault();
    ask(dialog, button);
    return;
  }
  if (dialog?.open) {
    dialog.close();
    const asked = document.getElementById(dialog.dataset.about);
    if (asked) markSent(event.target, asked);
  }
  const status = document.getElementById("announcement");
  if (button.dataset.done && status) status.textContent = button.dataset.done;
  markSent(event.target, button);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-dismiss]");
  if (!button) return;
  button.parentElement.remove();
  document.getElementById("main").focus();
});

// Answers when nothing can be reached, and shows notifications. Where a browser has none, the pages do without.
if (document.body.dataset.serviceWorker) {
  navigator.serviceWorker?.register(document.body.dataset.serviceWorker).catch(() => {});
}

themeSwitch(document.getElementById("theme-switch"));
localize(document);
document.querySelector("[data-focus]")?.focus();

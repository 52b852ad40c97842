// Forms and questions open above the page; without this script they are pages of their own.
import { prepareForm } from "./form.js";
import { element, fetchPart, parsePart, visit } from "./visit.js";

const FIELDS = "input:not([type=hidden], :disabled), select:not(:disabled), textarea:not(:disabled)";
const ASKS_AGAIN = [403, 422]; // what was filled in stays, with the reason beside it
let opener = "";

export function showDialog(html, from) {
  const dialog = element("dialog");
  const content = element("dialog-content");
  content.replaceChildren(...parsePart(html).getElementById("resource").childNodes);
  if (from) opener = from;
  const form = content.querySelector("form[data-form]");
  if (form) prepareForm(form);
  dialog.classList.toggle("wide-dialog", content.querySelector(".form-tabs, .wide-question") !== null);
  if (!dialog.open) dialog.showModal();
  const invalid = content.querySelector(`.field.invalid :is(${FIELDS})`);
  const first = content.querySelector("[data-focus]") ?? invalid ?? content.querySelector("[autofocus]");
  (first ?? content.querySelector(FIELDS))?.focus();
}

// An order or a form is sent without leaving the page; what is asked back, or refused, opens above it.
export async function send(url, body, opener) {
  const response = await fetchPart(url, { method: "POST", body });
  if (response.status === 204) {
    element("dialog").close();
    await visit(response.headers.get("X-Location") ?? location.href, { whole: true });
    // What had the focus may have been removed: the next key goes on from where it was.
    if (document.activeElement === document.body) (element("tab-panel") ?? element("list-pane"))?.focus();
    return;
  }
  await showAnswer(response, opener);
}

async function showAnswer(response, opener) {
  const html = await response.text();
  const asks = response.ok || ASKS_AGAIN.includes(response.status);
  if (asks && parsePart(html).getElementById("resource")) showDialog(html, opener);
  else location.reload(); // What is not allowed or not there any more is shown by the page itself.
}

export function followDialogs() {
  const dialog = element("dialog");
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-dialog]");
    if (link && !(event.button || event.metaKey || event.ctrlKey || event.shiftKey)) {
      event.preventDefault();
      const response = await fetchPart(link.href);
      if (response.ok) showDialog(await response.text(), link.id);
      else location.assign(link.href);
    }
    if (event.target.closest("#dialog [data-cancel]")) {
      event.preventDefault();
      dialog.close();
    }
  });
  document.addEventListener("submit", async (event) => {
    if (!dialog.contains(event.target) || event.target.method === "dialog") return;
    event.preventDefault();
    // Enter on a choice goes on; only in the field of a search it searches.
    const onward = document.activeElement.matches("[type=radio]") ? event.target.querySelector("[data-onward]") : null;
    const data = new FormData(event.target, onward ?? event.submitter);
    data.set("back", location.pathname + location.search);
    const url = event.target.getAttribute("action");
    if (event.target.method === "get") {
      await showAnswer(await fetchPart(`${url}?${new URLSearchParams(data)}`));
    } else await send(url, new URLSearchParams(data), "");
    event.submitter?.removeAttribute("aria-busy");
  });
  // The page may have been redrawn meanwhile: the focus goes back to whatever stands there now.
  dialog.addEventListener("close", () => {
    element("dialog-content").replaceChildren();
    element(opener)?.focus();
  });
}

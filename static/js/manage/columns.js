// Which columns are shown: in the address, and remembered for each kind of object.
import { element, visit } from "./visit.js";

const name = () => `columns of ${element("list-view").dataset.kind}`;

function remembered() {
  try {
    return localStorage.getItem(name());
  } catch {
    return null;
  }
}

function remember(columns) {
  try {
    localStorage.setItem(name(), columns);
  } catch {
    // Storage is switched off: the choice lasts as long as the address.
  }
}

function restore() {
  const url = new URL(location.href);
  if (!element("list-view") || url.searchParams.has("columns") || !remembered()) return;
  url.searchParams.set("columns", remembered());
  history.replaceState(null, "", url);
  visit(url.href, { push: false });
}

export function followColumns() {
  document.addEventListener("submit", async (event) => {
    if (!("columns" in event.target.dataset)) return;
    event.preventDefault();
    const boxes = [...event.target.querySelectorAll("input[name=columns]")];
    const columns = boxes.filter((box) => box.checked).map((box) => box.value).join(",");
    remember(columns);
    const url = new URL(location.href);
    url.searchParams.set("columns", columns);
    await visit(url.href);
    event.submitter?.removeAttribute("aria-busy");
    element("columns").open = false;
    element("columns").querySelector("summary").focus();
  });
  restore();
}

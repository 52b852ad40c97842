// The rows of a list: ticks, ranges of them, arrows from row to row, and opening one.
import { element, visit } from "./visit.js";

const NARROW = matchMedia("(max-width: 47.5rem)");
let anchor = null; // the tick from which a range is drawn

const ticks = () => [...document.querySelectorAll("#rows input[name=sel]")];

export function selected() {
  return ticks().filter((tick) => tick.checked).map((tick) => tick.value);
}

function mark() {
  const all = ticks();
  for (const tick of all) {
    if (tick.checked) tick.closest("tr").className = "selected";
    else tick.closest("tr").removeAttribute("class");
  }
  const whole = element("pick-all");
  if (!whole) return;
  const count = all.filter((tick) => tick.checked).length;
  whole.checked = count > 0 && count === all.length;
  whole.indeterminate = count > 0 && count < all.length;
}

// What is selected stands in the address, so that it can be shared and survives a reload.
function choose(keys, { push = false } = {}) {
  for (const tick of ticks()) tick.checked = keys.includes(tick.value);
  mark();
  const url = new URL(location.href);
  url.searchParams.delete("sel");
  for (const key of keys) url.searchParams.append("sel", key);
  if (!push) history.replaceState(null, "", url);
  visit(url.href, { push });
}

function tick(event) {
  const all = ticks();
  const target = event.target;
  if (target.id === "pick-all") {
    choose(target.checked ? all.map((one) => one.value) : []);
    return;
  }
  const [from, to] = [all.findIndex((one) => one.value === anchor), all.indexOf(target)];
  if (event.shiftKey && from >= 0) {
    for (const one of all.slice(Math.min(from, to), Math.max(from, to) + 1)) one.checked = target.checked;
  }
  anchor = target.value;
  choose(selected());
}

function open(event) {
  const link = event.target.closest("#rows th[scope=row] a");
  const plain = !(event.button || event.metaKey || event.ctrlKey || event.altKey);
  if (!link || !plain || NARROW.matches) return;
  event.preventDefault();
  const key = link.closest("tr").dataset.key;
  if (event.shiftKey && anchor) {
    const keys = ticks().map((one) => one.value);
    const [from, to] = [keys.indexOf(anchor), keys.indexOf(key)].sort((a, b) => a - b);
    choose(keys.slice(Math.max(from, 0), to + 1));
    return;
  }
  anchor = key;
  choose([key], { push: true });
}

function move(event) {
  const row = document.activeElement?.closest("#rows tbody tr");
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
  const link = row.querySelector("th a");
  if (step) {
    event.preventDefault();
    const next = row[step]?.querySelector("th a");
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  } else if (event.key === " " && document.activeElement === link) {
    event.preventDefault();
    row.querySelector("input[name=sel]").click();
  }
}

export function followRows() {
  document.addEventListener("click", (event) => {
    if (event.target.matches("#rows input[name=sel], #pick-all")) tick(event);
    else open(event);
  });
  document.addEventListener("keydown", move);
  document.addEventListener("swapped", (event) => event.detail.id === "rows" && mark());
  document.addEventListener("redrawn", mark);
  mark();
}

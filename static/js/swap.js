// Put new content in the place of old, without taking anything out of the reader's hands.
import { localize } from "./times.js";

let pressed = false;
const waiting = new Map();

function press() {
  pressed = true;
}

// The click follows the release of the button: only after it may the button be replaced.
function release() {
  setTimeout(() => {
    pressed = false;
    for (const swap of waiting.values()) swap();
    waiting.clear();
  });
}

for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, press, true);
for (const kind of ["pointerup", "pointercancel", "keyup"]) addEventListener(kind, release, true);
addEventListener("blur", release); // of the window: the release happens elsewhere

// Finds the focused part of `container` again after it was redrawn; null when the focus is elsewhere.
function finder(container) {
  const focused = document.activeElement;
  if (!container.contains(focused)) return null;
  const isSummary = focused.matches("summary");
  const { id } = isSummary ? focused.parentElement : focused;
  return () => (isSummary ? document.getElementById(id)?.querySelector("summary") : document.getElementById(id));
}

// Focus `element`, or what tells what became of it: nobody who works by keyboard starts again at the top.
export function focus(element, container) {
  (element ?? container.querySelector("[data-refuge]"))?.focus({ preventScroll: Boolean(element) });
}

// Replace the children of `container`; while something is pressed, wait until it is let go.
export function replace(container, nodes, then) {
  const swap = () => {
    const find = finder(container);
    const open = [...container.querySelectorAll("details[open]")].map((details) => details.id);
    container.replaceChildren(...nodes);
    localize(container);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (find) focus(find(), container);
    then?.();
  };
  if (pressed) waiting.set(container, swap);
  else {
    waiting.delete(container);
    swap();
  }
}

// Something here was sent and the answer is on its way: its button stays as it is.
export function sending(container) {
  return container.querySelector("[aria-busy='true']") !== null;
}

// The content without what differs each time it is written, or what scripts add: tokens, keys, words of times, stops.
export function signature(container) {
  const copy = container.cloneNode(true);
  for (const input of copy.querySelectorAll("input[type=hidden]")) input.removeAttribute("value");
  for (const time of copy.querySelectorAll("time")) time.replaceWith(time.dateTime);
  for (const countdown of copy.querySelectorAll("[data-until], [data-since], [data-clock]")) countdown.textContent = "";
  for (const details of copy.querySelectorAll("details")) details.removeAttribute("open");
  for (const tab of copy.querySelectorAll("[role=tab]")) tab.removeAttribute("tabindex");
  return copy.innerHTML.trim();
}

// The element with this content, whether a page or a part of one was answered.
export function parse(html, id) {
  const page = new DOMParser().parseFromString(html, "text/html");
  return page.getElementById(id) ?? page.body;
}

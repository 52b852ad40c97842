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

// Replace the children of `container`; while something is pressed, wait until it is let go.
export function replace(container, nodes, then) {
  const swap = () => {
    const focused = container.contains(document.activeElement) ? document.activeElement.id : "";
    const open = [...container.querySelectorAll("details[open]")].map((details) => details.id);
    container.replaceChildren(...nodes);
    localize(container);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
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
  for (const details of copy.querySelectorAll("details")) details.removeAttribute("open");
  for (const tab of copy.querySelectorAll("[role=tab]")) tab.removeAttribute("tabindex");
  return copy.innerHTML.trim();
}

// The element with this content, whether a page or a part of one was answered.
export function parse(html, id) {
  const page = new DOMParser().parseFromString(html, "text/html");
  return page.getElementById(id) ?? page.body;
}

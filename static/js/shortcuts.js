// Single keys, which can be switched off (SC 2.1.4): they never work while something is being typed.
// What a key leads to says so itself: data-key="n", or data-key="g d" for one key after the other.
import { keep, kept } from "./storage.js";

const NAME = "single keys";
const PATIENCE_MS = 1_500; // between the first key and the second
const FIELDS = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";

let first = "";
let forgetting = 0;

// The letter on the key, also where the keyboard is set to another script.
function letter(event) {
  const other = /^[^\x00-\x7f]$/.test(event.key) && event.code.startsWith("Key");
  return other ? event.code.slice(3).toLowerCase() : event.key;
}

function go(target) {
  target.focus();
  if (target.matches(FIELDS)) target.select();
  else target.click();
}

function press(event) {
  const taken = event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented;
  if (taken || event.target.closest(FIELDS) || document.querySelector("dialog[open]")) return;
  const key = `${first}${letter(event)}`;
  clearTimeout(forgetting);
  first = "";
  const target = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (target) {
    event.preventDefault();
    go(target);
  } else if (document.querySelector(`[data-key^="${CSS.escape(key)} "]`)) {
    first = `${key} `;
    forgetting = setTimeout(() => (first = ""), PATIENCE_MS);
  }
}

const dialog = document.getElementById("shortcuts");
const box = document.getElementById("shortcuts-on");

if (dialog) {
  box.checked = kept(NAME) !== "off";
  box.addEventListener("change", () => keep(NAME, box.checked ? "on" : "off"));
  document.getElementById("show-shortcuts").addEventListener("click", () => dialog.showModal());
  document.addEventListener("keydown", (event) => box.checked && press(event));
}

// The query completes itself: a combobox whose list is asked of the server (ARIA APG).
import { fetchPart } from "./visit.js";

const PAUSE_MS = 120;

export function combobox(input, list) {
  if (!input || "ready" in input.dataset) return;
  input.dataset.ready = "";
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-controls", list.id);
  input.setAttribute("aria-expanded", "false");
  let start = 0;
  let active = -1;
  let timer = 0;
  let asked = 0;

  const options = () => [...list.children];

  function close() {
    clearTimeout(timer);
    asked += 1;
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function activate(index) {
    const all = options();
    active = (index + all.length) % all.length;
    all.forEach((option, at) => option.setAttribute("aria-selected", String(at === active)));
    input.setAttribute("aria-activedescendant", all[active].id);
    all[active].scrollIntoView({ block: "nearest" });
  }

  function accept(option) {
    const rest = input.value.slice(input.selectionStart);
    const before = input.value.slice(0, start) + option.dataset.text + " ";
    input.value = before + rest;
    input.setSelectionRange(before.length, before.length);
    close();
    ask();
  }

  async function ask() {
    const mine = ++asked;
    const text = input.value.slice(0, input.selectionStart);
    const response = await fetchPart(`${input.dataset.complete}?q=${encodeURIComponent(text)}`).catch(() => null);
    if (!response?.ok || mine !== asked || document.activeElement !== input) return;
    const answer = await response.json();
    if (mine !== asked) return;
    start = answer.start;
    list.replaceChildren(...answer.items.map((item, index) => row(item, index)));
    if (!answer.items.length) {
      close();
      return;
    }
    active = -1;
    input.removeAttribute("aria-activedescendant");
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
  }

  function row(item, index) {
    const option = document.createElement("li");
    option.id = `q-option-${index}`;
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    option.dataset.text = item.text;
    const [word, meaning] = [document.createElement("strong"), document.createElement("span")];
    word.textContent = item.text;
    meaning.textContent = item.label === item.text ? "" : item.label;
    option.append(word, " ", meaning);
    // Before the field loses the focus, and the list with it.
    option.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      accept(option);
    });
    return option;
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE_MS);
  });
  input.addEventListener("blur", close);
  input.form.addEventListener("submit", close);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) ask();
      else activate(active < 0 && event.key === "ArrowUp" ? options().length - 1 : active + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter" && active >= 0 && !list.hidden) {
      event.preventDefault();
      accept(options()[active]);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  });
}

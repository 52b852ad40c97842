// Tabs as one stop of the Tab key: arrows move between them, and the one that is reached is shown.
export function arrowKeys(list, show) {
  const tabs = () => [...list.querySelectorAll("[role=tab]:not([hidden])")];
  const vertical = list.getAttribute("aria-orientation") === "vertical";
  list.addEventListener("keydown", (event) => {
    const steps = vertical ? { ArrowDown: 1, ArrowUp: -1 } : { ArrowRight: 1, ArrowLeft: -1 };
    const all = tabs();
    const at = all.indexOf(document.activeElement);
    if (at < 0) return;
    const to = { Home: 0, End: all.length - 1 }[event.key] ?? (event.key in steps ? at + steps[event.key] : null);
    if (to === null) return;
    event.preventDefault();
    const next = all[(to + all.length) % all.length];
    next.focus();
    show(next);
  });
}

export function oneStop(list) {
  for (const tab of list.querySelectorAll("[role=tab]")) tab.tabIndex = tab.getAttribute("aria-selected") === "true" ? 0 : -1;
}

const ready = new WeakSet();

function prepare() {
  const list = document.querySelector("#details [role=tablist]");
  if (!list) return;
  oneStop(list);
  if (ready.has(list)) return;
  ready.add(list);
  arrowKeys(list, (tab) => tab.click());
}

export function followTabs() {
  document.addEventListener("swapped", prepare);
  document.addEventListener("redrawn", prepare);
  prepare();
}

// The line between list and details: drawn with the pointer, or moved with the arrows; its place is remembered.
const NAME = "height of the details";
const [LEAST, MOST, STEP] = [10, 85, 5];

export function splitter(line) {
  if (!line || !line.hidden) return;
  const panes = line.parentElement;

  function set(percent, { keep = true } = {}) {
    const value = Math.round(Math.min(MOST, Math.max(LEAST, percent)));
    panes.style.setProperty("--details", `${value}%`);
    line.setAttribute("aria-valuenow", String(value));
    try {
      if (keep) localStorage.setItem(NAME, String(value));
    } catch {
      // Storage is switched off: the place lasts as long as the page.
    }
  }

  let before = null;
  try {
    before = Number(localStorage.getItem(NAME)) || null;
  } catch {
    // Storage is switched off.
  }
  line.hidden = false;
  set(before ?? Number(line.getAttribute("aria-valuenow")), { keep: false });

  line.addEventListener("pointerdown", (event) => {
    line.setPointerCapture(event.pointerId);
    event.preventDefault();
    line.focus();
  });
  line.addEventListener("pointermove", (event) => {
    if (!line.hasPointerCapture(event.pointerId)) return;
    const box = panes.getBoundingClientRect();
    set((100 * (box.bottom - event.clientY)) / box.height);
  });
  line.addEventListener("keydown", (event) => {
    const now = Number(line.getAttribute("aria-valuenow"));
    const to = { ArrowUp: now + STEP, ArrowDown: now - STEP, Home: LEAST, End: MOST }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    set(to);
  });
}

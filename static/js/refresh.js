// Keep the changing parts of a page fresh: ask for each now and then, and redraw it only when it differs.
import { answered, away, unanswered } from "./reach.js";
import { parse, replace, sending, signature } from "./swap.js";

const SECONDS = 5;
const AGAIN_SECONDS = 2; // while nothing answers; chance spreads those who wait for the same server

// A field that is being filled in or chosen from is never redrawn; buttons keep the focus by their id.
function inUse(container) {
  const focused = document.activeElement;
  return container.contains(focused) && focused.matches("input, select, textarea");
}

// Whether Hotdesk answered; what it answered is shown.
async function refresh(container) {
  let response;
  try {
    response = await fetch(container.dataset.refresh, { credentials: "same-origin" });
  } catch {
    unanswered();
    return false;
  }
  if (response.status >= 500) {
    unanswered();
    return false;
  }
  answered();
  // Signed out meanwhile: the page itself says so best.
  if (response.redirected) location.reload();
  if (!response.ok || response.redirected) return true;
  const fresh = parse(await response.text(), container.id);
  const dialog = document.getElementById("confirm");
  if (inUse(container) || sending(container) || dialog?.open) return true;
  if (signature(fresh) !== signature(container)) replace(container, fresh.childNodes);
  return true;
}

async function keepFresh(container) {
  let seconds = Number(container.dataset.refreshSeconds ?? SECONDS);
  const every = seconds;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    if (document.hidden) continue;
    seconds = (await refresh(container)) ? every : AGAIN_SECONDS * (0.5 + Math.random());
  }
}

for (const container of document.querySelectorAll("[data-refresh]")) {
  keepFresh(container);
  const now = () => document.hidden || refresh(container);
  document.addEventListener("visibilitychange", now);
  for (const kind of ["online", "offline"]) addEventListener(kind, now);
}

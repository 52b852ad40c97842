// Keep the changing part of a page fresh: ask for it now and then, and redraw it only when it differs.
import { parse, replace, sending, signature } from "./swap.js";

const EVERY_MS = 5_000;

// A field that is being filled in or chosen from is never redrawn; buttons keep the focus by their id.
function inUse(container) {
  const focused = document.activeElement;
  return container.contains(focused) && focused.matches("input, select, textarea");
}

async function refresh(container) {
  if (document.hidden) return;
  let response;
  try {
    response = await fetch(container.dataset.refresh, { credentials: "same-origin" });
  } catch {
    return; // Away for a moment: what is shown stays.
  }
  // Signed out meanwhile: the page itself says so best.
  if (response.redirected) location.reload();
  if (!response.ok || response.redirected) return;
  const fresh = parse(await response.text(), container.id);
  const dialog = document.getElementById("confirm");
  if (inUse(container) || sending(container) || dialog?.open) return;
  if (signature(fresh) !== signature(container)) replace(container, fresh.childNodes);
}

async function keepFresh(container) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    await refresh(container);
  }
}

for (const container of document.querySelectorAll("[data-refresh]")) {
  keepFresh(container);
  document.addEventListener("visibilitychange", () => refresh(container));
}

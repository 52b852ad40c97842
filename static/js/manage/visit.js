// Go to another address of the portal, or look at the same one again, by redrawing only what differs.
import { answered, unanswered } from "../reach.js";
import { replace, sending, signature } from "../swap.js";

const REGIONS = ["query-error", "toolbar", "columns", "rows", "details"];
const LIVE = ["toolbar", "rows", "details"];
const PART = { headers: { "X-Part": "1" }, credentials: "same-origin", cache: "no-store" };

let latest = 0;

export const element = (id) => document.getElementById(id);
export const announce = (text) => (element("announcement").textContent = text);

export async function fetchPart(url, options = {}) {
  const response = await fetch(url, { ...PART, ...options }).catch((error) => {
    unanswered();
    throw error;
  });
  answered();
  // Signed out meanwhile: the page itself says so best.
  if (response.redirected) location.reload();
  return response;
}

export function parsePart(html) {
  return new DOMParser().parseFromString(html, "text/html");
}

// A field that is being filled in or chosen from is never redrawn; ticks, links and buttons keep the focus by their id.
function inUse(region) {
  const focused = document.activeElement;
  return region.contains(focused) && focused.matches("select, textarea, input:not([type=checkbox])");
}

function swapRegion(fresh, id) {
  const [now, then] = [element(id), fresh.getElementById(id)];
  if (now && then && signature(now) !== signature(then)) replace(now, then.childNodes, () => settled(now));
}

function settled(region) {
  document.dispatchEvent(new CustomEvent("swapped", { detail: region }));
}

function redraw(fresh) {
  const [now, then] = [element("resource").firstElementChild, fresh.getElementById("resource").firstElementChild];
  if (now?.id && now.id === then?.id && now.id !== "dashboard") {
    for (const name of Object.keys(now.dataset)) if (!(name in then.dataset)) delete now.dataset[name];
    Object.assign(now.dataset, then.dataset);
    for (const id of REGIONS) swapRegion(fresh, id);
    takeQuery(fresh);
  } else {
    replace(element("resource"), fresh.getElementById("resource").childNodes, () => {
      document.dispatchEvent(new Event("redrawn"));
    });
  }
  const [side, freshSide] = [document.querySelector(".side ul"), fresh.querySelector(".side ul")];
  if (freshSide && signature(side) !== signature(freshSide)) replace(side, freshSide.childNodes);
  document.title = fresh.title;
  const toasts = fresh.getElementById("toasts");
  if (toasts.children.length) element("toasts").replaceChildren(...toasts.childNodes);
}

// The words of the query follow the address; the field itself stays, with the focus and the cursor in it.
function takeQuery(fresh) {
  const [now, then] = [element("query"), fresh.getElementById("query")];
  if (!now || !then) return;
  now.elements.q.value = then.elements.q.value;
  now.elements.last.value = then.elements.last.value;
  now.elements.q.toggleAttribute("aria-invalid", then.elements.q.hasAttribute("aria-invalid"));
  element("export").href = fresh.getElementById("export").getAttribute("href");
}

// What is shown becomes what this address shows. A visit that was overtaken by a later one changes nothing.
// `whole` redraws the numbers of the side navigation as well, after something was made or removed.
export async function visit(url, { push = true, scroll = false, whole = false } = {}) {
  const mine = ++latest;
  let response;
  try {
    response = await fetchPart(url, whole ? { headers: {} } : {});
  } catch {
    return; // Away for a moment: what is shown stays.
  }
  if (mine !== latest) return;
  if (!response.ok) {
    location.assign(url);
    return;
  }
  const fresh = parsePart(await response.text());
  if (mine !== latest) return;
  if (push && url !== location.href) history.pushState(null, "", url);
  redraw(fresh);
  if (scroll) element("list-pane")?.scrollTo(0, 0);
}

// The same address again, quietly: nothing that a hand is on is redrawn.
export async function refresh() {
  const mine = latest;
  const view = element("resource").firstElementChild;
  if (document.hidden || document.querySelector("dialog[open]") || !view?.dataset.refreshSeconds) return;
  const response = await fetchPart(location.href).catch(() => null);
  // A right that was taken away meanwhile ends what is shown: the page itself says why.
  if ([403, 404].includes(response?.status)) location.reload();
  if (!response?.ok || mine !== latest || document.querySelector("dialog[open]")) return;
  const fresh = parsePart(await response.text());
  if (view.id === "dashboard") {
    if (signature(view) !== signature(fresh.getElementById(view.id))) replace(view, fresh.getElementById(view.id).childNodes);
    return;
  }
  for (const id of LIVE) {
    const region = element(id);
    if (region && !inUse(region) && !sending(region)) swapRegion(fresh, id);
  }
}

export async function keepFresh() {
  for (;;) {
    const seconds = Number(element("resource").firstElementChild?.dataset.refreshSeconds ?? 5);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    if (element("live-tail")?.checked ?? true) await refresh();
  }
}

// Links and the query lead to addresses of the same page; back and forward do too.
export function follow() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-visit]");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    visit(link.href, { scroll: link.closest(".pages") !== null });
  });
  document.addEventListener("submit", async (event) => {
    if (event.target.id !== "query") return;
    event.preventDefault();
    const url = new URL(event.target.action);
    for (const [name, value] of new FormData(event.target)) if (value) url.searchParams.set(name, value);
    await visit(url.href, { scroll: true });
    event.submitter?.removeAttribute("aria-busy");
    const words = element("query-error").textContent.trim() || element("total")?.textContent;
    if (words) announce(words);
  });
  addEventListener("popstate", () => visit(location.href, { push: false }));
  document.addEventListener("visibilitychange", refresh);
}

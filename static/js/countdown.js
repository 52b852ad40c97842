// The time that is left, or that has passed, second by second, and the time of day somewhere. Nothing here is announced: warnings are.
const EVERY_MS = 1_000;

const left = (until) => Math.ceil((new Date(until) - Date.now()) / 1_000);
const passed = (since) => Math.floor((Date.now() - new Date(since)) / 1_000);

function clock(count) {
  const seconds = Math.max(0, count);
  const parts = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, index) => (index ? String(part).padStart(2, "0") : part)).join(":");
}

export function count(root = document) {
  for (const element of root.querySelectorAll("[data-until]")) element.textContent = clock(left(element.dataset.until));
  for (const element of root.querySelectorAll("[data-since]")) element.textContent = clock(passed(element.dataset.since));
  for (const element of root.querySelectorAll("[data-clock]")) element.textContent = timeIn(element.dataset.clock);
}

// As the clocks on the wall show it there.
function timeIn(zone) {
  return new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: "short", timeZone: zone }).format();
}

setInterval(count, EVERY_MS);
count();

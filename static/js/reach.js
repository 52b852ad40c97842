// Whether Hotdesk answers: while it does not, a banner says since when, and what is shown is greyed (hotdesk.css).
import { localize } from "./times.js";

// One request alone may have been cut off by leaving the page.
const ENOUGH = 2;

let failed = 0;
let last = new Date();

// Whether requests have stopped getting through.
export const away = () => failed >= ENOUGH;

// An answer came; of whatever kind, as long as it is Hotdesk's own.
export function answered() {
  failed = 0;
  last = new Date();
  show();
}

// No answer came, or none of Hotdesk itself.
export function unanswered() {
  failed += 1;
  show();
}

function show() {
  const banner = document.getElementById("away");
  if (!banner || banner.hidden === !away()) return;
  for (const time of banner.querySelectorAll("time")) time.dateTime = last.toISOString();
  localize(banner);
  banner.hidden = !away();
}

// Notifications of the browser: only for accounts that want them, only while nobody looks at the page.
import { keepWithAccount } from "./account.js";
import { say } from "./toast.js";

const bell = document.getElementById("bell");
const known = () => "Notification" in window;

// Whether the person wants them, and the browser lets them through.
export const wanted = () => known() && bell?.dataset.wanted === "yes" && Notification.permission === "granted";

// Tell somebody who looks at something else; `tag` replaces what was told before, a click leads to `url`.
export async function notify({ title, body = "", url = location.href, tag = "" }) {
  if (!wanted() || !document.hidden) return;
  const options = { body, tag, lang: document.documentElement.lang, silent: true, data: { url } };
  const registration = await navigator.serviceWorker?.getRegistration();
  if (registration?.active) {
    await registration.showNotification(title, options);
    return;
  }
  new Notification(title, options).addEventListener("click", (event) => {
    event.target.close();
    window.focus();
    if (new URL(url, location.href).href !== location.href) location.assign(url);
  });
}

const state = () => (Notification.permission === "denied" ? "blocked" : wanted() ? "on" : "off");

function show() {
  bell.dataset.state = state();
  bell.title = bell.querySelector("span").textContent = bell.dataset[state()];
}

async function press() {
  const asked = !wanted();
  if (asked && Notification.permission === "default") await Notification.requestPermission();
  bell.dataset.wanted = asked && Notification.permission === "granted" ? "yes" : "no";
  await keepWithAccount({ notifications: bell.dataset.wanted });
  show();
  say(bell.dataset[{ on: "saidOn", off: "saidOff", blocked: "saidBlocked" }[state()]]);
}

if (bell && known()) {
  bell.addEventListener("click", press);
  show();
  bell.hidden = false;
  // The browser's own settings change it too.
  navigator.permissions?.query({ name: "notifications" }).then((permission) => {
    permission.addEventListener("change", show);
  });
}

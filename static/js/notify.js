// Notifications of the browser: only after they were asked for with the bell, only while nobody looks at the page.
import { keep, kept } from "./storage.js";
import { say } from "./toast.js";

const NAME = "notifications";
const ON = "on";

const known = () => "Notification" in window;

// Whether the person wants them, and the browser lets them through.
export const wanted = () => known() && kept(NAME) === ON && Notification.permission === "granted";

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

const state = () => (Notification.permission === "denied" ? "blocked" : wanted() ? ON : "off");

function show(bell) {
  bell.dataset.state = state();
  bell.title = bell.querySelector("span").textContent = bell.dataset[state()];
}

async function press(bell) {
  if (wanted()) keep(NAME, null);
  else {
    keep(NAME, ON);
    if (Notification.permission === "default") await Notification.requestPermission();
    if (!wanted()) keep(NAME, null);
  }
  show(bell);
  say(bell.dataset[{ on: "saidOn", off: "saidOff", blocked: "saidBlocked" }[state()]]);
}

const bell = document.getElementById("bell");

if (bell && known()) {
  bell.addEventListener("click", () => press(bell));
  show(bell);
  bell.hidden = false;
  // The browser's own settings, and other tabs, change it too.
  addEventListener("storage", () => show(bell));
  navigator.permissions?.query({ name: "notifications" }).then((permission) => {
    permission.addEventListener("change", () => show(bell));
  });
}

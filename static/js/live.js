// A page follows what happens, of one desktop or on a board: told by a websocket, and by asking while that is down.
import { count } from "./countdown.js";
import { notify } from "./notify.js";
import { answered, unanswered } from "./reach.js";
import { keep, kept } from "./storage.js";
import { focus, parse, replace, sending, signature } from "./swap.js";

const ASK_MS = 3_000; // while the socket is down
const DOUBT_MS = 15_000; // an open socket this silent may have missed something: ask once
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const PLACE_MS = 30_000; // a place that only moves up is said this often at most
const FLASH_MS = 1_000;
const FOCUS = "focus"; // the button that was pressed last, until its answer is here
const REFUSED = [4401, 4404]; // not signed in, not there: the page itself says so best

const panel = document.getElementById("panel");
const link = document.getElementById("link");
const status = document.getElementById("announcement");
const dialog = document.getElementById("confirm");
const suffix = " · Hotdesk";

let socket = null;
let failures = 0;
let heard = Date.now();
let reconnecting = 0;

const shown = () => panel.firstElementChild.dataset;
const over = () => shown().state === "ended";

// What is read out: a change at once, and a place that moved up now and then.
const spoken = (root) =>
  [...root.querySelectorAll("[data-announce], [data-announce-also]")]
    .map((part) => part.dataset.announce ?? part.dataset.announceAlso)
    .join(" ");
let saidAt = 0;
let saying = 0;

function say(text, { atOnce }) {
  clearTimeout(saying);
  const speak = () => {
    saidAt = Date.now();
    status.textContent = text;
  };
  const pause = atOnce ? 0 : saidAt + PLACE_MS - Date.now();
  if (pause <= 0) speak();
  else saying = setTimeout(speak, pause);
}

// Whoever looks at another page is called back: by a notification, if that was asked for, and by the title's words.
let flashing = 0;

function call(text) {
  notify({ title: document.title, body: text, url: location.href, tag: location.pathname });
  const words = [text, document.title];
  clearInterval(flashing); // the newest words alone: two by turns would be neither
  flashing = setInterval(() => {
    if (!document.hidden) {
      clearInterval(flashing);
      document.title = shown().title + suffix;
      return;
    }
    words.push(words.shift());
    document.title = words[1];
  }, FLASH_MS);
}

let coming = null; // the newest panel, while something is pressed and the one before it stays

// A place in line changes far more often than all around it: then only words are sent.
function reworded(words) {
  const fresh = (coming ?? panel).cloneNode(true);
  for (const part of fresh.querySelectorAll("[data-word]")) part.textContent = words[part.dataset.word];
  fresh.firstElementChild.dataset.title = words.title;
  fresh.querySelector("[data-announce]").dataset.announce = words.announce;
  return fresh;
}

function show(fresh, { state, title } = {}) {
  const before = spoken(panel);
  const notice = shown().notice;
  if (signature(fresh) === signature(panel)) return;
  const changed = fresh.firstElementChild.dataset.state !== shown().state;
  // The answer to a click is on its way and redraws all; only a new state goes first.
  if (sending(panel) && !changed) return;
  coming = fresh;
  replace(panel, fresh.childNodes, () => {
    coming = null;
    document.title = (title ?? shown().title) + suffix;
    count(panel);
    const now = spoken(panel);
    if (now && now !== before) say(now, { atOnce: changed || shown().state !== "queued" });
    if (shown().notice && shown().notice !== notice) call(shown().notice);
    // A question about what is no longer so must not be answered.
    if (dialog?.open && changed) dialog.close();
    if ((state ?? shown().state) === "ended") finish();
  });
}

function lamp(up) {
  link.hidden = over();
  link.classList.toggle("up", up);
  document.getElementById("link-word").textContent = up ? link.dataset.up : link.dataset.down;
}

function finish() {
  clearTimeout(reconnecting);
  clearInterval(asking);
  socket?.close();
  link.hidden = true;
}

function connect() {
  clearTimeout(reconnecting);
  if (over()) return;
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const opened = new WebSocket(`${scheme}//${location.host}${panel.dataset.live}`);
  socket = opened;
  opened.addEventListener("message", (event) => {
    failures = 0;
    heard = Date.now();
    answered();
    lamp(true);
    const message = JSON.parse(event.data);
    if (message.html) show(parse(message.html, ""), message);
    else if (message.state === shown().state) show(reworded(message.words), message);
  });
  opened.addEventListener("close", (event) => {
    if (opened !== socket || over()) return;
    socket = null;
    if (REFUSED.includes(event.code)) {
      location.reload();
      return;
    }
    lamp(false);
    // Each failure doubles the pause; chance spreads those who lost their socket together.
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures);
    failures += 1;
    reconnecting = setTimeout(connect, pause * (0.5 + Math.random()));
  });
}

async function ask() {
  if (over()) return;
  heard = Date.now();
  try {
    const response = await fetch(panel.dataset.panel, { credentials: "same-origin" });
    if (response.status >= 500) return unanswered();
    answered();
    if (response.redirected || response.status === 404) location.reload();
    else if (response.ok) show(parse(await response.text(), ""));
  } catch {
    unanswered(); // what is shown stays, and is told from what is current
  }
}

const asking = setInterval(() => {
  const silent = Date.now() - heard;
  if (socket?.readyState !== WebSocket.OPEN || silent > DOUBT_MS) ask();
}, ASK_MS);

function wake() {
  if (document.hidden || over()) return;
  if (socket?.readyState !== WebSocket.OPEN && socket?.readyState !== WebSocket.CONNECTING) {
    failures = 0;
    connect();
  }
  ask();
}

// The button that asked may have been redrawn, or be gone: the focus goes back to what stands there now.
dialog?.addEventListener("close", () => {
  const lost = document.activeElement === document.body || dialog.contains(document.activeElement);
  if (lost) focus(document.getElementById(dialog.dataset.about), panel);
});

// A button here is answered by the same page: the focus stays at it, or goes to what it brought about.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || !event.submitter || "download" in event.target.dataset) return;
  const { id } = event.submitter;
  keep(FOCUS, id === "confirm-yes" ? dialog.dataset.about : id, { inTab: true });
});
const focused = kept(FOCUS, { inTab: true });
keep(FOCUS, null, { inTab: true });
if (focused) focus(document.getElementById(focused), panel);

panel.addEventListener("click", (event) => {
  // The bell in the header asks the browser for it, and says what came of it.
  if (event.target.closest("[data-notify]")) document.getElementById("bell").click();
});

document.addEventListener("visibilitychange", wake);
addEventListener("online", wake);
addEventListener("pageshow", (event) => event.persisted && wake());

connect();

// The page of one desktop follows its state: told by a websocket, and by asking while that is down.
import { parse, replace, sending, signature } from "./swap.js";

const ASK_MS = 3_000; // while the socket is down
const DOUBT_MS = 15_000; // an open socket this silent may have missed something: ask once
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const REFUSED = [4401, 4404]; // not signed in, not there: the page itself says so best

const panel = document.getElementById("panel");
const link = document.getElementById("link");
const status = document.getElementById("announcement");
const suffix = " · Hotdesk";

let socket = null;
let failures = 0;
let heard = Date.now();
let reconnecting = 0;

const shown = () => panel.firstElementChild.dataset;
const over = () => shown().state === "ended";

function show(html, { state, title } = {}) {
  const fresh = parse(html, "");
  const before = panel.querySelector("[data-announce]")?.dataset.announce;
  if (signature(fresh) === signature(panel)) return;
  const changed = fresh.firstElementChild.dataset.state !== shown().state;
  // The answer to a click is on its way and redraws all; only a new state goes first.
  if (sending(panel) && !changed) return;
  replace(panel, fresh.childNodes, () => {
    document.title = (title ?? shown().title) + suffix;
    const now = panel.querySelector("[data-announce]")?.dataset.announce;
    if (now && now !== before) status.textContent = now;
    // A question about what is no longer so must not be answered.
    const dialog = document.getElementById("confirm");
    if (dialog.open && changed) dialog.close();
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
    lamp(true);
    const message = JSON.parse(event.data);
    show(message.html, message);
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
    if (response.redirected || response.status === 404) location.reload();
    else if (response.ok) show(await response.text());
  } catch {
    // Not reachable: what is shown stays, and the lamp says so.
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

document.addEventListener("visibilitychange", wake);
addEventListener("online", wake);
addEventListener("pageshow", (event) => event.persisted && wake());

connect();

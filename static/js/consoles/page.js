// A console in the browser: asked for, opened, opened again when the connection was lost, and closed.
import { keep, kept } from "../storage.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
const STEADY_MS = 10_000; // a console that lasted this long is opened again at once
const MODULES = { spice: "./spice.js", vnc: "./vnc.js", text: "./text.js" };
const NOBODY = "00000000-0000-0000-0000-000000000000";

const part = (id) => document.getElementById(id);
const section = part("console");
const words = section.dataset;
const screen = part("screen");
const buttons = ["secure-attention", "paste", "disconnect"].map(part).filter(Boolean);
const remembered = `console ${words.open} ${words.kind}`;

let client = null;
let session = null;
let failures = 0;
let waiting = 0;
let openedAt = 0;
let leaving = false;

const say = (text) => {
  part("status").textContent = text;
};
const of = (template) => template.replace(NOBODY, session);
const form = (more = {}) => {
  const data = new FormData(part("console-form"));
  for (const [name, value] of Object.entries(more)) data.set(name, value);
  return data;
};

function show(connected) {
  for (const button of buttons) button.disabled = !connected;
  part("connect").hidden = connected;
}

function stop(message) {
  client = null;
  clearTimeout(waiting);
  show(false);
  say(message);
}

// Asked again, it may answer.
const busy = (response) => response.status >= 500 || response.status === 429;

// Each failure doubles the pause; chance spreads those who lost it together.
function later(action) {
  const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures) * (0.5 + Math.random());
  failures += 1;
  clearTimeout(waiting);
  say(words.again);
  waiting = setTimeout(action, pause);
}

async function asked(message) {
  const dialog = part("take-over");
  part("take-over-title").textContent = message;
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "yes";
}

async function connect({ takeOver = false } = {}) {
  clearTimeout(waiting);
  if (leaving) return;
  part("connect").hidden = true;
  if (!failures) say(words.connecting);
  const more = { replaces: kept(remembered, { inTab: true }) ?? "", ...(takeOver ? { take_over: "yes" } : {}) };
  let response = null;
  let answer = {};
  try {
    response = await fetch(words.open, { method: "POST", body: form(more), credentials: "same-origin" });
    if (response.headers.get("Content-Type")?.startsWith("application/json")) answer = await response.json();
  } catch {
    return later(connect); // nothing can be reached now
  }
  if (response.redirected) return location.reload(); // nobody is signed in any more
  if (busy(response)) return later(connect);
  if (answer.error === "CONSOLE_IN_USE") {
    say(answer.message);
    if (await asked(answer.message)) return connect({ takeOver: true });
    return stop(answer.message);
  }
  if (!response.ok) return stop(answer.message ?? words.broken);
  await begin(answer);
}

async function begin(answer) {
  session = answer.id;
  keep(remembered, session, { inTab: true });
  const address = new URL(answer.websocket, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const { open } = await import(MODULES[answer.protocol]);
  let ended = false; // it may be over before `open` has answered
  const began = await open({
    screen,
    names: words,
    address: address.href,
    password: answer.password,
    opened: () => {
      openedAt = performance.now();
      show(true);
      say(words.connected);
    },
    closed: () => {
      ended = true;
      lost();
    },
  });
  if (ended) return;
  client = began;
  client.scale?.(part("scale")?.getAttribute("aria-pressed") === "true");
}

// Why it ended is asked of the server: it was meant to, or the console is opened again.
async function lost() {
  client = null;
  for (const button of buttons) button.disabled = true;
  if (leaving) return;
  if (openedAt && performance.now() - openedAt > STEADY_MS) failures = 0;
  openedAt = 0;
  try {
    const response = await fetch(of(words.state), { credentials: "same-origin" });
    if (response.redirected) return location.reload();
    if (response.ok) {
      const state = await response.json();
      return state.again ? later(connect) : stop(state.message);
    }
    if (!busy(response)) return later(connect);
  } catch {
    // nothing can be reached now
  }
  later(lost);
}

async function close() {
  const closing = client;
  leaving = true;
  closing?.close();
  try {
    await fetch(of(words.close), { method: "POST", body: form(), credentials: "same-origin" });
  } catch {
    // without sockets it ends by itself
  }
  leaving = false;
  stop(words.closed);
  part("connect").focus();
}

part("connect").addEventListener("click", () => {
  failures = 0;
  connect();
});
part("disconnect").addEventListener("click", close);
part("secure-attention")?.addEventListener("click", () => {
  client?.secureAttention();
  client?.focus();
});
part("scale")?.addEventListener("click", (event) => {
  const button = event.currentTarget;
  const wanted = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", wanted);
  client?.scale(wanted);
});
part("full-screen").addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else section.requestFullscreen();
});
part("paste").addEventListener("click", () => {
  part("paste-dialog").returnValue = "";
  part("paste-dialog").showModal();
});
part("paste-dialog").addEventListener("close", async () => {
  const field = part("paste-text");
  const text = field.value;
  field.value = "";
  if (part("paste-dialog").returnValue !== "yes" || !client) return;
  client.focus();
  say((await client.type(text)) ? words.connected : words.untyped);
});

// Nobody is caught in the screen (SC 2.1.2): the three keys together give the keyboard back to the page.
screen.addEventListener(
  "keydown",
  (event) => {
    if (!event.ctrlKey || !event.altKey || !event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    client?.release();
    part("disconnect").focus();
    say(words.left);
  },
  true,
);

// Whoever leaves the page is done with it: nobody else is asked to take it over.
addEventListener("pagehide", () => {
  leaving = true;
  if (client) navigator.sendBeacon(of(words.close), form());
  client?.close();
});
addEventListener("pageshow", (event) => event.persisted && location.reload());

connect();

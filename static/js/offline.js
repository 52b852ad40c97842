// The page that the service worker shows: as soon as Hotdesk answers it makes room for the page that was wanted.
const SECONDS = 4;

const again = document.getElementById("again");

async function tryAgain() {
  const answer = await fetch(again.dataset.alive, { cache: "no-store" }).catch(() => null);
  if (!answer?.ok) return;
  location.replace(location.pathname === again.dataset.own ? again.dataset.home : location.href);
}

// Chance spreads those who wait for the same server.
async function keepTrying() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000 * (0.5 + Math.random())));
    if (!document.hidden) await tryAgain();
  }
}

addEventListener("online", tryAgain);
document.addEventListener("visibilitychange", () => document.hidden || tryAgain());
keepTrying();

// Answers navigations that cannot be: with one page that says so, and nothing else. Nothing personal is ever kept.
const CACHE = "hotdesk {{ version }}";
const PAGE = "{{ page }}";
const FILES = [{% for file in files %}"{{ file }}"{% if not forloop.last %}, {% endif %}{% endfor %}];

self.addEventListener("install", (event) => {
  const kept = [PAGE, ...FILES].map((url) => new Request(url, { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(kept)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const forget = (names) => names.filter((name) => name !== CACHE).map((name) => caches.delete(name));
  event.waitUntil(caches.keys().then((names) => Promise.all(forget(names))).then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const request = event.request;
  if (request.method !== "GET") return;
  const kept = request.mode === "navigate" ? PAGE : FILES.find((file) => request.url === new URL(file, location).href);
  if (kept) event.respondWith(fetch(request).catch(() => caches.match(kept)));
});

// A notification leads to its page: in the tab that shows it already, else in a new one.
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const url = new URL(event.notification.data.url, location).href;
  const show = async () => {
    const tabs = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    const tab = tabs.find((one) => one.url === url);
    return tab ? tab.focus() : self.clients.openWindow(url);
  };
  event.waitUntil(show());
});

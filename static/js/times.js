// Times in the reader's own zone and language; a day is named only when it is not today.
export function localize(root) {
  const language = document.documentElement.lang;
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const today = at.toDateString() === new Date().toDateString();
    const style = { timeStyle: time.dataset.style ?? "short", ...(today ? {} : { dateStyle: "medium" }) };
    time.textContent = new Intl.DateTimeFormat(language, style).format(at);
    time.title = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" }).format(at);
  }
}

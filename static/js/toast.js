// Say something above the content of the page; it stays until it is dismissed, or until the next one.
export function say(text) {
  const toast = document.getElementById("toast").content.cloneNode(true);
  const words = toast.querySelector("p");
  document.getElementById("toasts").replaceChildren(toast);
  // Readers of the screen hear what changes in what is there already.
  words.textContent = text;
}

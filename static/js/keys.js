// Says so when a key did not answer; what asks it is allauth's.
document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  for (const note of document.querySelectorAll("[data-key-failed]")) {
    note.hidden = false;
  }
});

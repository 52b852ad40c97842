// Buttons that do something with the selected rows: sent without leaving the page, asked about in a dialog.
import { send } from "./dialog.js";
import { selected } from "./rows.js";
import { element } from "./visit.js";

// What is sent is what is ticked now, even where the page has not been redrawn since.
function values(form) {
  const data = new FormData(form);
  if (form.id === "act" && element("list-view")) {
    data.delete("id");
    for (const key of selected()) data.append("id", key);
  }
  data.set("back", location.pathname + location.search);
  return new URLSearchParams(data);
}

export function followActions() {
  document.addEventListener("submit", async (event) => {
    const [form, button] = [event.target, event.submitter];
    if (!("act" in form.dataset) || !button || "download" in button.dataset) return;
    event.preventDefault();
    if (button.getAttribute("aria-busy") !== "true") button.setAttribute("aria-busy", "true");
    try {
      await send(button.getAttribute("formaction"), values(form), button.id);
    } finally {
      element(button.id)?.removeAttribute("aria-busy");
      button.removeAttribute("aria-busy");
    }
  });
}

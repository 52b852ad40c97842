// The Administration Portal: what is shown follows clicks, keys and time without loading whole pages anew.
import { followActions } from "./actions.js";
import { followColumns } from "./columns.js";
import { combobox } from "./complete.js";
import { followDialogs } from "./dialog.js";
import { prepareForm } from "./form.js";
import { followRows } from "./rows.js";
import { splitter } from "./splitter.js";
import { followTabs } from "./tabs.js";
import { follow, keepFresh } from "./visit.js";

// Parts that are drawn anew with the page as a whole.
function prepare() {
  const form = document.querySelector("#resource form[data-form]");
  if (form) prepareForm(form);
  combobox(document.getElementById("q"), document.getElementById("q-list"));
  splitter(document.getElementById("splitter"));
}

document.addEventListener("redrawn", prepare);
prepare();
follow();
followRows();
followTabs();
followColumns();
followActions();
followDialogs();
keepFresh();

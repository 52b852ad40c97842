// Forms: tabs, advanced options, fields that depend on others, and fields that a template fills in.
import { numa } from "./numa.js";
import { arrowKeys, oneStop } from "./tabs.js";

// The text of a field, as the server reads it: an unticked box is blank, `name.data` is of the chosen option.
function valueOf(form, name) {
  const [field, data] = name.split(".");
  const found = form.elements[field];
  if (!found) return "";
  if (found instanceof RadioNodeList) return found.value;
  if (found.type === "checkbox") return found.checked ? "on" : "";
  if (data) return found.selectedOptions?.[0]?.dataset[data] ?? "";
  return found.value;
}

function holds(form, condition) {
  return condition.split("|").some((alternative) =>
    alternative.trim().split(/\s+/).every((part) => {
      const [, name, not, wanted] = part.match(/^([\w.]+)(!?)=(.*)$/);
      return wanted.split(",").includes(valueOf(form, name)) === (not === "");
    }),
  );
}

const inputs = (field) => field.querySelectorAll("input:not([type=hidden]), select, textarea");

function applyNeeds(form) {
  for (const field of form.querySelectorAll("[data-needs]")) {
    if ("fixed" in field.dataset) continue;
    const met = holds(form, field.dataset.needs);
    field.classList.toggle("off", !met);
    for (const input of inputs(field)) input.disabled = !met;
    const why = field.querySelector(".because");
    if (why) why.hidden = met;
  }
}

// Only what belongs to the choice above can be chosen: versions of the template, hosts of the cluster.
function applyOptions(form) {
  for (const list of form.querySelectorAll("[data-options-of]")) {
    const owner = valueOf(form, list.dataset.optionsOf);
    if (list.matches("select")) {
      for (const option of list.options) {
        option.hidden = option.disabled = "for" in option.dataset && option.dataset.for !== owner;
      }
      for (const group of list.querySelectorAll("optgroup")) group.hidden = ![...group.children].some((one) => !one.hidden);
      if (list.selectedOptions[0]?.disabled) list.selectedIndex = 0;
    } else if ("for" in list.dataset) {
      const other = list.dataset.for !== owner;
      list.closest("div").hidden = other;
      if (other) list.checked = false;
      if (other) list.disabled = true;
    }
  }
}

function fillOf(form) {
  const version = form.elements.template_version?.selectedOptions[0]?.dataset.fill;
  const template = form.elements.template?.selectedOptions[0]?.dataset.fill;
  return JSON.parse(version ?? template ?? "{}");
}

// The template's standard goes into fields that the person has not changed.
function followTemplate(form) {
  const from = form.elements.filled_from;
  if (!from || form.elements.snapshot) return;
  for (const [name, standard] of Object.entries(fillOf(form))) {
    const field = form.elements[name];
    if (field.value !== String(standard)) field.dataset.touched = "";
    field.addEventListener("input", () => (field.dataset.touched = ""));
  }
  form.addEventListener("change", (event) => {
    if (!["template", "template_version"].includes(event.target.name)) return;
    applyOptions(form);
    for (const [name, standard] of Object.entries(fillOf(form))) {
      if (!("touched" in form.elements[name].dataset)) form.elements[name].value = standard;
    }
    from.value = form.elements.template.value;
  });
}

function sections(form) {
  const list = form.querySelector(".form-tabs");
  if (!list) return;
  list.hidden = false;
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const panel = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
  const show = (chosen) => {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", String(tab === chosen));
      panel(tab).hidden = tab !== chosen;
    }
    oneStop(list);
  };
  for (const tab of tabs) {
    panel(tab).setAttribute("role", "tabpanel");
    panel(tab).setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", () => show(tab));
  }
  arrowKeys(list, show);
  const wrong = tabs.find((tab) => "errors" in tab.dataset);
  advanced(form, tabs, show, tabs.some((tab) => "errors" in tab.dataset && "advanced" in tab.dataset));
  show(wrong ?? tabs[0]);
}

function advanced(form, tabs, show, opened) {
  const button = form.querySelector("#advanced");
  if (!button) return;
  const set = (open) => {
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? button.dataset.hide : button.dataset.show;
    for (const tab of tabs) if ("advanced" in tab.dataset) tab.hidden = !open;
    if (!open) show(tabs[0]);
  };
  button.hidden = false;
  button.addEventListener("click", () => set(button.getAttribute("aria-expanded") !== "true"));
  set(opened);
}

export function prepareForm(form) {
  const depend = () => {
    applyNeeds(form);
    applyOptions(form);
  };
  form.classList.add("scripted");
  sections(form);
  followTemplate(form);
  form.addEventListener("input", depend);
  form.addEventListener("change", depend);
  depend();
  numa(form);
}

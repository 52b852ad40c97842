// NUMA pinning: virtual nodes are dragged onto the nodes of a host, or put there with a select box each.
const copy = (root, name) => root.querySelector(`template[data-numa-${name}]`).content.cloneNode(true).firstElementChild;
const fill = (text, values) => text.replace(/\{(\w)\}/g, (_, key) => values[key]);

export function numa(form) {
  const root = form.querySelector(".numa");
  const field = form.elements.numa_pinning;
  if (!root || !field) return;
  const words = root.querySelector("[data-words]").dataset;
  const [chooser, free] = [root.querySelector("#numa-host"), root.querySelector("[data-numa-drop]")];
  let dragged = null;

  const count = () => Math.max(0, Math.min(64, Number(form.elements.numa_node_count.value) || 0));
  const hosts = () => [...form.querySelectorAll("input[name=hosts]:checked")].map((box) => ({ id: box.value, ...JSON.parse(box.dataset.numa) }));
  const pinned = () => {
    const parts = field.value.split(";").map((part) => part.split(",").map((one) => one.trim()).filter(Boolean));
    return Array.from({ length: count() }, (_, index) => parts[index] ?? []);
  };

  function pin(index, node) {
    const now = pinned();
    now[index] = node === "" ? [] : [node];
    field.value = now.some((nodes) => nodes.length) ? now.map((nodes) => nodes.join(",")).join("; ") : "";
    const text = node === "" ? words.unpinned : words.pinned;
    root.querySelector("[data-numa-status]").textContent = fill(text, { n: index, h: node });
    draw();
  }

  function place(drop, node) {
    drop.addEventListener("dragover", (event) => dragged !== null && event.preventDefault());
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      if (dragged !== null) pin(dragged, node);
    });
  }

  function chip(index) {
    const made = copy(root, "virtual");
    made.querySelector("span").textContent = fill(words.virtual, { n: index });
    made.dataset.virtual = index;
    made.addEventListener("dragstart", (event) => {
      dragged = index;
      event.dataTransfer.setData("text/plain", String(index));
    });
    made.addEventListener("dragend", () => (dragged = null));
    return made;
  }

  function drawHost(host, now) {
    const nodes = root.querySelector("[data-numa-nodes]");
    nodes.replaceChildren();
    for (const node of host?.nodes ?? []) {
      const made = copy(root, "node");
      made.querySelector("h4").textContent = fill(words.node, { n: node.id });
      made.querySelector("p").textContent = fill(words.facts, { c: (node.cpus ?? []).join(", "), m: node.memory_mib });
      const drop = made.querySelector(".numa-drop");
      drop.dataset.numaDrop = node.id;
      place(drop, String(node.id));
      now.forEach((ids, index) => ids.includes(String(node.id)) && drop.append(chip(index)));
      nodes.append(made);
    }
    free.replaceChildren(...now.flatMap((ids, index) => (ids.length ? [] : [chip(index)])));
    root.querySelector("[data-numa-summary]").textContent = host?.summary ?? "";
    root.querySelector("[data-numa-none]").hidden = !host || host.nodes.length > 0;
  }

  function drawSelects(host, now) {
    const place = root.querySelector("[data-numa-selects]");
    const focused = place.contains(document.activeElement) ? document.activeElement.dataset.index : null;
    place.replaceChildren(
      ...now.map((ids, index) => {
        const made = copy(root, "select");
        made.querySelector("span").textContent = fill(words.virtual, { n: index });
        const select = made.querySelector("select");
        select.dataset.index = index;
        for (const node of host?.nodes ?? []) select.append(new Option(fill(words.node, { n: node.id }), node.id));
        select.value = ids[0] ?? "";
        select.addEventListener("change", () => pin(index, select.value));
        return made;
      }),
    );
    if (focused !== null) place.querySelector(`[data-index="${focused}"]`)?.focus();
  }

  function draw() {
    const chosen = hosts();
    root.hidden = field.disabled || chosen.length === 0;
    field.hidden = !root.hidden;
    form.querySelector("#id_numa_pinning_helptext").hidden = field.hidden;
    const before = chooser.value;
    chooser.replaceChildren(...chosen.map((host) => new Option(host.name, host.id)));
    if (chosen.some((host) => host.id === before)) chooser.value = before;
    const host = chosen.find((one) => one.id === chooser.value);
    const now = pinned();
    drawHost(host, now);
    drawSelects(host, now);
  }

  place(free, "");
  chooser.addEventListener("change", draw);
  for (const kind of ["change", "input"]) {
    form.addEventListener(kind, (event) => {
      if (["hosts", "numa_node_count", "cluster", "start_running_on"].includes(event.target.name)) draw();
    });
  }
  draw();
}

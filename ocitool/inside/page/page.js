// The page: what is shown, what is chosen, and the keys.

const FIRST_ROWS = 50, MORE_ROWS = 200, FIRST_WASTE = 8, GROWING = 160;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const WHY = {
  overwritten: "overwritten by", deleted: "deleted by", opaque: "hidden with its folder by",
  replaced: "replaced by", repeated: "written twice in", unreachable: "cannot be put anywhere in",
  metadata: "only attributes changed by", identical: "stored again unchanged by",
};
const ABOUT = { [LINK]: "link", [NAME]: "another name of a file", [OTHER]: "special file" };

const byId = (id) => document.getElementById(id);

function element(tag, { text, className, ...rest } = {}, ...children) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  for (const [name, value] of Object.entries(rest)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

class Page {
  constructor(facts, tree) {
    this.facts = facts;
    this.tree = tree;
    this.layers = new Map(facts.layers.map((layer) => [layer.number, layer]));
    this.colours = layerColours(facts.layers);
    this.map = new TreeMap(byId("map"), tree, this.colours);
    Object.assign(this, { root: 0, view: "all", layer: 0, chosen: -1, matches: null });
    this.showsAllWaste = facts.wasted.length <= FIRST_WASTE + 2;
    this.header();
    this.wasteList();
    this.layerTable();
    this.listen();
    this.readTheme();
    this.weigh();
  }

  // The parts that never change.

  header() {
    const { facts } = this, { totals } = facts, hidden = totals.wasted_bytes;
    byId("identity").textContent = facts.identity.map(safe).join("  ·  ");
    const verdict = byId("verdict");
    if (!hidden) verdict.textContent = "Nothing is hidden: a container sees every file of every layer.";
    else verdict.append(
      element("strong", { text: `${bytesText(hidden)} (${percent(hidden, totals.file_bytes)})` }),
      ` of the files in this image are hidden: no container can ever see them.`);
    this.stack();
    const figures = [
      ["In all layers", totals.file_bytes], ["Seen by a container", totals.live_bytes],
      ["Hidden", hidden], ["Tar size", totals.tar_size], ["Stored", totals.stored],
      ["Duplicates", totals.duplicate_bytes],
    ].filter(([, value]) => value !== null)  // Nobody looked for them.
      .map(([name, value]) => [name, bytesText(value), `${value.toLocaleString("en")} bytes`]);
    figures.push(["Efficiency", `${(totals.efficiency * 100).toFixed(1)} %`, "seen bytes of all bytes"]);
    figures.push(["Files", `${totals.files.toLocaleString("en")}`, `files in ${counted(totals.directories, "folder")}`]);
    for (const [name, value, title] of figures) {
      byId("totals").append(element("div", { title }, element("dt", { text: name }), element("dd", { text: value })));
    }
    for (const text of facts.problems) byId("problems").append(element("li", { text: safe(text) }));
  }

  // One bar for all layers, each as wide as its files, its hidden part hatched.
  stack() {
    for (const layer of this.facts.layers) {
      const seen = layer.file_bytes - layer.hidden_bytes;
      for (const [bytes, className] of [[seen, ""], [layer.hidden_bytes, "hatched"]]) {
        if (!bytes) continue;
        const part = element("i", { className, title: this.layerText(layer.number) });
        part.style.flex = `${bytes} 0 0`;
        part.style.backgroundColor = this.colours[layer.number];
        byId("stack").append(part);
      }
    }
  }

  wasteList() {
    const { wasted } = this.facts, list = byId("waste");
    const shown = this.showsAllWaste ? wasted : wasted.slice(0, FIRST_WASTE);
    list.replaceChildren(...shown.map((one) => this.wasteRow(one)));
    if (shown.length < wasted.length) {
      const more = element("button", { type: "button", text: `Show all ${wasted.length}` });
      more.addEventListener("click", () => { this.showsAllWaste = true; this.wasteList(); });
      list.append(element("li", {}, more));
    }
    byId("waste-hint").textContent = wasted.length ? "" : "Nothing is hidden.";
  }

  wasteRow(one) {
    const path = `/${safe(one.path)}`, from = one.files > 1 ? `${counted(one.files, "file")} from` : "from";
    const button = element("button", { type: "button" },
      element("span", { className: "path", text: path }),
      element("span", { className: "number", text: bytesText(one.bytes) }),
      element("span", { className: "why" },
        this.step(from, one.layer), this.step(WHY[one.how] ?? "hidden by", one.hidden_by)));
    button.addEventListener("click", () => this.showWaste(one));
    return element("li", {}, button);
  }

  // Returns words about a layer: its number in its colour, and its instruction.
  step(before, number) {
    const words = this.layers.get(number)?.instruction;
    return element("span", { title: this.layerText(number) }, `${before} layer `, this.chip(number),
      ` ${stepText(words || "")}`);
  }

  layerTable() {
    const body = byId("layers").tBodies[0];
    for (const layer of this.facts.layers) {
      const chip = element("button", { className: "chip", text: layer.number, type: "button",
        "aria-pressed": "false", "aria-label": `Count only layer ${layer.number}` });
      chip.style.backgroundColor = this.colours[layer.number];
      const step = element("span", { className: "step", text: stepText(layer.instruction || "(no instruction)") });
      const cell = element("td", {}, step);
      if (layer.problem) cell.append(element("span", { className: "problem", text: safe(layer.problem) }));
      const row = element("tr", { "data-layer": layer.number, title: safe(layer.instruction || "") },
        element("td", {}, chip), cell,
        element("td", { className: "number", text: bytesText(layer.file_bytes) }),
        element("td", { className: "number", text: layer.hidden_bytes ? bytesText(layer.hidden_bytes) : "–" }));
      row.addEventListener("click", () => this.chooseLayer(layer.number));
      body.append(row);
    }
  }

  layerText(number) {
    const words = this.layers.get(number)?.instruction;
    return `layer ${number}${words ? `: ${stepText(words)}` : ""}`;
  }

  // What is chosen.

  weigh() {
    this.weights = this.tree.weigh(this.view, this.layer);
    this.rows = FIRST_ROWS;
    this.show();
  }

  chooseView(view) {
    this.view = view;
    document.querySelector(`#views input[value=${view}]`).checked = true;
    this.weigh();
  }

  chooseLayer(number) {
    this.layer = this.layer === number ? 0 : number;
    for (const row of byId("layers").tBodies[0].rows) {
      const isChosen = Number(row.dataset.layer) === this.layer;
      row.classList.toggle("chosen", isChosen);
      row.querySelector("button").setAttribute("aria-pressed", isChosen);
    }
    this.weigh();
  }

  showWaste({ path, layer }) {
    this.clearSearch();
    if (this.layer && this.layer !== layer) this.chooseLayer(this.layer);
    this.chooseView("hidden");
    const node = this.tree.find(path, true);
    this.go(this.tree.isFolder(node) ? node : this.tree.parent[node], node);
    if (window.matchMedia("(max-width: 900px)").matches) byId("map-part").scrollIntoView();
  }

  // Opens a folder and chooses what is in it, by default its largest entry.
  go(folder, chosen = -1, from = null) {
    const isInside = folder !== this.root && this.tree.isWithin(folder, this.root);
    this.root = folder;
    this.chosen = chosen;
    this.rows = FIRST_ROWS;
    this.show(isInside ? from : null);
  }

  up() {
    if (this.root > 0) this.go(this.tree.parent[this.root], this.root);
  }

  open(node) {
    if (this.matches) {
      this.clearSearch();
      this.go(this.tree.isFolder(node) ? node : this.tree.parent[node], node);
    } else if (this.tree.isFolder(node)) {
      this.go(node, -1, this.map.boxes.find((box) => box.item === node));
    } else {
      this.choose(node);
    }
  }

  choose(node) {
    this.chosen = node;
    this.mark();
    this.draw();
  }

  search(text) {
    const found = this.tree.search(text);
    this.matches = found && { ...found, is: new Uint8Array(this.tree.count) };
    if (found) for (const i of found.own) this.matches.is[i] = 1;
    this.chosen = -1;
    this.rows = FIRST_ROWS;
    this.show();
  }

  clearSearch() {
    byId("search").value = "";
    if (this.matches) this.search("");
  }

  // What is shown.

  show(from = null) {
    const wasInRows = byId("rows").contains(document.activeElement);
    this.list();
    if (!this.listed.includes(this.chosen)) this.chosen = this.listed[0] ?? -1;
    this.map.layout(this.root, this.weights);
    this.crumbs();
    this.filterLine();
    this.table();
    this.mark();
    if (wasInRows) this.focusRow();
    this.grow(from);
  }

  // Works out what the table lists: the search's finds, or what is in the folder.
  list() {
    const { tree, weights: { bytes, files } } = this;
    const counts = (i) => bytes[i] > 0 || files[i] > 0 || (this.view === "all" && !this.layer);
    const all = this.matches ? this.matches.own.filter((i) => tree.isWithin(i, this.root)) : [...tree.children(this.root)];
    this.listed = all.filter(counts).sort((a, b) => bytes[b] - bytes[a] || a - b);
  }

  crumbs() {
    const way = [];
    for (let at = this.root; at >= 0; at = this.tree.parent[at]) way.unshift(at);
    byId("crumbs").replaceChildren(...way.flatMap((node, index) => {
      const name = node === 0 ? "/" : this.tree.name(node);
      const isLast = index === way.length - 1;
      const button = element("button", { type: "button", text: name, className: "path", ...(isLast && { "aria-current": "true" }) });
      button.addEventListener("click", () => this.go(node, way[index + 1] ?? -1));
      return index > 1 ? ["/", button] : [button];
    }));
  }

  filterLine() {
    const parts = [];
    if (this.layer) parts.push(`only ${this.layerText(this.layer)}`);
    if (this.matches) {
      const sum = this.listed.filter((i) => !this.tree.isFolder(i)).reduce((all, i) => all + this.weights.bytes[i], 0);
      parts.push(`${this.listed.length.toLocaleString("en")} found, ${bytesText(sum)} in files`);
      if (this.tree.hasFolded) parts.push("the names of small files are not in this page");
    }
    const line = byId("filter");
    line.hidden = !parts.length;
    const clear = element("button", { type: "button", text: "Clear" });
    clear.addEventListener("click", () => this.clear());
    line.replaceChildren(element("span", { text: parts.join("; ") }), clear);
  }

  clear() {
    this.clearSearch();
    if (this.layer) this.chooseLayer(this.layer);
  }

  table() {
    const whole = this.weights.bytes[this.root];
    const shown = this.listed.slice(0, this.rows);
    byId("rows").tBodies[0].replaceChildren(...shown.map((node) => this.row(node, whole)));
    byId("more").hidden = shown.length === this.listed.length;
    byId("more").textContent = `Show more of ${this.listed.length.toLocaleString("en")}`;
  }

  row(node, whole) {
    const { tree, weights: { bytes, hidden, files } } = this;
    const name = this.matches ? tree.path(node) : tree.name(node) + (tree.isFolder(node) ? "/" : "");
    const button = element("button", { type: "button", className: "link path", text: name, tabindex: "-1" });
    const share = element("div");
    for (const [part, className] of [[bytes[node] - hidden[node], ""], [hidden[node], "hatched"]]) {
      if (!part || !whole) continue;
      const bar = element("i", { className });
      bar.style.width = `${(part / whole) * 100}%`;
      if (!tree.isFolder(node)) bar.style.backgroundColor = this.colours[tree.layer[node]];
      share.append(bar);
    }
    const isInner = tree.isFolder(node);
    const made = element("tr", { "data-node": node },
      element("td", {}, button),
      element("td", { className: "number", text: bytesText(bytes[node]) }),
      element("td", { className: "share", title: percent(bytes[node], whole) }, share),
      element("td", { className: "number", text: hidden[node] ? bytesText(hidden[node]) : "–" }),
      element("td", { className: "number wide", text: isInner ? files[node].toLocaleString("en") : "" }),
      element("td", { className: "number" }, ...(isInner ? [] : [this.chip(tree.layer[node])])));
    made.addEventListener("click", () => this.open(node));
    return made;
  }

  chip(number) {
    const chip = element("span", { className: "chip", text: number });
    chip.style.backgroundColor = this.colours[number];
    return chip;
  }

  // Marks the chosen row, and says what it is.
  mark() {
    for (const row of byId("rows").tBodies[0].rows) {
      const isChosen = Number(row.dataset.node) === this.chosen;
      row.classList.toggle("chosen", isChosen);
      row.setAttribute("aria-selected", isChosen);
      row.querySelector("button").tabIndex = isChosen ? 0 : -1;
    }
    const detail = byId("detail");
    if (this.chosen < 0) { detail.textContent = this.matches ? "Nothing found." : "Nothing here."; return; }
    detail.replaceChildren(element("b", { className: "path", text: this.tree.path(this.chosen) }), ` ${this.about(this.chosen).join("; ")}`);
  }

  // Returns what there is to say of a node.
  about(node) {
    const { tree, weights: { bytes, files, hidden } } = this;
    const lines = [`${bytesText(bytes[node])}, ${percent(bytes[node], this.weights.bytes[0])} of what is counted`];
    if (tree.isFolder(node)) {
      lines.push(counted(files[node], "file"));
      if (hidden[node]) lines.push(`${bytesText(hidden[node])} hidden`);
      return lines;
    }
    if (ABOUT[tree.kind(node)]) lines.push(ABOUT[tree.kind(node)]);
    lines.push(this.layerText(tree.layer[node]));
    if (tree.isHidden(node)) lines.push(`${WHY[this.facts.how[tree.how[node]]] ?? "hidden by"} ${this.layerText(tree.hiddenBy[node])}`);
    return lines;
  }

  draw(options = {}) {
    this.map.draw({ theme: this.theme, selected: this.chosen, matches: this.matches, ...options });
  }

  // Draws the map, growing out of a box unless the reader wants no motion.
  grow(from) {
    if (!from || window.matchMedia("(prefers-reduced-motion: reduce)").matches) { this.draw(); return; }
    const began = performance.now();
    const step = (now) => {
      const grown = Math.min(1, Math.max(0, now - began) / GROWING);
      this.draw({ from, grown });
      if (grown < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  readTheme() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(`--${name}`).trim();
    this.theme = Object.fromEntries(["ground", "edge", "folder", "text", "focus"].map((name) => [name, read(name)]));
  }

  // Mouse and keys.

  listen() {
    const canvas = byId("map");
    canvas.addEventListener("click", (event) => this.clicked(event));
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
    byId("more").addEventListener("click", () => { this.rows += MORE_ROWS; this.table(); this.mark(); });
    byId("views").addEventListener("change", (event) => this.chooseView(event.target.value));
    let waiting = 0;
    byId("search").addEventListener("input", (event) => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.search(event.target.value), this.tree.count > 20000 ? 150 : 0);
    });
    document.addEventListener("keydown", (event) => this.key(event));
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.readTheme(); this.draw(); });
    new ResizeObserver(() => { this.map.layout(this.root, this.weights); this.draw(); }).observe(canvas);
  }

  clicked({ offsetX, offsetY }) {
    const box = this.map.at(offsetX, offsetY);
    if (!box) return;
    const outer = this.map.boxes.find((one) => one.level === 0 && this.tree.isWithin(box.node, one.item));
    if (this.tree.isFolder(box.node)) this.go(box.node, -1, box);
    else if (box.level === 0) this.choose(box.item);
    else this.go(this.tree.parent[box.item], box.item, outer);
  }

  hover({ offsetX, offsetY, clientX, clientY }) {
    const tip = byId("tip"), box = this.map.at(offsetX, offsetY);
    tip.hidden = !box;
    if (!box) return;
    tip.replaceChildren(element("b", { className: "path", text: this.tree.path(box.node) }),
      ...this.about(box.node).map((text) => element("div", { text })));
    const { offsetWidth: width, offsetHeight: height } = tip;
    tip.style.left = `${Math.max(4, Math.min(clientX + 14, window.innerWidth - width - 8))}px`;
    tip.style.top = `${clientY + 18 + height > window.innerHeight ? clientY - height - 10 : clientY + 18}px`;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { target, key } = event, isTyping = target.id === "search";
    if (key === "/" && !isTyping) this.done(event, () => byId("search").focus());
    else if (key === "Escape") this.done(event, () => this.escape(isTyping));
    else if (isTyping && (key === "ArrowDown" || key === "Enter")) this.done(event, () => this.leaveSearch(key));
    else if (!isTyping && ARROWS[key] && this.isInList(target)) this.done(event, () => this.arrow(key, target));
    else if (key === "Enter" && target.id === "map" && this.chosen >= 0) this.done(event, () => this.open(this.chosen));
  }

  done(event, action) {
    event.preventDefault();
    action();
  }

  // Arrows are for the map and the table, and scroll or choose as usual in other places.
  isInList(target) {
    return target === document.body || target.closest("#map, #rows") !== null;
  }

  escape(isTyping) {
    if (isTyping || this.matches) { this.clearSearch(); byId("map").focus(); }
    else if (this.root > 0) this.up();
    else if (this.layer) this.chooseLayer(this.layer);
    else if (this.view !== "all") this.chooseView("all");
  }

  leaveSearch(key) {
    if (!this.listed.length) return;
    if (key === "Enter") { this.open(this.chosen); byId("map").focus(); }
    else this.focusRow();
  }

  arrow(key, target) {
    if (!target.closest("#rows") && !this.matches) {
      this.choose(this.map.beside(this.chosen, ARROWS[key])?.item ?? -1);
      return;
    }
    const step = key === "ArrowDown" ? 1 : key === "ArrowUp" ? -1 : 0;
    if (key === "ArrowRight" && this.chosen >= 0) this.open(this.chosen);
    else if (key === "ArrowLeft") this.up();
    const last = Math.min(this.rows, this.listed.length) - 1;
    const at = Math.min(last, Math.max(0, this.listed.indexOf(this.chosen) + step));
    if (step) this.choose(this.listed[at] ?? -1);
    this.focusRow();
  }

  focusRow() {
    byId("rows").querySelector("tr.chosen button")?.focus();
  }
}

// Returns a colour for each layer; the largest layers have different ones.
function layerColours(layers) {
  const ranked = [...layers].sort((a, b) => b.file_bytes - a.file_bytes || a.number - b.number);
  return Object.fromEntries(ranked.map((layer, rank) => [layer.number, PALETTE[rank % PALETTE.length]]));
}

async function start() {
  const facts = JSON.parse(byId("data").textContent);
  const tree = new Tree(await unpack(facts.tree), facts.nodes);
  window.MODEL = { facts, tree, totals: tree.totals(), page: new Page(facts, tree) };
}

start().catch((error) => {
  byId("failure").textContent = `The page cannot be drawn: ${error.message}. It needs a browser of 2023 or newer.`;
  byId("failure").hidden = false;
  throw error;
});

// What the reader does: point, pin, move by keyboard, set the slider, switch examples and circuits.

const SMALLEST_TEXT = 0.6; // of the natural size of the diagram; below, it is scrolled
const NEAR = { ArrowUp: "source", ArrowDown: "target" }; // a node is this end of the edges gone along
const FAR = { ArrowUp: "target", ArrowDown: "source" };

class View {
  constructor(article, circuit) {
    Object.assign(this, { article, flow: new Flow(circuit), pinned: null, active: null, came: null });
    this.find = (selector) => article.querySelector(selector);
    this.all = (selector) => [...article.querySelectorAll(selector)];
    this.svg = this.find(".drawing > svg");
    this.slider = this.find(".least");
    this.cards = new Map(this.all("[data-card]").map((card) => [card.dataset.card, card]));
    this.groups = new Map();
  }

  // Boxes can be measured only once the circuit is shown.
  prepare() {
    if (this.order || this.article.hidden) return;
    for (const group of this.svg.querySelectorAll("g[data-node]")) this.addNode(group);
    for (const group of this.svg.querySelectorAll("g[data-edge]")) this.addEdge(group);
    const nodes = Object.keys(this.flow.nodes).filter((id) => this.groups.has(id));
    const others = [...this.groups.keys()].filter((key) => !isEdge(key) && !(key in this.flow.nodes));
    this.order = [...nodes, ...others];
    this.groups.get(this.order[0])?.setAttribute("tabindex", "0");
    this.svg.setAttribute("role", "application");
    this.svg.setAttribute("aria-describedby", `${this.article.id}-keys`);
    this.listen();
    this.zoom("start");
    this.choose(0);
  }

  addNode(group) {
    if (/^(row|legend|placeholder)/.test(group.dataset.node)) return;
    const box = group.getBBox();
    const ring = document.createElementNS(this.svg.namespaceURI, "rect");
    const at = { x: box.x - 2, y: box.y - 2, width: box.width + 4, height: box.height + 4, rx: 2, class: "ring" };
    for (const [name, value] of Object.entries(at)) ring.setAttribute(name, value);
    group.append(ring);
    this.addTarget(group, group.dataset.node);
  }

  // A wide transparent line on top makes a thin one easy to hit.
  addEdge(group) {
    const hit = group.querySelector("path")?.cloneNode();
    hit?.setAttribute("class", "hit");
    if (hit) group.append(hit);
    this.addTarget(group, Number(group.dataset.edge));
  }

  addTarget(group, key) {
    group.setAttribute("role", "button");
    group.setAttribute("tabindex", "-1");
    this.groups.set(key, group);
  }

  keyOf(target) {
    const { node, edge } = target.closest?.("[role=button][data-node], [role=button][data-edge]")?.dataset ?? {};
    return edge === undefined ? node ?? null : Number(edge);
  }

  listen() {
    const { svg, article } = this;
    svg.addEventListener("mouseover", (event) => this.point(this.keyOf(event.target)));
    svg.addEventListener("mouseleave", () => this.point(this.keyOf(document.activeElement)));
    svg.addEventListener("focusin", (event) => this.point(this.keyOf(event.target)));
    svg.addEventListener("focusout", () => this.point(null));
    svg.addEventListener("click", (event) => this.follow(this.keyOf(event.target)));
    svg.addEventListener("keydown", (event) => this.press(event));
    article.addEventListener("keydown", (event) => { if (event.key === "Escape") this.pin(null); });
    this.find(".unpin").addEventListener("click", () => { this.focus(this.pinned); this.pin(null); });
    this.slider?.addEventListener("input", () => this.update());
    this.find(".example-choice")?.addEventListener("change", (event) => this.choose(Number(event.target.value)));
    for (const button of this.all(".zoom")) button.addEventListener("click", () => this.zoom(button.dataset.zoom));
    for (const button of this.all(".choose")) button.addEventListener("click", () => this.lead(Number(button.dataset.choose)));
  }

  // -- what is shown --------------------------------------------------------------------------

  choose(i) {
    for (const part of this.all("[data-example]")) part.hidden = Number(part.dataset.example) !== i;
    const select = this.find(".example-choice");
    if (select) select.value = String(i);
    this.flow.choose(i);
    if (this.slider) this.slider.max = Math.max(0, this.flow.sizes.length - 1);
    this.update();
  }

  update() {
    this.flow.limit(Number(this.slider?.value ?? 0));
    const kept = this.pinned === null ? null : this.flow.pathsThrough(this.pinned);
    for (const [key, group] of this.groups) {
      const isPinned = key === this.pinned;
      group.classList.toggle("below", isEdge(key) && !this.flow.shown.has(key) && !isPinned);
      group.classList.toggle("dim", this.flow.small.has(key));
      group.classList.toggle("fade", kept !== null && !kept.has(key));
      group.classList.toggle("pinned", isPinned);
      group.setAttribute("aria-pressed", String(isPinned));
      group.setAttribute("aria-label", this.flow.line(key));
    }
    this.find(".unpin").disabled = this.pinned === null;
    this.say(kept);
    this.fill();
  }

  say(kept) {
    const { drawnWithNumber, shown, least, nodes } = this.flow;
    const n = drawnWithNumber.filter((edge) => shown.has(edge.i)).length;
    const lines = `at least ${least.toFixed(2)} nats: ${n} of ${drawnWithNumber.length} lines`;
    this.slider?.setAttribute("aria-valuetext", lines);
    const parts = this.slider ? [`Contributions of ${lines}.`] : [];
    if (kept) {
      const n = [...kept].filter((key) => key in nodes).length;
      parts.push(`Pinned: ${this.flow.name(this.pinned)}. Nodes on paths through it: ${n}.`);
    }
    this.find(".status").textContent = parts.join(" ");
  }

  fill() {
    const follow = (key) => { this.focus(key); this.follow(key); };
    const parts = panelOf(this.flow, this.active ?? this.pinned, (id) => this.cards.get(id), follow);
    this.find(".panel").replaceChildren(...parts);
  }

  zoom(how) {
    const drawing = this.find(".drawing");
    const natural = Number(drawing.dataset.width);
    const fit = Math.min(drawing.clientWidth - 16, 1.6 * natural);
    const now = this.svg.getBoundingClientRect().width;
    const widths = { start: Math.max(fit, SMALLEST_TEXT * natural), fit, in: 1.3 * now, out: now / 1.3 };
    this.svg.style.width = `${Math.max(120, widths[how])}px`;
    this.svg.style.height = "auto";
  }

  // -- point, pin, move -----------------------------------------------------------------------

  point(key) {
    if (key === this.active) return;
    this.groups.get(this.active)?.classList.remove("active");
    this.groups.get(key)?.classList.add("active");
    this.active = key;
    this.fill();
    markShared();
  }

  pin(key) {
    this.pinned = key;
    this.update();
  }

  // A click or Enter: pins, and unpins what is pinned.
  follow(key) {
    if (key === null) return;
    this.focus(key);
    this.pin(key === this.pinned ? null : key);
  }

  focus(key) {
    const group = this.groups.get(key);
    if (!group) return;
    for (const each of this.svg.querySelectorAll('[tabindex="0"]')) each.setAttribute("tabindex", "-1");
    group.setAttribute("tabindex", "0");
    group.focus();
  }

  lead(i) {
    this.choose(i);
    this.find(".example-choice").focus();
    this.article.scrollIntoView();
  }

  press(event) {
    const key = this.keyOf(event.target);
    if (key === null) return;
    const isPin = event.key === "Enter" || event.key === " ";
    const next = isPin ? key : this.next(key, event.key);
    if (next === undefined) return;
    event.preventDefault();
    if (isPin) this.follow(key);
    else this.focus(next);
  }

  // Where an arrow leads: sideways along a row, up and down along edges.
  next(key, arrow) {
    if (arrow === "Home") return this.order[0];
    if (arrow === "End") return this.order.at(-1);
    if (arrow in NEAR) {
      if (isEdge(key)) return this.flow.edges[key][FAR[arrow]];
      this.came = NEAR[arrow];
      return this.flow.ranked(key, this.came)[0]?.i ?? key;
    }
    const step = { ArrowRight: 1, ArrowLeft: -1 }[arrow];
    if (step === undefined) return undefined;
    const row = isEdge(key) ? this.siblings(key) : this.order;
    return row[(row.indexOf(key) + step + row.length) % row.length];
  }

  // The edges at the node that one was reached from.
  siblings(key) {
    const side = this.came ?? "source";
    return this.flow.ranked(this.flow.edges[key][side], side).map((edge) => edge.i);
  }
}

// -- several circuits, and the theme ------------------------------------------------------------

const circuits = JSON.parse(document.getElementById("data").textContent);
const views = circuits.map((circuit, i) => new View(document.getElementById(`c${i}`), circuit));
const visible = () => views.filter((view) => !view.article.hidden);

// With two circuits of one checkpoint on show, mark the nodes that both have.
function markShared() {
  const [first, second, third] = visible();
  const isPair = second && !third && first.flow.checkpoint === second.flow.checkpoint;
  for (const view of visible()) {
    const other = view === first ? second : first;
    for (const [key, group] of view.groups) {
      const isShared = isPair && key in view.flow.nodes && key in other.flow.nodes;
      group.classList.toggle("shared", Boolean(isShared));
      group.classList.toggle("also", Boolean(isShared) && key === other.active);
    }
  }
}

function showOrHide(button) {
  const { article } = views[Number(button.dataset.show)];
  if (!article.hidden && visible().length === 1) return;
  article.hidden = !article.hidden;
  button.setAttribute("aria-pressed", String(!article.hidden));
  for (const both of document.querySelectorAll("[data-pair]")) {
    both.hidden = both.dataset.pair.split(" ").some((i) => views[Number(i)].article.hidden);
  }
  for (const view of visible()) { view.prepare(); view.zoom("start"); }
  markShared();
}

function listenToTheme() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const button = document.getElementById("theme");
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; show(); });
  system.addEventListener("change", show);
  show();
}

for (const button of document.querySelectorAll("[data-show]")) button.addEventListener("click", () => showOrHide(button));
listenToTheme();
for (const view of views) view.prepare();
markShared();

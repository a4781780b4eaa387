"use strict";
// One View for each circuit: it reads the page's data, and marks what the reader points at.
// Texts are set as text, never as markup.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const data = JSON.parse(document.getElementById("data").textContent);
  const views = [];

  const mean = (adds) => (adds[0] + adds[1]) / 2;
  const signed = (x) => (x < 0 ? "\u2212" : "+") + Math.abs(x).toFixed(2);
  const plain = (x) => String(x).replace("-", "\u2212");
  const addsText = (adds) => `${signed(mean(adds))} nats (a ${signed(adds[0])}, b ${signed(adds[1])})`;

  function element(tag, text, className) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  // What can be reached from the ids along links, the ids themselves left out unless they recur.
  function reach(ids, links) {
    const found = new Set();
    const open = [...ids];
    while (open.length) {
      for (const next of links.get(open.pop()) ?? []) {
        if (!found.has(next)) { found.add(next); open.push(next); }
      }
    }
    return found;
  }

  class View {
    constructor(article, circuit) {
      Object.assign(this, { article, circuit, example: 0, pinned: null, active: null, came: null });
      this.find = (selector) => article.querySelector(selector);
      this.all = (selector) => [...article.querySelectorAll(selector)];
      this.svg = this.find(".drawing > svg");
      this.panel = this.find(".panel");
      this.slider = this.find(".least");
      this.isReady = false;
    }

    // Boxes can be measured only once the circuit is shown.
    prepare() {
      if (this.isReady || this.article.hidden) return;
      this.isReady = true;
      this.groups = new Map();
      for (const group of this.svg.querySelectorAll("g[data-node]")) this.addNode(group);
      for (const group of this.svg.querySelectorAll("g[data-edge]")) this.addEdge(group);
      this.order = Object.keys(this.circuit.nodes).filter((id) => this.groups.has(id));
      this.order.push(...[...this.groups.keys()].filter((id) => this.isOther(id)));
      this.svg.setAttribute("role", "application");
      this.svg.setAttribute("aria-describedby", `${this.article.id}-keys`);
      if (this.order.length) this.groups.get(this.order[0]).setAttribute("tabindex", "0");
      this.listen();
      this.zoom("fit");
      this.choose(0);
    }

    // Drawn, no node of the circuit, but no legend either: tokens, answers.
    isOther(id) {
      return typeof id === "string" && !(id in this.circuit.nodes) && !/^(row|legend|placeholder)/.test(id);
    }

    addNode(group) {
      const id = group.dataset.node;
      if (!(id in this.circuit.nodes || this.isOther(id))) return;
      const box = group.getBBox();
      const ring = document.createElementNS(SVG, "rect");
      const at = { x: box.x - 2, y: box.y - 2, width: box.width + 4, height: box.height + 4, rx: 2 };
      for (const [name, value] of Object.entries(at)) ring.setAttribute(name, value);
      ring.setAttribute("class", "ring");
      group.append(ring);
      this.addTarget(group, id);
    }

    addEdge(group) {
      const path = group.querySelector("path");
      if (path) {
        const hit = path.cloneNode();
        hit.setAttribute("class", "hit");
        group.append(hit);
      }
      this.addTarget(group, Number(group.dataset.edge));
    }

    addTarget(group, key) {
      group.setAttribute("role", "button");
      group.setAttribute("tabindex", "-1");
      group.setAttribute("aria-pressed", "false");
      group.dataset.key = key;
      this.groups.set(key, group);
    }

    // -- what is shown ------------------------------------------------------------------------

    get numbers() { return this.circuit.examples[this.example] ?? {}; }

    linkOf(i) { return this.numbers.links?.[i] ?? null; }

    choose(i) {
      this.example = i;
      for (const part of this.all("[data-example]")) part.hidden = Number(part.dataset.example) !== i;
      const select = this.find(".example-choice");
      if (select) select.value = String(i);
      const sizes = this.circuit.edges.filter((edge) => edge.isDrawn)
        .map((edge) => this.linkOf(edge.i)).filter(Boolean).map((adds) => Math.abs(mean(adds)));
      this.sizes = sizes.sort((x, y) => x - y);
      if (this.slider) {
        this.slider.max = Math.max(0, this.sizes.length - 1);
        this.slider.value = Math.min(this.slider.value, this.slider.max);
      }
      this.update();
    }

    get least() {
      const step = this.slider ? Number(this.slider.value) : 0;
      return step ? this.sizes[step] : 0;
    }

    // An edge with a number is shown if that is large enough, any other if both its nodes are.
    selectEdges() {
      const large = new Set();
      const measured = new Set();
      this.shown = new Set();
      for (const edge of this.circuit.edges) {
        const adds = this.linkOf(edge.i);
        if (!adds) continue;
        const ends = [edge.source, edge.target];
        ends.forEach((id) => measured.add(id));
        if (Math.abs(mean(adds)) >= this.least) {
          this.shown.add(edge.i);
          ends.forEach((id) => large.add(id));
        }
      }
      this.small = new Set([...measured].filter((id) => !large.has(id)));
      for (const edge of this.circuit.edges) {
        if (this.linkOf(edge.i)) continue;
        if (!this.small.has(edge.source) && !this.small.has(edge.target)) this.shown.add(edge.i);
      }
    }

    // The nodes and edges of all paths through what is pinned, along what is shown.
    pathsThrough(key) {
      const onto = new Map();
      const back = new Map();
      const add = (map, from, to) => map.set(from, [...(map.get(from) ?? []), to]);
      for (const edge of this.circuit.edges) {
        if (!this.shown.has(edge.i) || edge.kind === "stream" || edge.kind === "query and key") continue;
        add(onto, edge.source, edge.target);
        add(back, edge.target, edge.source);
      }
      const pinned = typeof key === "number" ? this.circuit.edges[key] : { source: key, target: key };
      const below = reach([pinned.source], back).add(pinned.source);
      const above = reach([pinned.target], onto).add(pinned.target);
      const stays = (edge) => [below, above].some((side) => side.has(edge.source) && side.has(edge.target));
      const edges = this.circuit.edges.filter((edge) => stays(edge) && this.shown.has(edge.i));
      return { nodes: new Set([...below, ...above]), edges: new Set([key, ...edges.map((edge) => edge.i)]) };
    }

    update() {
      this.selectEdges();
      const kept = this.pinned === null ? null : this.pathsThrough(this.pinned);
      for (const [key, group] of this.groups) {
        const isEdge = typeof key === "number";
        group.classList.toggle("below", isEdge && !this.shown.has(key) && key !== this.pinned);
        group.classList.toggle("dim", !isEdge && this.small.has(key));
        group.classList.toggle("fade", kept !== null && !(isEdge ? kept.edges : kept.nodes).has(key));
        group.classList.toggle("pinned", key === this.pinned);
        group.setAttribute("aria-pressed", String(key === this.pinned));
        group.setAttribute("aria-label", this.line(key));
      }
      this.find(".unpin").disabled = this.pinned === null;
      this.say(kept);
      this.fill(this.active ?? this.pinned);
    }

    say(kept) {
      const drawn = this.circuit.edges.filter((edge) => edge.isDrawn && this.linkOf(edge.i));
      const large = drawn.filter((edge) => this.shown.has(edge.i));
      const least = `at least ${this.least.toFixed(2)} nats: ${large.length} of ${drawn.length} edges with a number are shown`;
      if (this.slider) this.slider.setAttribute("aria-valuetext", least);
      const parts = this.slider && drawn.length ? [`Contributions of ${least}.`] : [];
      if (kept) parts.push(`Pinned: ${this.name(this.pinned)}; ${kept.nodes.size} nodes are on paths through it.`);
      this.find(".status").textContent = parts.join(" ");
    }

    // -- words --------------------------------------------------------------------------------

    name(key) {
      if (typeof key !== "number") return this.circuit.nodes[key]?.label ?? this.circuit.labels[key] ?? key;
      const edge = this.circuit.edges[key];
      return `${this.name(edge.source)} \u2192 ${this.name(edge.target)}`;
    }

    line(key) {
      const isEdge = typeof key === "number";
      const adds = isEdge ? this.linkOf(key) : this.numbers.adds?.[key];
      const kind = isEdge ? this.circuit.edges[key].kind : this.circuit.nodes[key]?.kind ?? "";
      const weight = isEdge ? this.circuit.edges[key].weight : null;
      const parts = [[kind, this.name(key)].filter(Boolean).join(" ")];
      if (weight !== null) parts.push(`weight ${signed(weight)}`);
      if (adds) parts.push(`${this.isAblated(key) ? "without it is lost" : "adds"} ${addsText(adds)}`);
      return parts.join(", ");
    }

    isAblated(key) { return this.numbers.ablated?.includes(key) ?? false; }

    // -- the panel ----------------------------------------------------------------------------

    fill(key) {
      if (key === null) {
        this.panel.replaceChildren(element("p", "Hover or focus a node or an edge.", "note"));
        return;
      }
      const isEdge = typeof key === "number";
      const node = isEdge ? this.circuit.edges[key].source : key;
      const parts = [element("h4", this.name(key)), element("p", this.line(key), "line")];
      if (isEdge && node in this.circuit.nodes) parts.push(element("h4", `Its source, ${this.name(node)}`));
      parts.push(...this.heat(node), ...this.card(node));
      if (!isEdge) parts.push(...this.edgesOf(node));
      this.panel.replaceChildren(...parts);
    }

    heat(node) {
      const values = ["a", "b"].map((side) => this.numbers[side]?.activations[node]);
      if (!values.some((row) => row?.length)) return [];
      const zero = this.circuit.nodes[node].mean;
      const widest = Math.max(...values.flat().map((x) => Math.abs(x - zero))) || 1;
      const parts = [element("p", `Its activation at each token; its mean is ${plain(zero.toPrecision(3))}.`, "note")];
      ["a", "b"].forEach((side, i) => {
        const row = element("ul", undefined, "heat");
        row.setAttribute("aria-label", `activations in prompt ${side}`);
        const tokens = this.numbers[side].tokens;
        values[i].forEach((x, at) => row.append(this.cell(tokens[at], x, (x - zero) / widest, this.numbers[side].cue.includes(at))));
        parts.push(row);
      });
      return parts;
    }

    cell(token, value, share, isCue) {
      const cell = element("li", token, isCue ? "in-cue" : "");
      cell.append(element("small", plain(value.toFixed(2))));
      const hue = share < 0 ? "--minus" : "--plus";
      cell.style.background = `color-mix(in srgb, var(${hue}) ${Math.round(45 * Math.abs(share))}%, transparent)`;
      return cell;
    }

    card(node) {
      const card = this.all("[data-card]").find((each) => each.dataset.card === node);
      if (!card) return [];
      const copy = [...card.cloneNode(true).children].slice(1);
      copy.filter((part) => part.tagName === "DETAILS").forEach((part) => { part.open = true; });
      return copy;
    }

    edgesOf(node) {
      const parts = [];
      for (const [side, title] of [["target", "Edges in"], ["source", "Edges out"]]) {
        const edges = this.ranked(node, side);
        if (!edges.length) continue;
        const list = element("ul", undefined, "edges-of");
        for (const edge of edges.slice(0, 12)) list.append(this.edgeButton(edge));
        parts.push(element("h4", title), list);
        if (edges.length > 12) parts.push(element("p", `and ${edges.length - 12} more`, "note"));
      }
      return parts;
    }

    edgeButton(edge) {
      const adds = this.linkOf(edge.i);
      const button = element("button", `${this.name(edge.i)}${adds ? `, ${signed(mean(adds))}` : ""}`);
      button.type = "button";
      button.addEventListener("click", () => { this.pin(edge.i); this.focus(edge.i); });
      const item = element("li");
      item.append(button);
      return item;
    }

    // The drawn edges at a side of a node, those that add most first.
    ranked(node, side) {
      const size = (edge) => { const adds = this.linkOf(edge.i); return adds ? Math.abs(mean(adds)) : Math.abs(edge.weight ?? 0) / 1e6; };
      return this.circuit.edges
        .filter((edge) => edge.isDrawn && edge[side] === node && this.shown.has(edge.i))
        .sort((x, y) => size(y) - size(x) || x.i - y.i);
    }

    // -- what the reader does -----------------------------------------------------------------

    point(key) {
      if (key === this.active) return;
      this.groups.get(this.active)?.classList.remove("active");
      this.active = key;
      this.groups.get(key)?.classList.add("active");
      this.fill(key ?? this.pinned);
      markShared();
    }

    pin(key) {
      this.pinned = key === this.pinned ? null : key;
      this.update();
    }

    unpin() {
      this.pinned = null;
      this.update();
    }

    focus(key) {
      const group = this.groups.get(key);
      if (!group) return;
      for (const each of this.svg.querySelectorAll('[tabindex="0"]')) each.setAttribute("tabindex", "-1");
      group.setAttribute("tabindex", "0");
      group.focus();
    }

    keyOf(target) {
      const key = target.closest?.("[data-key]")?.dataset.key;
      if (key === undefined) return null;
      return /^\d+$/.test(key) ? Number(key) : key;
    }

    listen() {
      const svg = this.svg;
      svg.addEventListener("mouseover", (event) => this.point(this.keyOf(event.target)));
      svg.addEventListener("mouseleave", () => this.point(this.keyOf(document.activeElement)));
      svg.addEventListener("focusin", (event) => this.point(this.keyOf(event.target)));
      svg.addEventListener("focusout", () => this.point(null));
      svg.addEventListener("click", (event) => {
        const key = this.keyOf(event.target);
        if (key !== null) { this.focus(key); this.pin(key); }
      });
      svg.addEventListener("keydown", (event) => this.press(event));
      this.article.addEventListener("keydown", (event) => { if (event.key === "Escape") this.unpin(); });
      this.find(".unpin").addEventListener("click", () => { this.unpin(); this.focus(this.order[0]); });
      this.slider?.addEventListener("input", () => this.update());
      this.find(".example-choice")?.addEventListener("change", (event) => this.choose(Number(event.target.value)));
      for (const button of this.all(".zoom")) button.addEventListener("click", () => this.zoom(button.dataset.zoom));
      for (const button of this.all(".choose")) button.addEventListener("click", () => this.lead(Number(button.dataset.choose)));
    }

    lead(i) {
      this.choose(i);
      this.find(".example-choice").focus();
      this.article.scrollIntoView();
    }

    press(event) {
      const key = this.keyOf(event.target);
      const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: "source", ArrowDown: "target", Home: "first", End: "last", Enter: "pin", " ": "pin" };
      const step = steps[event.key];
      if (key === null || step === undefined) return;
      event.preventDefault();
      if (step === "pin") this.pin(key);
      else this.focus(this.next(key, step));
    }

    next(key, step) {
      const isEdge = typeof key === "number";
      if (step === "first") return this.order[0];
      if (step === "last") return this.order.at(-1);
      if (typeof step === "string") {
        if (isEdge) return step === "source" ? this.circuit.edges[key].target : this.circuit.edges[key].source;
        this.came = { node: key, side: step };
        return this.ranked(key, step)[0]?.i ?? key;
      }
      const row = isEdge ? this.siblings(key) : this.order;
      return row[(row.indexOf(key) + step + row.length) % row.length];
    }

    // The edges beside one that was reached from a node: the others at that side of it.
    siblings(key) {
      const edge = this.circuit.edges[key];
      const came = this.came && edge[this.came.side] === this.came.node ? this.came : { node: edge.source, side: "source" };
      return this.ranked(came.node, came.side).map((each) => each.i);
    }

    zoom(how) {
      const drawing = this.find(".drawing");
      const natural = Number(drawing.dataset.width);
      const now = this.svg.getBoundingClientRect().width;
      const fit = Math.min(drawing.clientWidth - 16, 1.6 * natural);
      const width = how === "fit" ? fit : now * (how === "in" ? 1.3 : 1 / 1.3);
      this.svg.style.width = `${Math.max(120, width)}px`;
      this.svg.style.height = "auto";
    }
  }

  // -- several circuits -------------------------------------------------------------------------

  const shownViews = () => views.filter((view) => !view.article.hidden);

  function markShared() {
    const shown = shownViews();
    const [first, second] = shown;
    const isPair = shown.length === 2 && first.circuit.checkpoint === second.circuit.checkpoint;
    for (const view of shown.filter((each) => each.isReady)) {
      const other = view === first ? second : first;
      for (const [key, group] of view.groups) {
        if (typeof key === "number") continue;
        group.classList.toggle("shared", isPair && key in view.circuit.nodes && key in other.circuit.nodes);
        group.classList.toggle("also", isPair && key === other.active && key in view.circuit.nodes);
      }
    }
  }

  function showCircuit(button) {
    const view = views[Number(button.dataset.show)];
    const isAlone = shownViews().length === 1 && !view.article.hidden;
    if (isAlone) return;
    view.article.hidden = !view.article.hidden;
    button.setAttribute("aria-pressed", String(!view.article.hidden));
    for (const note of document.querySelectorAll("[data-pair]")) {
      note.hidden = note.dataset.pair.split(" ").some((i) => views[Number(i)].article.hidden);
    }
    for (const each of shownViews()) { each.prepare(); each.zoom("fit"); }
    markShared();
  }

  function listenToTheme() {
    const button = document.getElementById("theme");
    const root = document.documentElement;
    const system = matchMedia("(prefers-color-scheme: dark)");
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
    const show = () => button.setAttribute("aria-pressed", String(isDark()));
    button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; show(); });
    system.addEventListener("change", show);
    show();
  }

  data.forEach((circuit, i) => {
    circuit.edges.forEach((edge, at) => { edge.i = at; });
    views.push(new View(document.getElementById(`c${i}`), circuit));
  });
  for (const button of document.querySelectorAll("[data-show]")) button.addEventListener("click", () => showCircuit(button));
  listenToTheme();
  views.forEach((view) => view.prepare());
  markShared();
})();

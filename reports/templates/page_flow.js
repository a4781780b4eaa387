"use strict";
// What flows through a circuit in one example: which edges are large enough to be shown, which
// nodes and edges lie on paths through one of them, and how each is named. Nothing is drawn here.
// A key is the id of a node, or the number of an edge.

const mean = (adds) => (adds[0] + adds[1]) / 2;
const plain = (text) => String(text).replace("-", "\u2212");
const signed = (x) => (x < 0 ? "" : "+") + plain(x.toFixed(2));
const addsText = (adds) => `${signed(mean(adds))} nats (a ${signed(adds[0])}, b ${signed(adds[1])})`;
const isEdge = (key) => typeof key === "number";

const KINDS = {
  weight: "edge", residual: "residual stream", token: "embedding", answer: "unembedding",
  stream: "a channel of the residual stream", drawn: "line",
};

// All that can be reached from an id along links, and the id itself.
function reach(id, links) {
  const found = new Set([id]);
  const open = [id];
  while (open.length) {
    for (const next of links.get(open.pop()) ?? []) {
      if (!found.has(next)) { found.add(next); open.push(next); }
    }
  }
  return found;
}

class Flow {
  constructor(circuit) {
    Object.assign(this, circuit);
    this.edges.forEach((edge, i) => { edge.i = i; });
    this.choose(0);
  }

  // An example's numbers; `sizes` are the contributions that the slider steps through.
  choose(i) {
    this.numbers = this.examples[i] ?? {};
    const sizes = this.edges.filter((edge) => edge.isDrawn && this.adds(edge.i)).map((edge) => this.size(edge.i));
    this.sizes = [...new Set(sizes)].sort((x, y) => x - y);
    this.limit(0);
  }

  // What a node or edge adds to the logit differences of a and b, or null.
  adds(key) {
    return (isEdge(key) ? this.numbers.links?.[key] : this.numbers.adds?.[key]) ?? null;
  }

  size(key) {
    const adds = this.adds(key);
    return adds ? Math.abs(mean(adds)) : 0;
  }

  // Show what adds at least that much, and an edge without a number if both its nodes are shown.
  limit(step) {
    this.least = step ? this.sizes[step] : 0;
    const measured = this.edges.filter((edge) => this.adds(edge.i));
    const large = measured.filter((edge) => this.size(edge.i) >= this.least);
    const nodes = (edges) => new Set(edges.flatMap((edge) => [edge.source, edge.target]));
    this.small = nodes(measured);
    for (const id of nodes(large)) this.small.delete(id);
    const others = this.edges.filter((edge) => !this.adds(edge.i) && !this.small.has(edge.source) && !this.small.has(edge.target));
    this.shown = new Set([...large, ...others].map((edge) => edge.i));
    this.drawnWithNumber = measured.filter((edge) => edge.isDrawn);
  }

  // The nodes and edges of all paths through a key, along what is shown.
  pathsThrough(key) {
    const onto = new Map();
    const back = new Map();
    const add = (links, from, to) => links.set(from, [...(links.get(from) ?? []), to]);
    const shown = this.edges.filter((edge) => this.shown.has(edge.i));
    for (const edge of shown.filter((each) => !["stream", "query and key"].includes(each.kind))) {
      add(onto, edge.source, edge.target);
      add(back, edge.target, edge.source);
    }
    const through = isEdge(key) ? this.edges[key] : { source: key, target: key };
    const sides = [reach(through.source, back), reach(through.target, onto)];
    const stays = (edge) => sides.some((side) => side.has(edge.source) && side.has(edge.target));
    return new Set([...sides[0], ...sides[1], key, ...shown.filter(stays).map((edge) => edge.i)]);
  }

  // The drawn edges at a side of a node, those that add most first.
  ranked(id, side) {
    const size = (edge) => (this.adds(edge.i) ? this.size(edge.i) : Math.abs(edge.weight ?? 0) / 1e6);
    return this.edges
      .filter((edge) => edge.isDrawn && edge.kind !== "stream" && edge[side] === id && this.shown.has(edge.i))
      .sort((x, y) => size(y) - size(x) || x.i - y.i);
  }

  name(key) {
    if (!isEdge(key)) return this.nodes[key]?.label ?? this.labels[key] ?? key;
    return `${this.name(this.edges[key].source)} \u2192 ${this.name(this.edges[key].target)}`;
  }

  // A node or an edge in one line.
  line(key) {
    const edge = isEdge(key) ? this.edges[key] : null;
    const kind = edge ? KINDS[edge.kind] ?? edge.kind : this.nodes[key]?.kind ?? "";
    const adds = this.adds(key);
    const verb = this.numbers.ablated?.includes(key) ? "without it is lost" : "adds";
    return [
      `${kind} ${this.name(key)}`.trim(),
      edge && edge.weight !== null ? `weight ${signed(edge.weight)}` : "",
      adds ? `${verb} ${addsText(adds)}` : "",
    ].filter(Boolean).join(", ");
  }
}

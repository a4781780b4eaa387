// The panel beside a diagram: the line of a node or edge, its activations over the prompts, its
// card with contexts, its edges. All text is set as text.

const MOST_EDGES = 12;

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// What the panel shows of a key; `card` finds the card of a node, `follow` pins an edge.
function panelOf(flow, key, card, follow) {
  if (key === null) return [element("p", "Hover or focus a node or an edge.", "note")];
  const node = isEdge(key) ? flow.edges[key].source : key;
  const parts = [element("h4", flow.name(key)), element("p", flow.line(key), "line")];
  if (isEdge(key) && node in flow.nodes) parts.push(element("h4", `Its source, ${flow.name(node)}`));
  parts.push(...heatMap(flow, node), ...copyOf(card(node)));
  if (!isEdge(key)) parts.push(...edgesOf(flow, node, follow));
  return parts;
}

function heatMap(flow, node) {
  const rows = ["a", "b"].map((side) => flow.numbers[side]?.activations[node] ?? []);
  if (!rows.flat().length) return [];
  const zero = flow.nodes[node].mean;
  const widest = Math.max(...rows.flat().map((x) => Math.abs(x - zero))) || 1;
  const parts = [element("p", `Its activation at each token; its mean is ${plain(zero.toPrecision(3))}.`, "note")];
  ["a", "b"].forEach((side, i) => {
    const { tokens, cue } = flow.numbers[side];
    const list = element("ul", undefined, "heat");
    list.setAttribute("aria-label", `activations in prompt ${side}`);
    list.append(...rows[i].map((x, at) => heatCell(tokens[at], x, (x - zero) / widest, cue.includes(at))));
    parts.push(list);
  });
  return parts;
}

function heatCell(token, value, share, isCue) {
  const cell = element("li", token, isCue ? "in-cue" : "");
  cell.append(element("small", plain(value.toFixed(2))));
  const hue = share < 0 ? "--minus" : "--plus";
  cell.style.background = `color-mix(in srgb, var(${hue}) ${Math.round(45 * Math.abs(share))}%, transparent)`;
  return cell;
}

function copyOf(card) {
  if (!card) return [];
  const parts = [...card.cloneNode(true).children].slice(1);
  for (const part of parts) if (part.tagName === "DETAILS") part.open = true;
  return parts;
}

function edgesOf(flow, node, follow) {
  return [["target", "Edges in"], ["source", "Edges out"]].flatMap(([side, title]) => {
    const edges = flow.ranked(node, side);
    if (!edges.length) return [];
    const list = element("ul", undefined, "edges-of");
    list.append(...edges.slice(0, MOST_EDGES).map((edge) => edgeButton(flow, edge, follow)));
    const more = edges.length > MOST_EDGES ? [element("p", `and ${edges.length - MOST_EDGES} more`, "note")] : [];
    return [element("h4", title), list, ...more];
  });
}

function edgeButton(flow, edge, follow) {
  const adds = flow.adds(edge.i);
  const button = element("button", flow.name(edge.i) + (adds ? `, ${signed(mean(adds))}` : ""));
  button.type = "button";
  button.addEventListener("click", () => follow(edge.i));
  const item = element("li");
  item.append(button);
  return item;
}

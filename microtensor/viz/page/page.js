"use strict";
// The page's behaviour. A picture's state is its step, what is folded, and the part of it that is in view;
// everything on screen is derived from that by render().

const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function draw(tag, attributes, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

// --- pictures ---

class Picture {
  constructor(record, svg) {
    Object.assign(this, record);
    this.svg = svg;
    this.drawing = svg.querySelector("g");
    this.size = svg.getAttribute("viewBox").split(" ").slice(2).map(Number);
    this.folded = new Set();
    this.cards = new Map();
    this.view = null;
    this.nodes.forEach((node, id) => Object.assign(node, { id, boxes: [], into: [], outof: [], chain: this.chain(node.scope) }));
    this.edges.forEach((edge, id) => {
      Object.assign(edge, { id, parts: [] });
      this.nodes[edge.target].into.push(edge);
      this.nodes[edge.source].outof.push(edge);
    });
    this.edges.push({ id: this.edges.length, source: this.root, target: null, grad: this.nodes[this.root].grad, parts: [] });
    for (const part of svg.querySelectorAll("[data-node]")) {
      this.nodes[part.dataset.node].boxes.push(part);
      part.lastElementChild.classList.add("number");
      part.total = part.lastElementChild.textContent;
      part.words = part.getAttribute("aria-label");
    }
    for (const part of svg.querySelectorAll("[data-edge]")) this.edges[part.dataset.edge].parts.push(part);
    this.edges.forEach(forwardArrow);
    this.plan();
  }

  chain(scope) {
    const chain = [];
    for (; scope !== undefined && scope !== null; scope = this.scopes[scope].parent) chain.unshift(scope);
    return chain;
  }

  // The steps: what is given, each operation, the cotangent, each operation's rule.
  plan() {
    const operations = this.nodes.filter((node) => node.into.length || node.op);
    this.steps = [{ phase: "forward", k: 0 }, ...operations.map((node, i) => ({ phase: "forward", k: i + 1, node }))];
    this.steps.forEach((step, i) => { if (step.node) step.node.down = i; });
    this.turn = this.steps.length;
    if (this.nodes[this.root].grad !== undefined) {
      const reached = operations.filter((node) => node.grad !== undefined).reverse();
      this.steps.push({ phase: "backward", k: 0 }, ...reached.map((node, i) => ({ phase: "backward", k: i + 1, node })));
      this.steps.forEach((step, i) => { if (step.node && step.phase === "backward") step.node.up = i; });
    }
    this.counts = { forward: operations.length, backward: Math.max(this.steps.length - this.turn - 1, 0) };
    // What has come back to the input of a norm, path by path.
    const closing = data.closing && this.counts.backward ? this.nodes.find((node) => node.of === data.closing.of) : undefined;
    if (closing) this.steps.push({ phase: "backward", sum: closing });
  }

  computed(node, step) { return (node.down ?? 0) <= step; }

  flowed(edge, step) {
    if (edge.grad === undefined) return false;
    return edge.target === null ? step >= this.turn : this.nodes[edge.target].up <= step;
  }

  // The contributions to a node's gradient that have arrived, and how many there will be.
  arrived(node, step) {
    const all = node.outof.filter((edge) => edge.grad !== undefined);
    const here = all.filter((edge) => this.flowed(edge, step)).sort((a, b) => a.nth - b.nth);
    return { all, here, complete: node.grad !== undefined && step >= this.turn && here.length === all.length };
  }

  // The outermost folded scope round a node.
  cover(node) { return node ? node.chain.find((scope) => this.folded.has(scope)) : undefined; }

  // The next step in a direction; a folded scope is one step.
  after(step, direction) {
    const end = direction > 0 ? this.steps.length - 1 : 0;
    const same = (a, b) => a.phase === b.phase && this.cover(a.node) !== undefined && this.cover(a.node) === this.cover(b.node);
    let at = clamp(step + direction, 0, this.steps.length - 1);
    while (at !== end && same(this.steps[at], this.steps[at + 1] ?? {})) at += direction;
    while (direction < 0 && at > 0 && same(this.steps[at], this.steps[step])) at -= 1;
    return at;
  }
}

// The engine drew each edge with the arrow of the way back; add the one of the way down, over the same path.
function forwardArrow(edge) {
  const lines = edge.parts.filter((part) => !part.classList.contains("mt-pill"));
  if (!lines.length) return;
  let path = "";
  for (const part of lines) {
    const line = part.querySelector("path"), head = part.querySelector("polygon");
    const ends = line.getAttribute("d");
    if (head && !path) {
      const start = line.getPointAtLength(0);
      const corners = Array.from({ length: head.points.numberOfItems }, (_, i) => head.points.getItem(i));
      const far = corners.reduce((a, b) => (Math.hypot(b.x - start.x, b.y - start.y) > Math.hypot(a.x - start.x, a.y - start.y) ? b : a));
      // The engine stops short of the box by what a wide line needs; the box covers what is too long.
      const reach = (0.5 + 1.42 * parseFloat(getComputedStyle(head).strokeWidth)) / Math.hypot(far.x - start.x, far.y - start.y);
      path = `M${far.x + reach * (far.x - start.x)},${far.y + reach * (far.y - start.y)}L${ends.slice(1)}`;
    } else path += path ? `L${ends.slice(1)}` : ends;
    for (const shape of part.children) shape.classList.add("to");
  }
  const first = lines[0], line = draw("path", { class: "from", d: path });
  const length = line.getTotalLength(), reach = first.classList.contains("mt-direct") ? 9 : 7.5;
  const end = line.getPointAtLength(length), base = line.getPointAtLength(Math.max(length - reach, 0));
  const wide = 0.38, x = end.x - base.x, y = end.y - base.y;
  line.setAttribute("pathLength", length);
  if (!first.classList.contains("mt-constant")) line.setAttribute("stroke-dasharray", `${Math.max(length - reach, 0)} ${reach + 9}`);
  const tip = draw("path", { class: "tip", d: `M${end.x},${end.y}L${base.x - wide * y},${base.y + wide * x}L${base.x + wide * y},${base.y - wide * x}z` });
  first.append(line, tip);
}

const drawings = [...document.querySelectorAll("#stage > svg")];
// Lengths along a path can be asked for only while it is laid out.
const pictures = data.pictures.map((record, i) => new Picture(record, drawings[i]));
let picture = pictures[data.open];
let step = 0;
let looked = null;
let pinned = null;

// --- words ---

const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const nameOf = (node) => node.name || (node.op ? node.title : node.role || node.kind);

// A result in symbols: its name, or the operation on what it was computed from.
function formula(node, depth = 2) {
  if (!node.into.length || (node.name && depth < 2)) return nameOf(node).includes(" − ") ? `(${nameOf(node)})` : nameOf(node);
  if (!depth) return node.title;
  const inputs = node.into.map((edge) => formula(picture.nodes[edge.source], depth - 1));
  if (node.op === "getitem") return (/^\S*$/.test(inputs[0]) ? inputs[0] : `(${inputs[0]})`) + node.title;
  const join = (text) => (depth === 2 ? text : `(${text})`);
  if (inputs.length === 2 && /^[+−×÷@]$|^\S+ − \S+$/.test(node.title)) return join(inputs.join(` ${node.op === "subtract" ? "−" : node.title} `));
  if (node.title.includes("( )")) return node.title.replace("( )", () => (/^\(|^\S*$/.test(inputs[0]) ? inputs[0] : `(${inputs[0]})`));
  if (inputs.length === 1 && /^[+−×÷] /.test(node.title)) return join(`${inputs[0]} ${node.title}`);
  if (inputs.length === 1 && / [+−×÷]$/.test(node.title)) return join(`${node.title} ${inputs[0]}`);
  return `${node.op}(${inputs.map((text) => text.replace(/^\((.*)\)$/, "$1")).join(", ")})`;
}

function gradOf(node) {
  const text = formula(node, 1);
  return `${/^\(|^\S*$/.test(text) || text.endsWith(")") ? text : `(${text})`}.grad`;
}
const opOf = (node) => node.op || node.role || node.kind;

function figure(value) {
  if (typeof value === "string") return value;
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential().replace("e+", "e") : String(value);
  return text.replaceAll("-", "−");
}

// The gradient of the input of a norm as the sum of its paths.
function closingLines() {
  const { input, paths, zero } = data.closing;
  return [`${input}.grad = ${paths.map((path) => path.name).join(" + ")}`, ...zero].join("\n");
}

function tell() {
  const { phase, node, sum } = picture.steps[step];
  if (phase === "forward") {
    if (!node) return "The inputs and parameters are given.";
    const named = node.name && node.name !== node.title ? `${node.name} = ` : "";
    return [named + formula(node), node.over].filter(Boolean).join(" ");
  }
  if (sum) return closingLines();
  if (!node) return `The cotangent enters: ${data.cotangent}.`;
  const into = node.into.filter((edge) => edge.grad !== undefined);
  if (!into.length) return "The rules inside add to the gradients of its parameters.";
  return into.map((edge) => `${gradOf(picture.nodes[edge.source])} += ${edge.rule ?? "what comes back"}`).join("\n");
}

const where = () => {
  const { phase, k, sum } = picture.steps[step];
  if (sum) return "The sum of the paths";
  return `${phase === "forward" ? "Forward" : "Backward"} ${k} of ${picture.counts[phase]}`;
};

// --- details ---

function heat(index, tone, show) {
  const table = data.tables[index];
  const cells = table.rows.flat().filter((v) => typeof v === "number").map(Math.abs);
  const top = Math.max(...cells, Number.MIN_VALUE);
  const element = make("table", { className: `heat ${tone}${table.rows.flat().length === 1 ? " one" : ""}` });
  const hidden = table.rows.flat().includes(null) || table.at;
  if (hidden) element.append(make("caption", {}, `a sample of ${table.shape}${table.at ? `, ${table.at}` : ""}`));
  for (const row of table.rows) {
    element.append(make("tr", {}, ...row.map((value) => {
      const cell = make("td", {}, value === null ? "⋯" : figure(value));
      if (typeof value === "number") cell.style.setProperty("--w", (Math.abs(value) / top).toFixed(3));
      if (value < 0) cell.className = "minus";
      return cell;
    })));
  }
  element.setAttribute("aria-label", show);
  return element;
}

function valueSection(node) {
  const table = data.tables[node.value];
  const section = make("section", { className: "value" }, make("h3", {}, make("span", {}, `Value  ${node.shape}`), make("span", {}, node.dtype)));
  if (!table) return section;
  if (table.rows.flat().length > 1) {
    const list = make("dl");
    for (const key of ["mean", "std", "min", "max"]) list.append(make("dt", {}, key), make("dd", {}, figure(table[key])));
    section.append(list);
  }
  if (table.rows.length) section.append(heat(node.value, "", `Values of ${nameOf(node)}`));
  return section;
}

// A single number is shown with its sign, an array by its norm.
const normOf = (node) => (node.scalar ? data.letter : `‖${data.letter}‖`);

function gradientSection(node) {
  if (node.grad === undefined) return make("p", {}, "No gradient comes back here.");
  const { all, here, complete } = picture.arrived(node, step);
  if (!complete && !here.length) return make("p", {}, "Its gradient has not come back yet.");
  const latest = here.at(-1);
  const norm = complete ? node.grad : latest?.after ?? "–";
  const note = all.length > 1 ? (complete ? `, sum of ${all.length}` : ` so far, ${here.length} of ${all.length}`) : "";
  const section = make("section", { className: "grad" }, make("h3", {}, make("span", {}, "Gradient"), make("b", {}, `${normOf(node)} = ${norm}${note}`)));
  const index = complete ? node.gradient : latest?.sum;
  if (index !== undefined && data.tables[index].rows.length) section.append(heat(index, "gradient", `Gradient of ${nameOf(node)}`));
  return section;
}

// What an operation's rule adds to the gradients of its inputs; or what is added to a node by its consumers.
function contributions(node, edges, heading, other) {
  if (!edges.length) return null;
  const list = make("ul", { className: "adds" });
  for (const edge of edges) {
    const end = picture.nodes[edge[other]], total = picture.nodes[edge.source];
    const several = total.outof.filter((e) => e.grad !== undefined).length;
    const row = make("div", {},
      make("span", {}, ...(other === "source" ? [label(end, gradOf(end))] : ["from ", label(end, nameOf(end))]), make("code", {}, ` += ${edge.rule ?? ""}`)),
      make("b", {}, edge.scalar ? `= ${edge.grad}` : `‖·‖ = ${edge.grad}`));
    const item = make("li", { className: picture.flowed(edge, step) ? "" : "later" }, row);
    if (other === "source") {
      if (several > 1 && edge.nth) item.append(make("small", {}, edge.nth === 1 ? `the first of ${several}` : `${edge.nth} of ${several}, together ${normOf(total)} = ${edge.after ?? "–"}`));
      if (edge.adds !== undefined && data.tables[edge.adds].rows.length) item.append(heat(edge.adds, "gradient", `Added to ${nameOf(total)}`));
    }
    list.append(item);
  }
  return make("section", {}, make("h3", {}, heading), list);
}

const label = (node, ...text) => make("button", { type: "button", onclick: () => pin(node) }, ...text);
const chip = (node) => label(node, node.op ? node.title : nameOf(node), " ", make("small", {}, [node.op ? node.name : "", node.shape].filter((s) => s && s !== node.title).join(" ")));

function nodeDetails(node, now) {
  const backward = picture.steps[step].phase === "backward";
  const parts = [];
  const heading = node.op || node.name || node.role;
  const kind = { statistics: "statistics path", module: node.role, data: node.role }[node.kind] ?? node.kind;
  parts.push(make("div", {},
    make("h2", {}, heading, make("small", {}, node.name && node.name !== heading ? node.name : node.title !== heading ? node.title : "")),
    make("p", { className: "path" }, [...node.chain.map((scope) => picture.scopes[scope].name), kind].join(" › "))));
  if (now) parts.push(make("p", { className: "tell" }, tell()));
  if (node.line) parts.push(make("figure", {}, node.line[1] ? make("code", {}, node.line[1]) : null, make("figcaption", {}, node.line[0])));
  const value = picture.computed(node, step) ? valueSection(node) : make("p", {}, `Computed at step ${node.down}.`);
  if (backward) {
    parts.push(gradientSection(node));
    if (node.outof.filter((edge) => edge.grad !== undefined).length > 1) {
      parts.push(contributions(node, node.outof.filter((e) => e.grad !== undefined).sort((a, b) => a.nth - b.nth), "Contributions", "target"));
    }
    if (node.up !== undefined) parts.push(contributions(node, node.into.filter((e) => e.grad !== undefined), node.up <= step ? "The local rule adds" : "The local rule will add", "source"));
  }
  parts.push(value);
  if (node.into.length) {
    const inputs = [...new Set(node.into.map((edge) => picture.nodes[edge.source]))].map(chip);
    parts.push(make("section", {}, make("h3", {}, "Computed from"), make("div", { className: "chips" }, ...inputs)));
  }
  if (!now) {
    const jumps = [[node.down, "Its forward step"], [node.up, "Its backward step"]].filter(([at]) => at !== undefined && at !== step);
    parts.push(make("div", { className: "chips" }, ...jumps.map(([at, words]) => make("button", { type: "button", onclick: () => go(at) }, words))));
  }
  return parts;
}

function closing(node) {
  const rows = data.closing.paths.map((path) => make("li", {}, make("div", {}, make("span", {}, path.name), make("b", {}, `‖·‖ = ${path.norm}`))));
  return [
    make("h2", {}, "The sum of the paths"),
    make("p", { className: "tell" }, tell()),
    make("section", {}, make("h3", {}, "What each path carries"), make("ul", { className: "adds" }, ...rows)),
    data.closing.squares ? make("p", { className: "tell" }, data.closing.squares.replace(": ", "\n")) : null,
    gradientSection(node),
  ];
}

function overview() {
  const { phase, sum } = picture.steps[step];
  if (sum) return closing(sum);
  if (phase === "backward") return [make("h2", {}, "Backward"), make("p", { className: "tell" }, tell()), gradientSection(picture.nodes[picture.root])];
  const given = picture.nodes.filter((node) => node.down === undefined);
  return [
    make("h2", {}, "Forward"),
    make("p", { className: "tell" }, tell()),
    make("div", { className: "chips" }, ...given.map(chip)),
    make("p", {}, `${plural(picture.counts.forward, "step")} down compute the result` + (picture.counts.backward ? `; ${plural(picture.counts.backward, "step")} back carry its gradient to every input.` : ".")),
  ];
}

function scopeButtons() {
  if (!picture.scopes.length) return null;
  const buttons = picture.scopes.map((scope, id) => !picture.svg.querySelector(`.mt-name[data-scope="${id}"]`) ? null : make("button", { type: "button", "aria-pressed": String(picture.folded.has(id)), onclick: () => { fold(id); focusAgain(`[data-fold="${id}"]`); }, "data-fold": id }, scope.name, scope.detail ? make("small", {}, ` ${scope.detail}`) : null));
  return make("section", {}, make("h3", {}, "Fold"), make("div", { className: "chips" }, ...buttons));
}

function keys() {
  const help = make("p", { className: "keys" });
  for (const [names, words] of [[["←", "→"], "step"], [["Home", "End"], "ends"], [["+", "−", "0"], "zoom"], [["/"], "search"], [["Tab"], "to a node,"], [["Enter"], "holds it"]]) {
    for (const name of names) help.append(make("kbd", {}, name), " ");
    help.append(`${words}  `);
  }
  return help;
}

const focusAgain = (selector) => $("details").querySelector(selector)?.focus();

function renderDetails() {
  const current = picture.steps[step].node ?? null;
  const node = looked ?? pinned ?? current;
  const parts = node ? nodeDetails(node, node === current && !!current) : overview();
  $("details").replaceChildren(...[...parts, scopeButtons(), keys()].filter((part) => part));
}

// --- the state on screen ---

function render() {
  const { phase, node: current, sum } = picture.steps[step];
  const backward = phase === "backward";
  document.body.className = phase;
  for (const node of picture.nodes) {
    const ready = picture.computed(node, step);
    const { all, here, complete } = backward ? picture.arrived(node, step) : { all: [], here: [] };
    const reached = complete || here.length > 0;
    for (const box of node.boxes) {
      const output = box.classList.contains("mt-output");
      const waits = backward && !output && !reached && node.grad !== undefined;
      box.classList.toggle("ahead", !ready);
      box.classList.toggle("waiting", waits);
      box.classList.toggle("now", sum ? node === sum : current ? node === current && !output : backward && node.id === picture.root && (output || node.boxes.length === 1));
      box.classList.toggle("pin", node === pinned);
      if (node === current && !output) box.setAttribute("aria-current", "step");
      else box.removeAttribute("aria-current");
      const number = box.lastElementChild, showsGradient = backward && (reached || output) && node.grad !== undefined;
      number.classList.toggle("value", !showsGradient);
      if (!showsGradient) number.textContent = ready ? node.range ?? "" : "";
      else number.textContent = complete || output ? box.total : `${node.scalar ? "grad" : "‖grad‖"} ${here.at(-1).after ?? "–"}  (${here.length} of ${all.length})`;
      // What is seen is a part of what is heard.
      const seen = [...box.querySelectorAll("text")].map((text) => text.textContent.trim()).filter(Boolean);
      box.setAttribute("aria-label", `${seen.join(" ")}, ${box.words}`);
    }
  }
  for (const edge of picture.edges) {
    const target = edge.target === null ? picture.nodes[picture.root] : picture.nodes[edge.target];
    const flowed = backward && picture.flowed(edge, step);
    for (const part of edge.parts) {
      part.classList.toggle("back", flowed);
      part.classList.toggle("ahead", !picture.computed(target, step));
      part.classList.toggle("waiting", backward && !flowed);
      part.classList.toggle("now", !!current && target === current && edge.target !== null);
    }
  }
  for (const [scope, card] of picture.cards) card.classList.toggle("now", !!current && picture.cover(current) === scope);
  const end = picture.steps.length - 1;
  $("where").textContent = where();
  $("progress").max = end;
  $("progress").value = step;
  $("progress").setAttribute("aria-valuetext", where());
  $("progress").style.setProperty("--done", `${end ? (100 * step) / end : 100}%`);
  for (const [id, off] of [["first", step === 0], ["back", step === 0], ["next", step === end], ["last", step === end]]) $(id).disabled = off;
  renderDetails();
}

function go(to, { quiet = false } = {}) {
  const before = step;
  step = clamp(Math.round(to) || 0, 0, picture.steps.length - 1);
  pinned = looked = null;
  render();
  $("details").scrollTop = 0;
  if (!quiet) $("live").textContent = `${where()}: ${tell()}`;
  follow(picture.steps[step].node ?? picture.steps[step].sum ?? picture.nodes[step ? picture.root : 0], step === before);
  remember();
}

function remember() {
  const detail = picture === pictures[data.open] ? "" : `&detail=${pictures.indexOf(picture) + 1}`;
  // A sandboxed frame may not change its address.
  try { history.replaceState(null, "", `#step=${step}${detail}`); } catch { /* the page works all the same */ }
}

function recall() {
  const link = new URLSearchParams(location.hash.slice(1));
  const detail = Number(link.get("detail") ?? data.open + 1) - 1;
  choose(pictures[detail] ? detail : data.open, Number(link.get("step") ?? 0));
}

function pin(node) {
  pinned = pinned === node ? null : node;
  looked = null;
  render();
  if (pinned) { follow(pinned); $("live").textContent = `Details of ${opOf(node)} ${node.name ?? ""}`; }
}

// --- detail: one picture for each depth ---

function choose(index, to) {
  const old = picture.steps[step];
  const origin = old.node?.of;
  picture = pictures[index];
  drawings.forEach((svg, i) => svg.toggleAttribute("hidden", i !== index));
  [...$("detail").querySelectorAll("button")].forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
  pinned = looked = null;
  if (to === undefined) {
    // The same place in the program, or the last before it.
    const all = picture.steps.map((s, i) => [s, i]).filter(([s]) => s.phase === old.phase);
    const passed = all.filter(([s]) => origin !== undefined && s.node && (old.phase === "forward" ? s.node.of <= origin : s.node.of >= origin));
    to = (passed.at(-1) ?? all[0] ?? [null, 0])[1];
  }
  legend();
  search();
  if (!picture.view) home();
  go(to, { quiet: true });
}

function levels() {
  if (pictures.length < 2) return;
  $("detail").append(make("span", {}, "Detail"), ...pictures.map((one, i) =>
    make("button", { type: "button", "aria-label": `Level ${i + 1} of ${pictures.length}, ${plural(one.nodes.length, "node")}`, title: plural(one.nodes.length, "node"), onclick: () => choose(i) }, String(i + 1))));
}

function legend() {
  const kinds = new Set(picture.nodes.map((node) => (node.kind === "function" ? "module" : node.kind)));
  const words = { data: "data", parameter: "parameter", operation: "operation", statistics: "statistics path", module: "folded" };
  const items = Object.keys(words).filter((kind) => kinds.has(kind)).map((kind) => [kind, words[kind]]);
  if (picture.edges.some((edge) => edge.kind === "direct")) items.push(["direct", "direct path"]);
  if (picture.counts.backward > 0) items.push(["flow", "gradient"]);
  const rows = items.map(([kind, text]) => make("li", {}, make("i", { className: kind }), text));
  if (picture.counts.backward > 0 && data.letters) rows.push(make("li", {}, data.letters));
  if (data.note) rows.push(make("li", {}, data.note));
  $("legend").replaceChildren(...(data.legend ? rows : []));
}

// --- scopes folded in place: a card over the frame, and nothing else moves ---

function fold(scope) {
  const on = !picture.folded.has(scope);
  picture.folded[on ? "add" : "delete"](scope);
  if (on && !picture.cards.has(scope)) picture.cards.set(scope, card(scope));
  if (!on) { picture.cards.get(scope).remove(); picture.cards.delete(scope); }
  const covered = (chain, own) => chain.some((s) => picture.folded.has(s) && s !== own);
  for (const node of picture.nodes) node.boxes.forEach((box) => box.classList.toggle("inside", !box.classList.contains("mt-output") && covered(node.chain)));
  for (const edge of picture.edges) {
    if (edge.target === null) continue;
    const [from, to] = [picture.nodes[edge.source], picture.nodes[edge.target]];
    const both = covered(to.chain) && picture.cover(from) === picture.cover(to);
    for (const part of edge.parts) part.classList.toggle("inside", both || (part.classList.contains("mt-pill") && covered(to.chain)));
  }
  picture.scopes.forEach((_, id) => {
    const hidden = covered(picture.chain(id), id);
    picture.svg.querySelectorAll(`.mt-scope[data-scope="${id}"]`).forEach((part) => part.classList.toggle("inside", hidden));
    picture.svg.querySelectorAll(`.mt-name[data-scope="${id}"]`).forEach((part) => part.classList.toggle("inside", hidden || picture.folded.has(id)));
    picture.cards.get(id)?.classList.toggle("inside", hidden);
  });
  render();
  $("live").textContent = `${picture.scopes[scope].name} ${on ? "folded" : "unfolded"}`;
}

function card(id) {
  const scope = picture.scopes[id];
  const frame = picture.svg.querySelector(`.mt-scope[data-scope="${id}"] rect`);
  const name = picture.svg.querySelector(`.mt-name[data-scope="${id}"]`);
  const inside = picture.nodes.filter((node) => node.chain.includes(id));
  const count = plural(inside.filter((node) => node.down !== undefined).length, "operation");
  const group = draw("g", { class: "card", tabindex: 0, role: "button", "aria-expanded": "false", "aria-label": [scope.name, scope.detail, `${count}, folded`].filter(Boolean).join(" "), "data-card": id });
  const cover = frame.cloneNode();
  const box = frame.getBBox();
  const kind = scope.statistics ? "statistics-border" : "ink";
  group.append(cover);
  [[scope.name, 14, kind, "b"], [scope.detail, 11, "muted", ""], [count, 10, "muted", ""]].filter(([text]) => text).forEach(([text, size, colour, weight], i, all) => {
    group.append(draw("text", { x: box.x + box.width / 2, y: box.y + box.height / 2 + 17 * (i + 0.8 - all.length / 2), "text-anchor": "middle", "font-size": size, class: weight, fill: `var(--${colour})` }, text), " ");
  });
  name.after(group);
  for (const text of group.querySelectorAll("text")) {
    while (text.getComputedTextLength() > box.width - 10 && text.textContent.length > 2) text.textContent = `${text.textContent.slice(0, -2)}…`;
  }
  return group;
}

// --- the part of the picture in view: a centre in the picture, and pixels a unit ---

const stage = $("stage");
const extent = () => stage.getBoundingClientRect();

function frame() {
  const { x, y, k } = picture.view;
  const { width: w, height: h } = extent();
  if (!w || !h) return;
  // A frame that had no size when the page was opened has one now.
  if (!k) home();
  else picture.svg.setAttribute("viewBox", `${x - w / 2 / k} ${y - h / 2 / k} ${w / k} ${h / k}`);
}

function scaleToFit() { return Math.min(extent().width / picture.size[0], extent().height / picture.size[1], 1.6); }

function fit() { look({ x: picture.size[0] / 2, y: picture.size[1] / 2, k: scaleToFit() }); }

// Show all where the text stays readable; else as much as is readable, from the top.
function home() {
  const readable = Math.min(0.78, extent().width / picture.size[0]);
  const k = Math.max(scaleToFit(), readable);
  const y = Math.min(picture.size[1] / 2, Math.max(extent().height / 2 / k, 0));
  picture.view = { x: picture.size[0] / 2, y: k * picture.size[1] > extent().height ? y : picture.size[1] / 2, k };
  frame();
}

let flight = 0;
function look(to, smooth = true) {
  cancelAnimationFrame(flight);
  const from = picture.view;
  if (!smooth || still.matches) { picture.view = to; frame(); return; }
  const begun = performance.now(), seen = picture;
  const glide = (now) => {
    const t = clamp((now - begun) / 220, 0, 1), e = t * (2 - t);
    if (seen !== picture) return;
    picture.view = { x: from.x + e * (to.x - from.x), y: from.y + e * (to.y - from.y), k: from.k + e * (to.k - from.k) };
    frame();
    if (t < 1) flight = requestAnimationFrame(glide);
  };
  flight = requestAnimationFrame(glide);
}

function zoom(factor, px = extent().width / 2, py = extent().height / 2, smooth = true) {
  const { x, y, k } = picture.view;
  const to = clamp(k * factor, scaleToFit() / 2, 8);
  const dx = px - extent().width / 2, dy = py - extent().height / 2;
  look({ x: x + dx / k - dx / to, y: y + dy / k - dy / to, k: to }, smooth);
}

// Bring a node, with what it was computed from, into view; leave the view alone where it is there already.
function follow(node, smooth = true) {
  if (!node) return;
  const box = node.boxes[0];
  if (!box) return;
  const at = box.getBBox(), offset = picture.drawing.transform.baseVal.consolidate()?.matrix ?? { e: 0, f: 0 };
  const { x, y, k } = picture.view;
  // No further in from the border of the window than the node is from the border of the picture.
  const shift = (centre, low, size, whole, seen, gap) => {
    const half = seen / 2 / k, most = Math.max(half - size / 2, 0);
    const before = Math.min(gap, low, most), after = Math.min(gap, whole - low - size, most);
    return clamp(centre, low + size + after - half, low - before + half);
  };
  const { width, height } = extent();
  const to = {
    x: shift(x, at.x + offset.e, at.width, picture.size[0], width, 30),
    y: shift(y, at.y + offset.f, at.height, picture.size[1], height, 90),
    k,
  };
  // Less than a hundredth of a point is rounding.
  if (Math.max(Math.abs(to.x - x), Math.abs(to.y - y)) > 0.01) look(to, smooth);
}

const pointers = new Map();
let dragged = false;
stage.addEventListener("pointerdown", (event) => {
  if (event.target.closest("button") || event.button > 0) return;
  if (!pointers.size) dragged = false;
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, x0: event.clientX, y0: event.clientY });
});
stage.addEventListener("pointermove", (event) => {
  const old = pointers.get(event.pointerId);
  if (!old) return;
  const now = { ...old, x: event.clientX, y: event.clientY };
  if (!dragged && Math.hypot(now.x - old.x0, now.y - old.y0) < 5) return;
  if (!dragged) { dragged = true; stage.classList.add("dragged"); stage.setPointerCapture(event.pointerId); }
  const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  const { x, y, k } = picture.view;
  if (other) {
    const area = stage.getBoundingClientRect();
    const ratio = Math.hypot(now.x - other.x, now.y - other.y) / Math.max(Math.hypot(old.x - other.x, old.y - other.y), 1);
    zoom(ratio, (now.x + other.x) / 2 - area.left, (now.y + other.y) / 2 - area.top, false);
  } else look({ x: x - (now.x - old.x) / k, y: y - (now.y - old.y) / k, k }, false);
  pointers.set(event.pointerId, now);
});
for (const kind of ["pointerup", "pointercancel", "pointerleave"]) {
  stage.addEventListener(kind, (event) => { pointers.delete(event.pointerId); if (!pointers.size) stage.classList.remove("dragged"); });
}
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  const area = stage.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), event.clientX - area.left, event.clientY - area.top, false);
}, { passive: false });
new ResizeObserver(() => { if (picture.view) frame(); }).observe(stage);

// --- what a pointer or the keyboard does to a part of the picture ---

const nodeAt = (event) => { const part = event.target.closest?.("[data-node]"); return part ? picture.nodes[part.dataset.node] : null; };

function act(event) {
  const name = event.target.closest(".mt-name, .card");
  if (name) {
    const scope = Number(name.dataset.scope ?? name.dataset.card);
    fold(scope);
    if (event.type === "keydown") (picture.cards.get(scope) ?? picture.svg.querySelector(`.mt-name[data-scope="${scope}"]`)).focus();
  } else if (nodeAt(event)) pin(nodeAt(event));
  else return false;
  return true;
}

stage.addEventListener("click", (event) => {
  if (dragged) { dragged = false; return; }
  if (!act(event) && pinned && event.target.closest("svg")) pin(pinned);
});
function consider(node) { if (node !== looked) { looked = node; renderDetails(); } }
stage.addEventListener("pointerover", (event) => { if (event.pointerType === "mouse" && !pointers.size) consider(nodeAt(event)); });
stage.addEventListener("pointerleave", () => consider(null));
stage.addEventListener("focusin", (event) => {
  if (!event.target.matches(":focus-visible")) return;
  consider(nodeAt(event));
  if (looked) follow(looked);
});
stage.addEventListener("focusout", () => consider(null));

// --- search ---

let hits = [], next = 0;
function search() {
  const words = $("query").value.trim().toLowerCase();
  const text = (node) => [node.title, node.op, node.name, node.role, node.shape, ...node.chain.map((s) => picture.scopes[s].name)].join(" ").toLowerCase();
  hits = words ? picture.nodes.filter((node) => text(node).includes(words)) : [];
  next = 0;
  for (const node of picture.nodes) for (const box of node.boxes) {
    box.classList.toggle("hit", hits.includes(node));
    box.classList.toggle("miss", words !== "" && !hits.includes(node));
  }
  $("found").textContent = words ? `${hits.length} found` : "";
}
$("query").addEventListener("input", search);
$("query").addEventListener("keydown", (event) => {
  if (event.key === "Escape") { $("query").value = ""; search(); $("query").blur(); }
  if (event.key === "Enter" && hits.length) { pinned = null; pin(hits[next++ % hits.length]); }
});

// --- controls ---

const forward = () => go(picture.after(step, 1)), backward = () => go(picture.after(step, -1));
const commands = {
  ArrowRight: forward, ArrowLeft: backward, Home: () => go(0), End: () => go(Infinity),
  "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), "−": () => zoom(0.8), 0: fit,
  "/": () => $("query").select(), Escape: () => { if (pinned) pin(pinned); },
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target === $("query")) return;
  if ((event.key === "Enter" || event.key === " ") && stage.contains(event.target) && event.target.closest("svg")) {
    if (act(event)) event.preventDefault();
    return;
  }
  if (!commands[event.key]) return;
  event.preventDefault();
  commands[event.key]();
});
for (const [id, action] of [["first", commands.Home], ["back", backward], ["next", forward], ["last", commands.End], ["in", commands["+"]], ["out", commands["-"]], ["fit", fit]]) $(id).addEventListener("click", action);
$("progress").addEventListener("input", () => go(Number($("progress").value)));
addEventListener("hashchange", recall);

// Paper shows the whole picture.
const paper = matchMedia("print");
let screen = null;
paper.addEventListener("change", () => {
  if (paper.matches) { screen = picture.view; look({ x: picture.size[0] / 2, y: picture.size[1] / 2, k: scaleToFit() }, false); }
  else if (screen) look(screen, false);
});

levels();
recall();

/* Heat maps: effects of heads on each answer token, and attention patterns. */

import { byId, draw, make, rove } from "./dom.js";

const FAINT = 0.01;
const LETTER = 6.7;

const number = (x) => (Math.abs(x) < 0.005 ? "0" : `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(2)}`);

/* What the cell says that the pointer, or the keyboard, is on. */
function tips(grid) {
  const box = byId("tip");
  const show = ({ target }) => {
    if (!target.matches("[role=gridcell]")) return;
    const { left, bottom } = target.getBoundingClientRect();
    box.textContent = target.getAttribute("aria-label");
    box.hidden = false;
    box.style.left = `${Math.min(left, innerWidth - box.offsetWidth - 8)}px`;
    box.style.top = `${bottom + 6}px`;
  };
  const hide = () => (box.hidden = true);
  for (const kind of ["pointerover", "focusin"]) grid.addEventListener(kind, show);
  for (const kind of ["pointerout", "focusout"]) grid.addEventListener(kind, hide);
}

/* One map. `values[row][column]`, ±`limit` the ends of its colours; `called(row, column)` names a cell. */
function heat({ rows, columns, values, limit, side, across, label, called, choose, amount }) {
  const left = 10 + LETTER * Math.max(...rows.map((name) => name.length));
  const below = across ? 32 : 8 + LETTER * Math.max(...columns.map((name) => name.length));
  const width = left + columns.length * side + 4;
  const height = 4 + rows.length * side + below;
  const cells = rows.map((_, r) => columns.map((_, c) => {
    const x = values[r][c];
    const share = limit ? Math.abs(x) / limit : 0;
    const text = `${called(r, c)}: ${amount ? x.toFixed(2) : number(x)}`;
    return draw("rect", { class: `heatcell ${amount ? "amount" : x < 0 ? "neg" : "pos"}`, role: "gridcell", tabindex: r + c ? -1 : 0, "aria-label": text,
      x: left + c * side, y: 4 + r * side, width: side, height: side, "fill-opacity": share < FAINT ? 0 : Math.min(share, 1).toFixed(2) });
  }));
  const every = across && side < 14 ? 5 : 1;
  const names = columns.map((name, c) => (c % every ? null : across
    ? draw("text", { class: "col", x: left + (c + 0.5) * side, y: 16 + rows.length * side }, name)
    : draw("text", { class: "up", transform: `translate(${left + (c + 0.5) * side} ${10 + rows.length * side}) rotate(-90)` }, name)));
  const svg = draw("svg", { class: choose ? "heat choosable" : "heat", role: "grid", "aria-label": label, width, height, viewBox: `0 0 ${width} ${height}` },
    draw("rect", { class: "field", x: left, y: 4, width: columns.length * side, height: rows.length * side, "aria-hidden": "true" }),
    cells.map((row, r) => draw("g", { role: "row" }, draw("text", { class: "row", role: "rowheader", x: left - 5, y: 4 + (r + 0.5) * side }, rows[r]), row)),
    draw("g", { "aria-hidden": "true" }, names, across && draw("text", { class: "col", x: left + (columns.length * side) / 2, y: 31 + rows.length * side }, across)));
  const where = new Map(cells.flatMap((row, r) => row.map((cell, c) => [cell, [r, c]])));
  rove(svg, cells, (cell) => choose?.(...where.get(cell)));
  tips(svg);
  return svg;
}

const scroll = (...children) => make("div", { class: "scroll" }, children);

/* One map for each answer token; `choose(site)` is called for the head that is chosen. */
export function showSweep(sweep, names, facts, choose) {
  const range = (n) => Array.from({ length: n }, (_, i) => i);
  const limit = Math.max(...sweep.effects.flat(2).map(Math.abs));
  const layers = range(facts.layers);
  const side = Math.min(24, Math.max(9, (345 - 24) / facts.layers));
  const figures = sweep.effects.map((effects, step) => {
    const name = names[step] ?? `token ${step + 1}`;
    const title = `${name}, ${sweep.tokens[step]}: ${number(sweep.before[step])} untouched`;
    return make("figure", {}, make("figcaption", {}, title), scroll(heat({
      rows: range(facts.heads).map(String), columns: layers.map(String), limit, side, across: "layer",
      values: range(facts.heads).map((head) => layers.map((layer) => effects[layer][head])),
      label: `Effect of patching each head on ${name}`,
      called: (head, layer) => `${layer}.${head} on ${name}`,
      choose: (head, layer) => choose(`${layer}.${head}`),
    })));
  });
  const scale = make("p", { class: "scale" }, make("span", {}, number(-limit)), make("span", { class: "ramp", "aria-hidden": "true" }), make("span", {}, number(limit)));
  byId("maps").replaceChildren(...figures, scale);
}

/* The attention of one head, untouched and, where there is such, changed. */
export function showPattern(pattern) {
  const names = pattern.tokens.map((token) => token.text.replace(/ /g, "␣"));
  const side = Math.min(22, Math.max(7, 400 / names.length));
  const one = (values, title) => make("figure", {}, make("figcaption", {}, title), scroll(heat({
    rows: names, columns: names, values, limit: 1, side, amount: true, label: `Attention of head ${pattern.head}, ${title}`,
    called: (query, key) => `${names[query]} to ${names[key]}`,
  })));
  byId("attention-h").textContent = `Attention of head ${pattern.head}`;
  byId("patterns").replaceChildren(one(pattern.before, "untouched"), ...(pattern.after ? [one(pattern.after, "with your changes")] : []));
  byId("attention").hidden = false;
}

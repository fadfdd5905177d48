/* The grid of heads: each kept, ablated or patched. */

import { byId, rove } from "./dom.js";

const NEXT = { ".": "a", a: "p", p: "." };
const SAYS = { ".": "kept", a: "ablated", p: "patched" };

export class Heads {
  /* `changed` is called after every change. */
  constructor(facts, changed) {
    this.facts = facts;
    this.changed = changed;
    this.circuit = new Set(facts.circuit);
    this.cells = new Map();
    const rows = [];
    for (const row of byId("heads").querySelectorAll("[role=row]")) {
      const cells = [...row.querySelectorAll("[role=gridcell]")];
      rows.push(cells);
      for (const cell of cells) this.cells.set(cell.dataset.site, cell);
    }
    rove(byId("heads"), rows, (cell) => {
      this.put(cell, NEXT[cell.dataset.state]);
      this.say();
      changed();
    });
    for (const cell of this.cells.values()) this.put(cell, ".");
    this.say();
  }

  put(cell, state) {
    const { site, role } = cell.dataset;
    cell.dataset.state = state;
    cell.setAttribute("aria-label", `Head ${site}${role ? `, ${role}` : ""}: ${SAYS[state]}`);
  }

  /* Every head at once: "whole", "alone" (all but the circuit ablated) or "without" (the circuit ablated). */
  all(how) {
    const ablated = { alone: (site) => !this.circuit.has(site), without: (site) => this.circuit.has(site) }[how];
    for (const [site, cell] of this.cells) this.put(cell, ablated?.(site) ? "a" : ".");
    this.say();
    this.changed();
  }

  say() {
    const counts = { ".": 0, a: 0, p: 0 };
    for (const cell of this.cells.values()) counts[cell.dataset.state] += 1;
    byId("count").textContent = `${counts["."]} kept, ${counts.a} ablated, ${counts.p} patched`;
  }

  /* As a question has them: a text a layer, a sign a head. */
  get states() {
    const { layers, heads } = this.facts;
    const state = (layer, head) => this.cells.get(`${layer}.${head}`).dataset.state;
    return Array.from({ length: layers }, (_, layer) => Array.from({ length: heads }, (_, head) => state(layer, head)).join(""));
  }
}

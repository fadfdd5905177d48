/* Elements made in one go; text is only ever set as text. And movement by arrow keys within a grid. */

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return element;
}

export const make = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
export const draw = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);
export const byId = (id) => document.getElementById(id);

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/* Of the cells in a grid one is reached by Tab, the others from there by arrow keys, Home and End. `cells[row][column]`. */
export function rove(grid, cells, onEnter) {
  const place = new Map(cells.flatMap((row, r) => row.map((cell, c) => [cell, [r, c]])));
  const at = (event) => event.target.closest("[role=gridcell]");
  let current = cells[0]?.[0];
  grid.addEventListener("focusin", (event) => {
    if (!at(event)) return;
    current?.setAttribute("tabindex", "-1");
    current = at(event);
    current.setAttribute("tabindex", "0");
  });
  grid.addEventListener("keydown", (event) => {
    const cell = at(event);
    const step = STEPS[event.key];
    const ends = ["Home", "End"].includes(event.key);
    if (!cell || !(step || ends || event.key === "Enter" || event.key === " ")) return;
    event.preventDefault();
    const [r, c] = place.get(cell);
    if (step) cells[r + step[0]]?.[c + step[1]]?.focus();
    else if (ends) cells[r].at(event.key === "Home" ? 0 : -1).focus();
    else onEnter(cell);
  });
  grid.addEventListener("click", (event) => {
    at(event)?.focus();
    if (at(event)) onEnter(at(event));
  });
}

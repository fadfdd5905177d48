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
export function rove(cells, onEnter) {
  const place = new Map();
  cells.forEach((row, r) => row.forEach((cell, c) => place.set(cell, [r, c])));
  let current = cells[0]?.[0];
  const move = (cell) => {
    if (!cell) return;
    current?.setAttribute("tabindex", "-1");
    cell.setAttribute("tabindex", "0");
    current = cell;
  };
  for (const [cell, [r, c]] of place) {
    cell.addEventListener("focus", () => move(cell));
    cell.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      const row = cells[r];
      const next = step ? cells[r + step[0]]?.[c + step[1]] : event.key === "Home" ? row[0] : event.key === "End" ? row[row.length - 1] : null;
      if (next) next.focus();
      else if (event.key === "Enter" || event.key === " ") onEnter(cell);
      else if (!step) return;
      event.preventDefault();
    });
    cell.addEventListener("click", () => {
      cell.focus();
      onEnter(cell);
    });
  }
}

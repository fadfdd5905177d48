/* Heat maps: the cell under the pointer, or under the arrow keys, says its value; a cell that is a head can be chosen.

A map is an svg with data-map, the id of what is known of it: names of rows and columns, points, and the place of its cells. */

function nameOf(grid, row, column) {
  const names = { row: grid.rows[row], column: grid.columns[column] };
  return grid.called.replace(/\{(row|column)\}/g, (_, which) => names[which]);
}

function livelyMap(svg, grid, choose = null) {
  const [left, top, side] = grid.place;
  const cursor = draw("rect", { class: "cursor", width: side, height: side, visibility: "hidden" });
  svg.append(cursor);
  let at = null;

  function goTo(row, column) {
    at = [row, column];
    cursor.setAttribute("x", left + column * side);
    cursor.setAttribute("y", top + row * side);
    cursor.setAttribute("visibility", "visible");
    const value = said(grid.points[row][column], grid.write ?? number);
    showTip(`${nameOf(grid, row, column)}: ${grid.about ?? ""}${value}`, cursor);
  }
  function leave() {
    cursor.setAttribute("visibility", "hidden");
    hideTip();
  }
  function under(event) {
    const box = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / box.width;
    const row = Math.floor(((event.clientY - box.top) * scale - top) / side);
    const column = Math.floor(((event.clientX - box.left) * scale - left) / side);
    return grid.points[row]?.[column] === undefined ? null : [row, column];
  }
  const chosen = () => { if (at && choose) choose(nameOf(grid, ...at), svg); };

  svg.setAttribute("role", "application");
  svg.setAttribute("aria-roledescription", "heat map");
  svg.addEventListener("pointermove", (event) => {
    const cell = under(event);
    if (cell) goTo(...cell);
    else leave();
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("click", (event) => {
    const cell = under(event);
    if (!cell) return;
    at = cell;
    chosen();
  });
  svg.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (move) {
      event.preventDefault();
      const [row, column] = at ? [at[0] + move[0], at[1] + move[1]] : [0, 0];
      if (grid.points[row]?.[column] !== undefined) goTo(row, column);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      chosen();
    }
  });
}

/* A heat map made here, of the panel: like those that the page came with. */
function heatMap(grid, { shade, label, side = 11, write = number }) {
  const letter = 6.2;
  const left = 8 + letter * Math.max(...grid.rows.map((name) => name.length));
  const deep = grid.slanted ? 8 + letter * Math.max(...grid.columns.map((name) => name.length)) : 16;
  const [width, height] = [grid.columns.length * side, grid.rows.length * side];
  const cells = grid.points.flatMap((row, r) => row.map((point, c) => {
    const [kind, opacity] = point ? shade(point[0]) : ["none", 0];
    if (opacity < 0.01) return null;
    const place = { x: left + c * side, y: 4 + r * side, width: side, height: side };
    return draw("rect", { class: kind, "fill-opacity": opacity.toFixed(2), ...place });
  }));
  const middle = (i) => (i + 0.5) * side;
  const rows = grid.rows.map((name, r) => draw("text", { class: "row", x: left - 5, y: 4 + middle(r) }, name));
  const columns = grid.columns.map((name, c) => grid.slanted
    ? draw("text", { class: "up", transform: `translate(${left + middle(c)} ${height + 9}) rotate(-90)` }, name)
    : draw("text", { class: "col", x: left + middle(c), y: height + 16 }, name));
  const size = { width: left + width + 4, height: height + 6 + deep };
  const svg = draw("svg",
    { class: "heat", tabindex: 0, "aria-label": label, viewBox: `0 0 ${size.width} ${size.height}`, ...size },
    draw("rect", { class: "field", x: left, y: 4, width, height }), cells, rows, columns);
  svg.dataset.map = "";
  livelyMap(svg, { ...grid, write, place: [left, 4, side] });
  return svg;
}

/* Every figure as SVG, with its colours set on each shape, and its numbers as CSV. Nothing leaves the page but to the disk. */

const STYLES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "opacity",
  "visibility", "font-family", "font-size", "font-weight", "text-anchor", "dominant-baseline"];

function standAlone(svg) {
  const copy = svg.cloneNode(true);
  const [ours, theirs] = [svg, copy].map((root) => [root, ...root.querySelectorAll("*")]);
  ours.forEach((element, i) => {
    const style = getComputedStyle(element);
    const other = theirs[i];
    for (const name of STYLES) {
      const value = style.getPropertyValue(name);
      if (value && !(element instanceof SVGTitleElement)) other.setAttribute(name, value);
    }
    for (const name of ["class", "style", "tabindex", "role", "href", ...Object.keys(other.dataset).map(hyphened)])
      other.removeAttribute(name);
  });
  copy.querySelectorAll(".cursor").forEach((cursor) => cursor.remove());
  theirs.filter((element) => element.getAttribute("visibility") === "hidden").forEach((element) => element.remove());
  const { width, height } = svg.viewBox.baseVal;
  const paper = draw("rect", { width, height, fill: getComputedStyle(document.body).backgroundColor });
  copy.insertBefore(paper, copy.querySelector("title, desc") ? copy.querySelector(":scope > :not(title, desc)") : copy.firstChild);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return '<?xml version="1.0" encoding="UTF-8"?>\n' + new XMLSerializer().serializeToString(copy) + "\n";
}
const hyphened = (name) => "data-" + name.replace(/[A-Z]/g, (letter) => "-" + letter.toLowerCase());

/* A header and rows. */
function tableOf(figure) {
  if (figure.table) return filledUp(figure.header, figure.table);
  const rows = figure.points.flatMap((row, r) => row.map((point, c) => [figure.rows[r], figure.columns[c], ...(point ?? [])]));
  return filledUp([figure.down, figure.across, "mean", "low", "high"], rows.filter((row) => row.length > 2));
}
const filledUp = (header, rows) => [header, ...rows.map((row) => header.map((_, i) => row[i]))];
function edgeTable() {
  const columns = known.steps.flatMap((step) => [step, `${step} low`, `${step} high`]);
  const cells = (point) => { const [mean, low = mean, high = mean] = point ?? [null]; return [mean, low, high]; };
  const rows = known.edges.map(([sender, receiver, channel, ...points]) => [sender, receiver, channel, ...points.flatMap(cells)]);
  return [["sender", "receiver", "input", ...columns], ...rows];
}
function headTable() {
  const rows = everyHead.map((site) => [site, known.circuit[site]?.role ?? ""]);
  return [["head", "role in the circuit"], ...rows];
}
function csv(rows) {
  const quoted = (cell) => {
    const text = cell === null || cell === undefined ? "" : String(cell);
    // a spreadsheet takes a cell that begins like this for a formula
    const safe = typeof cell === "string" && /^([=@\t\r]|[+-](?![\d.]))/.test(text) ? "'" + text : text;
    return /[",\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
  };
  return rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/* `numbers` gives the table when it is asked for. */
function savable(figure, id, numbers) {
  const name = `${document.title} ${id}`.replace(/[^\p{L}\p{N}.]+/gu, "-");
  const title = figure.querySelector("svg title")?.textContent ?? figure.querySelector("svg")?.getAttribute("aria-label") ?? id;
  const button = (kind, save) =>
    make("button", { type: "button", "aria-label": `Save as ${kind}: ${title}`, onclick: save }, kind);
  figure.append(make("div", { class: "save" },
    button("SVG", () => download(`${name}.svg`, "image/svg+xml", standAlone(figure.querySelector("svg")))),
    button("CSV", () => download(`${name}.csv`, "text/csv", csv(numbers())))));
}

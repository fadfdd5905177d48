/* The parts of the page come to life. */

for (const svg of document.querySelectorAll("svg[data-map]")) {
  const grid = known.figures[svg.dataset.map];
  livelyMap(svg, grid, grid.heads ? openPanel : null);
}
for (const figure of document.querySelectorAll("figure[data-figure]")) {
  const id = figure.dataset.figure;
  if (id === "circuit") savable(figure, id, known.edges.length ? edgeTable : headTable);
  else savable(figure, id, () => tableOf(known.figures[id]));
}
for (const link of document.querySelectorAll("[data-head]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    openPanel(link.dataset.head, link);
  });
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && panel.contains(event.target)) leavePanel(); });

const asked = /^#head-(\d+)\.(\d+)$/.exec(location.hash);
const first = asked && isHead(`${asked[1]}.${asked[2]}`) ? `${asked[1]}.${asked[2]}` : panel.dataset.first;
if (first) showHead(first);

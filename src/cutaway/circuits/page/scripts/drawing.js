/* The drawing of the circuit: arrows for one answer token or for all; those of the head that is pointed at stand out. */

const drawing = document.getElementById("drawing");
const arrows = [...drawing.querySelectorAll(".arrow")];

document.getElementById("arrows-of")?.addEventListener("change", (event) => {
  for (const arrow of arrows) {
    const width = Number(arrow.dataset.widths.split(" ")[event.target.value]);
    arrow.setAttribute("stroke-width", width);
    arrow.setAttribute("visibility", width ? "visible" : "hidden");
  }
});

function standOut(site) {
  drawing.classList.toggle("picked", Boolean(site));
  for (const arrow of arrows) arrow.classList.toggle("on", arrow.dataset.ends.split(" ").includes(site));
}
for (const node of drawing.querySelectorAll(".node")) {
  for (const event of ["pointerenter", "focus"]) node.addEventListener(event, () => standOut(node.dataset.head));
  for (const event of ["pointerleave", "blur"]) node.addEventListener(event, () => standOut(null));
}

/* Heads outside the circuit are dots; they can be chosen where they stand. */
drawing.addEventListener("click", (event) => {
  if (event.target.closest("a, .arrow")) return;
  const field = drawing.querySelector(".field");
  const box = field.getBoundingClientRect();
  const layer = Math.floor(((event.clientX - box.left) / box.width) * nLayers);
  const head = Math.floor(((event.clientY - box.top) / box.height) * nHeads);
  if (layer >= 0 && layer < nLayers && head >= 0 && head < nHeads) openPanel(`${layer}.${head}`, drawing);
});

/* What the page knows (`page/data.py` writes it), and how numbers are written (as `page/numbers.py` does). */

const known = JSON.parse(document.getElementById("data").textContent);
const [nLayers, nHeads] = known.shape;

/* `page/packed.py`: one printable character a value; a space and a character are as many zeros as that stands for. */
const LEVELS = 88;
const levelOf = new Map(
  Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i))
    .filter((character) => !'"\\<>&'.includes(character))
    .map((character, level) => [character, level]),
);
function unpacked(text) {
  const values = [];
  for (let i = 0; i < text.length; i++) {
    if (text[i] === " ") values.push(...Array(levelOf.get(text[++i])).fill(0));
    else values.push(levelOf.get(text[i]) / LEVELS);
  }
  return values;
}
const unpackedSigned = (text, limit) => unpacked(text).map((share) => (2 * share - 1) * limit);

function number(x, digits = 2) {
  if (x === null || x === undefined || !Number.isFinite(x)) return "–";
  const text = x.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}
const percent = (x) => (x === null || x === undefined ? "–" : number(100 * x, 0) + "%");

/* A mean with its interval, or without one. */
function said(point, write = number) {
  if (!point) return "–";
  const [mean, low, high] = point.map((x) => write(x));
  return point.length === 1 || (low === mean && high === mean) ? mean : `${mean} [${low}, ${high}]`;
}

const isHead = (site) => known.heads.direct[indexOf(site)] !== undefined;
function indexOf(site) {
  const [layer, head] = site.split(".").map(Number);
  return layer * nHeads + head;
}
const everyHead = Array.from({ length: nLayers * nHeads }, (_, i) => `${Math.floor(i / nHeads)}.${i % nHeads}`);

/* One panel for any head. It opens where the head was chosen: below the drawing, or below the map. */

const panel = document.getElementById("panel");
const home = document.createComment("home of the panel");
panel.before(home);

const shown = { head: null, prompt: 0, step: 0, quadrant: 2, origin: null };
const QUADRANTS = ["|X| → |X|", "|X| → |_X|", "|_X| → |X|", "|_X| → |_X|"];
const ALPHABET = Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZ");

function openPanel(site, origin) {
  shown.origin = origin;
  const group = origin.closest(".group");
  if (group) group.append(panel);
  else home.after(panel);
  showHead(site);
  panel.querySelector("h3").focus({ preventScroll: true });
  panel.scrollIntoView({ block: "nearest" });
}

function leavePanel() {
  const target = shown.origin ?? document.querySelector(`a.node[data-head="${shown.head}"]`);
  target?.focus();
}

function showHead(site) {
  shown.head = site;
  const member = known.circuit[site];
  for (const link of document.querySelectorAll("[data-head]")) {
    if (link.dataset.head === site) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  panel.hidden = false;
  panel.replaceChildren(
    make("header", {},
      make("h3", { id: "panel-h", tabindex: -1 }, member && roleMark(member), `Head ${site}`,
        make("span", { class: "in" }, member ? member.role : "not in the circuit")),
      headChoice(site)),
    make("div", { class: "known" },
      make("div", {}, looks(site), attentionByRole(site)),
      make("div", {}, effects(site, member), edgesOf(site), letters(site))),
  );
}

function roleMark(member) {
  return draw("svg", { class: "mark", "aria-hidden": "true", width: 28, height: 28, viewBox: "-14 -14 28 28" },
    draw("path", { class: `shape ${member.kind}`, d: member.outline }),
    draw("text", { class: `letter ${member.kind}`, y: 4 }, member.letter));
}

function headChoice(site) {
  const option = (head) => {
    const role = known.circuit[head]?.role;
    return make("option", { value: head, selected: head === site }, role ? `${head}  ${role}` : head);
  };
  const select = make("select", { onchange: (event) => { showHead(event.target.value); panel.querySelector("select").focus(); } },
    make("optgroup", { label: "in the circuit" }, Object.keys(known.circuit).map(option)),
    make("optgroup", { label: "every other head" }, everyHead.filter((head) => !known.circuit[head]).map(option)));
  return make("label", { class: "choose" }, "Another head ", select);
}

/* A part of the panel: heading, then what it is about. */
const part = (name, title, ...children) => make("section", { class: `part ${name}` }, make("h4", {}, title), ...children);

/* One row for each radio button or option: `choices` are texts, `set` is told the index. */
function radios(legend, name, choices, at, set) {
  return make("fieldset", { class: "choice" }, make("legend", {}, legend), choices.map((text, i) =>
    make("label", {}, make("input", { type: "radio", name, value: i, checked: i === at, onchange: () => set(i) }), ` ${text}`)));
}

/* --- where it looks ------------------------------------------------------------------------------------------- */

function looks(site) {
  if (!known.patterns.length) return null;
  const place = make("div", {});
  const refresh = () => place.replaceChildren(...pattern(site));
  const options = known.prompts.map((prompt, i) => {
    const behind = prompt.tokens.slice(prompt.shared).join("");
    return make("option", { value: i, selected: i === shown.prompt }, `${i + 1}  ${behind}`);
  });
  const choose = (event) => { shown.prompt = Number(event.target.value); refresh(); };
  const prompts = make("label", { class: "choose" }, "Prompt ", make("select", { onchange: choose }, options));
  const steps = radios("when it predicts", "looks-step", known.steps, shown.step, (i) => { shown.step = i; refresh(); });
  refresh();
  return part("looks", "Where it looks", prompts, steps, place);
}

/* The rows of a pattern: tokens behind those that all prompts share. */
function patternRows(site, at) {
  const { tokens, shared } = known.prompts[at];
  const values = unpacked(known.patterns[at][indexOf(site)]);
  let next = 0;
  return tokens.slice(shared).map((_, i) => {
    const row = values.slice(next, next + shared + i + 1);
    next += row.length;
    return row;
  });
}

function pattern(site) {
  const { tokens, answer, scored, shared } = known.prompts[shown.prompt];
  const rows = patternRows(site, shown.prompt);
  const looking = scored[shown.step];
  const row = rows[looking - shared] ?? [];
  const strip = tokens.map((token, i) => make("span", {
    class: i === looking ? "tok from" : "tok", style: `--share:${Math.round(100 * (row[i] ?? 0))}`,
    title: `${known.prompts[shown.prompt].roles[i]}: ${number(row[i] ?? 0)}`,
  }, token));
  const visible = tokens.map((token) => token.replaceAll(" ", "·"));
  const grid = {
    rows: visible.slice(shared), columns: visible, slanted: true, called: "{row} → {column}", about: "about ",
    down: "token that looks", across: "token looked at",
    points: rows.map((values) => tokens.map((_, c) => (c < values.length ? [values[c]] : null))),
  };
  const side = Math.min(Math.max(Math.floor(430 / tokens.length), 11), 22);
  const label = `Attention pattern of head ${site}, prompt ${shown.prompt + 1}`;
  const svg = heatMap(grid, { side, shade: (x) => ["amount", x], label });
  const figure = make("figure", {}, make("div", { class: "scroll" }, svg));
  savable(figure, `head ${site} pattern ${shown.prompt + 1}`, () => patternTable(grid));
  return [
    make("p", { class: "strip" }, strip, make("span", { class: "said" }, "→ ", answer[shown.step])),
    figure,
  ];
}

function patternTable(grid) {
  const shared = grid.columns.length - grid.rows.length;
  const rows = grid.points.flatMap((row, r) =>
    row.map((point, c) => point && [shared + r, grid.rows[r], c, grid.columns[c], number(point[0])]));
  return [["row", grid.down, "column", grid.across, "attention (about)"], ...rows.filter(Boolean)];
}

function attentionByRole(site) {
  const all = known.heads.attention[indexOf(site)];
  if (!all) return null;
  const bar = (x) => [
    make("span", { class: "bar", "aria-hidden": "true" }, make("i", { style: `width:${Math.round(100 * (x ?? 0))}%` })),
    make("span", { class: "v" }, number(x)),
  ];
  const rows = known.roles.map((role, r) =>
    make("tr", {}, make("th", { scope: "row" }, role), all.map((step) => make("td", {}, bar(step[r])))));
  return part("by-role", "Attention by role", table(["role", ...known.steps], rows, "bars"),
    make("p", { class: "how" }, "Means over prompts, of the token that predicts each answer token."));
}

function table(heads, rows, name = "") {
  return make("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": heads.join(", ") }, make("table", { class: name },
    make("thead", {}, make("tr", {}, heads.map((text) => (text ? make("th", { scope: "col" }, text) : make("td", {}))))),
    make("tbody", {}, rows)));
}

/* --- what it does --------------------------------------------------------------------------------------------- */

function effects(site, member) {
  const i = indexOf(site);
  const line = (name, note, cells) => make("tr", {},
    make("th", { scope: "row" }, name, note && make("span", { class: "note" }, note)), cells.map((text) => make("td", {}, text)));
  const spread = (point, write) => {
    if (!point) return ["–"];
    const [text, interval] = said(point, write).split(/ (?=\[)/);
    return [make("span", { class: "v" }, text), interval && make("span", { class: "ci" }, interval)];
  };
  const patched = Object.entries(known.corruptions).map(([id, name]) => line(`Patched: ${name}`, null,
    known.steps.map((_, step) => spread(known.figures[`${id}-${step + 1}`]?.points[i % nHeads][Math.floor(i / nHeads)]))));
  const rows = [
    ...patched,
    member && line("Dropped from the circuit", "faithfulness lost", member.dropped.map((point) => spread(point, percent))),
    line("Writes directly", "to the logit difference", known.heads.direct[i].map((x) => number(x))),
    known.heads.copies[i].some((x) => x !== null) &&
      line("Copies the right answer", "if it looked at the source alone", known.heads.copies[i].map(percent)),
  ].filter(Boolean);
  const facts = [
    ...(member?.evidence ?? []).map(([name, x]) => [name, number(x)]),
    ["attention to the token before", number(known.heads.previous[i])],
    ["to the first token", number(known.heads.first[i])],
  ];
  return part("effects", "What it does", table(["logit difference", ...known.steps], rows),
    make("dl", { class: "evidence" }, unique(facts).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))));
}
const unique = (pairs) => [...new Map(pairs.reverse())].reverse();

/* --- letters -------------------------------------------------------------------------------------------------- */

function letters(site) {
  if (!known.letters) return null;
  const copying = known.letters.copying[indexOf(site)];
  const score = make("p", { class: "how" },
    `Copying score: ${percent(copying[0])} of letters come out as |X|, ${percent(copying[1])} as |_X|, among its five strongest tokens.`);
  const found = known.letters.matrices[site];
  if (!found) return part("letters", "What it copies", score);
  const [limit, text] = found;
  const values = unpackedSigned(text, limit);
  const place = make("div", {});
  const refresh = () => place.replaceChildren(matrix(site, values, limit));
  refresh();
  return part("letters", "What it copies",
    radios("letter attended to → written", "letters-quadrant", QUADRANTS, shown.quadrant, (i) => { shown.quadrant = i; refresh(); }),
    place, score);
}

function matrix(site, values, limit) {
  const [down, right] = [26 * (shown.quadrant >> 1), 26 * (shown.quadrant & 1)];
  const points = ALPHABET.map((_, r) => ALPHABET.map((_, c) => [values[(down + r) * 52 + right + c]]));
  const grid = { rows: ALPHABET, columns: ALPHABET, points, called: "{row} → {column}", about: "about ",
    down: "letter attended to", across: "letter written" };
  const svg = heatMap(grid, { side: 11, label: `OV letter matrix of head ${site}, ${QUADRANTS[shown.quadrant]}`,
    shade: (x) => [x < 0 ? "neg" : "pos", limit ? Math.abs(x) / limit : 0] });
  const figure = make("figure", {}, make("div", { class: "scroll" }, svg), make("p", { class: "scale" },
    make("span", {}, `−${number(limit)}`), make("span", { class: "ramp", "aria-hidden": "true" }), make("span", {}, number(limit))));
  savable(figure, `head ${site} letters ${QUADRANTS[shown.quadrant]}`, () => [["letter attended to", ...ALPHABET],
    ...points.map((row, r) => [ALPHABET[r], ...row.map(([x]) => Number(x.toFixed(2)))])]);
  return figure;
}

/* --- whom it reads, and who reads it -------------------------------------------------------------------------- */

const INPUTS = { q: "queries", k: "keys", v: "values", "": "" };

function edgesOf(site) {
  if (!known.edges.length || !known.circuit[site]) return null;
  const list = (title, edges, other) => [
    make("h5", {}, title),
    make("ol", { class: "edges" }, edges.slice(0, 6).map(([sender, receiver, channel, ...points]) => {
      const who = other === "sender" ? sender : receiver;
      const link = known.circuit[who]
        ? make("a", { href: "#panel", onclick: (event) => { event.preventDefault(); showHead(who); panel.querySelector("h3").focus(); } }, who)
        : who === "embed" ? "the words" : who;
      return make("li", {}, make("b", {}, link), ` ${INPUTS[channel]} `,
        make("span", { class: "v" }, points.map((point) => number(point?.[0])).join(", ")));
    })),
  ];
  const told = known.edges.filter(([, , , ...points]) => points.some((point) => Math.abs(point?.[0] ?? 0) >= 0.005));
  const into = told.filter(([, receiver]) => receiver === site);
  const out = told.filter(([sender]) => sender === site);
  return part("links", "Whom it reads, who reads it",
    into.length ? list("reads, strongest first", into, "sender") : null,
    out.length ? list("is read by", out, "receiver") : null,
    make("p", { class: "how" }, `Effect of the path alone on ${known.steps.join(", ")}.`));
}

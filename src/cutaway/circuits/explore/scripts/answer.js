/* What the model reads and says: the tokens with their roles, the line of what is written, the likeliest tokens. */

import { byId, make } from "./dom.js";

export function percent(p) {
  if (p >= 0.995) return "100%";
  if (p >= 0.0995) return `${Math.round(100 * p)}%`;
  return p >= 0.001 ? `${(100 * p).toFixed(1)}%` : "<0.1%";
}

/* A phrase in its tokens, those of one role together. */
export function showTokens(id, read) {
  const spans = [];
  read.tokens.forEach((token, position) => {
    if (!spans.length || spans.at(-1).role !== token.role) spans.push({ role: token.role, tokens: [] });
    spans.at(-1).tokens.push({ ...token, position });
  });
  const dim = new Set(["example", "BOS"]);
  const answer = make("span", { class: "span answer" },
    make("span", { class: "tokens" }, make("span", { class: "tok" }, read.answer || "–")),
    make("span", { class: "role" }, read.given ? "answer given" : "answer, the model’s own"));
  byId(id).replaceChildren(...spans.map((span) => make("span", { class: dim.has(span.role) ? "span dim" : "span" },
    make("span", { class: "tokens" }, span.tokens.map((token) => make("span", { class: "tok", title: title(token) }, visible(token.text)))),
    make("span", { class: "role" }, span.role || "\u00a0"))), answer);
}

const title = (token) => `position ${token.position}, id ${token.id}${token.role ? `, role ${token.role}` : ""}`;
const visible = (text) => (text === "" ? "∅" : text);

/* "FKB → FXB": what is likeliest at each step, before and after. */
function written(steps) {
  const line = (run) => steps.map((step) => {
    const text = visible(step[run].top[0].text);
    return make("span", { class: step.before.top[0].text === step.after.top[0].text ? "tok" : "tok other" }, text);
  });
  for (const place of document.querySelectorAll(".written")) {
    place.replaceChildren(make("span", { class: "run" }, line("before")), make("span", { class: "to" }, "→"), make("span", { class: "run" }, line("after")));
  }
}

/* The likeliest tokens of one run at one step; of the asked-for one, its bar is dark. */
function likeliest(said, asked, caption) {
  const rows = said.top.map(({ text, probability }) => {
    const bar = make("i");
    bar.style.inlineSize = `${Math.max(100 * probability, 0.5)}%`;
    return make("tr", { class: text === asked ? "asked" : null }, make("th", { scope: "row" }, make("span", { class: "tok" }, visible(text))),
      make("td", {}, make("span", { class: "bar", "aria-hidden": "true" }, bar)), make("td", {}, percent(probability)));
  });
  return make("table", { class: "likeliest" }, make("caption", {}, caption), make("tbody", {}, rows));
}

function column(step, name, changed) {
  const { before, after, token } = step;
  const rank = before.rank === after.rank ? `rank ${after.rank}` : `rank ${before.rank} → ${after.rank}`;
  const moved = changed ? `${percent(before.probability)} → ${percent(after.probability)}` : percent(before.probability);
  return make("div", { class: "step" },
    make("h3", {}, make("span", { class: "name" }, name), " ", make("span", { class: "tok" }, visible(token)), " ", make("span", { class: "moved" }, moved), " ",
      make("span", { class: "rank" }, changed ? rank : `rank ${before.rank}`)),
    make("div", { class: "pair" }, likeliest(before, token, "untouched"), likeliest(after, token, "changed")));
}

/* Everything of an answer. Returns what changed in words. */
export function showAnswer(answer, names, changed) {
  const { steps } = answer;
  written(steps);
  byId("steps").replaceChildren(...steps.map((step, i) => column(step, names[i] ?? `token ${i + 1}`, changed)));
  byId("notes").replaceChildren(...answer.notes.map((note) => make("li", {}, note)));
  const said = (run) => steps.map((step) => step[run].top[0].text).join("");
  const each = steps.map((step) => `${step.token.trim()} ${percent(step.before.probability)} to ${percent(step.after.probability)}`);
  byId("live").textContent = changed ? `${said("before")} becomes ${said("after")}; ${each.join(", ")}` : `It writes ${said("before")}`;
}

/* The page: what is typed and clicked becomes a question, and its answer is shown. */

import { showAnswer, showTokens } from "./answer.js";
import { ask, cancel } from "./ask.js";
import { byId, make } from "./dom.js";
import { Heads } from "./heads.js";
import { showPattern, showSweep } from "./maps.js";

const PAUSE = 250; // milliseconds after the last key
const BUSY = 200; // milliseconds until waiting is shown

const facts = JSON.parse(document.body.dataset.facts);
const heads = new Heads(facts, () => later(0));

function question() {
  const at = byId("patch-at").value;
  const layer = byId("patch-layer").value;
  const kind = byId("patch-kind").value;
  const site = { resid_pre: `${layer}.resid_pre`, mlp_out: `m${layer}` }[kind];
  return {
    phrase: byId("phrase").value,
    answer: byId("answer").value,
    second: byId("second").value,
    heads: heads.states,
    ablation: byId("ablation").value,
    patch: site ? { site, at: at === "" ? null : at.startsWith("#") ? Number(at.slice(1)) : at.slice(1) } : null,
  };
}

const isChanged = (asked) => Boolean(asked.patch) || asked.heads.some((row) => /[ap]/.test(row));

/* --- one answer after another ------------------------------------------------------------------------------------- */

let timer = null;
let latest = Promise.resolve();
function later(wait) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    timer = null;
    latest = update();
  }, wait);
}

/* What was typed or clicked just now is answered before anything else is asked. */
async function settled() {
  if (timer) later(0);
  while (timer) await new Promise((resolve) => setTimeout(resolve, 10));
  await latest;
}

/* Shows that a section is waited for, until the last question about it is answered or given up. */
async function waiting(section, promise) {
  section.asked = promise;
  const slow = setTimeout(() => section.setAttribute("aria-busy", "true"), BUSY);
  const said = await promise;
  clearTimeout(slow);
  if (section.asked === promise) section.removeAttribute("aria-busy");
  return said;
}

function complain(id, error) {
  byId(id).textContent = error ?? "";
  byId(id).hidden = !error;
}

async function update() {
  const asked = question();
  if (!asked.phrase.trim()) return complain("trouble", "type a phrase");
  const answer = await waiting(byId("steps"), ask("answer", { question: asked }));
  if (!answer) return;
  complain("trouble", answer.error);
  byId("main").classList.toggle("stale", Boolean(answer.error)); // what is shown answers an older question
  if (answer.error) return;
  showTokens("read", answer.read);
  complain("trouble-second", answer.trouble);
  if (answer.second) showTokens("read-second", answer.second);
  byId("read-second").hidden = !answer.second;
  offerExpected(answer.read);
  offerPlaces(answer.read);
  showAnswer(answer, facts.steps, isChanged(asked));
}

/* The behaviour's own answer, where the model says another one. */
function offerExpected(read) {
  const button = byId("expected");
  button.hidden = !read.expected || read.expected === read.answer;
  button.textContent = `ask for ${read.expected}`;
  button.value = read.expected ?? "";
}

/* Roles and tokens that a patch can go to; what was chosen stays, if it is there. */
function offerPlaces(read) {
  const select = byId("patch-at");
  const chosen = select.value;
  const roles = [...new Set(read.tokens.map((token) => token.role).filter((role) => role))];
  const group = (label, options) => make("optgroup", { label }, options);
  const option = (value, text) => make("option", { value }, text);
  select.replaceChildren(option("", "all tokens"), option(`@${facts.answer}`, "where the answer is predicted"),
    ...(roles.length ? [group("tokens of a role", roles.map((role) => option(`@${role}`, role)))] : []),
    group("one token", read.tokens.map((token, i) => option(`#${i}`, `${i}: ${token.text}`))));
  select.value = [...select.options].some((known) => known.value === chosen) ? chosen : "";
}

/* --- every head ---------------------------------------------------------------------------------------------------- */

async function sweep() {
  await settled();
  byId("swept").textContent = "";
  byId("stop").hidden = false;
  const started = performance.now();
  const found = await waiting(byId("maps"), ask("sweep", { question: question() }));
  byId("stop").hidden = true;
  if (!found || found.error) return void (byId("swept").textContent = found?.error ?? "given up");
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  byId("swept").textContent = [`${facts.layers * facts.heads} heads in ${seconds} s; rivals are ${found.rivals}.`, ...found.notes].join(" ");
  showSweep(found, facts.steps, facts, attention);
}

async function attention(head) {
  await settled();
  const found = await waiting(byId("attention"), ask("pattern", { question: question(), head }));
  if (!found) return;
  if (found.error) return void (byId("swept").textContent = found.error);
  showPattern(found);
}

/* --- what can be typed and clicked --------------------------------------------------------------------------------- */

for (const id of ["phrase", "answer", "second"]) byId(id).addEventListener("input", () => later(PAUSE));
for (const id of ["ablation", "patch-kind", "patch-at"]) byId(id).addEventListener("change", () => later(0));
for (const [id, target] of [["phrases", "phrase"], ["seconds", "second"]]) {
  byId(id)?.addEventListener("change", (event) => {
    if (event.target.value) byId(target).value = event.target.value;
    event.target.value = "";
    later(0);
  });
}
byId("patch-layer").addEventListener("input", (event) => {
  byId("patch-layer-says").textContent = event.target.value;
  if (byId("patch-kind").value) later(PAUSE / 2);
});
byId("patch-layer-says").textContent = byId("patch-layer").value;
byId("expected").addEventListener("click", (event) => {
  byId("answer").value = event.target.value;
  later(0);
});
for (const button of document.querySelectorAll("[data-all]")) {
  button.addEventListener("click", () => {
    if (button.dataset.all === "reset") {
      byId("patch-kind").value = "";
      byId("answer").value = "";
    }
    heads.all(button.dataset.all);
  });
}
byId("sweep").addEventListener("click", sweep);
byId("stop").addEventListener("click", () => cancel());

later(0);

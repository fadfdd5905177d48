
"use strict";
document.documentElement.classList.add("js");

/* A head's panel opens where the drawing or the table points to it; one at a time. */
const panels = [...document.querySelectorAll(".panel")];
const nodes = [...document.querySelectorAll("[href^='#head-']")];

function show(id) {
  const body = document.getElementById(id);
  if (!body) return;
  for (const panel of panels) panel.open = panel.contains(body);
  for (const node of nodes) {
    if (node.getAttribute("href") === "#" + id) node.setAttribute("aria-current", "true");
    else node.removeAttribute("aria-current");
  }
}

for (const node of nodes) {
  node.addEventListener("click", (event) => {
    event.preventDefault();
    const id = node.getAttribute("href").slice(1);
    show(id);
    const panel = document.getElementById(id).parentElement;
    if (node.closest("table")) panel.scrollIntoView({ block: "nearest" });
    panel.querySelector("summary").focus({ preventScroll: true });
  });
}
for (const panel of panels) {
  panel.querySelector("summary").addEventListener("click", (event) => event.preventDefault());
}
const first = document.querySelector(".panel[data-first='yes'] .known");
const asked = /^#head-/.test(location.hash) && document.getElementById(location.hash.slice(1));
if (first) show((asked || first).id);

/* Values and tokens say what they are when pointed at or focused: their <title>, or title="", in our own box. */
const tip = document.getElementById("tip");

function words(target) {
  if (!target.closest) return null;
  const token = target.closest("button.tok");
  if (token) {
    if (token.title) {
      token.setAttribute("aria-description", token.title);
      token.removeAttribute("title");
    }
    return [token, token.getAttribute("aria-description")];
  }
  const shape = target.closest("svg rect, svg circle, svg path, svg g") || target.closest("a.node")?.querySelector("g");
  const title = shape && (shape.querySelector(":scope > title") || shape.closest("g")?.querySelector(":scope > title"));
  if (shape && title) {
    title.parentElement.dataset.tip = title.textContent;
    title.remove();
  }
  const said = shape && (shape.dataset.tip || shape.closest("[data-tip]")?.dataset.tip);
  return said ? [shape, said] : null;
}

function say(event) {
  const found = words(event.target);
  tip.hidden = !found;
  if (!found) return;
  const box = found[0].getBoundingClientRect();
  tip.textContent = found[1];
  const left = Math.min(Math.max(8, box.left), innerWidth - tip.offsetWidth - 8);
  const above = box.top - tip.offsetHeight - 6;
  tip.style.left = left + "px";
  tip.style.top = (above > 4 ? above : box.bottom + 6) + "px";
}

document.addEventListener("pointerover", say);
document.addEventListener("focusin", say);
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true, capture: true });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    tip.hidden = true;
    if (event.target.closest?.(".panel")) document.querySelector("a.node[aria-current]").focus();
  }
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const token = event.target.closest?.("button.tok");
  if (!move || !token) return;
  const all = [...token.closest(".prompt").querySelectorAll("button.tok")];
  const next = all[all.indexOf(token) + move];
  if (!next) return;
  event.preventDefault();
  token.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});

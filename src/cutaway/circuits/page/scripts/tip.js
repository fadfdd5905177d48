/* What is pointed at or focused says what it is, in a box of our own: its <title>, or title="". */

const tip = document.getElementById("tip");
let spokenOf = null;

function showTip(text, element) {
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  spokenOf = element;
  placeTip();
}
const hideTip = () => { tip.hidden = true; };

function placeTip() {
  const box = spokenOf.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.left), innerWidth - tip.offsetWidth - 8);
  const above = box.top - tip.offsetHeight - 6;
  tip.style.left = left + "px";
  tip.style.top = (above > 4 ? above : box.bottom + 6) + "px";
}

/* What the keyboard has reached keeps its tip while the page scrolls to it below a resting pointer. */
const onFocus = () => Boolean(spokenOf && document.querySelector(":focus-visible")?.contains(spokenOf));
function follow() {
  if (tip.hidden) return;
  if (onFocus()) placeTip();
  else hideTip();
}

/* The browser would show titles in a box of its own as well, so they move to an attribute when they are first needed. */
function tipOf(target) {
  const token = target.closest?.("button.tok");
  if (token) {
    if (token.title) {
      token.setAttribute("aria-description", token.title);
      token.removeAttribute("title");
    }
    return [token, token.getAttribute("aria-description")];
  }
  const shape = target.closest?.("svg rect, svg circle, svg path, svg g") || target.closest?.("a.node")?.querySelector("g");
  if (!shape) return null;
  const title = shape.querySelector(":scope > title") || shape.closest("g")?.querySelector(":scope > title");
  if (title) {
    title.parentElement.dataset.tip = title.textContent;
    title.remove();
  }
  const text = shape.dataset.tip || shape.closest("[data-tip]")?.dataset.tip;
  return text ? [shape, text] : null;
}

function say(event) {
  if (event.target.closest?.("svg[data-map]")) return; // maps.js speaks for these
  const found = tipOf(event.target);
  if (found) showTip(found[1], found[0]);
  else if (event.type === "focusin" || !onFocus()) hideTip();
}

document.addEventListener("pointerover", say);
document.addEventListener("focusin", say);
document.addEventListener("scroll", follow, { passive: true, capture: true });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });

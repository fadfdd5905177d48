/* The arrow keys walk over the tokens of a prompt; Tab leaves it. */

document.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const token = event.target.closest?.("button.tok");
  if (!step || !token) return;
  const all = [...token.closest(".prompt").querySelectorAll("button.tok")];
  const next = all[all.indexOf(token) + step];
  if (!next) return;
  event.preventDefault();
  token.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});

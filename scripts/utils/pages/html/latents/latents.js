import {find} from "../frame/dom.js";
import "../frame/theme.js";
import {card, fillCard} from "./card.js";
import {latents} from "./facts.js";
import {drawMissing, drawRows, filter, keepInSight, list, mark, order, search, shelf, sort, turn, where, which} from "./list.js";
import {buildIndex} from "./search.js";

const NARROW = 820;  // pixels, as in the style

/** @param {number} latent */
function show(latent) {
  fillCard(latent);
  mark(latent);
}

// The latent that the address names, or -1.
function linked() {
  const found = /^#latent-(\d+)$/.exec(location.hash);
  return found && Number(found[1]) < latents ? Number(found[1]) : -1;
}

/**
 * @param {number} latent
 * @param {boolean} [keep]  the history of the browser as it is: walking fills none
 */
function go(latent, keep) {
  if (keep) history.replaceState(null, "", `#latent-${latent}`);
  else location.hash = `latent-${latent}`;
  show(latent);
  keepInSight();
}

/** @param {number} step */
function walk(step) {
  const at = shelf.listed.indexOf(shelf.chosen), next = at < 0 ? 0 : Math.max(0, Math.min(shelf.listed.length - 1, at + step));
  if (shelf.listed.length) go(shelf.listed[next], true);
}

search.addEventListener("input", filter);
for (const select of [where, which]) select.addEventListener("change", filter);
order.addEventListener("change", sort);
turn.addEventListener("click", () => {
  const turned = turn.getAttribute("aria-pressed") !== "true";
  turn.setAttribute("aria-pressed", String(turned));
  turn.textContent = turned ? "↑" : "↓";
  sort();
});
find("controls", HTMLFormElement).addEventListener("submit", event => event.preventDefault());
list.addEventListener("scroll", drawMissing, {passive: true});
list.addEventListener("click", event => {
  const row = event.target instanceof Element ? event.target.closest(".row") : null;
  if (!(row instanceof HTMLElement)) return;
  go(Number(row.dataset.latent));
  if (window.innerWidth <= NARROW) card.scrollIntoView({block: "start"});
});
window.addEventListener("hashchange", () => {
  const latent = linked();
  if (latent >= 0 && latent !== shelf.chosen) { show(latent); keepInSight(); window.scrollTo(0, 0); }
});
window.addEventListener("resize", drawRows);
document.addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const typing = event.target === search;
  if (event.key === "/" && !typing) { event.preventDefault(); search.focus(); search.select(); return; }
  if (event.key === "Escape" && typing) { search.value = ""; filter(); search.blur(); return; }
  if (event.key === "Enter" && typing) { event.preventDefault(); if (shelf.listed.length) go(shelf.listed[0]); return; }
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  if (!step || event.target instanceof HTMLSelectElement) return;
  event.preventDefault();
  walk(step);
});

sort();
const asked = linked();
if (asked >= 0 || shelf.sorted.length) show(asked >= 0 ? asked : shelf.listed.length ? shelf.listed[0] : shelf.sorted[0]);
keepInSight();
setTimeout(() => buildIndex(() => { if (search.value) filter(); }));

import {element, find} from "../frame/dom.js";
import {facts, largest, latents, numbers, own} from "./facts.js";
import {percent, plural, short} from "./numbers.js";
import {holds, index, indexed} from "./search.js";

const ROW = 46;  // pixels of a row, as in the style
const MORE = 6;  // rows beyond the edges of the list that are there already
export const search = find("search", HTMLInputElement);
export const where = find("where", HTMLSelectElement);
export const order = find("order", HTMLSelectElement);
export const which = find("which", HTMLSelectElement);
export const turn = find("turn", HTMLButtonElement);
export const list = find("list", HTMLElement);
const rows = find("rows", HTMLElement);
/** The latents in their order, those of them that are searched for, and which one has its card. */
export const shelf = {sorted: /** @type {number[]} */ ([]), listed: /** @type {number[]} */ ([]), chosen: -1};
let drawn = [0, 0];  // from which row to which there are elements

/** @type {Record<string, (a: number, b: number) => number>} */
const ORDERS = {
  density: (a, b) => numbers[b] - numbers[a],
  largest: (a, b) => largest[b] - largest[a],
  label: (a, b) => compared(index.labels[a] || "\uffff", index.labels[b] || "\uffff"),  // none comes last
  number: (a, b) => a - b,
};

/**
 * @param {string} a
 * @param {string} b
 */
function compared(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Put the latents in the order that is asked for. */
export function sort() {
  shelf.sorted = Array.from({length: latents}, (_, latent) => latent).sort((a, b) => ORDERS[order.value](a, b) || a - b);
  if (turn.getAttribute("aria-pressed") === "true") shelf.sorted.reverse();
  filter();
}

/** List the latents that are searched for. */
export function filter() {
  const wanted = search.value.toLowerCase(), number = /^\s*#?(\d+)\s*$/.exec(wanted), state = which.value;
  const exact = number && Number(number[1]) < latents ? Number(number[1]) : -1;
  shelf.listed = shelf.sorted.filter(latent => latent !== exact && (state === "all" || (numbers[latent] > 0) === (state === "active")) &&
    (!wanted || holds(latent, wanted, where.value)));
  if (exact >= 0) shelf.listed.unshift(exact);  // a number finds its latent, whatever is shown
  find("found").textContent = `${plural(shelf.listed.length, "latent")}${indexed() || !wanted ? "" : ", still reading the examples"}`;
  rows.style.height = `${Math.max(1, shelf.listed.length) * ROW}px`;
  list.scrollTop = 0;
  drawRows();
}

/** Draw the rows in sight, and no other. */
export function drawRows() {
  const from = Math.max(0, Math.floor(list.scrollTop / ROW) - MORE);
  const to = Math.min(shelf.listed.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + MORE);
  drawn = [from, to];
  rows.replaceChildren(...shelf.listed.slice(from, to).map((latent, at) => rowOf(latent, from + at)));
  if (shelf.listed.slice(from, to).includes(shelf.chosen)) list.setAttribute("aria-activedescendant", `row-${shelf.chosen}`);
  else list.removeAttribute("aria-activedescendant");
}

/** Draw the rows in sight where some are not there yet. */
export function drawMissing() {
  const from = Math.floor(list.scrollTop / ROW), to = Math.ceil((list.scrollTop + list.clientHeight) / ROW);
  if (from < drawn[0] || Math.min(to, shelf.listed.length) > drawn[1]) drawRows();
}

/**
 * @param {number} latent
 * @param {number} at  its place in the list
 */
function rowOf(latent, at) {
  const row = element("div", latent === shelf.chosen ? "row chosen" : "row");
  row.id = `row-${latent}`;
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", String(latent === shelf.chosen));
  row.setAttribute("aria-setsize", String(shelf.listed.length));
  row.setAttribute("aria-posinset", String(at + 1));
  row.style.top = `${at * ROW}px`;
  row.dataset.latent = String(latent);
  row.append(labelOf(latent, "div"), element("div", "number", `#${latent}`),
             element("div", "fact", numbers[latent] ? `${percent(numbers[latent] / facts.read)} of tokens` : "silent"),
             element("div", "fact", numbers[latent] ? `top ${short(largest[latent])}` : ""));
  return row;
}

/**
 * Write a latent's label into an element.
 * @param {number} latent
 * @param {"div" | "bdi"} name
 */
export function labelOf(latent, name) {
  const label = element(name, own.has(latent) ? "label" : "label automatic", facts.labels[latent] || "no label");
  label.dir = "auto";
  return label;
}

/**
 * Mark a latent as the chosen one.
 * @param {number} latent
 */
export function mark(latent) {
  shelf.chosen = latent;
  drawRows();
}

/** Scroll the list to the chosen latent. */
export function keepInSight() {
  const at = shelf.listed.indexOf(shelf.chosen);
  if (at < 0) return;
  if (at * ROW < list.scrollTop) list.scrollTop = at * ROW;
  else if ((at + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (at + 1) * ROW - list.clientHeight;
  drawRows();
}

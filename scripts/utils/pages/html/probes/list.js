import {element, find} from "../frame/dom.js";
import {BLANK, levelBelow, levelsAt, logitOf, probability, texts, views, whole} from "./data.js";
import {colourOf, flips, shaded} from "./paint.js";
import {errorOf, shownLevels, shownThreshold, shownTruth, shownView} from "./scores.js";
import {ORDERS, change, state} from "./state.js";
import {contextOf} from "./text.js";

const TOGETHER = 40;  // rows that are built at once: more of them when their end comes near
const NEAR = "600px";  // beyond the screen
const BEGINNING = 40;  // tokens
/** @type {Record<number, string>} */
const OUTCOMES = {1: "false alarm", [-1]: "miss"};
/** @type {string[]} */
const contents = [];  // of each text, in small letters; made when something is searched for
/** @type {number[]} */
let listed = [];  // all texts of the list, in its order
let built = TOGETHER;  // how many of them have a row
let left = 0;  // where the list stood when a text was opened

/** Let the heads of the list sort it, and its rows open their text. */
export function startList() {
  if (!whole) return;
  for (const button of document.querySelectorAll("#texts-table thead button")) {
    button.addEventListener("click", () => {
      const name = button.getAttribute("data-order") ?? ORDERS[0];
      change({order: state.order === name ? `-${name}` : name});
    });
  }
  find("texts-rows").addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const row = event.target instanceof Element && event.target.closest("tr");
    if (row) openText(Number(row.getAttribute("data-text")));
  });
  find("back").addEventListener("click", () => change({text: -1, token: -1}));
  new IntersectionObserver(entries => {
    if (entries.some(one => one.isIntersecting) && built < listed.length) buildMore();
  }, {rootMargin: NEAR}).observe(find("texts-more"));
}

/** Build the next rows; the sentence below them moves on, and calls for more if it is still near. */
function buildMore() {
  const from = built;
  built += TOGETHER;
  find("texts-rows").append(...rowsOf(listed.slice(from, built)));
  find("texts-more").hidden = true;
  requestAnimationFrame(() => { find("texts-more").hidden = false; });
}

/** Open a text. @param {number} text */
export function openText(text) {
  if (state.text < 0) left = window.scrollY;
  change({text, token: -1, tab: "text"});
  if (find("panel-text").getBoundingClientRect().top < 0) find("panel-text").scrollIntoView();
  find("back").focus({preventScroll: true});  // the row that had the focus is gone
}

/** What is said of a text, and whether that is right. @param {number} text @returns {{p: number, truth: string, outcome: string}} */
export function saidOf(text) {
  const view = shownView(), truth = shownTruth()[text], level = shownLevels()[text], p = probability(logitOf(view, level));
  const right = truth < 0 || level === BLANK ? "" : level > levelBelow(view, shownThreshold()) ? "found" : "right";
  return {p, truth: ["unknown", "negative", "positive"][truth + 1], outcome: OUTCOMES[errorOf(text)] ?? right};
}

/** Show the list, or what is said of the text that is open. */
export function showList() {
  if (!whole) return;
  const returns = find("texts").hidden && state.text < 0;
  find("texts").hidden = state.text >= 0;
  find("opened").hidden = state.text < 0;
  if (state.text >= 0) showOpened();
  else showRows();
  if (returns) window.scrollTo({top: left});
}

function showOpened() {
  const {p, truth, outcome} = saidOf(state.text);
  find("opened-said").textContent = Number.isNaN(p) ? "nothing was read here" :
    `probability ${p.toFixed(3)}, threshold ${probability(shownThreshold()).toFixed(3)}; truth ${truth}${outcome ? `: ${outcome}` : ""}`;
}

function showRows() {
  const wanted = state.wanted.toLowerCase(), name = state.order.replace("-", "");
  listed = inOrder().filter(text => !wanted || contentOf(text).includes(wanted));
  find("texts-other").hidden = state.mode !== "difference";
  find("texts-table").classList.toggle("differs", state.mode === "difference");
  find("texts-rows").replaceChildren(...rowsOf(listed.slice(0, built)));
  find("texts-more").textContent = wanted ? `${listed.length.toLocaleString("en")} of ${texts.length.toLocaleString("en")} text${texts.length === 1 ? "" : "s"} hold “${state.wanted}”.`
    : `${texts.length.toLocaleString("en")} text${texts.length === 1 ? "" : "s"}`;
  for (const button of document.querySelectorAll("#texts-table thead button")) {
    const mine = button.getAttribute("data-order") === name;
    const falls = (state.order === name) !== (name === "place");  // numbers of texts rise first, all else falls
    button.closest("th")?.setAttribute("aria-sort", !mine ? "none" : falls ? "descending" : "ascending");
  }
}

/** All texts in the order of the list. */
export const inOrder = () => texts.map((_, text) => text).sort(orderBy(state.order.replace("-", "")));

/** Largest first; texts of which nothing is known come last, for they are mostly another target's. @param {string} name @returns {(one: number, other: number) => number} */
function orderBy(name) {
  const levels = shownLevels(), truth = shownTruth(), limit = levelBelow(shownView(), shownThreshold());
  const score = (/** @type {number} */ text) => levels[text] === BLANK ? -1 : levels[text];
  const keys = {
    score, truth: (/** @type {number} */ text) => truth[text], place: (/** @type {number} */ text) => -text,
    length: (/** @type {number} */ text) => texts[text].to - texts[text].from,
    error: (/** @type {number} */ text) => errorOf(text) ? Math.abs(levels[text] - limit) : -1,
  };
  const key = keys[/** @type {"score"} */ (name)];
  const known = (/** @type {number} */ text) => Number(truth[text] >= 0), turn = state.order.startsWith("-") ? -1 : 1;
  return (one, other) => known(other) - known(one) || turn * (key(other) - key(one)) || score(other) - score(one) || one - other;
}

/** @param {number[]} some */
function rowsOf(some) {
  const shade = shaded(), differs = state.mode === "difference";
  return some.map(text => rowOf(text, differs, shade));
}

/** @param {number} text @param {boolean} differs @param {(level: number) => string} shade */
function rowOf(text, differs, shade) {
  const row = element("tr"), {p, truth, outcome} = saidOf(text), score = element("td", "value shaded", Number.isNaN(p) ? "–" : p.toFixed(3));
  row.setAttribute("data-text", String(text));
  score.style.backgroundColor = shade(shownLevels()[text]);
  const open = element("button", "place", (text + 1).toLocaleString("en")), number = element("td", "value");
  open.setAttribute("aria-label", `open text ${text + 1}`);
  number.append(open);
  const said = element("td", "verdict"), wrong = errorOf(text);
  said.append(wrong ? element("mark", wrong > 0 ? "alarm" : "miss", outcome) : outcome);
  row.append(number, score);
  if (differs) row.append(otherOf(text));
  row.append(element("td", "", truth), said, element("td", "value", (texts[text].to - texts[text].from).toLocaleString("en")), beginningCell(text));
  return row;
}

/** What the other probe says of it, where two are compared. @param {number} text */
function otherOf(text) {
  const view = views[state.otherView], p = probability(logitOf(view, levelsAt(view, state.otherLayer)[text]));
  const cell = element("td", "value shaded", Number.isNaN(p) ? "–" : p.toFixed(3));
  if (!Number.isNaN(p)) cell.style.backgroundColor = colourOf(p);
  if (flips(text)) {
    cell.classList.add("flipped");
    cell.title = "the two disagree";
  }
  return cell;
}

/** How a text begins. @param {number} text */
export function beginningOf(text) {
  const {from, to} = texts[text], {word, after} = contextOf(from, 0, BEGINNING);
  return `${word}${after}${to - from > BEGINNING + 1 ? " …" : ""}`.replace(/\s+/g, " ").trim();
}

/** @param {number} text */
function beginningCell(text) {
  const cell = element("td", "context"), line = element("bdi", "", beginningOf(text));
  cell.title = texts[text].name;
  cell.append(line);
  return cell;
}

/** @param {number} text */
function contentOf(text) {
  if (contents[text] === undefined) {
    const {from, to} = texts[text], {word, after} = contextOf(from, 0, to - from);
    contents[text] = `${word}${after}`.toLowerCase();
  }
  return contents[text];
}

import {element, find} from "../frame/dom.js";
import {BLANK, ids, levelBelow, logitOf, probability, texts, whole, words} from "./data.js";
import {beginningOf, openText} from "./list.js";
import {countedRange, errorOf, shownLayer, shownLevels, shownThreshold, shownTruth, shownView} from "./scores.js";
import {change, shownRange, state} from "./state.js";
import {contextOf, showToken, wordOf} from "./text.js";

const MOST = 100;  // rows of the table
const BEFORE = 12, AFTER = 6;  // tokens of context
const LISTED = 8;  // tokens that errors have in common
const FEWEST = 3;  // errors behind a token, else it is chance
const WORD = whole ? -1 : 2;  // the column of the word in what is saved
let order = "size", turned = false;

/** @typedef {{one: number, kind: number, size: number}} Fault   one: a token or a whole text; size: how far the logit lies on the wrong side */

/** @returns {Fault[]} */
function faults() {
  const [from, to] = countedRange(), levels = shownLevels(), view = shownView(), threshold = shownThreshold(), found = [];
  for (let one = from; one < to; one++) {
    const kind = errorOf(one);
    if (kind) found.push({one, kind, size: Math.abs(logitOf(view, levels[one]) - threshold)});
  }
  return found;
}

/** Let the heads of the table sort it, and its rows lead to their token. */
export function startErrors() {
  for (const button of document.querySelectorAll("#errors-table thead button")) {
    button.addEventListener("click", () => {
      const name = button.getAttribute("data-order") ?? "size";
      turned = order === name ? !turned : false;
      order = name;
      showErrors();
    });
  }
  find("errors-rows").addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const row = event.target instanceof Element && event.target.closest("tr");
    if (row) goTo(Number(row.getAttribute("data-one")));
  });
  find("csv").addEventListener("click", saveScores);
}

/** Pin a token and bring it on the screen; of whole texts, open one. @param {number} one */
function goTo(one) {
  if (whole) openText(one);
  else goToToken(one);
}

/** Pin a token and bring it on the screen. @param {number} token */
export function goToToken(token) {
  change({token, tab: "text"});
  showToken(token);
}

/** What the table sorts by in its last column. @param {number} one */
const wordsOf = one => whole ? beginningOf(one) : wordOf(one);

/** Show the largest errors and what stands before them. */
export function showErrors() {
  const found = faults(), known = shownTruth().some((/** @type {number} */ truth) => truth >= 0);
  const by = {size: (/** @type {Fault} */ a, /** @type {Fault} */ b) => b.size - a.size, place: (/** @type {Fault} */ a, /** @type {Fault} */ b) => a.one - b.one,
              kind: (/** @type {Fault} */ a, /** @type {Fault} */ b) => b.kind - a.kind || b.size - a.size,
              word: (/** @type {Fault} */ a, /** @type {Fault} */ b) => wordsOf(a.one) < wordsOf(b.one) ? -1 : wordsOf(a.one) > wordsOf(b.one) ? 1 : b.size - a.size}[order];
  const largest = [...found].sort((a, b) => b.size - a.size).slice(0, MOST).sort(by);
  if (turned) largest.reverse();
  const alarms = found.filter(fault => fault.kind > 0).length;
  find("errors-found").textContent = !known ? `The truth of ${whole ? "these texts" : "this text"} is not known, so nothing counts as an error.`
    : `${alarms.toLocaleString("en")} false alarms and ${(found.length - alarms).toLocaleString("en")} misses ${whole ? "among the shown texts" : "in the shown text"}` +
      (found.length > MOST ? `; the ${MOST} largest` : "");
  find("errors-table").hidden = !found.length;
  find("errors-rows").replaceChildren(...largest.map(rowOf));
  for (const button of document.querySelectorAll("#errors-table thead button")) {
    const mine = button.getAttribute("data-order") === order;
    const falls = turned === (order === "place" || order === "word");  // places and words rise first, all else falls
    button.closest("th")?.setAttribute("aria-sort", !mine ? "none" : falls ? "descending" : "ascending");
  }
  find("common").replaceChildren(...whole ? [] : [commonOf(found, 1, "Before false alarms"), commonOf(found, -1, "Before misses")].flat());
}

/** @param {Fault} fault */
function rowOf(fault) {
  const row = element("tr"), context = element("td", "context"), line = element("bdi");
  const p = probability(logitOf(shownView(), shownLevels()[fault.one]));
  row.setAttribute("data-one", String(fault.one));
  if (whole) line.append(beginningOf(fault.one));
  else {
    const {before, word, after} = contextOf(fault.one, BEFORE, AFTER);
    line.append(before, element("mark", fault.kind > 0 ? "alarm" : "miss", word.replace("\n", "")), after);
  }
  context.append(line);
  const link = element("button", "place", (fault.one + 1).toLocaleString("en"));
  const place = element("td", "value");
  place.append(link);
  row.append(place, element("td", "verdict", fault.kind > 0 ? "false alarm" : "miss"), element("td", "value", p.toFixed(3)), context);
  return row;
}

/**
 * The tokens just before errors that stand there more often than before any token.
 * @param {Fault[]} found
 * @param {number} kind
 * @param {string} title
 */
function commonOf(found, kind, title) {
  const [from, to] = shownRange(), base = new Map(), here = new Map(), own = found.filter(fault => fault.kind === kind && startOf(fault.one) < fault.one);
  let read = 0;
  const levels = shownLevels(), truth = shownTruth();
  for (let i = from + 1; i < to; i++) {
    if (levels[i] === BLANK || truth[i] < 0 || startOf(i) === i) continue;
    base.set(ids[i - 1], (base.get(ids[i - 1]) ?? 0) + 1);
    read++;
  }
  for (const {one} of own) here.set(ids[one - 1], (here.get(ids[one - 1]) ?? 0) + 1);
  const lines = [...here].filter(([, n]) => n >= FEWEST)
    .map(([id, n]) => ({id, n, lift: n / own.length / (base.get(id) / read), share: n / base.get(id)}))
    .filter(one => one.lift > 1.5).sort((a, b) => b.n * Math.log(b.lift) - a.n * Math.log(a.lift)).slice(0, LISTED);
  if (!lines.length) return [];
  const part = element("section"), table = element("table"), head = element("tr");
  part.append(element("h3", "", title));
  head.append(element("th", "", "token before"), element("th", "", "errors"), element("th", "", "of all behind it"), element("th", "", "times the usual"));
  table.append(head);
  for (const {id, n, lift, share} of lines) {
    const row = element("tr"), cell = element("td"), word = element("bdi", "word", words[id].replace("↵\n", "↵"));
    cell.append(word);
    row.append(cell, element("td", "value", n.toLocaleString("en")), element("td", "value", `${(100 * share).toFixed(0)} %`), element("td", "value", `× ${lift.toFixed(1)}`));
    table.append(row);
  }
  part.append(table);
  return [part];
}

/** Where the text of a token begins. @param {number} token */
function startOf(token) {
  return texts.find(text => text.from <= token && token < text.to)?.from ?? 0;
}

/** What is shown as a table: one row a token, or a whole text. @returns {(string | number)[][]} */
function linesOf() {
  const [from, to] = countedRange(), view = shownView(), levels = shownLevels(), limit = levelBelow(view, shownThreshold()), truth = shownTruth();
  /** @type {(string | number)[][]} */
  const lines = [["text", ...(whole ? ["tokens"] : ["token", "word"]), "truth", "logit", "probability", "predicted"]];
  for (let i = from; i < to; i++) {
    const blank = levels[i] === BLANK, logit = logitOf(view, levels[i]), text = whole ? texts[i] : texts.find(one => one.from <= i && i < one.to);
    const place = text && whole ? [text.to - text.from] : [i + 1, wordOf(i).replace("↵\n", "↵")];
    lines.push([text?.name ?? "", ...place, truth[i] < 0 ? "" : truth[i], blank ? "" : logit.toFixed(4),
                blank ? "" : probability(logit).toPrecision(6), blank ? "" : Number(levels[i] > limit)]);
  }
  return lines;
}

/** Save what is shown. */
function saveScores() {
  const lines = linesOf().map((line, row) => line.map((value, at) => row && (at === 0 || at === WORD) ? cell(String(value)) : value).join(","));
  const link = /** @type {HTMLAnchorElement} */ (document.createElement("a"));
  link.href = URL.createObjectURL(new Blob(["\ufeff", lines.join("\r\n"), "\r\n"], {type: "text/csv"}));
  link.download = `scores_${shownLayer().name}_${whole || state.text < 0 ? "all" : state.text + 1}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Quote a cell; one that a spreadsheet would take for a formula is text. @param {string} text */
function cell(text) {
  return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}

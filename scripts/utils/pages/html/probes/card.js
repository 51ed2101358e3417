import {drawing, element, find} from "../frame/dom.js";
import {BLANK, count, ids, levelOfToken, logitOf, ownProbability, probability, texts, tokenScale, views, vocabulary, whole} from "./data.js";
import {lagTable} from "./lags.js";
import {colourOf} from "./paint.js";
import {shownThreshold, shownTruth, shownView} from "./scores.js";
import {change, state} from "./state.js";
import {spanOf, wordOf} from "./text.js";

const NARROW = 820;  // pixels, as in the style
const WIDTH = 250, HEIGHT = 84, EDGE = 6;  // of the curve
const MOST_ROWS = 32;  // layers whose values stand beside the curve
const MEANINGS = {own: "its own part of the mean", "so far": "the text so far"};  // of a token's value, where whole texts are judged
let hovered = -1;

/** @param {number} p */
const exact = p => p >= 0.001 || p === 0 ? p.toFixed(4) : p.toExponential(2);
/** @param {number} logit */
const signed = logit => (logit < 0 ? "−" : "+") + Math.abs(logit).toFixed(2);

/** Show what there is to know of a token; -1: of the pinned one, or nothing. @param {number} token */
export function hover(token) {
  if (token === hovered) return;
  mark(hovered, "under", false);
  hovered = token;
  mark(token, "under", true);
  showCard();
}

/** Pin a token, or let it go. @param {number} token */
export function pin(token) {
  change({token: state.token === token ? -1 : token});
}

/** Show the card anew: the layer or the pinned token has changed. */
export function showCard() {
  for (const span of document.querySelectorAll(".token.pinned")) span.classList.remove("pinned");
  mark(state.token, "pinned", true);
  const card = find("card"), token = hovered >= 0 ? hovered : state.token, span = token >= 0 && state.tab === "text" ? spanOf(token) : null;
  card.hidden = !span || isAway(span.getBoundingClientRect());
  if (card.hidden || !span) return;
  const name = element("div", "name", `“${wordOf(token).replace("↵\n", "↵")}”`), title = element("bdi");
  title.append(name);
  const about = whole ? MEANINGS[whole] : shownView().words.card[String(shownTruth()[token])], first = whole ? texts[state.text].from : 0;
  const facts = element("p", "fact", `token ${(token - first + 1).toLocaleString("en")}, id ${vocabulary[ids[token]]}, ${about}` +
    (token === state.token ? ", pinned" : ""));
  card.replaceChildren(title, facts, reading(token), curveOf(token));
  const own = ownProbability(shownView(), token), lags = heatmapOf(token);
  if (!Number.isNaN(own)) card.append(element("p", "own", `the model’s own probability of the target: ${exact(own)}`));
  if (lags) card.append(lags);
  place(card, span.getBoundingClientRect());
}

/** Whether a token is out of sight; on a narrow screen its card has a place of its own. @param {DOMRect} box */
const isAway = box => window.innerWidth > NARROW && (box.bottom < 0 || box.top > window.innerHeight);

/** @param {number} token */
function reading(token) {
  const view = shownView(), logit = logitOf(tokenScale(view), levelOfToken(view, state.layer, token));
  const line = element("p", "reading");
  line.append(element("b", "", view.layers[state.layer].name), " ");
  if (Number.isNaN(logit)) line.append("nothing was read here");
  else {
    line.append(element("span", "value", exact(probability(logit))), ` (logit ${signed(logit)}), threshold ` +
      exact(probability(shownThreshold())));
  }
  return line;
}

/** The token's probability in every layer. @param {number} token */
function curveOf(token) {
  const view = shownView(), all = view.layers.length;
  const svg = drawing("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "curve", role: "img"});
  const x = (/** @type {number} */ at) => EDGE + (WIDTH - 2 * EDGE) * (all === 1 ? 0.5 : at / (all - 1));
  const y = (/** @type {number} */ p) => EDGE + (HEIGHT - 20) * (1 - p);
  const values = view.layers.map((_, at) => logitOf(tokenScale(view), levelOfToken(view, at, token))).map(logit => probability(logit));
  svg.append(drawing("line", {class: "grid", x1: 0, x2: WIDTH, y1: y(0), y2: y(0)}), drawing("line", {class: "grid", x1: 0, x2: WIDTH, y1: y(1), y2: y(1)}));
  const known = values.map((p, at) => ({p, at})).filter(({p}) => !Number.isNaN(p));
  svg.append(drawing("polyline", {class: "path", points: known.map(({p, at}) => `${x(at).toFixed(1)},${y(p).toFixed(1)}`).join(" ")}));
  for (const {p, at} of known) {
    const point = drawing("circle", {class: at === state.layer ? "dot now" : "dot", cx: x(at).toFixed(1), cy: y(p).toFixed(1), r: at === state.layer ? 4 : 2.5,
      "data-layer": at, "data-p": exact(p)});
    point.append(drawing("title", {}, `${view.layers[at].name}: ${exact(p)}`));
    svg.append(point);
  }
  svg.append(drawing("text", {class: "tick", x: 0, y: HEIGHT - 4}, view.layers[0].name));
  if (all > 1) svg.append(drawing("text", {class: "tick", x: WIDTH, y: HEIGHT - 4, "text-anchor": "end"}, view.layers[all - 1].name));
  svg.setAttribute("aria-label", known.slice(0, MOST_ROWS).map(({p, at}) => `${view.layers[at].name} ${exact(p)}`).join(", "));
  return svg;
}

/** The token's probability by layer and lag, as colours. @param {number} token */
function heatmapOf(token) {
  return lagTable(({view, layer}) => {
    const level = levelOfToken(views[view], layer, token), mark = element("span");
    if (level === BLANK) return null;
    const p = probability(logitOf(tokenScale(views[view]), level));
    mark.style.backgroundColor = colourOf(p);
    mark.title = `${views[view].layers[layer].name}, lag ${views[view].lag}: ${exact(p)}`;
    if (view === state.view && layer === state.layer) mark.className = "now";
    return mark;
  });
}

/** @param {number} token @param {string} name @param {boolean} on */
function mark(token, name, on) {
  if (token >= 0 && token < count) spanOf(token)?.classList.toggle(name, on);
}

/**
 * Below the token or above it; where neither has room, beside it, on the side with more. On a narrow screen the style gives
 * the card a place of its own.
 * @param {HTMLElement} card
 * @param {DOMRect} box
 */
function place(card, box) {
  card.style.top = card.style.left = "";
  if (window.innerWidth <= NARROW) return;
  const {offsetWidth: width, offsetHeight: height} = card, below = box.bottom + 8, above = box.top - height - 8;
  let left = box.left, top = below;
  if (below + height > window.innerHeight - 8) {
    top = above;
    if (above < 8) {
      left = window.innerWidth - box.right > box.left ? box.right + 8 : box.left - width - 8;
      top = Math.min(box.top, window.innerHeight - height - 8);
    }
  }
  card.style.top = `${Math.max(8, top)}px`;
  card.style.left = `${Math.max(8, Math.min(left, window.innerWidth - width - 8))}px`;
}

import {find} from "../frame/dom.js";
import {count, logOdds, opensOn, probability, texts, views, whole} from "./data.js";

export const MODES = whole ? ["probability", "threshold", "difference"] : ["probability", "threshold", "errors", "difference"];
export const SCALES = ["probability", "log-odds", "rank"];
export const PALETTES = ["red", "blue"];
/** @type {import("./data.js").ScoreName[]} */
export const SHOWN_SCORES = ["auc", "balanced_accuracy"];
export const TABS = ["text", "errors", "curves", "about"];
export const ORDERS = ["score", "truth", "error", "length", "place"];  // of whole texts: the largest first, with a minus the smallest

/**
 * What is shown. `at` is a logit in the place of each layer's own threshold, or null.
 * `promise` is what the threshold promises on validation: at most so many false alarms, or at least so many found.
 * @typedef {object} State
 * @property {number} view
 * @property {number} layer
 * @property {number} text   -1: all of them; of whole texts their list
 * @property {number} token   that is pinned, or -1
 * @property {string} mode
 * @property {string} scale
 * @property {string} palette
 * @property {number | null} at
 * @property {{kind: "false" | "found", share: number} | null} promise
 * @property {number} otherView   with which the difference mode compares
 * @property {number} otherLayer
 * @property {string} wanted   what is searched for
 * @property {string} tab
 * @property {import("./data.js").ScoreName} score   that the charts of the sweep show
 * @property {string} order   of the list of whole texts
 */

const first = views[0], opens = opensOn(first);

/**
 * How the page opens without an address.
 * @type {State}
 */
const opening = {
  view: 0, layer: opens, text: texts.length > 1 || whole ? -1 : 0, token: -1, mode: "probability", scale: "probability", palette: "red", at: null,
  promise: null, otherView: 0, otherLayer: opens === 0 ? first.layers.length - 1 : 0, wanted: "",
  tab: "text", score: first.chosenBy, order: ORDERS[0],
};
export const state = {...opening};

/** @type {((changed: Set<string>) => void)[]} */
const followers = [];
let written = "", waiting = 0;

/**
 * Call a function with the names of what has changed, now with all of them.
 * @param {(changed: Set<string>) => void} follower
 */
export function follow(follower) {
  followers.push(follower);
}

/**
 * Change what is shown.
 * @param {Partial<State>} changes
 */
export function change(changes) {
  const sound = sounded({...state, ...changes}), changed = new Set();
  for (const name of /** @type {(keyof State)[]} */ (Object.keys(state))) if (state[name] !== sound[name]) changed.add(name);
  if (!changed.size) return;
  Object.assign(state, sound);
  for (const follower of followers) follower(changed);
  clearTimeout(waiting);
  waiting = setTimeout(writeFragment, 150);  // a slider that is drawn fills no history
}

/**
 * Bring every value within what there is.
 * @param {State} asked
 * @returns {State}
 */
function sounded(asked) {
  const within = (/** @type {number} */ value, /** @type {number} */ length) => Math.max(0, Math.min(length - 1, value || 0));
  const view = within(asked.view, views.length), otherView = asked.mode === "difference" ? within(asked.otherView, views.length) : view;
  const layer = within(asked.layer, views[view].layers.length), last = views[otherView].layers.length - 1, begins = asked.mode !== state.mode;
  const same = begins && asked.mode === "difference" && otherView === view && asked.otherLayer === layer;  // a comparison with itself shows nothing
  const text = Math.max(-1, Math.min(texts.length - 1, asked.text)), [from, to] = whole ? rangeOf(text) : [0, count];
  return {
    ...asked, view, otherView, text, layer,
    otherLayer: same ? (layer === 0 ? last : 0) : within(asked.otherLayer, last + 1), token: asked.token >= from && asked.token < to ? asked.token : -1,
  };
}

/** The first token that is shown, and the one behind the last. @returns {[number, number]} */
export const shownRange = () => rangeOf(state.text);

/** The tokens of a text; without one, all of them, or in the list of whole texts none. @param {number} text @returns {[number, number]} */
function rangeOf(text) {
  return text >= 0 ? [texts[text].from, texts[text].to] : whole ? [0, 0] : [0, count];
}

/** @param {number} index */
const nameOfView = index => [views[index].target, views[index].lag, views[index].kind, views[index].seed].join("|");

/** What of the state stands in the address: a link opens the page on it. */
export function fragment() {
  const view = views[state.view], parts = new URLSearchParams();
  if (views.length > 1) parts.set("probes", nameOfView(state.view));
  parts.set("layer", view.layers[state.layer].name);
  if (state.text !== opening.text) parts.set("text", String(state.text + 1));
  if (state.token >= 0) parts.set("token", String(state.token + 1));
  if (state.mode !== "probability") parts.set("mode", state.mode);
  if (state.scale !== "probability") parts.set("scale", state.scale);
  if (state.palette !== "red") parts.set("colours", state.palette);
  if (state.promise) parts.set(state.promise.kind, String(state.promise.share));
  else if (state.at !== null) parts.set("threshold", String(Number(probability(state.at).toPrecision(6))));
  if (state.mode === "difference") {
    if (views.length > 1) parts.set("with", nameOfView(state.otherView));
    parts.set("with_layer", views[state.otherView].layers[state.otherLayer].name);
  }
  if (state.wanted) parts.set("find", state.wanted);
  if (state.tab !== "text") parts.set("tab", state.tab);
  if (state.score !== opening.score) parts.set("score", state.score);
  if (state.order !== opening.order) parts.set("order", state.order);
  return `#${parts}`;
}

function writeFragment() {
  written = fragment();
  try {
    history.replaceState(null, "", written);
  } catch (error) {  // a page inside a frame of another origin may not; the view then has no address
    console.info(String(error));
  }
}

/**
 * Read an address. What it does not name, or names and is not there, is as the page opens.
 * @param {string} hash
 */
export function readFragment(hash) {
  if (hash === written) return;
  const parts = new URLSearchParams(hash.replace(/^#/, "")), named = views.map((_, index) => nameOfView(index));
  const found = {...opening}, layersOf = (/** @type {number} */ index) => views[index].layers.map(layer => layer.name);
  const view = named.indexOf(parts.get("probes") ?? ""), other = named.indexOf(parts.get("with") ?? "");
  if (view >= 0) Object.assign(found, {view, layer: opensOn(views[view])});
  if (other >= 0) found.otherView = other;
  const layer = layersOf(found.view).indexOf(parts.get("layer") ?? ""), otherLayer = layersOf(found.otherView).indexOf(parts.get("with_layer") ?? "");
  if (layer >= 0) found.layer = layer;
  if (otherLayer >= 0) found.otherLayer = otherLayer;
  const text = parts.get("text"), token = Number(parts.get("token")), p = Number(parts.get("threshold"));
  if (Number(text) >= 1) found.text = Math.floor(Number(text)) - 1;
  if (token >= 1) found.token = Math.floor(token) - 1;
  /** @type {[string, "mode" | "scale" | "palette" | "tab" | "score" | "order", string[]][]} */
  const lists = [["mode", "mode", MODES], ["scale", "scale", SCALES], ["colours", "palette", PALETTES], ["tab", "tab", TABS], ["score", "score", SHOWN_SCORES],
    ["order", "order", ORDERS.flatMap(name => [name, `-${name}`])]];
  for (const [key, name, list] of lists) {
    const value = parts.get(key);
    if (value !== null && list.includes(value)) found[name] = /** @type {any} */ (value);
  }
  if (p > 0 && p < 1) found.at = logOdds(p);
  for (const kind of /** @type {("false" | "found")[]} */ (["false", "found"])) {
    const share = Number(parts.get(kind));
    if (parts.has(kind) && share >= 0 && share <= 1) found.promise = {kind, share};
  }
  found.wanted = parts.get("find") ?? "";
  change(found);
}

/** Say it to those who do not see it. @param {string} text */
export function announce(text) {
  find("announced").textContent = text;
}

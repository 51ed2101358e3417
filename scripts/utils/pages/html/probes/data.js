import {bytes, data} from "../frame/dom.js";

/**
 * A score of a layer's probe, its interval, and that of its control: random weights (AUROC) or random labels.
 * @typedef {{value: number | null, low: number | null, high: number | null, control: number | null}} Score
 *
 * @typedef {"auc" | "balanced_accuracy"} ScoreName
 *
 * @typedef {object} LayerOfProbes
 * @property {string} name
 * @property {number} threshold   the logit above which the probe says "positive"
 * @property {Record<ScoreName, Score> | null} scores
 * @property {{thresholds: number[], false_alarms: number[], found: number[]} | null} curve   of validation
 *
 * The probes of one target, lag, kind and seed, one for each layer.
 * @typedef {object} View
 * @property {string} question
 * @property {string} target
 * @property {number} lag
 * @property {string} kind
 * @property {number} seed
 * @property {number} truth   which of `truths` is its
 * @property {number} chosen   the layer that validation chose; -1 where no scores on validation are known
 * @property {ScoreName} chosenBy   the score on validation by which it was
 * @property {number | null} prevalence   share of positives in natural text; null where it is not known
 * @property {string | null} split   whose scores the chart shows
 * @property {LayerOfProbes[]} layers
 * @property {({name: string} & Record<ScoreName, number | null>)[]} baselines
 * @property {string[]} notes
 * @property {{positive: string, negative: string, mark: string, card: Record<string, string>}} words
 * @property {{promoted: string[], suppressed: string[]}[]} directions   of each layer; empty where the model has no head
 * @property {number} low   the logit of 0; each step more is `step` more
 * @property {number} step
 * @property {number} tokenLow   the same of the tokens of whole texts
 * @property {number} tokenStep
 * @property {string} logits   uint16 [layers, tokens], BLANK where nothing was read; of whole texts [layers, texts + tokens]
 *
 * @typedef {object} ShownText
 * @property {string} name
 * @property {string} note
 * @property {number} from   its first token
 * @property {number} to     behind its last one
 */

export const BLANK = 65535;
export const SCORE_NAMES = {auc: "AUROC", balanced_accuracy: "balanced accuracy"};

/** @type {View[]} */
export const views = data.views;
/** @type {ShownText[]} */
export const texts = data.texts;
/** @type {string[]} each different token, as it is shown */
export const words = data.words;
/** @type {number[]} and its id in the model's vocabulary */
export const vocabulary = data.vocabulary;
/** Of each token, which of `words` it is. */
export const ids = words.length < 65536 ? new Uint16Array(bytes(data.ids)) : new Uint32Array(bytes(data.ids));
/** @type {Record<number, string>} what of the text lies before a token and in none */
export const gaps = data.gaps;
/** 1 positive, 0 negative, -1 unknown, of each token or each whole text; a view says which is its own. */
export const truths = data.truths.map((/** @type {string} */ packed) => new Int8Array(bytes(packed)));
export const count = ids.length;

/**
 * Where the probes judge whole texts: what the colour of a token is, its "own" logit, of which the text's is the mean, or
 * what would be said of the text "so far". Else null.
 * @type {"own" | "so far" | null}
 */
export const whole = data.whole;
/** What is judged and counted. */
export const noun = whole ? "text" : "token";
/** How many of them there are: levels begin with theirs. */
export const judged = whole ? texts.length : count;
const before = whole ? texts.length : 0, width = before + count;  // levels of a layer before those of tokens, and in all

/**
 * The model's own log-odds of a target at each token, and which question they answer; null where it cannot say.
 * @type {{truth: number, lag: number, low: number, step: number, logits: string} | null}
 */
export const own = data.own ?? null;
const ownLevels = own && new Uint16Array(bytes(own.logits));

/** The model's own probability at a token, NaN where it has none that answers the same question. @param {View} view @param {number} token */
export function ownProbability(view, token) {
  if (!own || !ownLevels || own.truth !== view.truth || own.lag !== view.lag || ownLevels[token] === BLANK) return NaN;
  return probability(own.low + own.step * ownLevels[token]);
}

/** @type {Map<View, Uint16Array>} */
const decoded = new Map();

/**
 * Give the levels of all layers, decoded once.
 * @param {View} view
 */
function levelsOf(view) {
  let levels = decoded.get(view);
  if (!levels) decoded.set(view, levels = new Uint16Array(bytes(view.logits)));
  return levels;
}

/**
 * Give the levels of one layer: uint16 [judged].
 * @param {View} view
 * @param {number} layer
 */
export function levelsAt(view, layer) {
  return levelsOf(view).subarray(layer * width, layer * width + judged);
}

/**
 * Give the levels of the tokens in one layer: uint16 [count].
 * @param {View} view
 * @param {number} layer
 */
export function tokenLevelsAt(view, layer) {
  return levelsOf(view).subarray(layer * width + before, (layer + 1) * width);
}

/** @param {View} view @param {number} layer @param {number} token */
export const levelOfToken = (view, layer, token) => levelsOf(view)[layer * width + before + token];

/** What levels mean: the logit of 0, and how much each step more is. @typedef {{low: number, step: number}} Scale */

/** The scale of a token's levels: with whole texts it is another than the texts'. @type {(view: View) => Scale} */
export const tokenScale = view => whole ? {low: view.tokenLow, step: view.tokenStep} : view;

/**
 * Give the logit of a level; NaN for BLANK.
 * @param {Scale} scale
 * @param {number} level
 */
export function logitOf(scale, level) {
  return level === BLANK ? NaN : scale.low + scale.step * level;
}

/**
 * Give the highest level that is not above a logit, -1 where all are: what has a higher level is predicted positive.
 * @param {Scale} scale
 * @param {number} logit
 */
export function levelBelow(scale, logit) {
  return Math.max(-1, Math.min(BLANK - 1, Math.floor((logit - scale.low) / scale.step)));
}

/** The layer on which a set of probes opens. @param {View} view */
export const opensOn = view => view.chosen >= 0 ? view.chosen : view.layers.length - 1;

/** @param {number} logit */
export const probability = logit => 1 / (1 + Math.exp(-logit));

/** @param {number} p */
export const logOdds = p => Math.log(p / (1 - p));

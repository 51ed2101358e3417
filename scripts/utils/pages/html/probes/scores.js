import {BLANK, judged, levelBelow, levelsAt, probability, tokenLevelsAt, truths, views, whole} from "./data.js";
import {shownRange, state} from "./state.js";

/** How many tokens (or whole texts) of a class have which level, of those that are shown, for the shown layer. */
const positives = new Uint32Array(BLANK), negatives = new Uint32Array(BLANK);
let counted = "";

export const shownView = () => views[state.view];
export const shownLayer = () => shownView().layers[state.layer];
/** The truth of each token (or whole text), of the shown probes. @returns {Int8Array} */
export const shownTruth = () => truths[shownView().truth];
export const shownLevels = () => levelsAt(shownView(), state.layer);
export const shownTokenLevels = () => tokenLevelsAt(shownView(), state.layer);
/** Which tokens are counted, or which whole texts: these are counted together, whichever is open. @returns {[number, number]} */
export const countedRange = () => whole ? [0, judged] : shownRange();

/** The logit above which what the shown layer says counts as positive. */
export function shownThreshold() {
  return thresholdOf(state.view, state.layer);
}

/**
 * The same for any layer: what is promised on validation, what the slider says, or the probe's own.
 * @param {number} view
 * @param {number} layer
 */
export function thresholdOf(view, layer) {
  const one = views[view].layers[layer];
  if (state.promise && one.curve) return promised(one.curve, state.promise);
  return state.at === null ? one.threshold : state.at;
}

/**
 * The threshold that keeps a promise on validation: the lowest with no more false alarms, or the highest that finds as many.
 * @param {{thresholds: number[], false_alarms: number[], found: number[]}} curve   thresholds rise
 * @param {{kind: "false" | "found", share: number}} promise
 */
export function promised(curve, promise) {
  const {thresholds, false_alarms: alarms, found} = curve, last = thresholds.length - 1;
  if (promise.kind === "false") {
    const at = alarms.findIndex(share => share <= promise.share + 1e-12);
    return thresholds[at < 0 ? last : at];
  }
  const at = found.findLastIndex(share => share >= promise.share - 1e-12);
  return thresholds[Math.max(0, at)];
}

/** Count levels by class, once for each layer and text. */
function countLevels() {
  const [from, to] = countedRange(), key = `${state.view} ${state.layer} ${from} ${to}`;
  if (key === counted) return;
  counted = key;
  positives.fill(0);
  negatives.fill(0);
  const levels = shownLevels(), truth = shownTruth();
  for (let i = from; i < to; i++) {
    if (truth[i] < 0 || levels[i] === BLANK) continue;
    (truth[i] ? positives : negatives)[levels[i]]++;
  }
}

/** @typedef {{tp: number, fp: number, tn: number, fn: number}} Counts */

/** Count hits, false alarms, misses and the rest in the shown text. @returns {Counts} */
export function countsAt(threshold = shownThreshold()) {
  countLevels();
  const limit = levelBelow(shownView(), threshold), found = {tp: 0, fp: 0, tn: 0, fn: 0};
  for (let level = 0; level < BLANK; level++) {
    const yes = level > limit;
    found[yes ? "tp" : "fn"] += positives[level];
    found[yes ? "fp" : "tn"] += negatives[level];
  }
  return found;
}

/**
 * The points of the ROC curve of the shown text, from the highest threshold down: false alarms and found, as counts.
 * @returns {{level: number, fp: number, tp: number}[]}
 */
export function rocPoints() {
  countLevels();
  const points = [{level: BLANK, fp: 0, tp: 0}];
  let fp = 0, tp = 0;
  for (let level = BLANK - 1; level >= 0; level--) {
    if (!positives[level] && !negatives[level]) continue;
    fp += negatives[level];
    tp += positives[level];
    points.push({level, fp, tp});
  }
  return points;
}

/**
 * The AUROC of the shown layer from one token (or whole text) to another; NaN where a class is missing. Equal levels count half.
 * @param {number} from
 * @param {number} to
 */
export function areaUnderRoc(from, to) {
  const levels = shownLevels(), truth = shownTruth(), known = new Uint32Array(to - from);
  let n = 0;
  for (let i = from; i < to; i++) if (truth[i] >= 0 && levels[i] !== BLANK) known[n++] = 2 * levels[i] + truth[i];
  const sorted = known.subarray(0, n).sort();
  let below = 0, area = 0, positive = 0;
  for (let i = 0; i < n;) {
    let ours = 0, theirs = 0;
    for (const level = sorted[i] >> 1; i < n && sorted[i] >> 1 === level; i++) sorted[i] & 1 ? ours++ : theirs++;
    area += ours * (below + theirs / 2);
    below += theirs;
    positive += ours;
  }
  return positive && below ? area / positive / below : NaN;
}

/**
 * Count either class in bins of equal width of the logit, and the mean probability there.
 * @param {number} bins
 */
export function histogramOf(bins) {
  countLevels();
  const found = {positive: new Array(bins).fill(0), negative: new Array(bins).fill(0)};
  for (let level = 0; level < BLANK; level++) {
    if (!positives[level] && !negatives[level]) continue;
    const bin = Math.min(bins - 1, Math.floor(level / BLANK * bins));
    found.positive[bin] += positives[level];
    found.negative[bin] += negatives[level];
  }
  return found;
}

/**
 * Of bins of the probability: how many, the mean probability, and the share that is positive.
 * @param {number} bins
 */
export function reliabilityOf(bins) {
  countLevels();
  const view = shownView(), found = Array.from({length: bins}, () => ({n: 0, sum: 0, positive: 0}));
  for (let level = 0; level < BLANK; level++) {
    const n = positives[level] + negatives[level];
    if (!n) continue;
    const p = probability(view.low + view.step * level), bin = found[Math.min(bins - 1, Math.floor(p * bins))];
    bin.n += n;
    bin.sum += n * p;
    bin.positive += positives[level];
  }
  return found.map(bin => ({n: bin.n, mean: bin.n ? bin.sum / bin.n : NaN, share: bin.n ? bin.positive / bin.n : NaN}));
}

/** The shares of levels that lie below each level: uint8 [levels], 255 is 1. Ties share their middle. @param {Uint16Array} levels */
export function ranksAmong(levels) {
  const all = new Uint32Array(BLANK), found = new Uint8Array(BLANK + 1);
  let total = 0, below = 0;
  for (const level of levels) if (level !== BLANK) { all[level]++; total++; }
  for (let level = 0; level < BLANK; level++) {
    found[level] = Math.round(255 * (below + all[level] / 2) / (total || 1));
    below += all[level];
  }
  return found;
}

/** Which tokens (or texts) are wrong, of those whose truth is known: 1 a false alarm, -1 a miss, 0 right or not known. @param {number} one */
export function errorOf(one) {
  const truth = shownTruth()[one], level = shownLevels()[one];
  if (one < 0 || one >= judged || truth < 0 || level === BLANK) return 0;
  const yes = level > levelBelow(shownView(), shownThreshold());
  return yes === (truth === 1) ? 0 : yes ? 1 : -1;
}

import {isDark} from "../frame/theme.js";
import {BLANK, judged, levelBelow, levelsAt, logitOf, probability, tokenLevelsAt, tokenScale, views, whole} from "./data.js";
import {ranksAmong, shownLevels, shownTokenLevels, shownTruth, shownView, thresholdOf} from "./scores.js";
import {shownRange, state} from "./state.js";

const WIDEST = 6;  // log-odds at which that scale has its full colour
/** From 0 to 1, in light and in dark: text on each of them has a contrast of 4.5 at least. */
const RAMPS = {
  red: {light: [[255, 255, 255], [255, 0, 0]], dark: [[23, 24, 28], [176, 24, 20]]},
  blue: {light: [[255, 255, 255], [86, 160, 255]], dark: [[23, 24, 28], [20, 84, 176]]},
};
/** Less and more, about the same: told apart by people who see no red or no green. */
const BOTH_WAYS = {
  light: [[86, 160, 255], [255, 255, 255], [255, 164, 60]],
  dark: [[20, 84, 176], [23, 24, 28], [150, 84, 0]],
};
const INK = {
  light: {line: "#0b57d0", unread: "#c9c9cf", hit: "#b7e4c0", alarm: "#ffd9a0", miss: "#b9d4ff", edge: "#7d1010"},
  dark: {line: "#8ab4ff", unread: "#4a4c55", hit: "#1f4f2c", alarm: "#5c3a00", miss: "#173c73", edge: "#ff9d96"},
};

/**
 * @param {number[][]} stops   colours, evenly spaced
 * @param {number} p   0 to 1
 */
function between(stops, p) {
  const place = Math.max(0, Math.min(1, p)) * (stops.length - 1), at = Math.min(stops.length - 2, Math.floor(place)), share = place - at;
  return `rgb(${stops[at].map((from, i) => Math.round(from + share * (stops[at + 1][i] - from))).join(" ")})`;
}

const theme = () => isDark() ? "dark" : "light";

/** The colour of a probability, or of whatever runs from 0 to 1. @param {number} p */
export function colourOf(p) {
  return between(RAMPS[/** @type {"red" | "blue"} */ (state.palette)][theme()], p);
}

/**
 * How strong the colour of each level is, 0 to 255, as the reader chose.
 * @param {Uint16Array} levels   among which it ranks
 * @param {import("./data.js").Scale} scale   of the levels
 */
function strengths(levels, scale) {
  if (state.scale === "rank") return ranksAmong(levels);
  const found = new Uint8Array(BLANK + 1);
  for (let level = 0; level < BLANK; level++) {
    const logit = scale.low + scale.step * level;
    found[level] = Math.round(255 * (state.scale === "probability" ? probability(logit)
      : Math.max(0, Math.min(1, 0.5 + logit / (2 * WIDEST)))));
  }
  return found;
}

/**
 * How one token is drawn: a fill, and marks that do without colour.
 * @typedef {object} Look
 * @property {string} fill   "" for none
 * @property {"" | "solid" | "dashed"} box
 * @property {boolean} hatched
 * @property {boolean} underlined   the label is positive there
 */

/**
 * Prepare to draw tokens as the state now asks for; call it once for all tokens of a change.
 * @returns {{look: (token: number) => Look, ink: {line: string, unread: string, edge: string}}}
 */
export function painter() {
  const levels = shownTokenLevels(), truth = whole ? null : shownTruth(), ink = INK[theme()];
  const scale = tokenScale(shownView()), limit = levelBelow(scale, thresholdOf(state.view, state.layer));
  const underlined = (/** @type {number} */ token) => truth?.[token] === 1;
  if (state.mode === "difference") return {ink, look: differing(levels, limit, underlined)};
  if (state.mode === "errors" && truth) {
    return {ink, look: token => {
      if (levels[token] === BLANK) return {fill: "", box: "", hatched: true, underlined: underlined(token)};
      const yes = levels[token] > limit, positive = underlined(token);
      if (truth[token] < 0) return {fill: "", box: "", hatched: false, underlined: false};
      return {fill: yes && positive ? ink.hit : yes ? ink.alarm : positive ? ink.miss : "", box: yes ? (positive ? "solid" : "dashed") : "",
              hatched: false, underlined: positive};
    }};
  }
  const strong = state.mode === "threshold" ? null : strengths(levels.subarray(...shownRange()), scale), colours = Array.from({length: 256}, (_, i) => colourOf(i / 255));
  const said = colourOf(state.palette === "red" ? 0.6 : 0.8);
  return {ink, look: token => {
    const level = levels[token], blank = level === BLANK, yes = !blank && level > limit;
    const fill = blank ? "" : strong ? colours[strong[level]] : yes ? said : "";
    return {fill, box: yes ? "solid" : "", hatched: blank, underlined: underlined(token)};
  }};
}

/** Give the colour of a whole text's level; "" where nothing was read. @returns {(level: number) => string} */
export function shaded() {
  const strong = strengths(shownLevels(), shownView());
  return level => level === BLANK ? "" : colourOf(strong[level] / 255);
}

/**
 * @param {Uint16Array} levels
 * @param {number} limit
 * @param {(token: number) => boolean} underlined
 * @returns {(token: number) => Look}
 */
function differing(levels, limit, underlined) {
  const view = tokenScale(shownView()), others = tokenLevelsAt(views[state.otherView], state.otherLayer), other = tokenScale(views[state.otherView]);
  const otherLimit = levelBelow(other, thresholdOf(state.otherView, state.otherLayer)), stops = BOTH_WAYS[theme()];
  return token => {
    if (levels[token] === BLANK || others[token] === BLANK) return {fill: "", box: "", hatched: true, underlined: underlined(token)};
    const more = probability(logitOf(view, levels[token])) - probability(logitOf(other, others[token]));
    const flips = (levels[token] > limit) !== (others[token] > otherLimit);
    return {fill: between(stops, 0.5 + more / 2), box: flips ? (more > 0 ? "solid" : "dashed") : "", hatched: false,
            underlined: underlined(token)};
  };
}

/** Say whether the two that are compared disagree about a token, or a whole text. @param {number} one */
export function flips(one) {
  const levels = shownLevels(), others = levelsAt(views[state.otherView], state.otherLayer);
  if (one < 0 || one >= judged || levels[one] === BLANK || others[one] === BLANK) return false;
  return (levels[one] > levelBelow(shownView(), thresholdOf(state.view, state.layer))) !==
    (others[one] > levelBelow(views[state.otherView], thresholdOf(state.otherView, state.otherLayer)));
}

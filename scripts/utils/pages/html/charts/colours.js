import {isDark} from "../frame/theme.js";

/** @typedef {[number, number, number]} Colour  red, green and blue, 0 to 255 */

const LIGHT = {paper: "#ffffff", ink: "#1c1c1e", grid: "#ececf0", line: "#b5b5bb", zero: "#dcdce0", blank: "#dedee3"};
const DARK = {paper: "#17181c", ink: "#ececf0", grid: "#2c2e35", line: "#75767f", zero: "#3a3c44", blank: "#33353c"};
const LEAST = 4;  // contrast of lines and marks on dark paper

/** Give the colours of the page as it is now. */
export function pageColours() {
  return isDark() ? DARK : LIGHT;
}

/**
 * @param {string} text  such as "#0072b2"
 * @returns {Colour}
 */
function parsed(text) {
  const [red, green, blue] = [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16));
  return [red, green, blue];
}

/** @param {Colour} colour */
function written(colour) {
  return `#${colour.map(part => Math.round(part).toString(16).padStart(2, "0")).join("")}`;
}

/**
 * @param {Colour} from
 * @param {Colour} to
 * @param {number} share
 * @returns {Colour}
 */
function mixed(from, to, share) {
  return [from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share, from[2] + (to[2] - from[2]) * share];
}

// Relative luminance and contrast as WCAG 2 defines them.
/** @param {Colour} colour */
function luminance(colour) {
  const [red, green, blue] = colour.map(part => part <= 10.31475 ? part / 3294.6 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/**
 * @param {Colour} one
 * @param {Colour} other
 */
function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

/**
 * On a dark page, brighten a colour until it is seen on the paper, its hue as it was; the light page's ink becomes the dark one's.
 * @param {string} text
 */
export function seen(text) {
  if (!isDark()) return text;
  if (text === LIGHT.ink) return DARK.ink;
  const paper = parsed(DARK.paper), ink = parsed(DARK.ink), colour = parsed(text), most = 255 / Math.max(1, ...colour);
  /** @type {Colour} */
  const bright = [colour[0] * most, colour[1] * most, colour[2] * most];
  for (let share = 0; share < 2; share += 0.05) {
    const found = share < 1 ? mixed(colour, bright, share) : mixed(bright, ink, share - 1);
    if (contrast(found, paper) >= LEAST) return written(found);
  }
  return DARK.ink;
}

/**
 * Choose black or white for text on a cell of a heatmap.
 * @param {[number, string][]} scale  colours from 0 to 1
 * @param {number} place  on the scale
 */
export function inkOn(scale, place) {
  const next = Math.max(1, scale.findIndex(([end]) => end >= Math.min(1, place)));
  const [[start, from], [end, to]] = scale.slice(next - 1, next + 1);
  const colour = mixed(parsed(from), parsed(to), Math.max(0, Math.min(1, (place - start) / (end - start))));
  return contrast(colour, [0, 0, 0]) >= contrast(colour, [255, 255, 255]) ? "#000" : "#fff";
}

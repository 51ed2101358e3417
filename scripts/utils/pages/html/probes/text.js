import {element, find} from "../frame/dom.js";
import {gaps, ids, texts, whole, words} from "./data.js";
import {painter} from "./paint.js";
import {shownRange, state} from "./state.js";

const FEWEST = 120, MOST = 600;  // tokens of a block; a line break between them ends it
const NEAR = "700px";  // beyond the screen: what is built and painted ahead
const LINE = 30, LETTER = 7.6;  // pixels, to guess how high a block will be

/**
 * Some lines of a text. Tokens stand in it once it comes near; what colours them is a canvas behind.
 * @typedef {object} Block
 * @property {number} from
 * @property {number} to
 * @property {HTMLElement} box
 * @property {HTMLElement[]} spans   of its tokens; empty until it is built
 * @property {number[][] | null} places   of each span, its rectangles: left, top, width, height, ...; null: to be measured
 * @property {HTMLCanvasElement | null} canvas
 */

/** @type {Block[]} */
let blocks = [];
/** @type {Set<Block>} */
const near = new Set();
/** @type {WeakMap<Element, Block>} */
const blockOf = new WeakMap();
const watcher = new IntersectionObserver(entries => {
  for (const {target, isIntersecting} of entries) {
    const block = blockOf.get(target);
    if (block && isIntersecting) near.add(block);
    else if (block) leave(block);
  }
  paint();
}, {rootMargin: NEAR});

/** @param {number} token */
export const wordOf = token => words[ids[token]];

/** Build the shown text anew: its headings and empty blocks. */
export function buildText() {
  const place = find("text"), [from, to] = shownRange();
  watcher.disconnect();
  near.clear();
  blocks = [];
  place.replaceChildren();
  for (const text of texts) {
    if (text.to <= from || text.from >= to || (whole && state.text < 0)) continue;
    const section = element("section"), heading = element("h2"), name = element("bdi", "", text.name);
    heading.append(name, element("small", "", text.note));
    section.append(heading);
    section.setAttribute("aria-label", text.name);
    for (const [start, end] of parted(text.from, text.to)) section.append(emptyBlock(start, end));
    place.append(section);
  }
  for (const {box} of blocks) watcher.observe(box);
}

/**
 * Part tokens where a line ends, so that a block of its own changes nothing.
 * @param {number} from
 * @param {number} to
 * @returns {Generator<[number, number]>}
 */
function* parted(from, to) {
  let start = from;
  for (let token = from; token < to; token++) {
    const size = token + 1 - start, ends = wordOf(token).endsWith("\n") || (gaps[token + 1] ?? "").includes("\n");
    if (token + 1 === to || (size >= FEWEST && ends) || size >= MOST) {
      yield [start, token + 1];
      start = token + 1;
    }
  }
}

/**
 * @param {number} from
 * @param {number} to
 */
function emptyBlock(from, to) {
  const box = element("p", "block");
  box.dir = "auto";
  /** @type {Block} */
  const block = {from, to, box, spans: [], places: null, canvas: null};
  let letters = 0, lines = 1;
  for (let token = from; token < to; token++) {
    letters += wordOf(token).length;
    if (wordOf(token).endsWith("\n")) lines++;
  }
  box.style.minHeight = `${LINE * Math.ceil(lines / 2 + letters * LETTER / Math.max(300, find("text").clientWidth))}px`;
  blockOf.set(box, block);
  blocks.push(block);
  return box;
}

/** @param {Block} block */
function build(block) {
  const parts = document.createDocumentFragment();
  for (let token = block.from; token < block.to; token++) {
    if (gaps[token]) parts.append(gaps[token]);
    const span = element("span", wordOf(token).trim() ? "token" : "token blank", wordOf(token));
    block.spans.push(span);
    parts.append(span);
  }
  block.box.style.minHeight = "";
  block.box.replaceChildren(parts);
}

/** @param {Block} block */
function leave(block) {
  near.delete(block);
  block.canvas?.remove();
  block.canvas = null;
}

/** Measure where tokens stand, of all blocks that need it at once: one layout for all of them. */
function measure() {
  const waiting = [...near].filter(block => !block.places);
  for (const block of waiting) if (!block.spans.length) build(block);
  for (const block of waiting) {
    const {left, top} = block.box.getBoundingClientRect();
    block.places = block.spans.map(span => Array.from(span.getClientRects(), one => [one.left - left, one.top - top, one.width, one.height]).flat());
  }
}

/** Paint what is near as the state asks for. */
export function paint() {
  if (!near.size) return;
  measure();
  const {look, ink} = painter(), hatch = hatching(ink.unread);
  for (const block of near) {
    const context = canvasOf(block);
    block.places?.forEach((place, index) => {
      const {fill, box, hatched, underlined} = look(block.from + index);
      for (let i = 0; i < place.length; i += 4) {
        const x = place[i], y = place[i + 1], width = place[i + 2], height = place[i + 3];
        if (fill || hatched) {
          context.fillStyle = hatched ? hatch : fill;
          context.fillRect(x, y, width, height);
        }
        if (box) {
          context.strokeStyle = ink.edge;
          context.setLineDash(box === "dashed" ? [3, 2] : []);
          context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
        }
        if (underlined) {
          context.fillStyle = ink.line;
          context.fillRect(x, y + height - 1, Math.max(width, 4), 3);
        }
      }
    });
  }
}

/** @param {Block} block */
function canvasOf(block) {
  const ratio = window.devicePixelRatio, {offsetWidth: width, offsetHeight: height} = block.box;
  if (!block.canvas) {
    block.canvas = document.createElement("canvas");
    block.canvas.setAttribute("aria-hidden", "true");
    block.box.prepend(block.canvas);
  }
  const canvas = block.canvas, context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  if (canvas.width !== Math.ceil(width * ratio) || canvas.height !== Math.ceil((height + 4) * ratio)) {
    canvas.width = Math.ceil(width * ratio);
    canvas.height = Math.ceil((height + 4) * ratio);
    canvas.style.width = `${canvas.width / ratio}px`;
    canvas.style.height = `${canvas.height / ratio}px`;
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height + 4);
  return context;
}

/** @param {string} colour */
function hatching(colour) {
  const tile = document.createElement("canvas"), context = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
  tile.width = tile.height = 6;
  context.strokeStyle = colour;
  for (const shift of [-6, 0, 6]) {
    context.moveTo(shift, 6);
    context.lineTo(shift + 6, 0);
  }
  context.stroke();
  return /** @type {CanvasPattern} */ (context.createPattern(tile, "repeat"));
}

/** Measure everything again: the width has changed. */
export function remeasure() {
  for (const block of blocks) block.places = null;
  paint();
}

/** Find the token under a place of the page, -1 for none. @param {EventTarget | null} target */
export function tokenAt(target) {
  const box = target instanceof Element && target.closest(".block"), block = box && blockOf.get(box);
  const index = block ? block.spans.indexOf(/** @type {HTMLElement} */ (target)) : -1;
  return block && index >= 0 ? block.from + index : -1;
}

/** Give the element of a token, built if need be; null where its text is not shown. @param {number} token */
export function spanOf(token) {
  const block = blocks.find(one => one.from <= token && token < one.to);
  if (!block) return null;
  if (!block.spans.length) build(block);
  return block.spans[token - block.from];
}

/** Bring a token on the screen. @param {number} token */
export function showToken(token) {
  const span = spanOf(token);
  if (!span) return;
  const {top, bottom} = span.getBoundingClientRect();
  if (top < 90 || bottom > window.innerHeight - 60) span.scrollIntoView({block: "center"});
}

/** The first token on the screen, or that of the shown range. */
export function firstInSight() {
  for (const block of blocks) {
    if (block.box.getBoundingClientRect().bottom < 60) continue;
    const index = block.spans.findIndex(span => span.getBoundingClientRect().top > 60);
    return index < 0 ? block.from : block.from + index;
  }
  return shownRange()[0];
}

/** The tokens before and after one, as text. @param {number} token @param {number} before @param {number} after */
export function contextOf(token, before, after) {
  const text = texts.find(one => one.from <= token && token < one.to) ?? texts[0];
  const part = (/** @type {number} */ from, /** @type {number} */ to) => {
    let found = "";
    for (let i = Math.max(text.from, from); i < Math.min(text.to, to); i++) found += (gaps[i] ?? "") + wordOf(i);
    return found.replace(/\s*\n\s*/g, " ");
  };
  return {before: part(token - before, token), word: wordOf(token), after: part(token + 1, token + 1 + after), text: text.name};
}

/** Whether a token is shown now. @param {number} token */
export const isShown = token => token >= shownRange()[0] && token < shownRange()[1] && state.text < texts.length;

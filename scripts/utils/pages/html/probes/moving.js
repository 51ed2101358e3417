import {find} from "../frame/dom.js";
import {count, judged, whole} from "./data.js";
import {hover, pin, showCard} from "./card.js";
import {goToToken} from "./errors.js";
import {inOrder, openText, saidOf} from "./list.js";
import {flips} from "./paint.js";
import {errorOf, shownTruth, shownView} from "./scores.js";
import {announce, change, shownRange, state} from "./state.js";
import {firstInSight, isShown, showToken, tokenAt, wordOf} from "./text.js";

const MOVES = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];  // of a slider

let at = {x: NaN, y: NaN};  // where the last click was on the screen

/** Follow the pointer and the keys. */
export function startMoving() {
  const text = find("text");
  text.addEventListener("mouseover", (/** @type {MouseEvent} */ event) => {
    const rests = event.isTrusted && event.screenX === at.x && event.screenY === at.y;  // the page moved below it
    if (!rests) hover(tokenAt(event.target));
  });
  document.addEventListener("click", event => { at = {x: event.screenX, y: event.screenY}; }, {capture: true});
  text.addEventListener("mouseleave", () => hover(-1));
  text.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const token = tokenAt(event.target), selection = window.getSelection();
    if (token >= 0 && (!selection || selection.isCollapsed)) pin(token);
  });
  find("next").addEventListener("click", () => toNext(1));
  find("previous").addEventListener("click", () => toNext(-1));
  find("find").addEventListener("input", () => change({wanted: find("find").value}));
  find("find").form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    toMatch(1);
  });
  document.addEventListener("keydown", onKey);
  window.addEventListener("scroll", () => {
    if (state.token >= 0) requestAnimationFrame(showCard);  // it follows its token
  }, {passive: true});
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const target = /** @type {HTMLElement} */ (event.target), typing = target === find("find");
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "/" && !typing) {
    event.preventDefault();
    find("find").focus();
    find("find").select();
    return;
  }
  if (event.key === "Escape" && typing) return target.blur();
  if (event.key === "Escape") {
    hover(-1);
    change(whole && state.token < 0 ? {text: -1} : {token: -1});
    return;
  }
  const slides = target instanceof HTMLInputElement && target.type === "range", moves = MOVES.includes(event.key);
  if (typing || target.tagName === "SELECT" || (target.tagName === "INPUT" && (!slides || moves))) return;  // they move by themselves
  const layers = shownView().layers.length, step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (event.key === "n" || event.key === "p") toNext(event.key === "n" ? 1 : -1);
  else if (event.key.toLowerCase() === "t") toPositive(event.shiftKey ? -1 : 1);
  else if (step && event.shiftKey) walk(step);
  else if (step) change({layer: state.layer + step});
  else if (event.key === "Home" && !event.shiftKey) change({layer: 0});
  else if (event.key === "End" && !event.shiftKey) change({layer: layers - 1});
  else return;
  event.preventDefault();
}

/** To the next token, from the pinned one or else the first on the screen. @param {number} step */
function walk(step) {
  const [from, to] = shownRange();
  if (from === to) return;
  goToToken(Math.max(from, Math.min(to - 1, isShown(state.token) ? state.token + step : firstInSight())));
  sayToken();
}

/**
 * To the next error; where two layers are compared, to the next token about which they disagree; where nothing is known of
 * the truth, to the next predicted positive.
 * @param {number} step
 */
function toNext(step) {
  const differs = state.mode === "difference";
  (whole ? seekText : seek)(step, differs ? flips : errorOf, differs ? "no disagreement" : "no error");
}

/** To the next token (or text) that is truly positive. @param {number} step */
function toPositive(step) {
  (whole ? seekText : seek)(step, one => shownTruth()[one] === 1, "nothing is positive");
}

/** @param {number} step @param {(text: number) => unknown} wanted @param {string} none */
function seekText(step, wanted, none) {
  const order = inOrder(), start = state.text >= 0 ? order.indexOf(state.text) : step > 0 ? -1 : judged;
  for (let i = 1; i <= judged; i++) {
    const text = order[((start + step * i) % judged + judged) % judged];
    if (wanted(text)) {
      openText(text);
      announce(`text ${text + 1}, ${saidOf(text).outcome}`);
      return;
    }
  }
  announce(none);
}

/** @param {number} step */
function toMatch(step) {
  const wanted = state.wanted.toLowerCase();
  if (wanted && shownRange()[1]) seek(step, token => wordsFrom(token).startsWith(wanted), `“${state.wanted}” is not in the shown text`);
}

/** The text from a token on, as long as what is searched for. @param {number} token */
function wordsFrom(token) {
  let found = "";
  for (let i = token; i < Math.min(count, shownRange()[1]) && found.trimStart().length < state.wanted.length; i++) found += wordOf(i);
  return found.toLowerCase().trimStart();
}

/** @param {number} step @param {(token: number) => unknown} wanted @param {string} none */
function seek(step, wanted, none) {
  const [from, to] = shownRange(), length = to - from, start = isShown(state.token) ? state.token : step > 0 ? from - 1 : to;
  for (let i = 1; i <= length; i++) {
    const token = from + ((start - from + step * i) % length + length) % length;
    if (wanted(token)) {
      goToToken(token);
      sayToken();
      return;
    }
  }
  announce(none);
}

function sayToken() {
  announce(wordOf(state.token) + (whole ? "" : `, ${shownView().words.card[String(shownTruth()[state.token])]}`));
}

/** Bring the pinned token on the screen where a link asked for it. */
export function toPinned() {
  if (isShown(state.token)) showToken(state.token);
}

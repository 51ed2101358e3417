import {find} from "../frame/dom.js";
import {onTheme} from "../frame/theme.js";
import {showDirection, showNotes} from "./about.js";
import {hover, showCard} from "./card.js";
import {showControls, showTexts, startControls} from "./controls.js";
import {showCurves} from "./curves.js";
import {showErrors, startErrors} from "./errors.js";
import {showList, startList} from "./list.js";
import {startMoving, toPinned} from "./moving.js";
import {shownView} from "./scores.js";
import {TABS, change, follow, readFragment, state} from "./state.js";
import {showSweep} from "./sweep.js";
import {buildText, paint, remeasure} from "./text.js";

const RESTS = 120;  // milliseconds after which the reader's hand rests: what is slow is drawn then
const NARROW = 820;  // pixels, as in the style: there the controls begin folded away
let waiting = 0;

/** Draw the scores of each text, and what the open tab shows besides the text. */
function showAtRest() {
  showTexts();
  if (state.tab === "errors") showErrors();
  if (state.tab === "curves") showCurves();
  if (state.tab === "about") showDirection();
}

function openTab() {
  for (const one of TABS) {
    find(`tab-${one}`).setAttribute("aria-selected", String(one === state.tab));
    find(`tab-${one}`).tabIndex = one === state.tab ? 0 : -1;
    find(`panel-${one}`).hidden = one !== state.tab;
  }
  if (state.tab === "text") remeasure();
  showAtRest();
}

function showQuestion() {
  const view = shownView();
  find("heading").textContent = view.question;
  document.title = view.question;
  showNotes();
}

/** @param {Set<string>} changed */
function show(changed) {
  if (changed.has("view")) showQuestion();
  if (changed.has("text")) {
    hover(-1);  // what was under the pointer is gone
    buildText();
  }
  if (changed.has("order") || changed.has("wanted")) showList();
  if (changed.has("wanted")) showControls();
  if (["view", "layer", "text", "mode", "scale", "palette", "at", "promise", "otherView", "otherLayer", "score"].some(name => changed.has(name))) {
    showList();
    paint();
    showControls();
    showSweep();
    clearTimeout(waiting);
    waiting = setTimeout(showAtRest, RESTS);
  }
  if (changed.has("tab")) openTab();
  showCard();
}

function start() {
  startControls();
  startList();
  startErrors();
  startMoving();
  TABS.forEach((name, index) => {
    find(`tab-${name}`).addEventListener("click", () => change({tab: name}));
    find(`tab-${name}`).addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (!step) return;
      event.stopPropagation();
      const tab = TABS[(index + step + TABS.length) % TABS.length];
      change({tab});
      find(`tab-${tab}`).focus();
    });
  });
  follow(show);
  find("controls").open = window.innerWidth > NARROW;
  showQuestion();
  showList();
  buildText();
  showTexts();
  showControls();
  showSweep();
  readFragment(location.hash);
  window.addEventListener("hashchange", () => {
    readFragment(location.hash);
    toPinned();
  });
  onTheme(() => { showList(); paint(); showControls(); showSweep(); showCard(); showAtRest(); });
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (width !== window.innerWidth) remeasure();
    width = window.innerWidth;
  });
  requestAnimationFrame(toPinned);
}

start();

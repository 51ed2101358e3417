import {element, find} from "../frame/dom.js";
import {SCORE_NAMES, logOdds, noun, opensOn, probability, texts, views, whole} from "./data.js";
import {saidOf} from "./list.js";
import {colourOf} from "./paint.js";
import {areaUnderRoc, countsAt, shownLayer, shownThreshold, shownTruth, shownView} from "./scores.js";
import {change, state} from "./state.js";

const CHOICES = ["target", "lag", "kind", "seed"];
/** @param {number} part @param {number} whole */
const share = (part, whole) => whole ? (part / whole).toFixed(3) : "–";
/** @param {number} n */
const counted = n => n.toLocaleString("en");

/** Fill the lists once, and follow what the user does. */
export function startControls() {
  for (const name of CHOICES) {
    const values = [...new Set(views.map(view => String(view[/** @type {"target"} */ (name)])))];
    if (name === "lag" || name === "seed") values.sort((one, other) => Number(one) - Number(other));
    find(`choice-${name}`).hidden = values.length < 2;
    find(name).replaceChildren(...values.map(value => option(value, value)));
    find(name).addEventListener("change", () => chooseProbes(name));
  }
  find("probes-choice").hidden = views.length < 2;
  find("text-choice").hidden = texts.length < 2;
  find("text-number").addEventListener("change", () => change({text: Number(find("text-number").value), token: -1}));
  find("layer").addEventListener("input", () => change({layer: Number(find("layer").value)}));
  find("threshold").addEventListener("input", () => change({at: logOdds(clamped(Number(find("threshold").value))), promise: null}));
  find("own").addEventListener("click", () => change({at: null, promise: null}));
  for (const kind of /** @type {("false" | "found")[]} */ (["false", "found"])) {
    find(kind).addEventListener("change", () => {
      const share = Math.max(0, Math.min(1, Number(find(kind).value) / 100));
      change({promise: find(kind).value === "" ? null : {kind, share}, at: null});
    });
  }
  for (const name of ["mode", "scale", "palette", "score"]) find(name).addEventListener("change", () => change({[name]: find(name).value}));
  find("with-probes").addEventListener("change", () => change({otherView: Number(find("with-probes").value)}));
  find("with-layer").addEventListener("change", () => change({otherLayer: Number(find("with-layer").value)}));
}

/** @param {number} p */
const clamped = p => Math.max(1e-6, Math.min(1 - 1e-6, p));

/** @param {string} value @param {string} text */
function option(value, text) {
  const made = /** @type {HTMLOptionElement} */ (element("option", "", text));
  made.value = value;
  return made;
}

/** Go to the probes that agree with the lists, first of all with the one that was changed. @param {string} changed */
function chooseProbes(changed) {
  const agree = (/** @type {import("./data.js").View} */ view) => CHOICES.reduce((points, name) =>
    points + (String(view[/** @type {"target"} */ (name)]) === find(name).value ? (name === changed ? 10 : 1) : 0), 0);
  const best = views.reduce((found, view, index) => agree(view) > agree(views[found]) ? index : found, 0);
  const layer = views[best].layers.findIndex(one => one.name === shownLayer().name);
  const own = state.otherView === state.view;  // layers of the same probes are compared
  change({view: best, layer: layer < 0 ? opensOn(views[best]) : layer, ...(own ? {otherView: best} : {})});
}

/** Show the state in every control. */
export function showControls() {
  const view = shownView(), slider = find("layer"), layer = view.layers[state.layer];
  for (const name of CHOICES) find(name).value = String(view[/** @type {"target"} */ (name)]);
  slider.max = String(view.layers.length - 1);
  slider.value = String(state.layer);
  slider.setAttribute("aria-valuetext", layer.name);
  find("layer-name").textContent = layer.name + (state.layer === view.chosen ? " ★" : "");
  find("layer-name").title = state.layer === view.chosen ? `chosen on validation, by ${SCORE_NAMES[view.chosenBy]}` : "";
  find("chosen-tick").hidden = view.chosen < 0;
  find("chosen-tick").style.left = `${100 * (view.layers.length === 1 ? 0.5 : view.chosen / (view.layers.length - 1))}%`;
  const p = probability(shownThreshold());
  find("threshold").value = String(p);
  find("threshold-value").textContent = p.toFixed(3);
  find("own").setAttribute("aria-pressed", String(state.at === null && !state.promise));
  for (const kind of ["false", "found"]) {
    find(kind).disabled = !layer.curve;
    find(kind).value = state.promise?.kind === kind ? String(Number((100 * state.promise.share).toPrecision(6))) : "";
  }
  find("no-curve").hidden = Boolean(layer.curve);
  for (const name of ["mode", "scale", "palette", "score"]) find(name).value = state[/** @type {"mode"} */ (name)];
  if (document.activeElement !== find("find")) find("find").value = state.wanted;
  find("scale").disabled = state.mode !== "probability";
  find("with").hidden = state.mode !== "difference";
  if (state.mode === "difference") showOther();
  showLegend();
  showCounts();
}

function showOther() {
  const names = views.map((view, index) => option(String(index), `${view.target}, lag ${view.lag}, ${view.kind}, seed ${view.seed}`));
  find("with-probes").replaceChildren(...names);
  find("with-probes").hidden = views.length < 2;
  find("with-probes").value = String(state.otherView);
  find("with-layer").replaceChildren(...views[state.otherView].layers.map((layer, index) => option(String(index), layer.name)));
  find("with-layer").value = String(state.otherLayer);
}

/** Show the legend that belongs to the mode, in the colours of now. */
function showLegend() {
  for (const part of document.querySelectorAll("[data-mode]")) {
    const modes = (part.getAttribute("data-mode") ?? "").split(" ");
    /** @type {HTMLElement} */ (part).hidden = !modes.includes(state.mode);
  }
  const steps = Array.from({length: 9}, (_, i) => colourOf(i / 8));
  find("ramp").style.background = `linear-gradient(to right, ${steps.join(", ")})`;
  find("ramp-name").textContent = {probability: "probability 0 to 1", "log-odds": "log-odds −6 to +6", rank: "lowest to highest of this text"}[state.scale] ?? "";
}

/** Counts and rates of the shown text at the threshold of now. */
function showCounts() {
  const {tp, fp, tn, fn} = countsAt(), known = tp + fp + tn + fn > 0, view = shownView();
  find("counted").hidden = !known;
  if (!known) return;
  find("positive-name").textContent = view.words.positive;
  find("negative-name").textContent = view.words.negative;
  for (const [name, n] of Object.entries({tp, fp, tn, fn})) find(name).textContent = counted(n);
  const found = tp / (tp + fn), alarms = fp / (fp + tn);
  find("recall").textContent = share(tp, tp + fn);
  find("false-rate").textContent = share(fp, fp + tn);
  find("precision").textContent = share(tp, tp + fp);
  find("balanced").textContent = tp + fn && fp + tn ? ((found + 1 - alarms) / 2).toFixed(3) : "–";
  find("natural").textContent = tp + fn && fp + tn && view.prevalence !== null ? natural(found, alarms, view.prevalence) : "";
}

/**
 * What the rates mean where the label is as rare as in natural text.
 * @param {number} found
 * @param {number} alarms
 * @param {number} prevalence
 */
function natural(found, alarms, prevalence) {
  const hits = 1e4 * prevalence * found, wrong = 1e4 * (1 - prevalence) * alarms;
  const right = hits + wrong ? `${(100 * hits / (hits + wrong)).toFixed(0)} % of the alarms are right` : "no alarm";
  return `At the share of ${(100 * prevalence).toPrecision(2)} % in the data, 10,000 ${noun}s give ${counted(Math.round(hits))} hits and ` +
    `${counted(Math.round(wrong))} false alarms: ${right}.`;
}

/** The list of texts with what the shown layer makes of each. */
export function showTexts() {
  if (texts.length < 2) return;
  const lines = texts.map((text, index) => option(String(index), `${index + 1}. ${text.name} (${scoreOf(index)})`));
  find("text-number").replaceChildren(option("-1", `${whole ? "the list of" : "all"} ${counted(texts.length)} texts`), ...lines);
  find("text-number").value = String(state.text);
}

/** How many tokens and positives a text has, and the AUROC of the shown layer on it; of a whole text what is said of it. @param {number} index */
function scoreOf(index) {
  if (whole) {
    const {p, truth} = saidOf(index);
    return `${Number.isNaN(p) ? "not read" : p.toFixed(3)}, truth ${truth}`;
  }
  const {from, to} = texts[index], positive = shownTruth().subarray(from, to).filter(truth => truth === 1).length, area = areaUnderRoc(from, to);
  return `${counted(to - from)} tokens, ${counted(positive)} positive${Number.isNaN(area) ? "" : `, AUROC ${area.toFixed(3)}`}`;
}

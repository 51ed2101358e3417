import {drawing, element, find} from "../frame/dom.js";
import {SCORE_NAMES, views} from "./data.js";
import {isDark} from "../frame/theme.js";
import {lagTable, tickOf} from "./lags.js";
import {colourOf} from "./paint.js";
import {shownView} from "./scores.js";
import {change, state} from "./state.js";

const HEIGHT = 190, LEFT = 30, RIGHT = 314, TOP = 8, BOTTOM = 168;
const FLOOR = 0.5;  // balanced accuracy and AUROC of a coin, unless something lies below
const MOST_NAMED = 8;  // layers named below the chart: more would touch each other
const CONTROLS = {auc: "the same model with random weights", balanced_accuracy: "probes of random labels"};
let drawn = "";

/** @param {number} value */
const short = value => value.toFixed(3);

/** Draw the charts of the shown probes, once for each score of each of them, and mark the shown layer. */
export function showSweep() {
  const wanted = `${state.view} ${state.score} ${state.palette} ${isDark()}`;
  if (drawn !== wanted) {
    drawn = wanted;
    drawSweep();
    drawLags();
  }
  for (const point of document.querySelectorAll("#sweep .point")) {
    point.classList.toggle("now", Number(point.getAttribute("data-layer")) === state.layer);
  }
}

/**
 * What is drawn of the layers whose score is known.
 * @returns {{at: number, name: string, value: number, low: number | null, high: number | null, control: number | null}[]}
 */
function pointsOf() {
  return shownView().layers.flatMap(({name, scores}, at) => {
    const found = scores?.[state.score];
    return found && found.value !== null ? [{at, name, ...found, value: found.value}] : [];
  });
}

function drawSweep() {
  const view = shownView(), points = pointsOf(), all = view.layers.length, svg = find("sweep");
  find("sweep-part").hidden = !view.split;
  if (!view.split) return;
  const baselines = view.baselines.flatMap(one => one[state.score] === null ? [] : [{name: one.name, value: Number(one[state.score])}]);
  const values = [...points.flatMap(one => [one.value, one.low ?? 1, one.control ?? 1]), ...baselines.map(one => one.value)];
  const floor = Math.min(FLOOR, ...values.map(value => Math.floor(10 * value) / 10));
  const y = (/** @type {number} */ value) => BOTTOM - (Math.max(floor, Math.min(1, value)) - floor) / (1 - floor) * (BOTTOM - TOP);
  const step = (RIGHT - LEFT) / all, x = (/** @type {number} */ at) => LEFT + step * (at + 0.5);
  const path = (/** @type {string} */ name, /** @type {{at: number, value: number}[]} */ found) =>
    drawing("polyline", {class: name, points: found.map(({at, value}) => `${x(at)},${y(value)}`).join(" ")});
  svg.replaceChildren();
  for (let tenth = Math.round(10 * floor); tenth <= 10; tenth++) {
    svg.append(drawing("line", {class: "grid", x1: LEFT, x2: RIGHT, y1: y(tenth / 10), y2: y(tenth / 10)}),
               drawing("text", {class: "tick", x: LEFT - 5, y: y(tenth / 10) + 3, "text-anchor": "end"}, (tenth / 10).toFixed(1)));
  }
  baselines.forEach((one, index) => svg.append(
    drawing("line", {class: `baseline line-${index % 6}`, x1: LEFT, x2: RIGHT, y1: y(one.value), y2: y(one.value)})));
  const controls = points.flatMap(({at, control}) => control === null ? [] : [{at, value: control}]);
  svg.append(path("path control", controls), ...controls.map(({at, value}) => drawing("rect", {class: "control", x: x(at) - 2.5, y: y(value) - 2.5, width: 5, height: 5})),
             path("path", points));
  const every = Math.ceil(all / MOST_NAMED);
  for (const point of points) svg.append(pointOf(point, x(point.at), y, step, point.at % every === 0));
  find("sweep-split").textContent = view.split === "val" ? "validation" : view.split;
  svg.setAttribute("aria-label", `${SCORE_NAMES[state.score]} on ${find("sweep-split").textContent}: ${points.map(({name, value}) => `${name} ${short(value)}`).join(", ")}`);
  find("sweep-legend").replaceChildren(
    ...baselines.map(({name, value}, index) => legendOf(`${name} ${short(value)}`, `baseline line-${index % 6}`)),
    ...(controls.length ? [legendOf(CONTROLS[state.score], "path control")] : []));
}

/**
 * @param {ReturnType<typeof pointsOf>[number]} one
 * @param {number} x
 * @param {(value: number) => number} y
 * @param {number} step
 * @param {boolean} named
 */
function pointOf({at, name, value, low, high, control}, x, y, step, named) {
  const chosen = at === shownView().chosen, group = drawing("g", {class: chosen ? "point chosen" : "point", "data-layer": at});
  const interval = low === null || high === null ? "" : ` (${short(low)} to ${short(high)})`;
  group.append(drawing("title", {}, `${name}${chosen ? ", chosen on validation" : ""}: ${SCORE_NAMES[state.score]} ${short(value)}${interval}` +
                       (control === null ? "" : `; ${CONTROLS[state.score]} ${short(control)}`)),
               drawing("rect", {class: "target-area", x: x - step / 2, y: 0, width: step, height: HEIGHT}));
  if (low !== null && high !== null) group.append(drawing("line", {class: "interval", x1: x, x2: x, y1: y(low), y2: y(high)}));
  group.append(drawing("circle", {cx: x, cy: y(value), r: 3.5}));
  if (chosen) group.append(drawing("text", {class: "star", x, y: Math.max(TOP + 4, y(high ?? value) - 5), "text-anchor": "middle"}, "★"));
  if (named) group.append(drawing("text", {class: "tick", x, y: HEIGHT - 6, "text-anchor": "middle"}, tickOf(name)));
  group.addEventListener("click", () => change({layer: at}));
  return group;
}

/** @param {string} text @param {string} name   of the class of its line */
function legendOf(text, name) {
  const line = element("p", "legend"), sample = drawing("svg", {class: "dash", viewBox: "0 0 36 4"});
  sample.append(drawing("line", {class: name, x1: 0, x2: 36, y1: 2, y2: 2}));
  line.append(sample, text);
  return line;
}

/** The table of layers by lags, in which a click goes to a set of probes. */
function drawLags() {
  const table = lagTable(({view, layer}) => {
    const {scores, name} = views[view].layers[layer], value = scores?.[state.score].value ?? null, chosen = layer === views[view].chosen;
    if (value === null) return null;
    const button = element("button", chosen ? "chosen" : "", value.toFixed(2).replace(/^0/, ""));
    button.style.backgroundColor = colourOf(Math.max(0, 2 * value - 1));
    button.title = `${name}, lag ${views[view].lag}: ${SCORE_NAMES[state.score]} ${short(value)}` + (chosen ? ", the lag’s choice on validation" : "");
    button.addEventListener("click", () => change({view, layer}));
    return button;
  });
  find("sweep-lags").hidden = !table;
  find("sweep-lags").replaceChildren(...(table ? [table] : []));
}

import {drawing, element, find} from "../frame/dom.js";
import {shownView} from "./scores.js";
import {change, state} from "./state.js";

const HEIGHT = 190, LEFT = 30, RIGHT = 314, TOP = 8, BOTTOM = 168;
const FLOOR = 0.5;  // balanced accuracy and AUROC of a coin, unless something lies below
const MOST_NAMED = 8;  // layers named below the chart: more would touch each other
let drawn = -1;

/** Draw the chart of the shown probes, once for each of them, and mark the shown layer. */
export function showSweep() {
  if (drawn !== state.view) {
    drawn = state.view;
    drawSweep();
  }
  document.querySelectorAll("#sweep .point").forEach((point, index) => point.classList.toggle("now", index === state.layer));
}

function drawSweep() {
  const view = shownView(), split = view.split;
  find("sweep-part").hidden = !split;
  if (!split) return;
  const scores = view.layers.map(layer => layer.scores[split]), all = scores.length;
  const known = [...scores.flatMap(one => [one.balanced_accuracy, one.balanced_accuracy_low ?? 1]), ...view.baselines.map(one => one.value)];
  const floor = Math.min(FLOOR, ...known.map(value => Math.floor(10 * value) / 10));
  const y = (/** @type {number} */ value) => BOTTOM - (Math.max(floor, Math.min(1, value)) - floor) / (1 - floor) * (BOTTOM - TOP);
  const step = (RIGHT - LEFT) / all, x = (/** @type {number} */ at) => LEFT + step * (at + 0.5), svg = find("sweep");
  svg.replaceChildren();
  for (let tenth = Math.round(10 * floor); tenth <= 10; tenth++) {
    svg.append(drawing("line", {class: "grid", x1: LEFT, x2: RIGHT, y1: y(tenth / 10), y2: y(tenth / 10)}),
               drawing("text", {class: "tick", x: LEFT - 5, y: y(tenth / 10) + 3, "text-anchor": "end"}, (tenth / 10).toFixed(1)));
  }
  view.baselines.forEach((one, index) => svg.append(
    drawing("line", {class: `baseline line-${index % 6}`, x1: LEFT, x2: RIGHT, y1: y(one.value), y2: y(one.value)})));
  svg.append(drawing("polyline", {class: "path", points: scores.map((one, at) => `${x(at)},${y(one.balanced_accuracy)}`).join(" ")}));
  const every = Math.ceil(all / MOST_NAMED);
  scores.forEach((one, at) => svg.append(pointOf(one, at, x(at), y, step, at % every === 0)));
  svg.setAttribute("aria-label", `balanced accuracy on ${split}: ` +
    scores.map((one, at) => `${view.layers[at].name} ${one.balanced_accuracy.toFixed(3)}`).join(", "));
  find("sweep-split").textContent = split === "val" ? "validation" : split;
  find("sweep-legend").replaceChildren(...view.baselines.map((one, index) => legendOf(one, index)));
}

/**
 * @param {import("./data.js").Scores} one
 * @param {number} at
 * @param {number} x
 * @param {(value: number) => number} y
 * @param {number} step
 * @param {boolean} named
 */
function pointOf(one, at, x, y, step, named) {
  const view = shownView(), group = drawing("g", {class: at === view.chosen ? "point chosen" : "point", "data-layer": at});
  const {balanced_accuracy: value, balanced_accuracy_low: low, balanced_accuracy_high: high, auc} = one;
  const interval = low === null || high === null ? "" : ` (${low.toFixed(3)} to ${high.toFixed(3)})`;
  group.append(drawing("title", {}, `${view.layers[at].name}${at === view.chosen ? ", chosen on validation" : ""}: balanced accuracy ` +
                       `${value.toFixed(3)}${interval}, AUROC ${auc.toFixed(3)}`),
               drawing("rect", {class: "target-area", x: x - step / 2, y: 0, width: step, height: HEIGHT}));
  if (low !== null && high !== null) group.append(drawing("line", {class: "interval", x1: x, x2: x, y1: y(low), y2: y(high)}));
  group.append(drawing("circle", {cx: x, cy: y(value), r: 3.5}));
  if (at === view.chosen) group.append(drawing("text", {class: "star", x, y: Math.max(TOP + 4, y(high ?? value) - 5), "text-anchor": "middle"}, "★"));
  if (named) group.append(drawing("text", {class: "tick", x, y: HEIGHT - 6, "text-anchor": "middle"},
    view.layers[at].name.replace("layer", "").replace("final_norm", "norm")));
  group.addEventListener("click", () => change({layer: at}));
  return group;
}

/** @param {{name: string, value: number}} one @param {number} index */
function legendOf(one, index) {
  const line = element("p", "legend"), sample = drawing("svg", {class: "dash", viewBox: "0 0 36 4"});
  sample.append(drawing("line", {class: `baseline line-${index % 6}`, x1: 0, x2: 36, y1: 2, y2: 2}));
  line.append(sample, `${one.name} ${one.value.toFixed(3)}`);
  return line;
}

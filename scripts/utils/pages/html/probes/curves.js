import {drawing, find} from "../frame/dom.js";
import {levelBelow, logitOf, noun, probability} from "./data.js";
import {areaUnderRoc, countedRange, countsAt, histogramOf, reliabilityOf, rocPoints, shownThreshold, shownView} from "./scores.js";

const SIZE = 220, EDGE = 34, BINS = 40, GROUPS = 10;
const MOST_POINTS = 400;  // of a curve: more than its pixels

/** Draw the four charts of the shown text. */
export function showCurves() {
  const [from, to] = countedRange(), points = rocPoints(), {fp: negatives, tp: positives} = points[points.length - 1];
  find("curves").hidden = !(negatives && positives);
  find("no-curves").hidden = Boolean(negatives && positives);
  if (!(negatives && positives)) return;
  const {tp, fp} = countsAt(), few = thinned(points);
  drawRoc(few, negatives, positives, fp, tp);
  drawPrecision(few, positives, tp, fp);
  drawReliability();
  drawHistogram();
  find("auroc").textContent = areaUnderRoc(from, to).toFixed(3);
  find("curve-tokens").textContent = (negatives + positives).toLocaleString("en");
}

/** @template T @param {T[]} points @returns {T[]} */
function thinned(points) {
  const step = Math.max(1, (points.length - 1) / MOST_POINTS);
  const found = [];
  for (let at = 0; at < points.length - 1; at += step) found.push(points[Math.floor(at)]);
  found.push(points[points.length - 1]);
  return found;
}

/** A square from 0 to 1 with its axes. @param {string} id @param {string} across @param {string} up */
function square(id, across, up) {
  const svg = find(id);
  svg.setAttribute("viewBox", `0 0 ${SIZE} ${SIZE}`);
  svg.replaceChildren();
  for (const share of [0, 0.5, 1]) {
    svg.append(drawing("line", {class: "grid", x1: at(share), x2: at(share), y1: up0(0), y2: up0(1)}),
               drawing("line", {class: "grid", x1: at(0), x2: at(1), y1: up0(share), y2: up0(share)}),
               drawing("text", {class: "tick", x: at(share), y: SIZE - 13, "text-anchor": "middle"}, String(share)),
               drawing("text", {class: "tick", x: EDGE - 5, y: up0(share) + 3, "text-anchor": "end"}, String(share)));
  }
  svg.append(drawing("text", {class: "tick", x: SIZE / 2, y: SIZE - 2, "text-anchor": "middle"}, across),
             drawing("text", {class: "tick", transform: `rotate(-90) translate(${-SIZE / 2} 9)`, "text-anchor": "middle"}, up));
  return svg;
}

/** @param {number} share */
const at = share => EDGE + share * (SIZE - EDGE - 8);
/** @param {number} share */
const up0 = share => SIZE - EDGE - share * (SIZE - EDGE - 8);

/** @param {[number, number][]} points */
const path = points => drawing("polyline", {class: "line", points: points.map(([x, y]) => `${at(x).toFixed(1)},${up0(y).toFixed(1)}`).join(" ")});

/** @param {number} x @param {number} y @param {string} title */
function dot(x, y, title) {
  const made = drawing("circle", {class: "dot now", cx: at(x).toFixed(1), cy: up0(y).toFixed(1), r: 4});
  made.append(drawing("title", {}, title));
  return made;
}

/** @param {{fp: number, tp: number}[]} points @param {number} negatives @param {number} positives @param {number} fp @param {number} tp */
function drawRoc(points, negatives, positives, fp, tp) {
  const svg = square("roc", "false alarms", "found");
  svg.append(drawing("line", {class: "chance", x1: at(0), y1: up0(0), x2: at(1), y2: up0(1)}),
             path(points.map(point => [point.fp / negatives, point.tp / positives])),
             dot(fp / negatives, tp / positives, `at the threshold: ${(100 * fp / negatives).toFixed(2)} % false alarms, ${(100 * tp / positives).toFixed(1)} % found`));
}

/** @param {{fp: number, tp: number}[]} points @param {number} positives @param {number} tp @param {number} fp */
function drawPrecision(points, positives, tp, fp) {
  const svg = square("precision-recall", "found", "precision");
  svg.append(path(points.filter(point => point.tp + point.fp > 0).map(point => [point.tp / positives, point.tp / (point.tp + point.fp)])));
  if (tp + fp) svg.append(dot(tp / positives, tp / (tp + fp), `at the threshold: precision ${(tp / (tp + fp)).toFixed(3)}`));
}

function drawReliability() {
  const svg = square("reliability", "probability", "share that is positive"), bins = reliabilityOf(GROUPS), most = Math.max(...bins.map(bin => bin.n));
  svg.append(drawing("line", {class: "chance", x1: at(0), y1: up0(0), x2: at(1), y2: up0(1)}));
  for (const bin of bins) {
    if (!bin.n) continue;
    const circle = drawing("circle", {class: "bin", cx: at(bin.mean).toFixed(1), cy: up0(bin.share).toFixed(1), r: (2 + 6 * Math.sqrt(bin.n / most)).toFixed(1)});
    circle.append(drawing("title", {}, `${bin.n.toLocaleString("en")} ${noun}s of probability ${bin.mean.toFixed(3)} on average, ${(100 * bin.share).toFixed(1)} % of them positive`));
    svg.append(circle);
  }
}

function drawHistogram() {
  const svg = find("histogram"), {positive, negative} = histogramOf(BINS), view = shownView(), WIDE = 2 * SIZE;
  svg.setAttribute("viewBox", `0 0 ${WIDE} ${SIZE}`);
  svg.replaceChildren();
  const inner = WIDE - 2 * EDGE, base = SIZE - EDGE, bar = inner / BINS, tall = base - 10;
  for (const [name, counts, shift] of /** @type {[string, number[], number][]} */ ([["negative", negative, 0], ["positive", positive, bar / 2]])) {
    const total = counts.reduce((sum, n) => sum + n, 0), most = Math.max(...counts);
    counts.forEach((n, bin) => {
      if (!n) return;
      const height = tall * n / most;
      const rect = drawing("rect", {class: name, x: EDGE + bin * bar + shift, y: base - height, width: bar / 2, height});
      const [low, high] = [bin, bin + 1].map(edge => logitOf(view, Math.round(edge / BINS * 65534)));
      rect.append(drawing("title", {}, `${n.toLocaleString("en")} of ${total.toLocaleString("en")} ${name}: logit ${low.toFixed(2)} to ${high.toFixed(2)}`));
      svg.append(rect);
    });
  }
  const limit = EDGE + inner * Math.max(0, Math.min(1, levelBelow(view, shownThreshold()) / 65534));
  svg.append(drawing("line", {class: "axis", x1: EDGE, x2: WIDE - EDGE, y1: base, y2: base}),
             drawing("line", {class: "limit", x1: limit, x2: limit, y1: 4, y2: base}));
  for (const share of [0, 0.5, 1]) {
    const logit = logitOf(view, Math.round(share * 65534));
    svg.append(drawing("text", {class: "tick", x: EDGE + share * inner, y: SIZE - 13, "text-anchor": ["start", "middle", "end"][2 * share]},
      `${logit.toFixed(1).replace("-", "−")} (p ${probability(logit).toPrecision(2)})`));
  }
}

import {data, element, find} from "../frame/dom.js";
import {onTheme} from "../frame/theme.js";
import {NARROW, dressed, isHeatmap, writeClearly} from "./dressed.js";
import {startTables} from "./sorting.js";

const chart = /** @type {PlotlyElement | null} */ (find("chart"));  // none on the overview
const selects = Array.from(document.querySelectorAll("select"));
/**
 * Where the arrow keys are: a trace, and a point of it, which is [row, column] of a heatmap.
 * @type {{trace: number, point: number | [number, number]} | null}
 */
let at = null;

/** @type {Record<string, [number, number]>} */
const STEPS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};

/** @param {PlotlyElement} chart */
function draw(chart) {
  const view = /** @type {import("./dressed.js").ChartData} */ (data).views[selects.map(select => select.value).join("/")];
  find("title").textContent = view ? view.title : "";
  if (!view) {
    Plotly.purge(chart);
    chart.replaceChildren(element("p", "nothing", "Nothing was computed for this choice."));
    return;
  }
  if (chart.querySelector(".nothing")) chart.replaceChildren();
  plot(chart, view.figure, {responsive: true, displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], toImageButtonOptions: {filename: data.name}});
}

/**
 * @param {PlotlyElement} place
 * @param {import("./dressed.js").Figure} figure
 * @param {{staticPlot?: boolean, [option: string]: unknown}} config  a static plot is a picture without words
 */
function plot(place, figure, config) {
  const fresh = !place.data;
  Plotly.react(place, ...dressed(figure, place.clientWidth, config.staticPlot === true), config);
  if (fresh) place.on("plotly_afterplot", () => writeClearly(place));
  writeClearly(place);
}

/**
 * Take Plotly's escapes out of the text of a point.
 * @param {string} text
 */
function plain(text) {
  return text.replaceAll("<br>", "\n").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

/**
 * @param {number} value
 * @param {number} count
 */
function clamp(value, count) {
  return Math.max(0, Math.min(count - 1, value));
}

/**
 * Go one step from where the keys are; the first key press goes to the first point.
 * @param {PlotlyElement} chart
 * @param {[number, number]} step
 */
function walk(chart, [across, up]) {
  const traces = chart.data, can = traces.flatMap((trace, index) => trace.hoverinfo === "skip" ? [] : [index]);
  if (!can.length) return;
  const trace = at ? traces[at.trace] : traces[can[0]];
  if (!at) {
    at = {trace: can[0], point: isHeatmap(trace) ? [0, 0] : 0};
  } else if (isHeatmap(trace) && Array.isArray(at.point)) {
    at.point = [clamp(at.point[0] + up, trace.z.length), clamp(at.point[1] + across, trace.z[0].length)];
  } else {
    const next = can[clamp(can.indexOf(at.trace) - up, can.length)];
    at = {trace: next, point: clamp(Number(at.point) + across, traces[next].x.length)};
  }
  const {trace: number, point} = at;
  Plotly.Fx.hover(chart, [Array.isArray(point) ? {curveNumber: number, xval: point[1], yval: point[0]} : {curveNumber: number, pointNumber: point}]);
  const readout = find("readout", HTMLElement);
  readout.textContent = plain(textAt(traces[number].hovertext, point));
  readout.hidden = false;
}

/**
 * @param {import("./dressed.js").Trace["hovertext"]} texts
 * @param {number | [number, number]} point
 * @returns {string}
 */
function textAt(texts = "", point) {
  if (typeof texts === "string") return texts;
  const [first, ...rest] = [point].flat(), found = texts[first];
  return typeof found === "string" ? found : found[rest[0]];
}

/** Draw each preview once it comes near: a page with none in sight does not even load Plotly. */
function startPreviews() {
  const {previews} = /** @type {import("./dressed.js").Overview} */ (data);
  const pictures = /** @type {PlotlyElement[]} */ (Array.from(document.querySelectorAll(".picture")));
  /** @param {PlotlyElement} picture */
  const preview = picture => plot(picture, previews[pictures.indexOf(picture)].figure, {staticPlot: true, responsive: true});
  const near = new IntersectionObserver(entries => {
    for (const {target, isIntersecting} of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      withPlotly(() => preview(/** @type {PlotlyElement} */ (target)));
    }
  }, {rootMargin: "300px"});
  for (const picture of pictures) near.observe(picture);
  window.addEventListener("beforeprint", () => withPlotly(() => pictures.filter(picture => !picture.data).forEach(preview)));
  onTheme(() => pictures.filter(picture => picture.data).forEach(preview));
}

/** @param {PlotlyElement} chart */
function startChart(chart) {
  data.first.split("/").forEach((/** @type {string} */ value, /** @type {number} */ index) => { selects[index].value = value; });
  selects.forEach(select => select.addEventListener("change", () => {
    at = null;
    find("readout", HTMLElement).hidden = true;
    draw(chart);
  }));
  chart.addEventListener("keydown", event => {
    const step = STEPS[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    walk(chart, step);
  });
  let narrow = chart.clientWidth < NARROW;
  window.addEventListener("resize", () => {
    if (narrow !== (chart.clientWidth < NARROW)) draw(chart);
    narrow = chart.clientWidth < NARROW;
  });
  draw(chart);
  onTheme(() => draw(chart));
}

/** @type {Promise<void> | null} */
let library = null;

/**
 * Load Plotly from beside the page when it is first needed, since that takes a second of the processor, and then go on.
 * @param {() => void} then
 */
function withPlotly(then) {
  library ??= new Promise((done, fail) => {
    const script = document.createElement("script");
    script.src = data.plotly;
    script.addEventListener("load", () => done());
    script.addEventListener("error", fail);
    document.body.append(script);
  });
  library.then(then, () => {
    if (document.querySelector("main > .error")) return;
    document.querySelector("main")?.prepend(element("p", "error", `${data.plotly} is not beside this page: nothing can be drawn.`));
  });
}

startTables();
startPreviews();
if (chart) withPlotly(() => startChart(chart));

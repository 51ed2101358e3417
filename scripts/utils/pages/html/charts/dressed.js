import {data} from "../frame/dom.js";
import {inkOn, pageColours, seen} from "./colours.js";

/**
 * A trace, as far as the page looks into it.
 * @typedef {object} Trace
 * @property {string} type
 * @property {string} [meta]  key of texts that several figures share
 * @property {(string | number)[]} x
 * @property {string} [hoverinfo]
 * @property {string | string[] | string[][]} [hovertext]
 * @property {boolean} [showlegend]
 *
 * @typedef {object} HeatmapParts
 * @property {"heatmap"} type
 * @property {string[]} x
 * @property {string[]} y
 * @property {(number | null)[][]} z
 * @property {number} zmin
 * @property {number} zmax
 * @property {[number, string][]} colorscale
 * @property {{title?: object}} colorbar
 * @property {string} [texttemplate]
 * @typedef {Trace & HeatmapParts} Heatmap
 *
 * A figure, as Plotly's Python library writes it.
 * @typedef {Record<string, any>} Layout
 * @typedef {{data: Trace[], layout: Layout}} Figure
 *
 * What pages.py writes, on the page of a chart and on the overview.
 * @typedef {{title: string, figure: Figure}} View
 * @typedef {object} ChartData
 * @property {string} name
 * @property {Record<string, View>} views  by the numbers of the options: "0/2"
 * @property {string} first  key of the view that is shown first
 * @property {Record<string, string[] | string[][]>} hover
 * @typedef {{previews: View[]}} Overview
 */

export const NARROW = 700;  // pixels, as in the style
const ENTRY = 20;  // pixels of a line of the legend
const LETTERS = 13;  // of a line of a name beside a heatmap, where there is little room
const BESIDE = 190, LETTER = 7;  // pixels beside a heatmap, and of a letter below it
const FONT = 'system-ui, -apple-system, "Segoe UI", sans-serif';

/**
 * @param {Trace} trace
 * @returns {trace is Heatmap}
 */
export function isHeatmap(trace) {
  return trace.type === "heatmap";
}

/**
 * Give a figure the page's looks, for the width there is.
 * @param {Figure} figure
 * @param {number} width
 * @param {boolean} small  as a picture without words
 * @returns {[Trace[], Layout]}
 */
export function dressed(figure, width, small) {
  const narrow = width < NARROW, traces = figure.data.map(trace => dressedTrace(trace, narrow, small));
  const layout = {...coloured(figure.layout), ...looks(figure.layout, small || narrow ? 11 : 13)};
  const heatmap = traces.find(isHeatmap);
  if (heatmap && narrow) {
    const room = Math.floor((width - BESIDE) / heatmap.x.length / LETTER);
    Object.assign(layout.xaxis, room < LETTERS / 2 ? shortened(heatmap.x, LETTERS, -90) : shortened(heatmap.x, room, 0));
    Object.assign(layout.yaxis, shortened(heatmap.y, LETTERS, 0));
  }
  const named = traces.filter(trace => !isHeatmap(trace) && trace.showlegend !== false).length;
  if (small) {
    layout.showlegend = false;
    delete layout.height;
    layout.margin = {l: 40, r: 6, t: 6, b: 36};
  } else if (narrow && named) {
    const rows = Math.ceil(named / Math.max(1, Math.floor(width / 190)));
    layout.height += rows * ENTRY;
    layout.legend = {orientation: "h", y: -70 / (layout.height - 90 - rows * ENTRY), yanchor: "top"};
  }
  return [traces, layout];
}

/**
 * @param {Layout} layout
 * @param {number} size  of letters
 * @returns {Layout}
 */
function looks(layout, size) {
  const {paper, ink, grid, line, zero, blank} = pageColours();
  const axis = {gridcolor: grid, linecolor: line, zerolinecolor: zero, automargin: true};
  const axes = ["xaxis", "yaxis", "xaxis2", "yaxis2"].filter(name => layout[name]);
  return {
    ...Object.fromEntries(axes.map(name => [name, {...axis, ...layout[name]}])),
    autosize: true, margin: {l: 56, r: 16, t: 32, b: 64}, paper_bgcolor: paper, plot_bgcolor: layout.plot_bgcolor ? blank : paper,
    font: {family: FONT, size, color: ink}, modebar: {bgcolor: "rgba(0, 0, 0, 0)", color: line, activecolor: ink},
    hoverlabel: {align: "left", bgcolor: paper, bordercolor: line, font: {size: 12, color: ink}, namelength: -1},
  };
}

/**
 * @param {Trace} trace
 * @param {boolean} narrow
 * @param {boolean} small
 * @returns {Trace}
 */
function dressedTrace(trace, narrow, small) {
  const made = isHeatmap(trace) ? {...trace, colorbar: {...trace.colorbar}} : coloured(trace), hover = data.hover?.[trace.meta ?? ""];
  if (hover) made.hovertext = hover;
  if (isHeatmap(made) && (small || narrow) && made.x.length > 6) delete made.texttemplate;
  if (isHeatmap(made) && narrow) delete made.colorbar.title;
  return made;
}

/**
 * Where names are long, name the ticks of an axis by the beginning of each of their lines; what is hovered over says the whole.
 * @param {string[]} names
 * @param {number} most  letters of a line
 * @param {number} tickangle
 */
function shortened(names, most, tickangle) {
  if (names.every(name => name.length <= LETTERS)) return {};
  const lines = names.map(name => name.split("<br>").map(line => line.match(/&\w+;|./gu) ?? []));
  const ticktext = lines.map(parts => parts.map(letters =>
    letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : letters.join("")).join("<br>"));
  return {tickmode: "array", tickvals: names, ticktext, tickangle};
}

/**
 * Copy a part of a figure, with its colours as they are seen on this page.
 * @template T
 * @param {T} part
 * @returns {T}
 */
function coloured(part) {
  return JSON.parse(JSON.stringify(part).replace(/"(#[0-9a-f]{6})"/g, (_, colour) => `"${seen(colour)}"`));
}

/**
 * Write the numbers in the cells of a heatmap in black or white, whichever is easier to read on its colour.
 * @param {PlotlyElement} chart
 */
export function writeClearly(chart) {
  const heatmap = chart.data.find(isHeatmap);
  if (!heatmap) return;
  for (const label of chart.querySelectorAll(".heatmap-label")) {
    const {z} = /** @type {Element & {__data__: {z: number}}} */ (label).__data__;  // as D3 leaves it
    const text = label.querySelector("text");
    if (text) text.style.fill = inkOn(heatmap.colorscale, (z - heatmap.zmin) / (heatmap.zmax - heatmap.zmin));
  }
}

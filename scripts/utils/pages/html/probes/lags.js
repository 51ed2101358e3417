import {element} from "../frame/dom.js";
import {views} from "./data.js";
import {shownView} from "./scores.js";

/** A layer of a set of probes: both by their number. @typedef {{view: number, layer: number}} Place */

/** @param {string} name   of a layer */
export const tickOf = name => name.replace("layer", "").replace("final_norm", "norm");

/**
 * Make the table of layers by lags, where the shown question was asked at several of them; else null.
 * @param {(place: Place) => Element | null} fill   what stands in a cell; null: nothing
 */
export function lagTable(fill) {
  const {target, kind, seed} = shownView(), table = element("table", "lags"), head = element("tr");
  const alike = views.map((view, index) => ({view, index})).filter(({view}) => view.target === target && view.kind === kind && view.seed === seed)
    .sort((one, other) => one.view.lag - other.view.lag);
  if (alike.length < 2) return null;
  head.append(element("th", "", "lag"), ...alike.map(({view}) => element("th", "", String(view.lag).replace("-", "−"))));
  table.append(head);
  for (const name of new Set(alike.flatMap(({view}) => view.layers.map(layer => layer.name)))) {
    const row = element("tr");
    row.append(element("th", "", tickOf(name)));
    for (const {view, index} of alike) {
      const layer = view.layers.findIndex(one => one.name === name), cell = element("td"), content = layer < 0 ? null : fill({view: index, layer});
      if (content) cell.append(content);
      row.append(cell);
    }
    table.append(row);
  }
  return table;
}

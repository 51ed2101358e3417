import {element, find} from "../frame/dom.js";
import {shownLayer, shownView} from "./scores.js";
import {state} from "./state.js";

/** Say what the shown probe's direction does, read through the model's own head. */
export function showDirection() {
  const told = shownView().directions[state.layer];
  find("direction").hidden = !told;
  if (!told) return;
  find("direction-layer").textContent = shownLayer().name;
  for (const way of /** @type {("promoted" | "suppressed")[]} */ (["promoted", "suppressed"])) {
    find(way).replaceChildren(...told[way].flatMap(word => [element("bdi", "word", word.replaceAll(" ", "␣")), " "]));
  }
}

/** Write the notes on what is asked and counted. */
export function showNotes() {
  find("notes").replaceChildren(...shownView().notes.map(note => element("p", "hint", note)));
}

import {element, shade} from "../frame/dom.js";
import {exponents, facts, first, largest, peaks, perSlot, places, shades, shown, slots, width, words} from "./facts.js";
import {short} from "./numbers.js";
import {section} from "./section.js";

const SHADES = 255;  // as many as the activations of examples are rounded to

/**
 * Show the strongest activations of a latent.
 * @param {number} latent
 */
export function strongest(latent) {
  return block("Top activations", "each from another text window", first[latent], first[latent] + slots[latent * perSlot], latent);
}

/**
 * Show what was drawn from each interval of activations, the highest first.
 * @param {number} latent
 */
export function examples(latent) {
  const made = [], step = 2 ** exponents[latent] / facts.intervals;
  let start = first[latent] + slots[latent * perSlot];
  for (let interval = 0; interval < facts.intervals; interval++) {
    const count = slots[latent * perSlot + 1 + interval];
    if (count) made.unshift(block(`${short(interval * step)} to ${short((interval + 1) * step)}`, "drawn at random", start, start + count, latent));
    start += count;
  }
  return made;
}

/**
 * @param {string} title
 * @param {string} note
 * @param {number} from
 * @param {number} to  examples from here to there
 * @param {number} latent
 */
function block(title, note, from, to, latent) {
  const content = element("div");
  for (let example = from; example < to; example++) {
    const row = element("div", "example"), value = element("div", "value", short(peaks[example]));
    value.title = `${facts.documents[places[2 * example]]}, token ${places[2 * example + 1] + 1}`;
    row.append(value, textOf(example, latent));
    content.append(row);
  }
  const made = section(title, note, content);
  made.className = "examples";
  return made;
}

/**
 * @param {number} example
 * @param {number} latent
 */
function textOf(example, latent) {
  const text = element("p");
  text.dir = "auto";
  for (let i = 0; i < width; i++) {
    const at = example * width + i;
    if (!shown[at]) continue;
    const active = shades[at] / SHADES, peak = i === facts.before;
    const token = element("span", peak ? "token peak" : "token", words[shown[at]].replaceAll("↵", "↵\u200b"));
    if (active) {
      token.style.backgroundColor = shade(active);
      token.title = `activation ${short(peak ? peaks[example] : active * largest[latent])}`;
    }
    text.append(token);
  }
  return text;
}

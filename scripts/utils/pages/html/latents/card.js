import {drawing, element, find} from "../frame/dom.js";
import {examples, strongest} from "./examples.js";
import {bins, cosines, exponents, facts, largest, lists, means, near, numbers, own, thresholds, words} from "./facts.js";
import {labelOf} from "./list.js";
import {decimals, percent, plural, short} from "./numbers.js";
import {section} from "./section.js";

const WIDTH = 520, HEIGHT = 110, BASE = 90;  // of the histogram
export const card = find("latent", HTMLElement);

/**
 * Show all that is known of one latent.
 * @param {number} latent
 */
export function fillCard(latent) {
  document.title = `Latent ${latent}, ${facts.title}`;
  const heading = element("h2"), link = element("a", "", `#${latent}`);
  link.href = `#latent-${latent}`;
  link.title = "link to this latent";
  heading.append(link, " ", labelOf(latent, "bdi"));
  /** @type {Element[]} */
  const parts = [heading];
  if (!own.has(latent) && facts.labels[latent]) parts.push(element("p", "hint", "automatic label: the tokens that tell it apart most"));
  if (numbers[latent]) {
    parts.push(summary(latent), tables(latent), strongest(latent), histogram(latent), ...examples(latent));
  } else {
    parts.push(element("p", "nothing", `Silent: not active at any of the ${facts.read.toLocaleString("en")} tokens that were read.`),
               tables(latent));
  }
  card.replaceChildren(...parts);
}

/** @param {number} latent */
function summary(latent) {
  const made = element("p", "facts"), share = numbers[latent] / facts.read;
  for (const [name, value] of [["active at", `${percent(share)} of tokens`], ["", plural(numbers[latent], "activation")],
                               ["top activation", short(largest[latent])], ["mean when active", short(means[latent])],
                               ["threshold", short(thresholds[latent])]]) {
    const fact = element("span", "", name ? `${name} ` : "");
    fact.append(element("b", "", value));
    made.append(fact);
  }
  return made;
}

/** @param {number} latent */
function tables(latent) {
  const made = element("div", "lists"), parts = [...facts.headings.map(heading => tokenTable(latent, heading)), neighbours(latent)];
  made.append(...parts.filter(part => part !== null));
  return made;
}

/**
 * @param {number} latent
 * @param {[string, string, string]} heading
 */
function tokenTable(latent, [name, title, note]) {
  const {token, value, count} = lists[name], table = element("table");
  for (let i = latent * facts.listed; i < (latent + 1) * facts.listed && token[i]; i++) {
    const row = element("tr"), cell = element("td"), word = element("span", "word", words[token[i]]);
    word.dir = "auto";
    cell.append(word);
    row.append(cell);
    if (count) row.append(element("td", "value", count[i].toLocaleString("en")));
    row.append(element("td", "value", count ? `× ${short(value[i])}` : decimals(value[i])));
    table.append(row);
  }
  return table.children.length ? section(title, note, table) : null;
}

/** @param {number} latent */
function neighbours(latent) {
  const table = element("table");
  for (let i = latent * facts.neighbours; i < (latent + 1) * facts.neighbours; i++) {
    const row = element("tr"), cell = element("td"), link = element("a", "", `#${near[i]}`);
    link.href = `#latent-${near[i]}`;
    cell.append(link, " ", labelOf(near[i], "bdi"));
    row.append(cell, element("td", "value", decimals(cosines[i])));
    table.append(row);
  }
  return table.children.length ? section("Neighbours", "cosine", table) : null;
}

/** @param {number} latent */
function histogram(latent) {
  const size = facts.bins, counts = Array.from(bins.subarray(latent * size, (latent + 1) * size));
  const step = 2 ** exponents[latent] / size, last = counts.findLastIndex(count => count > 0) + 1;
  const tallest = Math.max(...counts), bar = WIDTH / last;
  const svg = drawing("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
    "aria-label": `activations from 0 to ${short(largest[latent])}, the most in one bin: ${tallest}`});
  counts.slice(0, last).forEach((count, i) => {
    if (!count) return;
    const height = Math.max(1, BASE * Math.log1p(count) / Math.log1p(tallest));  // log, so that single ones are seen
    const rect = drawing("rect", {x: i * bar + 0.5, y: BASE - height, width: Math.max(1, bar - 1), height});
    rect.append(drawing("title", {}, `${short(i * step)} to ${short((i + 1) * step)}: ${plural(count, "activation")}`));
    svg.append(rect);
  });
  svg.append(drawing("line", {x1: 0, x2: WIDTH, y1: BASE, y2: BASE}), drawing("text", {x: 0, y: HEIGHT - 6}, "0"),
             drawing("text", {x: WIDTH, y: HEIGHT - 6, "text-anchor": "end"}, short(last * step)));
  const made = section("Activations", "how many of which size, heights on a log scale", svg);
  made.className = "histogram";
  return made;
}

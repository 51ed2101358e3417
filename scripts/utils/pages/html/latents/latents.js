import {bytes, data, drawing, element, find, shade} from "../frame/dom.js";
import "../frame/theme.js";

const ROW = 46;          // pixels of a row of the list, as in the style
const MORE = 6;          // rows beyond the edges of the list that are there already
const SLICE = 15;        // milliseconds that the index may take before the page can breathe
const SHADES = 255;      // as many as the activations of examples are rounded to
const NARROW = 820;      // pixels, as in the style
const words = data.tokens, Numbers = words.length < 2 ** 16 ? Uint16Array : Uint32Array;  // of tokens; 0 is none
const latents = data.latents, width = data.width;
const numbers = new Int32Array(bytes(data.numbers)), largest = new Float32Array(bytes(data.largest));
const means = new Float32Array(bytes(data.means)), thresholds = new Float32Array(bytes(data.thresholds));
const exponents = new Int16Array(bytes(data.exponents)), bins = new Int32Array(bytes(data.histograms));
const near = new Int32Array(bytes(data.near)), cosines = new Float32Array(bytes(data.cosines));
const lists = Object.fromEntries(Object.entries(data.lists).map(([name, list]) =>
  [name, {token: new Numbers(bytes(list.token)), value: new Float32Array(bytes(list.value)),
          count: list.count && new Int32Array(bytes(list.count))}]));
const slots = new Uint8Array(bytes(data.slots));                    // [latents, 1 + intervals]: how many examples
const shown = new Numbers(bytes(data.shown));                       // [examples, width]: tokens, 0 outside the text
const shades = new Uint8Array(bytes(data.shades));                  // [examples, width]: activations over the largest
const peaks = new Float32Array(bytes(data.peaks)), places = new Int32Array(bytes(data.places));
const own = new Set(data.own);
const first = new Int32Array(latents + 1);                          // [latents + 1]: where each one's examples begin
const search = find("search"), where = find("where"), order = find("order"), which = find("which"), turn = find("turn");
const list = find("list"), rows = find("rows"), article = find("latent");
const index = {labels: data.labels.map(label => label.toLowerCase()), tokens: [], examples: []};
let sorted = [], result = [], chosen = -1, drawn = [0, 0];

const perSlot = data.intervals + 1;
for (let i = 0; i < latents; i++) {
  let count = 0;
  for (let slot = 0; slot < perSlot; slot++) count += slots[i * perSlot + slot];
  first[i + 1] = first[i] + count;
}

const short = value => value === 0 ? "0" : Math.abs(value) >= 1000 || Math.abs(value) < 0.01 ? value.toExponential(1)
  : value.toPrecision(3);
const percent = share => share === 0 ? "0" : share >= 0.0001 ? `${(100 * share).toPrecision(2)} %` : `${(100 * share).toExponential(1)} %`;
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

// The index: what can be searched of each latent, in small letters, built in slices.

function tokensOf(latent) {
  const found = [];
  for (const {token} of Object.values(lists))
    for (let i = latent * data.listed; i < (latent + 1) * data.listed; i++) if (token[i]) found.push(words[token[i]]);
  return found.join("\n").toLowerCase();
}

function examplesOf(latent) {
  let text = "";
  for (let example = first[latent]; example < first[latent + 1]; example++) {
    for (let i = example * width; i < (example + 1) * width; i++) if (shown[i]) text += words[shown[i]];
    text += "\n";
  }
  return text.toLowerCase();
}

function buildIndex() {
  const end = performance.now() + SLICE;
  while (index.examples.length < latents && performance.now() < end) {
    index.tokens.push(tokensOf(index.tokens.length));
    index.examples.push(examplesOf(index.examples.length));
  }
  if (index.examples.length < latents) setTimeout(buildIndex);
  if (search.value && (index.examples.length === latents || index.examples.length % 512 < 8)) filter();
}

// The list: which latents, in which order; only the rows in sight exist.

function sort() {
  const label = latent => index.labels[latent] || "\uffff";
  const by = {density: (a, b) => numbers[b] - numbers[a], largest: (a, b) => largest[b] - largest[a],
              label: (a, b) => label(a) < label(b) ? -1 : label(a) > label(b) ? 1 : 0, number: () => 0}[order.value];
  sorted = Array.from({length: latents}, (_, latent) => latent).sort((a, b) => by(a, b) || a - b);
  if (turn.getAttribute("aria-pressed") === "true") sorted.reverse();
  filter();
}

function filter() {
  const wanted = search.value.toLowerCase(), number = /^\s*#?(\d+)\s*$/.exec(wanted);
  const scopes = where.value === "all" ? ["labels", "tokens", "examples"] : [where.value];
  const state = which.value, exact = number && Number(number[1]) < latents ? Number(number[1]) : -1;
  result = sorted.filter(latent => latent !== exact && (state === "all" || (numbers[latent] > 0) === (state === "active")) &&
    (!wanted || scopes.some(scope => index[scope][latent] !== undefined && index[scope][latent].includes(wanted))));
  if (exact >= 0) result.unshift(exact);  // a number finds its latent, whatever is shown
  const ready = index.examples.length === latents;
  find("found").textContent = `${plural(result.length, "latent")}${ready || !wanted ? "" : ", still reading the examples"}`;
  rows.style.height = `${Math.max(1, result.length) * ROW}px`;
  list.scrollTop = 0;
  draw();
}

function draw() {
  const from = Math.max(0, Math.floor(list.scrollTop / ROW) - MORE);
  const to = Math.min(result.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + MORE);
  drawn = [from, to];
  rows.replaceChildren(...result.slice(from, to).map((latent, at) => rowOf(latent, from + at)));
  list.setAttribute("aria-activedescendant", result.slice(from, to).includes(chosen) ? `row-${chosen}` : "");
}

function rowOf(latent, at) {
  const row = element("div", latent === chosen ? "row chosen" : "row");
  row.id = `row-${latent}`;
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", latent === chosen);
  row.setAttribute("aria-setsize", result.length);
  row.setAttribute("aria-posinset", at + 1);
  row.style.top = `${at * ROW}px`;
  row.dataset.latent = latent;
  row.append(labelOf(latent, "div"), element("div", "number", `#${latent}`),
             element("div", "fact", numbers[latent] ? `${percent(numbers[latent] / data.read)} of tokens` : "silent"),
             element("div", "fact", numbers[latent] ? `top ${short(largest[latent])}` : ""));
  return row;
}

function labelOf(latent, name) {
  const label = element(name, own.has(latent) ? "label" : "label automatic", data.labels[latent] || "no label");
  label.dir = "auto";
  return label;
}

// The card of one latent.

function show(latent) {
  chosen = latent;
  document.title = `Latent ${latent}, ${data.title}`;
  const heading = element("h2"), link = element("a", "", `#${latent}`);
  link.href = `#latent-${latent}`;
  link.title = "link to this latent";
  heading.append(link, " ", labelOf(latent, "bdi"));
  const parts = [heading];
  if (!own.has(latent) && data.labels[latent]) parts.push(element("p", "hint", "automatic label: the tokens that tell it apart most"));
  if (numbers[latent]) {
    const [strongest, ...others] = examples(latent);
    parts.push(facts(latent), tables(latent), strongest, histogram(latent), ...others);
  }
  else parts.push(element("p", "nothing", `Silent: not active at any of the ${data.read.toLocaleString("en")} tokens that were read.`),
                  tables(latent));
  article.replaceChildren(...parts);
  draw();
}

function facts(latent) {
  const made = element("p", "facts"), share = numbers[latent] / data.read;
  for (const [name, value] of [["active at", `${percent(share)} of tokens`], ["", plural(numbers[latent], "activation")],
                               ["top activation", short(largest[latent])], ["mean when active", short(means[latent])],
                               ["threshold", short(thresholds[latent])]]) {
    const fact = element("span", "", name ? `${name} ` : "");
    fact.append(element("b", "", value));
    made.append(fact);
  }
  return made;
}

function tables(latent) {
  const made = element("div", "lists");
  for (const [name, title, note] of data.headings) {
    const {token, value, count} = lists[name], table = element("table");
    for (let i = latent * data.listed; i < (latent + 1) * data.listed && token[i]; i++) {
      const row = element("tr"), cell = element("td"), word = element("span", "word", words[token[i]]);
      word.dir = "auto";
      cell.append(word);
      row.append(cell);
      if (count) row.append(element("td", "value", count[i].toLocaleString("en")));
      row.append(element("td", "value", count ? `× ${short(value[i])}` : value[i].toFixed(2).replace("-", "−")));
      table.append(row);
    }
    if (table.children.length) made.append(section(title, note, table));
  }
  const table = element("table");
  for (let i = latent * data.neighbours; i < (latent + 1) * data.neighbours; i++) {
    const row = element("tr"), cell = element("td"), link = element("a", "", `#${near[i]}`);
    link.href = `#latent-${near[i]}`;
    cell.append(link, " ", labelOf(near[i], "bdi"));
    row.append(cell, element("td", "value", cosines[i].toFixed(2).replace("-", "−")));
    table.append(row);
  }
  if (table.children.length) made.append(section("Neighbours", "cosine", table));
  return made;
}

function section(title, note, content) {
  const made = element("section"), heading = element("h3", "", title);
  if (note) heading.append(element("small", "", note));
  made.append(heading, content);
  return made;
}

function histogram(latent) {
  const WIDTH = 520, HEIGHT = 110, BASE = 90;
  const size = data.bins, counts = Array.from(bins.subarray(latent * size, (latent + 1) * size));
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

function examples(latent) {
  const made = [], step = 2 ** exponents[latent] / data.intervals;
  let at = first[latent];
  const top = slots[latent * perSlot];
  made.push(block("Top activations", "each from another text window", at, at += top, latent));
  for (let interval = data.intervals - 1; interval >= 0; interval--) {
    const count = slots[latent * perSlot + 1 + interval];
    let start = first[latent] + top;
    for (let before = 0; before < interval; before++) start += slots[latent * perSlot + 1 + before];
    if (count) made.push(block(`${short(interval * step)} to ${short((interval + 1) * step)}`, "drawn at random", start, start + count, latent));
  }
  return made;
}

function block(title, note, from, to, latent) {
  const content = element("div");
  for (let example = from; example < to; example++) {
    const row = element("div", "example"), text = element("p"), value = element("div", "value", short(peaks[example]));
    value.title = `${data.documents[places[2 * example]]}, token ${places[2 * example + 1] + 1}`;
    text.dir = "auto";
    for (let i = 0; i < width; i++) {
      const at = example * width + i;
      if (!shown[at]) continue;
      const active = shades[at] / SHADES, peak = i === data.before;
      const token = element("span", peak ? "token peak" : "token", words[shown[at]].replaceAll("↵", "↵\u200b"));
      if (active) {
        token.style.backgroundColor = shade(active);
        token.title = `activation ${short(peak ? peaks[example] : active * largest[latent])}`;
      }
      text.append(token);
    }
    row.append(value, text);
    content.append(row);
  }
  const made = section(title, note, content);
  made.className = "examples";
  return made;
}

// Moving about.

function linked() {
  const found = /^#latent-(\d+)$/.exec(location.hash);
  return found && Number(found[1]) < latents ? Number(found[1]) : -1;
}

function keepInSight() {
  const at = result.indexOf(chosen);
  if (at < 0) return;
  if (at * ROW < list.scrollTop) list.scrollTop = at * ROW;
  else if ((at + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (at + 1) * ROW - list.clientHeight;
  draw();
}

function go(latent, keep) {
  if (keep) history.replaceState(null, "", `#latent-${latent}`);  // walking fills no history
  else location.hash = `latent-${latent}`;
  show(latent);
  keepInSight();
}

function walk(step) {
  const at = result.indexOf(chosen), next = at < 0 ? 0 : Math.max(0, Math.min(result.length - 1, at + step));
  if (result.length) go(result[next], true);
}

search.addEventListener("input", filter);
for (const select of [where, which]) select.addEventListener("change", filter);
order.addEventListener("change", sort);
turn.addEventListener("click", () => {
  const turned = turn.getAttribute("aria-pressed") !== "true";
  turn.setAttribute("aria-pressed", turned);
  turn.textContent = turned ? "↑" : "↓";
  sort();
});
find("search").form.addEventListener("submit", event => event.preventDefault());
list.addEventListener("scroll", () => {
  const from = Math.floor(list.scrollTop / ROW), to = Math.ceil((list.scrollTop + list.clientHeight) / ROW);
  if (from < drawn[0] || Math.min(to, result.length) > drawn[1]) draw();
}, {passive: true});
list.addEventListener("click", event => {
  const row = event.target.closest(".row");
  if (!row) return;
  go(Number(row.dataset.latent));
  if (window.innerWidth <= NARROW) article.scrollIntoView({block: "start"});
});
window.addEventListener("hashchange", () => {
  const latent = linked();
  if (latent >= 0 && latent !== chosen) { show(latent); keepInSight(); window.scrollTo(0, 0); }
});
window.addEventListener("resize", draw);
document.addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const typing = event.target === search;
  if (event.key === "/" && !typing) { event.preventDefault(); search.focus(); search.select(); return; }
  if (event.key === "Escape" && typing) { search.value = ""; filter(); search.blur(); return; }
  if (event.key === "Enter" && typing) { event.preventDefault(); if (result.length) go(result[0]); return; }
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  if (!step || event.target.tagName === "SELECT") return;
  event.preventDefault();
  walk(step);
});

sort();
const asked = linked();
if (asked >= 0 || sorted.length) show(asked >= 0 ? asked : result.length ? result[0] : sorted[0]);
keepInSight();
setTimeout(buildIndex);

import {bytes, data, element, find, shade} from "../frame/dom.js";
import "../frame/theme.js";

const tokens = Array.from(document.querySelectorAll("#texts .token"));
const logits = new Float32Array(bytes(data.logits));      // [layers, tokens], NaN where nothing was read
const truth = new Int8Array(bytes(data.truth));           // 1 positive, 0 negative, -1 unknown
const said = new Uint8Array(tokens.length), blank = new Array(tokens.length).fill(false);
const layerSlider = find("layer"), thresholdSlider = find("threshold"), ownThreshold = find("own-threshold"), card = find("card");
const points = Array.from(document.querySelectorAll(".point"));
const ROWS = 30;  // of one column of the card
const NARROW = 820;  // pixels, as in the style
const counted = find("counts") !== null;  // no token's truth is known otherwise
let layer = -1, hovered = -1, walking = false;

const probability = logit => 1 / (1 + Math.exp(-logit));
const logitOf = (at, token) => logits[at * tokens.length + token];
const exact = p => p >= 0.001 || p === 0 ? p.toFixed(4) : p.toExponential(2);
const share = (part, whole) => whole ? (part / whole).toFixed(3) : "–";

// The logit above which a token is predicted positive: the probe's own, or what the slider says.
function threshold() {
  if (ownThreshold.checked) return data.layers[layer].threshold;
  const p = Number(thresholdSlider.value);
  return Math.log(p / (1 - p));
}

function showLayer(next) {
  layer = Math.max(0, Math.min(data.layers.length - 1, next));
  layerSlider.value = layer;
  layerSlider.setAttribute("aria-valuetext", data.layers[layer].name);
  find("layer-name").textContent = data.layers[layer].name;
  points.forEach((point, index) => point.classList.toggle("chosen", index === layer));
  const start = layer * tokens.length;
  for (let i = 0; i < tokens.length; i++) {
    const logit = logits[start + i], unread = Number.isNaN(logit);
    tokens[i].style.backgroundColor = unread ? "" : shade(probability(logit));
    if (unread !== blank[i]) {
      blank[i] = unread;
      tokens[i].classList.toggle("unread", unread);
    }
  }
  showThreshold();
}

function showThreshold() {
  const limit = threshold(), start = layer * tokens.length, count = {tp: 0, fp: 0, tn: 0, fn: 0};
  if (ownThreshold.checked) thresholdSlider.value = probability(limit);
  find("threshold-value").textContent = (ownThreshold.checked ? probability(limit) : Number(thresholdSlider.value)).toFixed(3);
  for (let i = 0; i < tokens.length; i++) {
    const logit = logits[start + i], yes = logit > limit ? 1 : 0;
    if (yes !== said[i]) {
      said[i] = yes;
      tokens[i].classList.toggle("said", yes === 1);
    }
    if (truth[i] >= 0 && !Number.isNaN(logit)) count[yes ? (truth[i] ? "tp" : "fp") : (truth[i] ? "fn" : "tn")]++;
  }
  if (counted) showCounts(count);
  if (hovered >= 0) showCard(hovered);
}

function showCounts(count) {
  for (const name in count) find(name).textContent = count[name].toLocaleString("en");
  const {tp, fp, tn, fn} = count;
  find("recall").textContent = share(tp, tp + fn);
  find("precision").textContent = share(tp, tp + fp);
  find("balanced").textContent = tp + fn && tn + fp ? ((tp / (tp + fn) + tn / (tn + fp)) / 2).toFixed(3) : "–";
}

function showCard(token) {
  if (hovered >= 0) tokens[hovered].classList.remove("under");
  hovered = token;
  tokens[token].classList.add("under");
  const tables = element("div", "tables");  // side by side, so that many layers stay on the screen
  data.layers.forEach((one, at) => {
    if (at % ROWS === 0) tables.append(element("table"));
    const logit = logitOf(at, token), row = element("tr", at === layer ? "chosen" : "");
    const bar = element("td", "bar"), fill = element("div", "fill");
    if (Number.isNaN(logit)) {
      row.append(element("td", "", one.name), bar, element("td", "value", "–"), element("td", "value", ""));
    } else {
      const p = probability(logit);
      fill.style.width = `${100 * p}%`;
      fill.style.backgroundColor = shade(p);
      bar.append(fill);
      row.append(element("td", "", one.name), bar, element("td", "value probability", exact(p)),
                 element("td", "value logit", (logit < 0 ? "−" : "+") + Math.abs(logit).toFixed(2)));
    }
    tables.lastChild.append(row);
  });
  card.replaceChildren(element("div", "name", `“${tokens[token].textContent}”`),
                       element("p", "fact", `token ${token + 1}, ${data.words[truth[token]]}; probability, logit`), tables);
  card.hidden = false;
  place(tokens[token].getBoundingClientRect());
}

// Below the token or above it; where neither has room, beside it, on the side with more. On a narrow screen the style
// gives the card a place of its own.
function place(box) {
  card.style.top = card.style.left = "";
  if (window.innerWidth <= NARROW) return;
  const {offsetWidth: width, offsetHeight: height} = card, below = box.bottom + 8, above = box.top - height - 8;
  let left = box.left, top = below;
  if (below + height > window.innerHeight - 8) {
    top = above;
    if (above < 8) {
      left = window.innerWidth - box.right > box.left ? box.right + 8 : box.left - width - 8;
      top = Math.min(box.top, window.innerHeight - height - 8);
    }
  }
  card.style.top = `${Math.max(8, top)}px`;
  card.style.left = `${Math.max(8, Math.min(left, window.innerWidth - width - 8))}px`;
}

function hideCard() {
  if (hovered >= 0) tokens[hovered].classList.remove("under");
  hovered = -1;
  card.hidden = true;
}

// To the next token, from the one that is shown or else the first on the screen.
function walk(step) {
  let next = hovered + step;
  if (hovered < 0) next = tokens.findIndex(token => token.getBoundingClientRect().top > 60);
  next = Math.max(0, Math.min(tokens.length - 1, next));
  walking = true;
  tokens[next].scrollIntoView({block: "nearest"});
  showCard(next);
  requestAnimationFrame(() => requestAnimationFrame(() => { walking = false; }));  // its own scrolling hides nothing
}

const indexOf = new Map(tokens.map((token, index) => [token, index]));
find("texts").addEventListener("mouseover", event => {
  const token = indexOf.get(event.target);
  if (token === undefined) hideCard(); else showCard(token);
});
find("texts").addEventListener("mouseleave", hideCard);
window.addEventListener("scroll", () => { if (!walking) hideCard(); }, {passive: true});
layerSlider.addEventListener("input", () => showLayer(Number(layerSlider.value)));
thresholdSlider.addEventListener("input", () => { ownThreshold.checked = false; showThreshold(); });
ownThreshold.addEventListener("change", showThreshold);
points.forEach((point, index) => point.addEventListener("click", () => showLayer(index)));
document.addEventListener("keydown", event => {
  if (event.key === "Escape") hideCard();
  const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  const ours = event.target !== layerSlider && event.target !== thresholdSlider;  // a slider moves by itself
  if (!step || !ours || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  if (event.shiftKey) walk(step); else showLayer(layer + step);
});

showLayer(Number(layerSlider.value));

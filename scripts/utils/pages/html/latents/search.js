import {facts, first, latents, lists, shown, width, words} from "./facts.js";

const SLICE = 15;  // milliseconds that the index may take before the page can breathe
/**
 * What can be searched of each latent, in small letters.
 * @type {{labels: string[], tokens: string[], examples: string[]}}
 */
export const index = {labels: facts.labels.map(label => label.toLowerCase()), tokens: [], examples: []};

/** @param {number} latent */
function tokensOf(latent) {
  const found = [];
  for (const {token} of Object.values(lists))
    for (let i = latent * facts.listed; i < (latent + 1) * facts.listed; i++) if (token[i]) found.push(words[token[i]]);
  return found.join("\n").toLowerCase();
}

/** @param {number} latent */
function examplesOf(latent) {
  let text = "";
  for (let example = first[latent]; example < first[latent + 1]; example++) {
    for (let i = example * width; i < (example + 1) * width; i++) if (shown[i]) text += words[shown[i]];
    text += "\n";
  }
  return text.toLowerCase();
}

/** Say whether all latents can be searched. */
export function indexed() {
  return index.examples.length === latents;
}

/**
 * Build the index in slices. Now and then, and at the end, say that there is more of it.
 * @param {() => void} grown
 */
export function buildIndex(grown) {
  const end = performance.now() + SLICE;
  while (!indexed() && performance.now() < end) {
    index.tokens.push(tokensOf(index.tokens.length));
    index.examples.push(examplesOf(index.examples.length));
  }
  if (!indexed()) setTimeout(() => buildIndex(grown));
  if (indexed() || index.examples.length % 512 < 8) grown();
}

/**
 * Say whether a latent's label, tokens or examples hold a text in small letters.
 * @param {number} latent
 * @param {string} wanted
 * @param {string} where  labels, tokens, examples or all
 */
export function holds(latent, wanted, where) {
  return Object.entries(index).some(([scope, texts]) => (where === "all" || where === scope) && texts[latent]?.includes(wanted));
}

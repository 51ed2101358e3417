import {bytes, data} from "../frame/dom.js";

/**
 * Tokens of each latent with a number each, `listed` a latent; numbers are packed in base64.
 * @typedef {{token: string, value: string, count?: string}} PackedList
 *
 * What latent_page.py writes. Packed arrays are in base64, little-endian.
 * @typedef {object} LatentData
 * @property {string} title
 * @property {number} latents
 * @property {number} read  tokens that were read
 * @property {number} bins  of a histogram
 * @property {number} intervals  that examples are drawn from
 * @property {string} numbers  int32 [latents]: activations
 * @property {string} largest  float32 [latents]
 * @property {string} means  float32 [latents]: when active
 * @property {string} thresholds  float32 [latents]
 * @property {string} exponents  int16 [latents]: histograms and intervals end at 2 to this power
 * @property {string} histograms  int32 [latents, bins]
 * @property {string[]} tokens  texts of tokens; 0 is none
 * @property {string[]} labels
 * @property {number[]} own  latents whose label is the reader's
 * @property {Record<string, PackedList>} lists
 * @property {number} listed  tokens in each list
 * @property {[string, string, string][]} headings  name of a list, title, note
 * @property {string} near  int32 [latents, neighbours]
 * @property {string} cosines  float32 [latents, neighbours]
 * @property {number} neighbours
 * @property {string[]} documents  names
 * @property {number} width  tokens of an example
 * @property {number} before  tokens before the one that an example is of
 * @property {string} slots  uint8 [latents, 1 + intervals]: how many examples
 * @property {string} places  int32 [examples, 2]: document, token
 * @property {string} shown  uint16 or uint32 [examples, width]: tokens, 0 outside the text
 * @property {string} shades  uint8 [examples, width]: activations over the largest
 * @property {string} peaks  float32 [examples]
 */

/** @type {LatentData} */
export const facts = data;
export const words = facts.tokens;
export const latents = facts.latents;
export const width = facts.width;
const TokenNumbers = words.length < 2 ** 16 ? Uint16Array : Uint32Array;
export const numbers = new Int32Array(bytes(facts.numbers));
export const largest = new Float32Array(bytes(facts.largest));
export const means = new Float32Array(bytes(facts.means));
export const thresholds = new Float32Array(bytes(facts.thresholds));
export const exponents = new Int16Array(bytes(facts.exponents));
export const bins = new Int32Array(bytes(facts.histograms));
export const near = new Int32Array(bytes(facts.near));
export const cosines = new Float32Array(bytes(facts.cosines));
export const lists = Object.fromEntries(Object.entries(facts.lists).map(([name, {token, value, count}]) =>
  [name, {token: new TokenNumbers(bytes(token)), value: new Float32Array(bytes(value)), count: count && new Int32Array(bytes(count))}]));
export const slots = new Uint8Array(bytes(facts.slots));
export const shown = new TokenNumbers(bytes(facts.shown));
export const shades = new Uint8Array(bytes(facts.shades));
export const peaks = new Float32Array(bytes(facts.peaks));
export const places = new Int32Array(bytes(facts.places));
export const own = new Set(facts.own);
export const perSlot = facts.intervals + 1;
export const first = new Int32Array(latents + 1);  // where each one's examples begin
for (let latent = 0; latent < latents; latent++) {
  first[latent + 1] = slots.subarray(latent * perSlot, (latent + 1) * perSlot).reduce((sum, count) => sum + count, first[latent]);
}

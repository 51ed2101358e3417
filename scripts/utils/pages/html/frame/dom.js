const DARK_PAPER = [23, 24, 28], DARK_RED = [204, 0, 0];  // as in the style

/**
 * The data of the page, as the template holds them.
 * @type {any}
 */
export const data = JSON.parse(find("data").textContent || "null");

/**
 * Find an element that the template has. With a kind, such as HTMLInputElement, it must be there and be one.
 * @template {Element} [T=any]
 * @param {string} id
 * @param {new () => T} [kind]
 * @returns {T}
 */
export function find(id, kind) {
  const found = document.getElementById(id);
  if (kind && !(found instanceof kind)) throw new TypeError(`#${id} is no ${kind.name}`);
  return /** @type {any} */ (found);
}

/**
 * Decode base64 into bytes.
 * @param {string} text
 * @returns {ArrayBuffer}
 */
export function bytes(text) {
  const quick = /** @type {{fromBase64?: (text: string) => Uint8Array<ArrayBuffer>}} */ (Uint8Array).fromBase64;  // in browsers since 2025
  if (quick) return quick(text).buffer;
  const characters = atob(text), found = new Uint8Array(characters.length);
  for (let i = 0; i < found.length; i++) found[i] = characters.charCodeAt(i);
  return found.buffer;
}

/**
 * White for 0, red for 1; on a dark page from its paper to a red that light letters can be read on.
 * @param {number} p
 */
export function shade(p) {
  const other = Math.round(255 * (1 - p)), mixed = DARK_PAPER.map((from, at) => Math.round(from + (DARK_RED[at] - from) * p));
  return `light-dark(rgb(255, ${other}, ${other}), rgb(${mixed.join(", ")}))`;
}

/**
 * Make an element. Text goes in as text, whatever it holds.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} name
 * @param {string} [className]
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[T]}
 */
export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/**
 * Make an element of a drawing.
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {string} [text]
 * @returns {SVGElement}
 */
export function drawing(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) made.setAttribute(key, String(attributes[key]));
  if (text !== undefined) made.textContent = text;
  return made;
}

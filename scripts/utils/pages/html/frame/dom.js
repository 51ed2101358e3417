/**
 * The data of the page, as the template holds them.
 * @type {any}
 */
export const data = JSON.parse(find("data").textContent || "null");

/**
 * Find an element that the template has.
 * @param {string} id
 * @returns {any}
 */
export function find(id) {
  return document.getElementById(id);
}

/**
 * Decode base64 into bytes.
 * @param {string} text
 * @returns {ArrayBuffer}
 */
export function bytes(text) {
  const quick = /** @type {any} */ (Uint8Array).fromBase64;  // in browsers since 2025
  if (quick) return quick(text).buffer;
  const characters = atob(text), found = new Uint8Array(characters.length);
  for (let i = 0; i < found.length; i++) found[i] = characters.charCodeAt(i);
  return found.buffer;
}

/**
 * White for 0, red for 1.
 * @param {number} p
 */
export function shade(p) {
  const other = Math.round(255 * (1 - p));
  return `rgb(255, ${other}, ${other})`;
}

/**
 * Make an element. Text goes in as text, whatever it holds.
 * @param {string} name
 * @param {string} [className]
 * @param {string} [text]
 * @returns {HTMLElement}
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

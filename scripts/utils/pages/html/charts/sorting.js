import {element} from "../frame/dom.js";

/**
 * A number at the beginning of a cell, as it is written here: with a real minus, and points in thousands; else its words.
 * @param {string} text
 */
function valueOf(text) {
  const plain = text.trim().replaceAll(",", "").replace("−", "-").replace("+", ""), number = parseFloat(plain);
  return /^-?[\d.]/.test(plain) && !Number.isNaN(number) ? number : plain.toLowerCase();
}

/** @param {HTMLTableRowElement} row @param {number} column */
function cellOf(row, column) {
  const cell = row.cells[column];
  return valueOf(cell.querySelector("strong")?.textContent ?? cell.firstChild?.textContent ?? "");
}

/** @param {string | number} one @param {string | number} other */
function compared(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  if (typeof one !== typeof other) return typeof one === "number" ? 1 : -1;  // what is no number, such as –, is least
  return String(one).localeCompare(String(other), "en", {numeric: true});  // layer 2 before layer 10
}

/** @param {HTMLTableElement} table @param {number} column @param {HTMLElement} head */
function sort(table, column, head) {
  const falling = head.getAttribute("aria-sort") !== "descending", body = table.tBodies[0], rows = Array.from(body.rows);
  for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const order = new Map(rows.map(row => [row, cellOf(row, column)]));
  rows.sort((one, other) => (falling ? -1 : 1) * compared(order.get(one) ?? "", order.get(other) ?? ""));
  body.append(...rows);
}

/** Let the heads of tables sort them, and a search above each long table filter its rows. */
export function startTables() {
  for (const table of /** @type {NodeListOf<HTMLTableElement>} */ (document.querySelectorAll("table.sorted"))) {
    for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (table.querySelectorAll("thead button.sort"))) {
      const head = /** @type {HTMLTableCellElement} */ (button.closest("th"));
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(table, head.cellIndex, head));
    }
  }
  for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("input[data-filters]"))) {
    const table = /** @type {HTMLTableElement} */ (document.getElementById(input.dataset.filters ?? "")), said = element("span", "hint");
    input.after(said);
    input.addEventListener("input", () => filter(table, plain(input.value).split(/\s+/).filter(Boolean), said));
  }
}

/**
 * A text as a keyboard writes it: with a hyphen for a minus, in small letters.
 * @param {string} text
 */
function plain(text) {
  return text.replaceAll("−", "-").replaceAll("␣", " ").toLowerCase();
}

/**
 * Show the rows that hold every wanted word.
 * @param {HTMLTableElement} table @param {string[]} wanted @param {HTMLElement} said
 */
function filter(table, wanted, said) {
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const text = Array.from(row.querySelectorAll("th, td, small"), cell => plain(cell.textContent ?? "")).join(" ");
    row.hidden = !wanted.every(word => text.includes(word));
    if (!row.hidden) shown++;
  }
  said.textContent = wanted.length ? `${shown} of ${table.tBodies[0].rows.length}` : "";
}

/**
 * Write a number in three digits.
 * @param {number} value
 */
export function short(value) {
  if (value === 0) return "0";
  return Math.abs(value) >= 1000 || Math.abs(value) < 0.01 ? value.toExponential(1) : value.toPrecision(3);
}

/**
 * Write a share as per cent.
 * @param {number} share
 */
export function percent(share) {
  if (share === 0) return "0";
  return share >= 0.0001 ? `${(100 * share).toPrecision(2)} %` : `${(100 * share).toExponential(1)} %`;
}

/**
 * Write how many there are of something.
 * @param {number} count
 * @param {string} word
 */
export function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

/**
 * Write two decimals, with a true minus.
 * @param {number} value
 */
export function decimals(value) {
  return value.toFixed(2).replace("-", "−");
}

import {element} from "../frame/dom.js";

/**
 * Make a part of the card.
 * @param {string} title
 * @param {string} note
 * @param {Element} content
 */
export function section(title, note, content) {
  const made = element("section"), heading = element("h3", "", title);
  if (note) heading.append(" ", element("small", "", note));
  made.append(heading, content);
  return made;
}

import {find} from "./dom.js";

const THEMES = ["system", "dark", "light"];
const SYSTEM = window.matchMedia("(prefers-color-scheme: dark)");
/** @type {(() => void)[]} */
const followers = [];

/** Say whether the page is dark now. */
export function isDark() {
  const asked = document.documentElement.dataset.theme;
  return asked ? asked === "dark" : SYSTEM.matches;
}

/**
 * Do something again whenever light turns to dark or back.
 * @param {() => void} follower
 */
export function onTheme(follower) {
  followers.push(follower);
}

/** @param {string} theme */
function showTheme(theme) {
  const button = find("theme");
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  button.title = {system: "colours of the system", dark: "dark", light: "light"}[theme];
  button.setAttribute("aria-label", `colours: ${theme}`);
  button.textContent = {system: "◐", dark: "●", light: "○"}[theme];
  button.value = theme;
  for (const follower of followers) follower();
}

find("theme").addEventListener("click", () => showTheme(THEMES[(THEMES.indexOf(find("theme").value) + 1) % THEMES.length]));
SYSTEM.addEventListener("change", () => { for (const follower of followers) follower(); });
showTheme("system");

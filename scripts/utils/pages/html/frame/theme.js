import {find} from "./dom.js";

/** @typedef {"system" | "dark" | "light"} Theme */
/** @type {Theme[]} */
const THEMES = ["system", "dark", "light"];
const THEME_SIGNS = {system: "◐", dark: "●", light: "○"};
const THEME_NAMES = {system: "colours of the system", dark: "dark", light: "light"};
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

const themeButton = find("theme", HTMLButtonElement);
let chosenTheme = THEMES[0];

function showTheme() {
  if (chosenTheme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosenTheme;
  themeButton.title = THEME_NAMES[chosenTheme];
  themeButton.setAttribute("aria-label", `colours: ${chosenTheme}`);
  themeButton.textContent = THEME_SIGNS[chosenTheme];
  tellFollowers();
}

function tellFollowers() {
  for (const follower of followers) follower();
}

themeButton.addEventListener("click", () => {
  chosenTheme = THEMES[(THEMES.indexOf(chosenTheme) + 1) % THEMES.length];
  showTheme();
});
SYSTEM.addEventListener("change", tellFollowers);
showTheme();

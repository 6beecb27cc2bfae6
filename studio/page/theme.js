// Dark or light: as the system says, until somebody decides.

import { byId } from "./dom.js";

const KEPT = "rotationbench-studio-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function chosen() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

/** Apply the theme and keep to it; `changed` is told of every change. */
export function startTheme(changed) {
  const apply = () => {
    const isDark = (chosen() ?? (system.matches ? "dark" : "light")) === "dark";
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    byId("theme").setAttribute("aria-pressed", String(isDark));
    changed();
  };
  system.addEventListener("change", apply);
  byId("theme").addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEPT, next);
    } catch {
      // Without storage the choice holds for this visit only.
    }
    document.documentElement.dataset.theme = next;
    byId("theme").setAttribute("aria-pressed", String(next === "dark"));
    changed();
  });
  apply();
}

/** A colour of the theme as red, green and blue. */
export function colour(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((place) => Number.parseInt(text.slice(place, place + 2), 16));
}

// Keys for everything that has a button, and the page that lists them.

import { byId, el, isTyping } from "./dom.js";
import { TOOLS } from "./tool_list.js";

/**
 * @typedef {Object} Shortcut
 * @property {string} keys as they are shown.
 * @property {string} label
 * @property {function(KeyboardEvent): boolean} matches
 * @property {function()} act
 */

/** Keys that need Ctrl or ⌘. */
const withControl = (key, label, act, shift = false) => ({
  keys: `Ctrl ${shift ? "Shift " : ""}${key.length === 1 ? key.toUpperCase() : key}`,
  label,
  control: true,
  matches: (event) => (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === key.toLowerCase() && event.shiftKey === shift,
  act,
});

const plain = (key, label, act) => ({
  keys: key.length === 1 ? key.toUpperCase() : key,
  label,
  matches: (event) => !event.ctrlKey && !event.metaKey && event.key.toLowerCase() === key.toLowerCase(),
  act,
});

export class Shortcuts {
  /** @param {Object} actions what the keys do, by name. */
  constructor(actions, tools) {
    this.shortcuts = [
      ...TOOLS.filter(Boolean).map(({ key, label, name }) => plain(key, label, () => actions.choose(name))),
      plain("[", "Smaller brush", () => tools.setBrush(tools.brush / 1.25)),
      plain("]", "Larger brush", () => tools.setBrush(tools.brush * 1.25)),
      plain("x", "Draw on the other layer", () => tools.chooseLayer(tools.layer === "mask" ? "object" : "mask")),
      plain("g", "Grow the mask", actions.grow),
      plain("s", "Shrink the mask", actions.shrink),
      plain("f", "Fill its holes", actions.fill),
      plain("i", "Invert it", actions.invert),
      plain("m", "Show or hide masks", actions.toggleMasks),
      plain("t", "Preview of the turn", actions.togglePreview),
      plain("+", "Zoom in", actions.zoomIn),
      plain("-", "Zoom out", actions.zoomOut),
      plain("0", "Fit the picture", actions.fit),
      plain("1", "Panel: drag", () => actions.tab("drag")),
      plain("2", "Panel: edit", () => actions.tab("edit")),
      plain("3", "Panel: results", () => actions.tab("results")),
      plain("?", "This page", actions.help),
      withControl("z", "Undo", actions.undo),
      withControl("z", "Redo", actions.redo, true),
      withControl("y", "Redo", actions.redo),
      withControl("o", "Open", actions.open),
      withControl("s", "Save", actions.save),
      withControl("Enter", "Make the edit", actions.run),
    ];
    document.addEventListener("keydown", (event) => this.#key(event, actions, tools));
    document.addEventListener("keyup", (event) => {
      if (event.key === " ") tools.holdSpace(false);
    });
  }

  #key(event, actions, tools) {
    if (event.defaultPrevented || document.querySelector("dialog[open]") !== null) return;
    const typing = isTyping(event.target);
    if (event.key === "Escape") {
      actions.escape();
      return;
    }
    if (event.key === " " && !typing && event.target.closest("button, input, summary, a, [role=button]") === null) {
      event.preventDefault();
      tools.holdSpace(true);
      return;
    }
    const found = this.shortcuts.find((shortcut) => shortcut.matches(event));
    // In a text field, undo is the field's own, and letters are letters.
    if (found === undefined || (typing && (!found.control || ["z", "y"].includes(event.key.toLowerCase())))) return;
    event.preventDefault();
    found.act();
  }

  /** Show what the keys do. */
  help() {
    const dialog = byId("help-dialog");
    const more = [
      ["Arrow keys", "move the focused point, by ten with Shift; turn the focused dial"],
      ["Enter", "on the picture: use the tool at the cross that the arrow keys move"],
      ["Delete", "remove the focused point"],
      ["Space", "held: move the picture"],
      ["Alt, right button", "draw the other way round: erase, or draw with the eraser"],
      ["Shift", "on the dial: steps of 15°"],
      ["Escape", "give up what was begun; back to the drag"],
    ];
    const row = (keys, label) => [
      el("span", {}, ...keys.split(" ").map((key) => el("kbd", { text: key }))),
      el("span", { text: label }),
    ];
    dialog.replaceChildren(el("div", {},
      el("div", { class: "row" },
        el("h2", { class: "grow", id: "help-title", text: "Keys" }),
        el("button", { text: "Close", onclick: () => dialog.close() })),
      el("p", { class: "soft", text:
        "Draw where the picture may change, set a handle and where it goes; or set a pivot and turn its dial, which the " +
        "handles follow. Draw what turns on the layer Object, and let the mask cover its turn. Fingers and pens draw " +
        "too; two fingers zoom. Letters act while no text is being typed." }),
      el("div", { class: "keys" }, ...this.shortcuts.flatMap(({ keys, label }) => row(keys, label))),
      el("div", { class: "keys" }, ...more.flatMap(([keys, label]) => [el("strong", { text: keys }), el("span", { text: label })]))));
    dialog.showModal();
  }
}

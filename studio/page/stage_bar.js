// The bar over the picture: what belongs to the chosen tool, and operations on whole masks.

import { attributes, byId, el, say, warn } from "./dom.js";
import { filled, grown, shrunk, swept } from "./morphology.js";

const LAYERS = [
  { name: "mask", label: "May change", title: "The mask: where the picture may change" },
  { name: "object", label: "Object", title: "What turns; without it, the mask's content does" },
];

const HINTS = {
  select: "Drag points and the dial; drag the ground to move the picture.",
  pan: "Drag to move the picture, turn the wheel to zoom.",
  drag: "Drag from a handle to where it goes; with a pivot, a click is enough.",
  pivot: "Click where the turn has its centre, then turn the dial.",
};

export class StageBar {
  /**
   * @param {HTMLElement} place where the bar goes.
   * @param {Tools} tools
   * @param {Painter} painter
   */
  constructor(place, tools, painter) {
    Object.assign(this, { tools, painter, drag: tools.drag });
    this.layers = new Map(LAYERS.map(({ name, label, title }) => [
      name,
      el("button", { text: label, title, onclick: () => tools.chooseLayer(name) }),
    ]));
    this.size = el("input", {
      type: "range", min: 0, max: 100, "aria-label": "Brush size",
      oninput: () => tools.setBrush(sizeOf(Number(this.size.value))),
    });
    this.sizeText = el("span", { class: "label", style: { minWidth: "42px" } });
    this.brush = el("span", { class: "row" }, el("span", { class: "label", text: "Size" }), this.size, this.sizeText);
    this.amount = el("input", { type: "number", id: "amount", min: 1, max: 200, value: 4, "aria-label": "Pixels" });
    this.operations = el("span", { class: "row wrap" },
      el("button", { class: "small", text: "Grow", title: "Grow the mask by so many pixels (G)", onclick: () => this.grow() }),
      el("button", { class: "small", text: "Shrink", title: "Shrink it (S)", onclick: () => this.shrink() }),
      el("span", { style: { width: "56px" } }, this.amount),
      el("span", { class: "label", text: "px" }),
      el("button", { class: "small", text: "Fill", title: "Fill its holes (F)", onclick: () => this.fill() }),
      el("button", { class: "small", text: "Invert", title: "Invert it (I)", onclick: () => this.invert() }),
      el("button", { class: "small", text: "Clear", onclick: () => this.clear() }),
    );
    this.cover = el("button", {
      class: "small",
      text: "Cover the turn",
      title: "Let the mask cover all that the object passes on its turn, with a margin of so many pixels",
      onclick: () => this.coverTurn(),
    });
    this.tool = el("span", { class: "label" });
    this.masksBox = byId("show-masks");
    this.previewBox = byId("show-preview");
    this.masksBox.addEventListener("change", () => this.toggleMasks(this.masksBox.checked));
    this.previewBox.addEventListener("change", () => this.togglePreview(this.previewBox.checked));
    const root = el("div", { role: "toolbar", "aria-label": "The chosen tool" });
    this.root = root;
    place.append(root);
    root.append(
      this.tool,
      el("span", { class: "segmented", role: "group", "aria-label": "Layer to draw on" }, ...this.layers.values()),
      this.brush,
      this.operations,
      this.cover,
    );
    tools.onChange(() => this.update());
    this.drag.onChange((what) => {
      if (what !== "stroke") this.update();
    });
    this.update();
  }

  update() {
    const { tools, drag } = this;
    const draws = tools.isDrawing;
    this.root.hidden = tools.isOff;
    this.tool.textContent = drag.isOpen ? HINTS[tools.tool.name] ?? "" : "Open a picture to begin.";
    this.tool.hidden = draws && drag.isOpen;
    for (const node of [this.brush, this.operations, this.cover, this.layers.get("mask").parentElement]) {
      node.hidden ||= !drag.isOpen;
    }
    if (!drag.isOpen) return;
    for (const [name, button] of this.layers) attributes(button, { "aria-pressed": String(name === tools.layer) });
    for (const node of [this.layers.get("mask").parentElement, this.operations]) node.hidden = !draws;
    this.brush.hidden = tools.tool.draws === undefined;
    const { pivot, angle, object, mask } = drag.state;
    this.cover.hidden = !draws || pivot === null;
    this.cover.disabled = angle === 0 || (object.isEmpty && mask.isEmpty);
    this.size.value = String(valueOf(tools.brush));
    this.sizeText.textContent = `${tools.brush < 10 ? tools.brush.toFixed(1) : Math.round(tools.brush)} px`;
    attributes(this.size, { "aria-valuetext": this.sizeText.textContent });
  }

  get #pixels() {
    return Math.min(200, Math.max(1, Math.round(Number(this.amount.value) || 1)));
  }

  #apply(label, operation) {
    const { mask } = this.tools;
    if (mask.isEmpty && label !== "invert") {
      warn(`The ${mask.label} is empty.`);
      return;
    }
    this.drag.draw(mask, `${label} the ${mask.label}`, () => mask.replace(operation(mask.data, mask.width, mask.height)));
    say(`Done: ${label} the ${mask.label}.`);
  }

  grow() {
    this.#apply("grow", (data, width, height) => grown(data, width, height, this.#pixels));
  }

  shrink() {
    this.#apply("shrink", (data, width, height) => shrunk(data, width, height, this.#pixels));
  }

  fill() {
    this.#apply("fill holes of", filled);
  }

  invert() {
    this.#apply("invert", (data) => data.map((value) => 1 - value));
  }

  clear() {
    this.#apply("clear", (data) => new Uint8Array(data.length));
  }

  /** Let the mask cover all that the object, or else its own content, passes on its way. */
  coverTurn() {
    const { mask, object, pivot, angle } = this.drag.state;
    const what = object.isEmpty ? mask : object;
    this.drag.draw(mask, "cover the turn", () =>
      mask.replace(swept(what.data, mask.width, mask.height, pivot, angle, this.#pixels)),
    );
    say("The mask covers the turn.");
  }

  toggleMasks(shown = !this.painter.showsMasks) {
    this.masksBox.checked = this.painter.showsMasks = shown;
    this.painter.draw();
  }

  togglePreview(shown = !this.painter.showsPreview) {
    this.previewBox.checked = this.painter.showsPreview = shown;
    this.painter.draw();
  }
}

/** Brush sizes from 1 to 400 pixels on a slider of 100, finer where they are small. */
const sizeOf = (value) => Math.round(400 ** (value / 100) * 10) / 10;
const valueOf = (size) => (100 * Math.log(Math.max(1, size))) / Math.log(400);

// An edit beside its source: slider, onion skin, difference; or several edits side by side.

import { bitmap, editedAddress, sourceAddress } from "./api.js";
import { attributes, el, say } from "./dom.js";
import { clamp } from "./geometry.js";

const WAYS = [
  { name: "slider", label: "Slider" },
  { name: "onion", label: "Onion skin" },
  { name: "difference", label: "Difference" },
  { name: "tiles", label: "Side by side" },
];
const GAINS = [1, 4, 12];

export class Compare {
  #shown = [];
  #pictures = [];
  #cache = new Map();

  /**
   * @param {HTMLElement} root
   * @param {HTMLElement} options where its bar goes.
   * @param {Viewport} viewport
   * @param {function()} closed
   */
  constructor(root, options, viewport, closed) {
    Object.assign(this, { root, viewport, closed });
    this.way = "slider";
    this.share = 0.5;
    this.gain = 4;
    this.surface = el("div", { style: { position: "absolute", inset: "0" } });
    this.ways = new Map(WAYS.map(({ name, label }) => [name, el("button", { text: label, onclick: () => this.choose(name) })]));
    this.amount = el("input", {
      type: "range", min: 0, max: 100, "aria-label": "Share of the edit",
      oninput: () => this.#setShare(Number(this.amount.value) / 100),
    });
    this.gains = el("select", {
      "aria-label": "Gain of the difference", style: { width: "auto" },
      onchange: () => { this.gain = Number(this.gains.value); this.draw(); },
    }, ...GAINS.map((gain) => el("option", { value: gain, text: `× ${gain}`, selected: gain === this.gain })));
    this.bar = el("div", { role: "toolbar", "aria-label": "Comparing", hidden: true },
      el("span", { class: "segmented", role: "group", "aria-label": "Way of comparing" }, ...this.ways.values()),
      this.amount, this.gains, el("span", { class: "grow" }),
      el("button", { class: "small", text: "Back to the drag", title: "Escape", onclick: () => this.close() }));
    this.divider = el("button", {
      class: "divider", role: "slider", "aria-label": "Source on the left, edit on the right",
      "aria-valuemin": 0, "aria-valuemax": 100,
      onkeydown: (event) => {
        const move = { ArrowLeft: -0.02, ArrowRight: 0.02, PageUp: 0.1, PageDown: -0.1 }[event.key];
        if (move === undefined) return;
        event.preventDefault();
        event.stopPropagation();
        this.#setShare(this.share + move);
      },
      onpointerdown: (event) => {
        event.stopPropagation();
        this.divider.setPointerCapture(event.pointerId);
      },
      onpointermove: (event) => {
        if (this.divider.hasPointerCapture(event.pointerId)) this.#slideTo(event.clientX);
      },
    });
    root.append(this.surface);
    options.append(this.bar);
    viewport.onChange(() => this.draw());
  }

  get isOpen() {
    return !this.root.hidden;
  }

  /** Show edits; the first one's source is the source. */
  async open(edits) {
    this.#shown = edits;
    const addresses = [sourceAddress(edits[0]), ...edits.map(editedAddress)];
    this.#pictures = await Promise.all(addresses.map((address) => this.#picture(address)));
    if (this.#shown !== edits) return;
    this.root.hidden = this.bar.hidden = false;
    const [source] = this.#pictures;
    if (this.viewport.picture[0] !== source.width || this.viewport.picture[1] !== source.height) {
      this.viewport.show(source.width, source.height);
    }
    if (edits.length > 1) this.way = "tiles";
    else if (this.way === "tiles") this.way = "slider";
    this.#build();
    say(edits.length === 1 ? `${edits[0].label}: the edit beside its source.` : `${edits.length} edits side by side.`);
  }

  async #picture(address) {
    if (!this.#cache.has(address)) {
      if (this.#cache.size > 24) this.#cache.delete(this.#cache.keys().next().value);
      this.#cache.set(address, await bitmap(address));
    }
    return this.#cache.get(address);
  }

  close() {
    if (!this.isOpen) return;
    this.root.hidden = this.bar.hidden = true;
    this.#shown = [];
    this.closed();
  }

  choose(way) {
    this.way = way;
    this.#build();
  }

  #setShare(share) {
    this.share = clamp(share, 0, 1);
    this.draw();
  }

  #slideTo(clientX) {
    const box = this.root.getBoundingClientRect();
    const [left] = this.viewport.toStage([0, 0]);
    this.#setShare((clientX - box.left - left) / (this.#pictures[0].width * this.viewport.scale));
  }

  #build() {
    for (const [name, button] of this.ways) {
      attributes(button, { "aria-pressed": String(name === this.way) });
      button.disabled = this.#shown.length > 1 && name !== "tiles";
    }
    this.amount.hidden = this.way !== "onion";
    this.gains.hidden = this.way !== "difference";
    if (this.way === "tiles") {
      const names = ["source", ...this.#shown.map(({ label }) => label)];
      this.canvases = this.#pictures.map(() => el("canvas"));
      this.surface.replaceChildren(el("div", { class: "tiles" }, ...this.canvases.map((canvas, index) =>
        el("figure", { class: "tile" }, canvas, el("figcaption", { text: names[index] })))));
    } else {
      this.canvases = [el("canvas")];
      const captions = this.way === "slider"
        ? [el("span", { class: "caption", text: "source" }), el("span", { class: "caption right", text: this.#shown[0].label })]
        : [el("span", { class: "caption", text: this.way === "onion" ? this.#shown[0].label : `${this.#shown[0].label} − source` })];
      this.surface.replaceChildren(...this.canvases, ...captions, ...(this.way === "slider" ? [this.divider] : []));
    }
    this.draw();
  }

  draw() {
    if (!this.isOpen || this.canvases === undefined) return;
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => (this.way === "tiles" ? this.#drawTiles() : this.#drawOne()));
  }

  #drawTiles() {
    const [width, height] = this.viewport.size;
    const [{ width: wide, height: high }] = this.#pictures;
    const count = this.canvases.length;
    const scaleAt = (columns) => Math.min(width / columns / wide, height / Math.ceil(count / columns) / high);
    const columns = this.canvases.map((_, index) => index + 1).reduce((a, b) => (scaleAt(b) > scaleAt(a) ? b : a));
    this.surface.firstChild.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
    this.canvases.forEach((canvas, index) => {
      const box = canvas.parentElement.getBoundingClientRect();
      // The same part of the picture in every tile: the viewport's middle in the tile's middle.
      const ratio = Math.min(box.width / width, box.height / height);
      const scale = this.viewport.scale * ratio;
      const x = box.width / 2 + (this.viewport.x - width / 2) * ratio;
      const y = box.height / 2 + (this.viewport.y - height / 2) * ratio;
      const context = prepared(canvas, box.width, box.height, scale, x, y);
      context.drawImage(this.#pictures[index], 0, 0);
    });
  }

  #drawOne() {
    const [width, height] = this.viewport.size;
    const { scale, x, y } = this.viewport;
    const [source, edited] = this.#pictures;
    const context = prepared(this.canvases[0], width, height, scale, x, y);
    context.drawImage(source, 0, 0);
    if (this.way === "slider") {
      const from = source.width * this.share;
      context.save();
      context.beginPath();
      context.rect(from, 0, source.width - from, source.height);
      context.clip();
      context.drawImage(edited, 0, 0);
      context.restore();
      this.divider.style.left = `${x + from * scale}px`;
      attributes(this.divider, { "aria-valuenow": Math.round(100 * this.share) });
    } else if (this.way === "onion") {
      context.globalAlpha = this.share;
      context.drawImage(edited, 0, 0);
      context.globalAlpha = 1;
      this.amount.value = String(Math.round(100 * this.share));
    } else {
      context.globalCompositeOperation = "difference";
      context.drawImage(edited, 0, 0);
      // Adding the picture to itself is the gain: each time it doubles at most.
      context.globalCompositeOperation = "lighter";
      for (let gain = 1; gain < this.gain; ) {
        const more = Math.min(gain, this.gain - gain);
        context.save();
        context.setTransform(1, 0, 0, 1, 0, 0);
        context.globalAlpha = more / gain;
        context.drawImage(this.canvases[0], 0, 0);
        context.restore();
        gain += more;
      }
      context.globalCompositeOperation = "source-over";
    }
  }
}

function prepared(canvas, width, height, scale, x, y) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(scale * ratio, 0, 0, scale * ratio, x * ratio, y * ratio);
  context.imageSmoothingEnabled = scale < 3;
  context.imageSmoothingQuality = "high";
  return context;
}

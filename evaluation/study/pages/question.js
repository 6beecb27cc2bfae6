// One question: the original and its edits at equal size, chosen by press or key, until the answer is handed over.

import { element, filled } from "study/element";
import { SharedView } from "study/zoom";

const LETTERS = "ABCDEFGH";
const SMALLEST_TILE = 150;
const CAPTION = 30;
const PAN = 0.15;

export class Question {
  // `onAnswer(chosen, seconds)` is called once, with positions from the best to the worst.
  constructor(state, texts, pictureOf, onAnswer) {
    this.state = state;
    this.texts = texts;
    this.pictureOf = pictureOf;
    this.onAnswer = onAnswer;
    this.ranks = state.kind === "rank";
    this.chosen = [];
    this.open = false;
    this.seconds = 0;
    this.node = this.#build();
    this.listeners = new AbortController();
    const options = { signal: this.listeners.signal };
    document.addEventListener("keydown", (event) => this.#key(event), options);
    document.addEventListener("visibilitychange", () => this.#clock(), options);
    this.sizes = new ResizeObserver(() => this.#layOut());
    this.sizes.observe(document.documentElement);
    this.#load();
  }

  close() {
    this.listeners.abort();
    this.sizes.disconnect();
  }

  // To be called when the node is in the page.
  shown() {
    this.#layOut();
    this.heading.focus({ preventScroll: true });
  }

  #build() {
    const { texts, state } = this;
    this.view = new SharedView((scale) => this.#zoomed(scale));
    this.plain = element("img", { alt: "", draggable: false });
    this.marked = element("img", { alt: texts.original, draggable: false, class: "marked" });
    const originalFrame = element("div", { class: "frame" }, element("div", { class: "content" }, this.plain, this.marked));
    this.view.add(originalFrame, originalFrame.firstChild);
    const original = element("div", { class: "tile original" }, element("div", { class: "caption" }, texts.original), originalFrame);
    this.options = state.options.map((_, position) => this.#option(position));
    this.heading = element("h1", { tabIndex: -1, id: "question" }, texts[`ask_${state.kind}`]);
    this.tiles = element("div", { class: "tiles", role: this.ranks ? "group" : "radiogroup", "aria-labelledby": "question" },
      original, element("span", { class: "break" }), ...this.options);
    this.tiles.style.setProperty("--ratio", `${state.width} / ${state.height}`);
    const tool = (name, sign, act, extra = {}) =>
      element("button", { type: "button", class: "tool", title: texts[name], "aria-label": texts[name], onclick: act, ...extra }, sign);
    this.marksButton = tool("marks", texts.marks, () => this.#toggleMarks(), { "aria-pressed": "true", class: "tool wide" });
    this.out = tool("zoom_out", "−", () => this.view.zoomOut());
    this.whole = tool("zoom_reset", "1×", () => this.view.reset());
    const tools = element("div", { class: "tools" }, this.marksButton, this.out, this.whole, tool("zoom_in", "+", () => this.view.zoomIn()));
    this.progress = element("div", { class: "bar" }, element("span"));
    this.progress.firstChild.style.width = `${(100 * state.place) / state.count}%`;
    this.message = element("p", { class: "message", role: "status" });
    this.undo = element("button", { type: "button", class: "quiet", disabled: true, onclick: () => this.#undo() }, texts.undo);
    this.next = element("button", { type: "button", class: "primary", disabled: true, onclick: () => this.#hand() }, texts.next);
    this.#zoomed(1);
    return element("section", { class: "question" },
      element("header", {}, this.progress,
        element("div", { class: "line" },
          element("span", { class: "count" }, filled(texts.progress, { place: state.place + 1, count: state.count })), tools)),
      this.heading, this.tiles, this.message,
      element("p", { class: "legend" }, texts.legend), element("p", { class: "legend keys" }, texts.keys),
      element("footer", {}, this.undo, this.next));
  }

  #option(position) {
    const label = filled(this.texts.edit, { letter: LETTERS[position] });
    const picture = element("img", { alt: "", draggable: false });
    const frame = element("span", { class: "frame" }, element("span", { class: "content" }, picture));
    const badge = element("span", { class: "badge", "aria-hidden": "true" }, LETTERS[position]);
    const button = element("button", {
      type: "button", class: "tile option", "aria-label": label, disabled: true,
      role: this.ranks ? null : "radio", tabIndex: this.ranks || position === 0 ? 0 : -1,
      // Presses come from the shared view, which knows them from moves; a click without a press is the keyboard's.
      onclick: (event) => { if (event.detail === 0) this.#choose(position); },
    }, element("span", { class: "caption" }, badge, element("span", { class: "rank" })), frame);
    button.picture = picture;
    button.label = label;
    this.view.add(frame, frame.firstChild, () => this.#choose(position));
    return button;
  }

  async #load() {
    const { state } = this;
    const wanted = [[this.plain, state.plain], [this.marked, state.figure],
      ...this.options.map((option, position) => [option.picture, state.options[position]])];
    try {
      await Promise.all(wanted.map(([image, token]) => {
        image.src = this.pictureOf(token);
        return image.decode();
      }));
    } catch {
      if (this.listeners.signal.aborted) return;
      const again = element("button", { type: "button", class: "quiet", onclick: () => { this.message.replaceChildren(); this.#load(); } },
        this.texts.picture_missing);
      this.message.replaceChildren(again);
      return;
    }
    this.open = true;
    this.#clock();
    this.#show();
    for (const token of state.next) new Image().src = this.pictureOf(token);
  }

  // Seconds run only while the page is in front.
  #clock() {
    if (this.since !== undefined) this.seconds += (performance.now() - this.since) / 1000;
    this.since = this.open && !document.hidden ? performance.now() : undefined;
  }

  #choose(position) {
    if (!this.open) return;
    const at = this.chosen.indexOf(position);
    if (!this.ranks) this.chosen = [position];
    else if (at >= 0) this.chosen.splice(at, 1);
    else this.chosen.push(position);
    // The last one left has only one rank to take.
    if (this.ranks && at < 0 && this.chosen.length === this.options.length - 1) {
      this.chosen.push(this.options.findIndex((_, other) => !this.chosen.includes(other)));
    }
    this.#show();
    if (!this.ranks) this.options[position].focus({ preventScroll: true });
  }

  #undo() {
    if (!this.open || !this.chosen.length) return;
    // The last rank was given together with the one before.
    const full = this.ranks && this.chosen.length === this.options.length;
    this.chosen.splice(full ? -2 : -1);
    this.#show();
  }

  get complete() {
    return this.open && this.chosen.length === (this.ranks ? this.options.length : 1);
  }

  #show() {
    this.options.forEach((option, position) => {
      const at = this.chosen.indexOf(position);
      const rank = this.ranks && at >= 0 ? filled(this.texts.rank, { rank: at + 1 }) : "";
      option.disabled = !this.open;
      option.classList.toggle("chosen", at >= 0);
      option.setAttribute(this.ranks ? "aria-pressed" : "aria-checked", String(at >= 0));
      option.setAttribute("aria-label", rank ? `${option.label}, ${rank}` : option.label);
      option.querySelector(".rank").textContent = rank;
      if (!this.ranks) option.tabIndex = at >= 0 || (!this.chosen.length && position === 0) ? 0 : -1;
    });
    this.undo.disabled = !this.chosen.length || !this.open;
    this.next.disabled = !this.complete;
  }

  #hand() {
    if (!this.complete) return;
    this.open = false;
    this.#clock();
    this.#show();
    this.message.textContent = this.texts.sending;
    this.onAnswer(this.chosen, this.seconds);
  }

  #toggleMarks() {
    const hidden = this.marked.classList.toggle("hidden");
    this.marksButton.setAttribute("aria-pressed", String(!hidden));
  }

  #zoomed(scale) {
    if (!this.tiles) return;
    this.tiles.classList.toggle("enlarged", scale > 1);
    this.whole.textContent = `${scale.toFixed(scale < 10 ? 1 : 0).replace(".0", "")}×`;
    this.whole.disabled = this.out.disabled = scale === 1;
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const key = event.key;
    const number = key.length === 1 ? Math.max("12345678".indexOf(key), LETTERS.indexOf(key.toUpperCase())) : -1;
    const arrow = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key];
    if (number >= 0 && number < this.options.length) this.#choose(number);
    else if (key === "Enter" && this.complete && !document.activeElement.matches(".tool, .quiet, a, select")) this.#hand();
    else if (key === "Backspace") this.#undo();
    else if (key === "+" || key === "=") this.view.zoomIn();
    else if (key === "-") this.view.zoomOut();
    else if (key === "0") this.view.reset();
    else if (key === "m" || key === "M") this.#toggleMarks();
    else if (arrow && this.view.scale > 1) this.view.pan(PAN * arrow[0], PAN * arrow[1]);
    else if (arrow && document.activeElement.classList.contains("option")) this.#focusBeside(arrow[0] + arrow[1] < 0 ? 1 : -1);
    else return;
    event.preventDefault();
  }

  #focusBeside(step) {
    const from = this.options.indexOf(document.activeElement);
    this.options[(from + step + this.options.length) % this.options.length].focus();
  }

  // The largest tiles that fit into the window; beside each other, or the original in a row of its own.
  #layOut() {
    const style = getComputedStyle(this.tiles);
    const gap = parseFloat(style.columnGap);
    const width = this.tiles.clientWidth;
    const taken = this.tiles.getBoundingClientRect().top + window.scrollY + this.node.querySelector("footer").offsetHeight;
    const height = window.innerHeight - taken - 2 * gap;
    const ratio = this.state.width / this.state.height;
    const edits = this.options.length;
    let best = { worth: 0 };
    for (const apart of [true, false]) {
      for (let columns = 1; columns <= (apart ? edits : edits + 1); columns++) {
        const rows = apart ? 1 + Math.ceil(edits / columns) : Math.ceil((edits + 1) / columns);
        const across = (width - (columns - 1) * gap) / columns;
        const down = ((height - (rows - 1) * gap) / rows - CAPTION) * ratio;
        const size = Math.floor(Math.min(across, Math.max(down, Math.min(SMALLEST_TILE, (width - gap) / 2))));
        // Edits in one row are easier to compare than slightly larger ones below each other.
        const worth = columns === (apart ? edits : edits + 1) ? 1.15 * size : size;
        if (worth > best.worth) best = { size, apart, worth };
      }
    }
    this.tiles.style.setProperty("--tile", `${best.size}px`);
    this.tiles.classList.toggle("apart", best.apart);
  }
}

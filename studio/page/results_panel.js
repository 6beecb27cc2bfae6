// The panel of results: edits that are kept, what they cost and what was measured of them.

import { archiveAddress, editedAddress, results } from "./api.js";
import { el, say, warn } from "./dom.js";

const MOST_COMPARED = 5;
const COLOURS = { lora: "#8a6fd1", inversion: "#3b82c4", drag: "#d9534a", sampling: "#3f9b6b", bank: "#c98a1b" };
const OTHER_COLOUR = "#8b94a1";
const PHASE_NAMES = { lora: "LoRA" };

export class ResultsPanel {
  #edits = [];
  #chosen = new Set();
  #cards = new Map();

  /**
   * @param {HTMLElement} root
   * @param {DragDocument} drag
   * @param {{compare: function(Object[]), closed: function()}} callbacks
   */
  constructor(root, drag, callbacks) {
    Object.assign(this, { drag, callbacks });
    this.scope = el("select", { id: "scope", "aria-label": "Which edits", onchange: () => this.update() },
      el("option", { value: "drag", text: "Of this drag" }),
      el("option", { value: "all", text: "All that are kept" }));
    this.download = el("button", { class: "small", text: "Download", title: "A results folder that task=report reads", onclick: () => this.#download() });
    this.head = el("p", { class: "soft", "aria-live": "polite" });
    this.list = el("ul", { class: "cards", id: "results", "aria-label": "Kept edits" });
    root.append(el("section", {},
      el("div", { class: "row" }, el("span", { class: "grow" }, this.scope), this.download), this.head, this.list));
    drag.onChange((what) => {
      if (what === "picture") this.update();
    });
  }

  get shown() {
    const digests = this.drag.state?.digests ?? new Set();
    return this.#edits.filter((edit) => this.scope.value === "all" || digests.has(edit.digest));
  }

  /** Read what is kept, and show it. */
  async load() {
    try {
      this.#edits = (await results()).edits;
    } catch (error) {
      warn(error.message);
    }
    this.update();
  }

  /** Show one edit beside its source. */
  async open(result) {
    await this.load();
    const edit = this.#edits.find((one) => keyOf(one) === keyOf(result)) ?? result;
    if (!this.shown.some((one) => keyOf(one) === keyOf(edit))) this.scope.value = "all";
    this.#chosen = new Set([keyOf(edit)]);
    this.update();
    this.#compare();
  }

  forget() {
    this.#chosen.clear();
    this.update();
  }

  update() {
    const shown = this.shown;
    this.download.disabled = shown.length === 0;
    this.head.textContent = shown.length === 0
      ? "No edits yet: make one under Edit."
      : `${shown.length} ${shown.length === 1 ? "edit" : "edits"}. Choose one to compare with its source, several to see them side by side.`;
    // What is there already stays, and with it the focus.
    const cards = shown.map((edit) => {
      const key = `${keyOf(edit)}\n${edit.finished}\n${edit.metrics.length}`;
      if (!this.#cards.has(key)) this.#cards.set(key, this.#card(edit));
      return this.#cards.get(key);
    });
    const there = [...this.list.children];
    if (cards.length !== there.length || cards.some((card, index) => card !== there[index])) this.list.replaceChildren(...cards);
    shown.forEach((edit, index) => {
      const isChosen = this.#chosen.has(keyOf(edit));
      cards[index].classList.toggle("chosen", isChosen);
      cards[index].querySelector("input").checked = isChosen;
    });
  }

  #card(edit) {
    const key = keyOf(edit);
    const box = el("input", { type: "checkbox", "aria-label": `Compare ${edit.label} of ${edit.sample}`, onchange: () => this.#choose(key, box.checked) });
    const picture = el("button", {
      class: "picture", "aria-label": `Show ${edit.label} of ${edit.sample} beside its source`,
      onclick: () => { this.#chosen = new Set([key]); this.update(); this.#compare(); },
    }, el("img", { src: editedAddress(edit), alt: "", loading: "lazy" }));
    const left = edit.distance_left.at(-1);
    // Of an edit that was made elsewhere, nothing but the picture may be known.
    const facts = [
      ...(edit.steps === null ? [] : [["steps", `${edit.steps}${edit.converged === true ? ", arrived" : ""}`]]),
      ...(left === undefined ? [] : [["distance left", `${left.toFixed(1)} px`]]),
      ...(edit.seconds === null ? [] : [["lora" in edit.phases ? "time without LoRA" : "time", seconds(edit.seconds)]]),
      // An arrow stays with its unit.
      ...edit.metrics.map(({ title, text }) => [title.replace(/ (?=\S$)/, "\u00a0"), text]),
    ];
    const note = edit.unchanged ? " · equals its source" : "";
    return el("li", { class: "card result" },
      picture,
      el("div", { class: "grow" },
        el("div", { class: "row" }, el("h3", { class: "grow", text: `${edit.method}${edit.seed === 0 ? "" : `, seed ${edit.seed}`}`, title: edit.label }), box),
        el("p", { class: "soft", text: `${edit.sample}${note}` }),
        edit.changed.length === 0 ? null : el("p", { class: "soft", text: edit.changed.join(", ") }),
        el("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })])),
      ),
      ...costs(edit),
    );
  }

  #choose(key, isChosen) {
    if (isChosen) {
      if (this.#chosen.size >= MOST_COMPARED) {
        warn(`At most ${MOST_COMPARED} edits side by side.`);
        this.update();
        return;
      }
      this.#chosen.add(key);
    } else {
      this.#chosen.delete(key);
    }
    this.update();
    this.#compare();
  }

  #compare() {
    let edits = this.shown.filter((edit) => this.#chosen.has(keyOf(edit)));
    if (edits.length === 0) {
      this.callbacks.closed();
      return;
    }
    const others = edits.filter((edit) => edit.sample !== edits[0].sample);
    if (others.length > 0) {
      say("Only edits of one sample stand side by side.");
      edits = edits.filter((edit) => edit.sample === edits[0].sample);
    }
    this.callbacks.compare(edits);
  }

  #download() {
    const names = [...new Set(this.shown.map(({ sample }) => sample))];
    const link = el("a", { href: archiveAddress(this.scope.value === "all" ? [] : names), download: "results.zip" });
    link.click();
    say("The results folder is being packed.");
  }
}

const keyOf = ({ label, sample }) => `${label}\n${sample}`;
const seconds = (value) => (value < 0.1 ? `${Math.round(1000 * value)} ms` : value < 60 ? `${value.toFixed(1)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`);

/** Time by phase as a bar, with a legend in words. */
function costs({ phases, evaluations }) {
  const total = Object.values(phases).reduce((sum, value) => sum + value, 0);
  const parts = Object.entries(phases).filter(([, value]) => total > 0 && value / total >= 0.005);
  const colour = (phase) => COLOURS[phase] ?? OTHER_COLOUR;
  return [
    el("div", { class: "cost", "aria-hidden": "true" }, ...parts.map(([phase, value]) =>
      el("div", { style: { width: `${(100 * value) / total}%`, background: colour(phase) } }))),
    el("ul", { class: "legend", "aria-label": "Cost by phase" }, ...parts.map(([phase, value]) =>
      el("li", {},
        el("i", { style: { background: colour(phase) }, "aria-hidden": "true" }),
        `${PHASE_NAMES[phase] ?? phase} ${seconds(value)}${evaluations[phase] > 0 ? `, ${evaluations[phase]} evaluations` : ""}`))),
  ];
}

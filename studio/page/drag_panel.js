// The panel of the drag: what the sample is called, its pairs, the pivot and its dial, and what is wrong.

import { attributes, byId, el, glyph } from "./dom.js";
import { samePoint } from "./geometry.js";
import { problemsOf } from "./problems.js";

export class DragPanel {
  #shape = null;

  /**
   * @param {HTMLElement} root
   * @param {DragDocument} drag
   * @param {function(string, number[]|null)} show goes to a place by id and picture point.
   */
  constructor(root, drag, show) {
    this.drag = drag;
    this.show = show;
    this.name = el("input", {
      type: "text",
      id: "sample-name",
      maxlength: 120,
      spellcheck: "false",
      autocomplete: "off",
      oninput: () => drag.set({ name: this.name.value }, "name the sample", "name"),
    });
    this.prompt = el("textarea", {
      id: "prompt",
      rows: 2,
      maxlength: 10000,
      oninput: () => drag.set({ prompt: this.prompt.value }, "change the prompt", "prompt"),
    });
    this.pairs = el("ol", { class: "pairs" });
    this.turn = el("div", { class: "field" });
    this.problems = el("ul", { class: "problems", id: "problems", "aria-live": "polite", "aria-label": "What is wrong" });
    this.facts = el("p", { class: "soft" });
    root.append(
      el("section", {},
        el("div", { class: "section-head" }, el("h2", { text: "Check" })),
        this.problems,
      ),
      el("section", {},
        el("div", { class: "section-head" }, el("h2", { text: "Handles" })),
        this.pairs,
      ),
      el("section", {}, el("div", { class: "section-head" }, el("h2", { text: "Turn" })), this.turn),
      el("section", {},
        el("div", { class: "section-head" }, el("h2", { text: "Sample" })),
        field("sample-name", "Name", this.name),
        field("prompt", "Prompt: what the picture shows", this.prompt),
        this.facts,
      ),
    );
    drag.onChange((what) => {
      if (what !== "stroke") this.update();
    });
    this.update();
  }

  update() {
    const { drag } = this;
    this.#updateProblems();
    for (const node of [this.name, this.prompt]) node.disabled = !drag.isOpen;
    if (!drag.isOpen) {
      this.pairs.replaceChildren(el("li", { class: "soft", text: "None yet." }));
      this.turn.replaceChildren(el("p", { class: "soft", text: "No pivot." }));
      return;
    }
    const { name, prompt, picture, exactResult } = drag.state;
    if (this.name.value !== name) this.name.value = name;
    if (this.prompt.value !== prompt) this.prompt.value = prompt;
    this.facts.textContent =
      `${picture.width} × ${picture.height} pixels${exactResult ? ", with a known exact result" : ""}`;
    this.#updatePairs();
    this.#updateTurn();
  }

  #updateProblems() {
    const found = problemsOf(this.drag);
    const items = found.map(({ kind, text, place, at }) =>
      el("li", { class: kind },
        place === null ? text : el("button", { class: "link", text, onclick: () => this.show(place, at) }),
      ),
    );
    if (!found.some(({ kind }) => kind === "problem") && this.drag.isOpen) {
      items.unshift(el("li", { class: "fine", text: "Ready to be saved and edited." }));
    }
    const told = found.map(({ text }) => text).join("|");
    if (told !== this.told || this.problems.childElementCount === 0) this.problems.replaceChildren(...items);
    this.told = told;
    const invalid = found.some(({ place }) => place === "sample-name");
    attributes(this.name, { "aria-invalid": invalid && this.drag.isOpen ? "true" : null });
  }

  #updatePairs() {
    const { pairs, pivot } = this.drag.state;
    if (pairs.length === 0) {
      this.pairs.replaceChildren(
        el("li", { class: "soft", text: "None yet. Choose the tool D and drag an arrow." }),
      );
      return;
    }
    this.pairs.replaceChildren(...pairs.map(({ source, target, follows }, index) => {
      const number = index + 1;
      const rests = samePoint(source, target);
      return el("li", {},
        el("span", { class: "number", text: String(number), "aria-hidden": "true" }),
        el("button", {
          class: "link",
          text: `${source.map(Math.round).join(", ")} → ${rests ? "stays" : target.map(Math.round).join(", ")}`,
          "aria-label": `Go to handle ${number}`,
          onclick: () => this.show(`handle-${index}`, source),
        }),
        pivot === null ? el("span") : el("button", {
          class: "icon quiet small",
          "aria-pressed": String(follows),
          "aria-label": `Handle ${number} follows the turn`,
          title: follows ? "Follows the turn" : "Goes its own way",
          onclick: () => this.drag.setFollows(index, !follows),
        }, glyph("link")),
        el("button", {
          class: "icon quiet small",
          "aria-label": `Remove handle ${number}`,
          title: "Remove",
          onclick: () => this.drag.removePair(index),
        }, glyph("trash")),
      );
    }));
  }

  #updateTurn() {
    const { pivot, angle, pivotGiven } = this.drag.state;
    const shape = pivot === null ? "none" : "pivot";
    if (shape !== this.#shape) {
      this.#shape = shape;
      this.turn.replaceChildren(...(pivot === null ? this.#withoutPivot() : this.#withPivot()));
    }
    if (pivot === null) return;
    byId("pivot-place").textContent = `Pivot at ${pivot.map(Math.round).join(", ")}`;
    if (document.activeElement !== byId("angle")) byId("angle").value = String(angle);
    byId("angle-range").value = String(angle);
    byId("pivot-given").checked = pivotGiven;
  }

  #withoutPivot() {
    return [
      el("p", { class: "soft", text: "No pivot: handles go straight to their targets. Set one (O) to turn a dial." }),
    ];
  }

  #withPivot() {
    const turn = (input, key) => {
      const angle = Number(input.value);
      if (input.value !== "" && Number.isFinite(angle) && Math.abs(angle) <= 180) this.drag.turn(angle, key);
    };
    return [
      el("div", { class: "row" },
        el("button", { class: "link grow", id: "pivot-place", onclick: () => this.show("pivot", this.drag.state.pivot) }),
        el("button", {
          class: "icon quiet small",
          "aria-label": "Remove the pivot",
          title: "Remove the pivot",
          onclick: () => this.drag.removePivot(),
        }, glyph("trash")),
      ),
      el("div", { class: "row" },
        el("input", {
          type: "range", id: "angle-range", min: -180, max: 180, step: 1, "aria-label": "Turn in degrees",
          oninput: (event) => turn(event.target, "angle range"),
        }),
        el("input", {
          type: "number", id: "angle", min: -180, max: 180, step: 0.1, "aria-label": "Turn in degrees, clockwise",
          style: { width: "82px" },
          oninput: (event) => turn(event.target, "angle number"),
        }),
        el("span", { text: "°" }),
      ),
      el("label", { class: "check" },
        el("input", {
          type: "checkbox", id: "pivot-given",
          onchange: (event) => this.drag.set({ pivotGiven: event.target.checked, pairs: this.drag.state.pairs }, "give the pivot"),
        }),
        "Give the pivot to methods, as a pair that stays",
      ),
    ];
  }
}

function field(id, label, control) {
  return el("div", { class: "field" }, el("label", { for: id, text: label }), control);
}

// The panel of edits: choosing a method and its settings, the queue, and how each edit goes.

import { cancel, submit } from "./api.js";
import { attributes, el, say, svg, warn } from "./dom.js";
import { MethodForm } from "./form.js";
import { obstacles } from "./problems.js";

const STATES = {
  waiting: ["waits", ""],
  running: ["runs", "live"],
  done: ["done", "good"],
  failed: ["failed", "bad"],
  cancelled: ["cancelled", ""],
};
const USUAL_PHASES = ["lora", "inversion", "drag", "sampling"];
const PHASE_NAMES = { lora: "LoRA", "loading the model": "model" };
const QUIET_PHASES = ["other", "encode", "decode"];

export class EditPanel {
  #cards = new Map();

  /**
   * @param {HTMLElement} root
   * @param {Object} about what the server says of itself.
   * @param {DragDocument} drag
   * @param {Jobs} jobs
   * @param {{openResult: function(Object), follow: function(Object|null)}} callbacks
   */
  constructor(root, about, drag, jobs, callbacks) {
    Object.assign(this, { about, drag, jobs, callbacks });
    this.forms = new Map();
    this.method = el("select", { id: "method", onchange: () => this.#chosen() },
      ...about.methods.map(({ name }) => el("option", { value: name, text: name, selected: name === about.method })));
    this.description = el("p", { class: "soft" });
    this.seed = el("input", { type: "number", id: "seed", min: 0, max: 4294967295, step: 1, value: String(about.seed) });
    this.settingsHead = el("summary", { text: "Settings" });
    this.settings = el("details", {}, this.settingsHead, el("div"));
    this.run = el("button", { class: "primary grow", id: "run", text: "Make the edit", onclick: () => this.start() });
    this.why = el("p", { class: "field-error", id: "run-why", "aria-live": "polite" });
    this.list = el("ul", { class: "cards", "aria-label": "Edits" });
    root.append(
      el("section", {},
        el("div", { class: "field" }, el("label", { for: "method", text: "Method" }), this.method),
        this.description,
        el("div", { class: "field" }, el("label", { for: "seed", text: "Seed" }), this.seed),
        this.settings,
        el("div", { class: "row" }, this.run),
        this.why,
        el("p", { class: "soft", text:
          `Model ${about.model}${about.resolution === null ? "" : `, edits at ${about.resolution} pixels`}. ` +
          "Edits of one drag are kept side by side under Results." }),
      ),
      el("section", {}, el("div", { class: "section-head" }, el("h2", { text: "Queue" })), this.list),
    );
    attributes(this.run, { "aria-describedby": "run-why", title: "Ctrl+Enter" });
    drag.onChange((what) => {
      if (what !== "stroke") this.#check();
    });
    jobs.onChange((what) => this.#told(what));
    this.#chosen();
    this.#told("jobs");
  }

  get form() {
    const name = this.method.value;
    if (!this.forms.has(name)) {
      const method = this.about.methods.find((one) => one.name === name);
      this.forms.set(name, new MethodForm(method, () => this.#check()));
    }
    return this.forms.get(name);
  }

  #chosen() {
    const { method, root } = this.form;
    this.description.textContent = method.about[0] ?? "";
    this.settings.lastElementChild.replaceWith(root);
    this.settings.hidden = method.fields.length === 0;
    this.#check();
  }

  #check() {
    const { form } = this;
    const count = form.count;
    this.settingsHead.textContent = count === 0 ? "Settings" : `Settings (${count} changed)`;
    const found = obstacles(this.drag);
    const fault = form.fault;
    this.why.textContent = found.length > 0 ? found[0].text : (fault ?? "");
    this.run.disabled = found.length > 0 || fault !== null;
  }

  /** Queue the edit. */
  async start() {
    this.#check();
    if (this.run.disabled) {
      warn(this.why.textContent);
      return;
    }
    this.run.disabled = true;
    try {
      const told = await submit({
        annotation: await this.drag.annotation(),
        method: this.method.value,
        settings: this.form.changes(),
        seed: Number(this.seed.value) || 0,
      });
      this.drag.state?.digests.add(told.digest);
      this.jobs.take(told);
      this.#told("jobs");
      say(`Edit ${told.number} is in the queue.`);
    } catch (error) {
      if (!this.form.refuse(error.message)) this.why.textContent = error.message;
      warn(error.message);
      return;
    } finally {
      this.run.disabled = false;
    }
    this.#check();
  }

  // --- the queue ----------------------------------------------------------------------------------------------------------

  #told(what) {
    if (what === "lost") {
      say("The studio does not answer; trying again…");
      return;
    }
    if (what !== "jobs") return;
    const all = this.jobs.all;
    // Each new card goes on top.
    for (const job of all.toReversed()) {
      const card = this.#cards.get(job.number) ?? this.#addCard(job);
      this.#update(card, job);
    }
    const empty = all.length === 0;
    if (empty) this.list.replaceChildren(el("li", { class: "soft", text: "No edits yet." }));
    else this.list.querySelector(":scope > .soft")?.remove();
    this.callbacks.follow(this.jobs.running);
  }

  #addCard(job) {
    const badge = el("span", { class: "badge" });
    const stop = el("button", { class: "small", text: "Cancel", onclick: () => this.#cancel(job.number) });
    const open = el("button", { class: "small", text: "Show", onclick: () => this.callbacks.openResult(card.job.result) });
    const phases = el("ol", { class: "phases" });
    const line = svg("path");
    const curve = svg("svg", { class: "curve", viewBox: "0 0 100 38", preserveAspectRatio: "none", role: "img" },
      svg("line", { x1: 0, x2: 100, y1: 37.5, y2: 37.5 }), line);
    const text = el("p", { class: "soft" });
    const node = el("li", { class: "card", "data-number": job.number },
      el("div", { class: "row" },
        el("h3", { class: "grow", text: `${job.number} · ${job.method}${job.seed === 0 ? "" : `, seed ${job.seed}`}` }),
        badge, stop, open),
      phases, curve, text);
    const card = { node, badge, stop, open, phases, curve, line, text, state: null, job };
    this.#cards.set(job.number, card);
    this.list.prepend(node);
    return card;
  }

  #update(card, job) {
    card.job = job;
    const [word, kind] = STATES[job.state];
    card.badge.className = `badge ${kind}`;
    card.badge.textContent = job.cancelling ? "is cancelled…" : job.state === "waiting" ? `waits, ${job.position}.` : word;
    card.stop.hidden = !["waiting", "running"].includes(job.state) || job.cancelling;
    card.open.hidden = job.result === null;
    card.phases.hidden = Object.keys(job.evaluations).length === 0 || job.state === "failed";
    const phases = this.#phasesOf(job);
    const reached = job.state === "done" ? phases.length : phases.findLastIndex((phase) => phase in job.evaluations);
    card.phases.replaceChildren(...phases.map((phase, index) => phaseItem(job, phase, index < reached)));
    this.#drawCurve(card, job);
    card.text.textContent = this.#sentence(job);
    if (card.state !== job.state) {
      if (card.state !== null && ["done", "failed", "cancelled"].includes(job.state)) {
        (job.state === "failed" ? warn : say)(`Edit ${job.number} ${word}${job.message === null ? "." : `: ${job.message}`}`);
        this.callbacks.ended(job);
      }
      card.state = job.state;
    }
  }

  #phasesOf(job) {
    const method = this.about.methods.find(({ name }) => name === job.method);
    const seen = Object.keys({ ...job.evaluations }).filter((phase) => !QUIET_PHASES.includes(phase));
    const usual = USUAL_PHASES.filter((phase) => phase in job.expected || (phase === "drag" && method?.needs_model));
    const before = seen.filter((phase) => phase === "loading the model");
    const after = seen.filter((phase) => ![...before, ...usual].includes(phase));
    return [...before, ...usual, ...after];
  }

  #drawCurve(card, { distances, state, limit }) {
    card.curve.toggleAttribute("hidden", distances.length < 2);
    attributes(card.curve, { display: distances.length < 2 ? "none" : null });
    if (distances.length < 2) return;
    const highest = Math.max(...distances, 1e-6);
    const steps = state === "running" ? Math.max(limit, distances.length) - 1 : distances.length - 1;
    const points = distances.map((left, step) => `${((100 * step) / Math.max(1, steps)).toFixed(2)} ${(37 - (35 * left) / highest).toFixed(2)}`);
    attributes(card.line, { d: `M${points.join("L")}` });
    attributes(card.curve, { "aria-label": `Distance left: from ${distances[0].toFixed(1)} to ${distances.at(-1).toFixed(1)} pixels` });
  }

  #sentence(job) {
    if (job.state === "failed") return job.message;
    if (job.state === "waiting") return `${job.sample}`;
    const parts = [];
    if (job.limit > 0) parts.push(`step ${Math.min(job.step + 1, job.limit)} of at most ${job.limit}`);
    if (job.distances.length > 0) parts.push(`${job.distances.at(-1).toFixed(1)} px left`);
    if (job.state === "running" && job.phase !== null && !QUIET_PHASES.includes(job.phase)) {
      parts.unshift(PHASE_NAMES[job.phase] ?? job.phase);
    }
    return parts.join(" · ") || job.sample;
  }

  async #cancel(number) {
    try {
      this.jobs.take(await cancel(number));
      this.#told("jobs");
    } catch (error) {
      warn(error.message);
    }
  }
}

/** A phase with how far it is; what has come before the last one was done or not needed. */
function phaseItem(job, phase, isPast) {
  const done = job.evaluations[phase] ?? 0;
  const expected = job.expected[phase] ?? 0;
  const isNow = job.phase === phase && job.state === "running";
  let share = expected > 0 ? done / expected : phase === "drag" && job.limit > 0 ? (job.step + 1) / job.limit : 0;
  if (isPast || (phase in job.evaluations && !isNow && job.state === "running")) share = 1;
  const name = PHASE_NAMES[phase] ?? phase;
  const count = isNow && done > 0 ? ` ${done}${expected > 0 ? ` / ${expected}` : ""}` : "";
  return el("li", { class: isNow ? "now" : "", "aria-current": isNow ? "step" : null },
    el("span", { text: `${name}${count}` }),
    el("span", { class: "track" }, el("div", { style: { width: `${Math.round(100 * Math.min(1, share))}%` } })),
  );
}

// A form made from a method's description: one control per setting, with its default, range and explanation.

import { attributes, el } from "./dom.js";

export class MethodForm {
  /**
   * @param {Object} method as the server describes it.
   * @param {function()} changed
   */
  constructor(method, changed) {
    this.method = method;
    this.changed = changed;
    this.controls = new Map();
    this.root = el("div", { class: "settings" }, ...method.fields.map((field) => this.#field(field, "")));
  }

  #field(field, prefix) {
    const key = prefix + field.key;
    return field.kind === "group" ? this.#group(field, key) : this.#control(field, key);
  }

  #group(field, key) {
    const inner = el("fieldset", {},
      el("legend", { class: "visually-hidden", text: field.key }),
      ...field.fields.map((one) => this.#field(one, `${key}.`)),
    );
    const doc = el("span", { class: "doc", text: sentence(field.doc) });
    if (!field.nullable) {
      return el("div", { class: "field" }, el("span", { class: "label", text: readable(field.key) }), doc, inner);
    }
    const box = el("input", {
      type: "checkbox",
      id: `set-${key}`,
      checked: field.default,
      onchange: () => {
        inner.hidden = !box.checked;
        this.changed();
      },
    });
    inner.hidden = !field.default;
    this.controls.set(key, { field, isGroup: true, read: () => box.checked, node: box });
    return el("div", { class: "field" }, el("label", { class: "check", for: box.id }, box, readable(field.key)), doc, inner);
  }

  #control(field, key) {
    const id = `set-${key}`;
    const error = el("span", { class: "field-error", id: `${id}-error`, role: "alert" });
    const about = el("span", { class: "doc", id: `${id}-doc`, text: [sentence(field.doc), sentence(range(field))].filter(Boolean).join(" ") });
    const wrap = el("div", { class: "field" });
    const changed = () => {
      error.textContent = control.fault() ?? "";
      attributes(node, { "aria-invalid": error.textContent === "" ? null : "true" });
      wrap.classList.toggle("changed", !control.isDefault());
      this.changed();
    };
    const node = this.#input(field, id, changed);
    const control = { field, node, ...reader(field, node) };
    control.isDefault = () => JSON.stringify(control.read()) === JSON.stringify(field.default);
    control.refuse = (text) => {
      error.textContent = text;
      attributes(node, { "aria-invalid": "true" });
    };
    this.controls.set(key, control);
    if (field.kind === "switch") {
      wrap.append(el("label", { class: "check", for: id }, node, readable(field.key)), about, error);
    } else {
      wrap.append(el("label", { for: id, text: readable(field.key) }), node, about, error);
    }
    return wrap;
  }

  #input(field, id, changed) {
    const described = { id, "aria-describedby": `${id}-doc ${id}-error`, oninput: changed };
    if (field.kind === "switch") return el("input", { type: "checkbox", checked: field.default, ...described });
    if (field.kind === "choice") {
      return el("select", described, ...field.choices.map((choice) =>
        el("option", { value: String(choice), text: String(choice), selected: choice === field.default })));
    }
    const shown = field.kind === "other" && field.default !== null ? JSON.stringify(field.default) : (field.default ?? "");
    return el("input", {
      type: "text",
      inputmode: field.kind === "whole" ? "numeric" : field.kind === "number" ? "decimal" : null,
      autocomplete: "off",
      spellcheck: "false",
      placeholder: field.nullable ? "null" : null,
      value: String(shown),
      ...described,
    });
  }

  /** What differs from the defaults, nested as the server takes it. */
  changes() {
    const found = {};
    for (const [key, control] of this.controls) {
      const parts = key.split(".");
      const switchedOff = parts.some((_, depth) => {
        const group = depth > 0 ? this.controls.get(parts.slice(0, depth).join(".")) : undefined;
        return group?.isGroup && !group.read();
      });
      if (switchedOff) continue;
      if (control.isGroup) {
        if (!control.read()) put(found, parts, null);
        else if (!control.field.default) put(found, parts, {});
      } else if (!control.isDefault() && control.fault() === null) {
        put(found, parts, control.read());
      }
    }
    return found;
  }

  get count() {
    const leaves = (value) =>
      value !== null && typeof value === "object" && !Array.isArray(value)
        ? Object.values(value).reduce((sum, part) => sum + leaves(part), 0)
        : 1;
    return Object.values(this.changes()).reduce((sum, part) => sum + leaves(part), 0);
  }

  /** The first setting that cannot be used, or null. */
  get fault() {
    for (const [key, control] of this.controls) {
      const fault = control.isGroup ? null : control.fault();
      if (fault !== null) return `${key}: ${fault}`;
    }
    return null;
  }

  /** Show what the server says beside the setting that it names; returns whether it names one. */
  refuse(message) {
    const key = /^(?:method\.)?([\w.]+):/.exec(message)?.[1];
    const control = this.controls.get(key);
    if (control === undefined || control.isGroup) return false;
    control.refuse(message);
    control.node.closest("details")?.setAttribute("open", "");
    control.node.focus();
    return true;
  }
}

function put(nested, [first, ...rest], value) {
  if (rest.length === 0) nested[first] = { ...(nested[first] ?? {}), ...value };
  else put((nested[first] ??= {}), rest, value);
  if (rest.length === 0 && (value === null || typeof value !== "object" || Array.isArray(value))) nested[first] = value;
}

/** How a control is read, and what is wrong with what it holds. */
function reader(field, node) {
  if (field.kind === "switch") return { read: () => node.checked, fault: () => null };
  if (field.kind === "choice") {
    return { read: () => field.choices.find((choice) => String(choice) === node.value), fault: () => null };
  }
  const isNull = () => field.nullable && ["", "null"].includes(node.value.trim());
  if (field.kind === "text") return { read: () => (isNull() ? null : node.value), fault: () => null };
  if (field.kind === "other") {
    const parsed = () => {
      try {
        return JSON.parse(node.value);
      } catch {
        return undefined;
      }
    };
    return {
      read: () => (isNull() ? null : parsed()),
      fault: () => (isNull() || parsed() !== undefined ? null : "expected JSON, such as [[1, 2], [3, 4]]."),
    };
  }
  const read = () => (isNull() ? null : Number(node.value));
  return { read, fault: () => (isNull() ? null : numberFault(field, node.value, read())) };
}

function numberFault(field, text, value) {
  if (text.trim() === "" || !Number.isFinite(value)) return "expected a number.";
  if (field.kind === "whole" && !Number.isInteger(value)) return "expected a whole number.";
  const { low, high, above } = field;
  if (low !== null && low !== undefined && (above ? value <= low : value < low)) return `expected ${range(field)}`;
  if (high !== null && high !== undefined && value > high) return `expected ${range(field)}`;
  return null;
}

/** The range of a field in words. */
function range({ low, high, above, kind, choices }) {
  if (choices !== undefined || (low ?? null) === null) return "";
  if (high !== null && high !== undefined) return above ? `more than ${low}, at most ${high}.` : `${low} to ${high}.`;
  if (above) return kind === "whole" ? `${low + 1} or more.` : `more than ${low}.`;
  return `${low} or more.`;
}

const sentence = (text) => (/^[a-z]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text);
const readable = (key) => key.replaceAll("_", " ");

// Building the page. Whatever is shown goes through text nodes and attributes: names and prompts are never markup.

const SVG = "http://www.w3.org/2000/svg";

/** The element with an id. */
export const byId = (id) => document.getElementById(id);

/**
 * A new element.
 *
 * @param {string} tag
 * @param {Object} properties attributes; `on…` are listeners, `text` is its text, `value` and the like are properties.
 * @param {...(Node|string|null)} children
 */
export function el(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** A new SVG element; see `el`. */
export function svg(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "text") node.textContent = value;
    else if (name === "style") Object.assign(node.style, value);
    else if (name === "value" || name === "checked" || name === "disabled") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Set attributes; null removes one. */
export function attributes(node, values) {
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === false) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
  }
}

/** Say something in the status line, where a screen reader picks it up. */
export function say(text) {
  byId("message").textContent = text;
}

/** Say something that must not be missed. */
export function warn(text) {
  say(text);
  byId("alert").textContent = "";
  requestAnimationFrame(() => {
    byId("alert").textContent = text;
  });
}

/** Whether keys go into a text field just now. */
export function isTyping(target) {
  return (
    target instanceof HTMLTextAreaElement ||
    target instanceof HTMLSelectElement ||
    (target instanceof HTMLInputElement && !["checkbox", "radio", "button", "range"].includes(target.type))
  );
}

const GLYPHS = {
  undo: "M9 14 4 9l5-5M4 9h9a7 7 0 0 1 0 14h-3",
  redo: "m15 14 5-5-5-5m5 5h-9a7 7 0 0 0 0 14h3",
  theme: "M12 3v18M12 3a9 9 0 0 1 0 18 9 9 0 0 1 0-18m0 3a6 6 0 0 1 0 12",
  help: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18m-2.5-11a2.5 2.5 0 1 1 3.6 2.3c-.8.4-1.1.9-1.1 1.7m0 2.6v.1",
  select: "m5 3 6 17 2.4-7L20 10.6z",
  pan: "M12 3v18M3 12h18M12 3 9.5 5.5M12 3l2.5 2.5M12 21l-2.5-2.5M12 21l2.5-2.5M3 12l2.5-2.5M3 12l2.5 2.5M21 12l-2.5-2.5M21 12l-2.5 2.5",
  brush: "M20 4c-5 2-9 6-11 10l1 1c4-2 8-6 10-11M8.5 15.5C6 15 4 17 4 20c3 1 6-.5 6-3",
  eraser: "m8 20-4.5-4.5a1.5 1.5 0 0 1 0-2L13 4l7 7-9 9zM8.5 8.5l7 7M7 20h13",
  polygon: "m12 3 8.5 6.5L17 20H7L3.5 9.500z",
  rectangle: "M4 6h16v12H4z",
  drag: "M5 19 18 6m0 0h-7m7 0v7M5 21.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5",
  pivot: "M12 8v8M8 12h8M20.5 12A8.5 8.5 0 1 1 12 3.5M12 1l3 2.5L12 6",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5",
  link: "M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 6 6l1-1",
};

/** A line drawing by name. */
export function glyph(name) {
  return svg("svg", { class: "glyph", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: GLYPHS[name] }));
}

// Points, arrows and the dial over the picture: each can be reached with Tab and moved with the arrow keys.

import { attributes, svg } from "./dom.js";
import { direction, distance, samePoint } from "./geometry.js";
import { problemsOf } from "./problems.js";

const RING = 62;
const REACH = 15;
const TEXT_ROOM = [36, 21];
const TEXT_TURNS = [0, 180, 90, -90, 45, -45, 135, -135];

export class Overlay {
  #shape = "";
  #arrows = svg("g");
  #dial = svg("g");
  #points = svg("g");
  #paths = svg("g");
  #draft = svg("g");
  #problems = new Map();

  /**
   * @param {SVGElement} root
   * @param {Viewport} viewport
   * @param {DragDocument} drag
   */
  constructor(root, viewport, drag) {
    this.root = root;
    this.viewport = viewport;
    this.drag = drag;
    root.append(this.#paths, this.#dial, this.#arrows, this.#points, this.#draft);
    viewport.onChange(() => this.update());
    drag.onChange((what) => {
      if (what !== "stroke") this.update();
    });
  }

  /** Bring everything to its place. */
  update() {
    const { drag } = this;
    this.root.toggleAttribute("hidden", !drag.isOpen);
    if (!drag.isOpen) return;
    // What comes first weighs more.
    this.#problems = new Map(problemsOf(drag).toReversed().map((one) => [one.place, one]));
    const { pairs, pivot } = drag.state;
    const shape = `${pairs.length} ${pivot !== null}`;
    if (shape !== this.#shape) this.#build(shape);
    pairs.forEach((pair, index) => this.#placePair(pair, index));
    if (pivot !== null) this.#placeDial();
  }

  #build(shape) {
    const focused = document.activeElement?.closest?.(".point, .knob")?.id;
    this.#shape = shape;
    const { pairs, pivot } = this.drag.state;
    this.#arrows.replaceChildren(
      ...pairs.map(() =>
        svg("g", {}, svg("line", { class: "halo" }), svg("line", { class: "arrow" }), svg("path", { class: "head" })),
      ),
    );
    const points = pairs.flatMap((_, index) => [
      this.#point("handle", index, svg("circle", { class: "mark", r: 8.5 }), svg("text", { text: String(index + 1) })),
      this.#point("target", index, svg("path", { class: "mark", d: "M-8-8H8V8H-8Z" }), svg("text", { text: String(index + 1) })),
    ]);
    if (pivot !== null) points.push(this.#point("pivot", null, svg("path", { class: "mark", d: "M0-9 9 0 0 9-9 0Z" })));
    this.#points.replaceChildren(...points);
    this.#dial.replaceChildren(...(pivot === null ? [] : this.#dialParts()));
    if (focused !== undefined && focused !== "") document.getElementById(focused)?.focus({ preventScroll: true });
  }

  #point(kind, index, ...marks) {
    return svg(
      "g",
      {
        class: `point ${kind}`,
        id: index === null ? kind : `${kind}-${index}`,
        "data-kind": kind,
        "data-index": index,
        tabindex: 0,
        role: "button",
        "aria-roledescription": "movable point",
      },
      svg("circle", { class: "reach", r: REACH }),
      ...marks,
    );
  }

  #dialParts() {
    const ticks = Array.from({ length: 24 }, (_, index) => {
      const [from, to] = [RING - (index % 6 === 0 ? 9 : 5), RING];
      return svg("line", { class: "dial-tick", x1: from, x2: to, transform: `rotate(${index * 15})` });
    });
    return [
      svg("g", { class: "dial-face" },
        svg("circle", { class: "dial-ring", r: RING }),
        svg("circle", { class: "dial-ring inner", r: RING }),
        ...ticks,
        svg("path", { class: "dial-arc" }),
      ),
      svg("path", { class: "dial-way" }),
      svg("g", {
        class: "knob",
        id: "dial",
        tabindex: 0,
        role: "slider",
        "aria-label": "Turn about the pivot",
        "aria-valuemin": -180,
        "aria-valuemax": 180,
        "data-kind": "dial",
      }, svg("circle", { r: 9 })),
      svg("text", { class: "dial-text" }),
    ];
  }

  #placePair({ source, target }, index) {
    const [from, to] = [this.viewport.toStage(source), this.viewport.toStage(target)];
    const [halo, line, head] = this.#arrows.children[index].children;
    const length = distance(from, to);
    const arrow = this.#arrows.children[index];
    arrow.toggleAttribute("hidden", length < 1);
    attributes(arrow, { visibility: length < 1 ? "hidden" : null });
    for (const part of [halo, line]) attributes(part, { x1: from[0], y1: from[1], x2: to[0], y2: to[1] });
    const middle = [from[0] + 0.56 * (to[0] - from[0]), from[1] + 0.56 * (to[1] - from[1])];
    attributes(head, {
      d: "M7 0-5 6-2 0-5-6Z",
      transform: `translate(${middle}) rotate(${direction(to, from)})`,
      visibility: length < 34 ? "hidden" : null,
    });
    const resting = samePoint(source, target);
    this.#placePoint(`handle-${index}`, from, `Handle ${index + 1}`, source);
    this.#placePoint(`target-${index}`, resting ? [to[0] + 17, to[1] + 17] : to, `Target ${index + 1}`, target);
  }

  #placePoint(id, [x, y], name, place) {
    const node = this.#points.querySelector(`#${id}`);
    const problem = this.#problems.get(id);
    node.classList.toggle("faulty", problem?.kind === "problem");
    node.classList.toggle("doubtful", problem?.kind === "hint");
    attributes(node, {
      transform: `translate(${x} ${y})`,
      "aria-label": `${name}, x ${place[0]}, y ${place[1]}.${problem === undefined ? "" : ` ${problem.text}`}`,
    });
  }

  #placeDial() {
    const { pivot, angle } = this.drag.state;
    const [x, y] = this.viewport.toStage(pivot);
    this.#placePoint("pivot", [x, y], "Pivot", pivot);
    const [face, way, knob, text] = this.#dial.children;
    const start = this.dialStart();
    attributes(face, { transform: `translate(${x} ${y}) rotate(${start})` });
    attributes(face.querySelector(".dial-arc"), { d: arc(RING, angle) });
    const led = this.#ledPair();
    attributes(way, {
      d: led === null ? "" : arc(distance(led.source, pivot) * this.viewport.scale, angle),
      transform: `translate(${x} ${y}) rotate(${start})`,
    });
    const end = ((start + angle) * Math.PI) / 180;
    const knobPlace = [x + RING * Math.cos(end), y + RING * Math.sin(end)];
    attributes(knob, {
      transform: `translate(${knobPlace})`,
      "aria-valuenow": Math.round(angle * 10) / 10,
      "aria-valuetext": said(angle),
    });
    text.textContent = `${angle > 0 ? "+" : ""}${angle.toFixed(1)}°`.replace("-", "−");
    const [textX, textY] = this.#textPlace([x, y], end, knobPlace);
    attributes(text, { x: textX, y: textY });
  }

  /** Where around the ring the angle is written: beside the knob, or else where no point covers it. */
  #textPlace([x, y], end, knob) {
    const [[width, height], [across, down]] = [this.viewport.size, TEXT_ROOM];
    const { pairs } = this.drag.state;
    const taken = [knob, ...pairs.flatMap(({ source, target }) => [source, target].map((one) => this.viewport.toStage(one)))];
    const places = TEXT_TURNS.map((turn) => {
      const way = end + (turn * Math.PI) / 180;
      return [x + (RING + across + 1) * Math.cos(way), y + (RING + down + 1) * Math.sin(way)];
    });
    // At least 1 where nothing touches the text, and it does not leave the stage.
    const room = ([left, top]) => Math.min(
      left / across, (width - left) / across, top / down, (height - top) / down,
      ...taken.map(([px, py]) => Math.hypot((px - left) / across, (py - top) / down)),
    );
    return places.find((place) => room(place) >= 1) ?? places.reduce((a, b) => (room(b) > room(a) ? b : a));
  }

  #ledPair() {
    const { pairs, pivot } = this.drag.state;
    return pairs.find(({ source, follows }) => follows && !samePoint(source, pivot)) ?? null;
  }

  /** The direction in degrees in which the dial's zero lies: that of the first handle that follows, or up. */
  dialStart() {
    const led = this.#ledPair();
    return led === null ? -90 : direction(led.source, this.drag.state.pivot);
  }

  // --- what is being drawn, and where edits lead the handles -------------------------------------------------------------

  /** Show the outline of what is being drawn, or nothing. */
  showDraft(...nodes) {
    this.#draft.replaceChildren(...nodes);
  }

  /** Show the ways that the handles of an edit have gone, in image pixels; null shows none. */
  showPaths(steps) {
    if (steps === null || steps.length === 0 || steps[0].length === 0) {
      this.#paths.replaceChildren();
      return;
    }
    const ways = steps[0].map((_, handle) =>
      steps.filter((places) => places.length > handle).map((places) => this.viewport.toStage(places[handle])),
    );
    this.#paths.replaceChildren(
      ...ways.flatMap((way) => {
        const d = `M${way.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;
        const [x, y] = way.at(-1);
        return [
          svg("path", { class: "path-halo", d }),
          svg("path", { class: "path", d }),
          svg("circle", { class: "path-end", cx: x, cy: y, r: 5.5 }),
        ];
      }),
    );
  }
}

/** A path along a circle around the origin, from the direction of +x by an angle in degrees. */
function arc(radius, degrees) {
  if (Math.abs(degrees) < 0.05) return "";
  const end = (degrees * Math.PI) / 180;
  const [large, sweep] = [Math.abs(degrees) > 180 ? 1 : 0, degrees > 0 ? 1 : 0];
  return `M${radius} 0A${radius} ${radius} 0 ${large} ${sweep} ${radius * Math.cos(end)} ${radius * Math.sin(end)}`;
}

/** An angle in words. */
function said(degrees) {
  if (degrees === 0) return "no turn";
  return `${Math.abs(degrees)} degrees ${degrees > 0 ? "clockwise" : "counter-clockwise"}`;
}

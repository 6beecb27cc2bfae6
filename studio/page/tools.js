// The tools of the stage: what mouse, pen, fingers and keys do on the picture.

import { say } from "./dom.js";
import { distance, turnBetween, whole } from "./geometry.js";
import { arrowOf, keyOnPoint } from "./point_keys.js";
import { draft } from "./sketch.js";
import { TOOLS } from "./tool_list.js";

const CLICK = 5;
let gestures = 0;

export class Tools {
  #pointers = new Map();
  #action = null;
  #corners = [];
  #pending = null;
  #hover = null;
  #listeners = [];

  /**
   * @param {HTMLElement} stage
   * @param {Viewport} viewport
   * @param {DragDocument} drag
   * @param {Overlay} overlay
   */
  constructor(stage, viewport, drag, overlay) {
    Object.assign(this, { stage, viewport, drag, overlay });
    this.tool = TOOLS[0];
    this.layer = "mask";
    this.brush = 24;
    this.isOff = false;
    this.spaceIsDown = false;
    this.cursor = null;
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    stage.addEventListener("pointerup", (event) => this.#up(event));
    stage.addEventListener("pointercancel", (event) => this.#up(event, true));
    stage.addEventListener("pointerleave", () => {
      this.#hover = null;
      this.#sketch();
    });
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("dblclick", () => this.closePolygon());
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("keydown", (event) => this.#key(event));
    stage.addEventListener("blur", () => {
      this.cursor = null;
      this.#sketch();
    });
    viewport.onChange(() => this.#sketch());
    drag.onChange((what) => {
      if (what === "picture") this.cancel();
    });
  }

  onChange(listener) {
    this.#listeners.push(listener);
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }

  /** Whether the chosen tool draws on masks. */
  get isDrawing() {
    return ["brush", "eraser", "polygon", "rectangle"].includes(this.tool.name);
  }

  get mask() {
    return this.drag.state[this.layer];
  }

  choose(name) {
    this.cancel();
    this.tool = TOOLS.find((tool) => tool?.name === name);
    this.#showCursor();
    this.#sketch();
    this.#tell();
  }

  chooseLayer(layer) {
    this.layer = layer;
    this.#tell();
  }

  setBrush(radius) {
    this.brush = Math.min(400, Math.max(0.5, radius));
    this.#sketch();
    this.#tell();
  }

  holdSpace(isDown) {
    this.spaceIsDown = isDown;
    this.#showCursor();
  }

  #showCursor() {
    this.stage.dataset.cursor = this.spaceIsDown ? "grab" : this.tool.cursor;
    // A stroke that meets a point goes on.
    this.stage.toggleAttribute("data-drawing", this.isDrawing);
  }

  /** Give up what was begun. */
  cancel() {
    if (this.#action?.mask !== undefined) this.#action.mask.abandon();
    this.#action = null;
    this.#corners = [];
    this.#pending = null;
    this.#sketch();
  }

  get isBusy() {
    return this.#action !== null || this.#corners.length > 0 || this.#pending !== null;
  }

  // --- pointers -------------------------------------------------------------------------------------------------------

  #place(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #down(event) {
    if (!this.drag.isOpen || this.isOff) return;
    const at = this.#place(event);
    this.cursor = null;
    this.#pointers.set(event.pointerId, at);
    this.stage.setPointerCapture(event.pointerId);
    if (this.#pointers.size === 2) {
      this.cancel();
      this.#action = { kind: "pinch", before: [...this.#pointers.values()] };
      return;
    }
    if (this.#pointers.size > 2 || event.button > 1) return;
    const point = event.button === 0 && !this.spaceIsDown ? event.target.closest(".point, .knob") : null;
    if (point !== null) {
      event.preventDefault();
      point.focus({ preventScroll: true });
      const { kind, index } = point.dataset;
      this.#action = { kind, index: Number(index), key: `gesture:${(gestures += 1)}` };
      if (kind === "dial") this.#action.start = this.drag.state.angle;
      return;
    }
    if (event.button === 1 || this.spaceIsDown || this.tool.name === "pan") {
      event.preventDefault();
      this.#action = { kind: "pan", last: at };
      this.stage.dataset.cursor = "grabbing";
      return;
    }
    this.#begin(this.viewport.toPicture(at), at, event);
  }

  #begin(place, at, event) {
    const erases = event.altKey || event.button === 2;
    switch (this.tool.name) {
      case "brush":
      case "eraser": {
        const value = erases ? 1 - this.tool.draws : this.tool.draws;
        this.#action = { kind: "stroke", mask: this.mask, value, last: place };
        this.mask.begin();
        this.mask.line(place, place, this.#radius(event), value);
        this.drag.strokeGoesOn();
        break;
      }
      case "rectangle":
        this.#action = { kind: "rectangle", from: place, to: place, value: erases ? 0 : 1 };
        break;
      case "polygon":
        this.#corner(place, erases);
        break;
      case "drag":
        this.#action = { kind: "arrow", from: place, to: place, start: at };
        break;
      case "pivot":
        this.drag.setPivot(place);
        this.#action = { kind: "pivot", key: `gesture:${(gestures += 1)}` };
        break;
      default:
        this.#action = { kind: "pan", last: at };
    }
    this.#sketch();
  }

  /** The brush's radius in picture pixels: a pen that presses lightly draws a thinner line. */
  #radius(event) {
    const pressed = event.pointerType === "pen" && event.pressure > 0 ? 0.3 + 0.7 * event.pressure : 1;
    return (this.brush / 2) * pressed;
  }

  #move(event) {
    const at = this.#place(event);
    if (this.#pointers.has(event.pointerId)) this.#pointers.set(event.pointerId, at);
    this.#hover = event.pointerType === "touch" ? null : at;
    const action = this.#action;
    if (action === null || !this.drag.isOpen) {
      this.#sketch();
      return;
    }
    const place = this.viewport.toPicture(at);
    switch (action.kind) {
      case "pinch":
        this.#pinch(action);
        break;
      case "pan":
        this.viewport.pan(at[0] - action.last[0], at[1] - action.last[1]);
        action.last = at;
        break;
      case "stroke":
        for (const part of event.getCoalescedEvents?.() ?? [event]) {
          const next = this.viewport.toPicture(this.#place(part));
          action.mask.line(action.last, next, this.#radius(part), action.value);
          action.last = next;
        }
        this.drag.strokeGoesOn();
        break;
      case "rectangle":
      case "arrow":
        action.to = place;
        break;
      case "handle":
        this.drag.moveSource(action.index, place, action.key);
        break;
      case "target":
        this.drag.moveTarget(action.index, place, action.key);
        break;
      case "pivot":
        this.drag.setPivot(place, action.key);
        break;
      case "dial": {
        const { pivot } = this.drag.state;
        const zero = (this.overlay.dialStart() * Math.PI) / 180;
        const base = [pivot[0] + Math.cos(zero), pivot[1] + Math.sin(zero)];
        const angle = turnBetween(base, place, pivot);
        this.drag.turn(event.shiftKey ? Math.round(angle / 15) * 15 : Math.round(angle), action.key);
        break;
      }
      default:
    }
    this.#sketch();
  }

  #pinch(action) {
    const now = [...this.#pointers.values()];
    if (now.length < 2) return;
    const middle = (points) => [(points[0][0] + points[1][0]) / 2, (points[0][1] + points[1][1]) / 2];
    const [from, to] = [middle(action.before), middle(now)];
    this.viewport.pan(to[0] - from[0], to[1] - from[1]);
    const before = distance(...action.before);
    if (before > 0) this.viewport.zoom(distance(...now) / before, to);
    action.before = now;
  }

  #up(event, isCancelled = false) {
    if (!this.#pointers.delete(event.pointerId)) return;
    const action = this.#action;
    this.#action = null;
    this.#showCursor();
    if (action === null) return;
    if (action.kind === "stroke") {
      if (isCancelled) action.mask.abandon();
      else this.drag.endStroke(action.mask, `${action.value === 1 ? "draw on" : "erase from"} the ${action.mask.label}`);
    } else if (action.kind === "rectangle" && !isCancelled) {
      this.#rectangle(action.from, action.to, action.value);
    } else if (action.kind === "arrow" && !isCancelled) {
      const dragged = distance(action.start, this.#place(event)) > CLICK;
      this.#arrow(action.from, dragged ? action.to : null);
    }
    this.#sketch();
  }

  #wheel(event) {
    if (!this.drag.isOpen) return;
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 16 : 1;
    if (event.shiftKey || (Math.abs(event.deltaX) > Math.abs(event.deltaY) && !event.ctrlKey)) {
      this.viewport.pan(-(event.deltaX || event.deltaY) * unit, event.deltaX === 0 ? 0 : -event.deltaY * unit);
    } else {
      const speed = event.ctrlKey ? 0.01 : 0.0016;
      this.viewport.zoom(Math.exp(-event.deltaY * unit * speed), this.#place(event));
    }
  }

  // --- what tools do, whoever moves them --------------------------------------------------------------------------------

  #rectangle(from, to, value) {
    const corners = [from, to].map((corner) => corner.map(Math.round));
    this.drag.draw(this.mask, `rectangle on the ${this.mask.label}`, (mask) => mask.rectangle(...corners, value));
  }

  /** An arrow from a place; without an end, it follows the turn or waits for one. */
  #arrow(from, to) {
    if (this.#pending !== null) {
      const source = this.#pending;
      this.#pending = null;
      this.drag.addPair(source, to ?? from);
    } else if (to !== null) {
      this.drag.addPair(from, to);
    } else if (this.drag.state.pivot !== null) {
      this.drag.addPair(from, null);
    } else {
      this.#pending = from;
      say("Now click where the handle should go. Escape gives up.");
    }
  }

  #corner(place, erases) {
    const first = this.#corners[0];
    if (this.#corners.length > 2 && distance(this.viewport.toStage(first), this.viewport.toStage(place)) < 10) {
      this.closePolygon();
      return;
    }
    this.#corners.push(place);
    this.#corners.erases ||= erases;
    if (this.#corners.length === 1) say("Click the corners; double click, Enter or the first corner closes. Escape gives up.");
  }

  closePolygon() {
    const corners = this.#corners;
    this.#corners = [];
    if (corners.length >= 3) {
      const value = corners.erases ? 0 : 1;
      this.drag.draw(this.mask, `polygon on the ${this.mask.label}`, (mask) => mask.polygon(corners, value));
    }
    this.#sketch();
  }

  // --- keys -----------------------------------------------------------------------------------------------------------

  #key(event) {
    if (!this.drag.isOpen || this.isOff || event.ctrlKey || event.metaKey) return;
    const point = event.target.closest?.(".point, .knob") ?? null;
    if (point !== null) keyOnPoint(event, point.dataset, this.drag, this.stage);
    else if (event.target === this.stage) this.#stageKey(event);
  }

  #stageKey(event) {
    const move = arrowOf(event.key, event.shiftKey ? 10 : 1);
    const { width, height } = this.drag.state.picture;
    if (move !== null) {
      const at = this.cursor ?? [width / 2, height / 2];
      this.cursor = whole([
        Math.min(width - 1, Math.max(0, at[0] + move[0])),
        Math.min(height - 1, Math.max(0, at[1] + move[1])),
      ]);
      this.viewport.reveal(this.cursor);
      say(`x ${this.cursor[0]}, y ${this.cursor[1]}`);
    } else if (event.key === "Enter") {
      if (this.cursor !== null) this.#use(event);
      else this.closePolygon();
    } else if (event.key === "Backspace" && this.#corners.length > 0) {
      this.#corners.pop();
    } else {
      return;
    }
    this.#sketch();
    event.preventDefault();
  }

  /** Use the tool at the cross that the arrow keys move. */
  #use(event) {
    const at = this.cursor;
    const name = this.tool.name;
    if (name === "brush" || name === "eraser") {
      const value = event.altKey ? 1 - this.tool.draws : this.tool.draws;
      this.drag.draw(this.mask, `draw on the ${this.mask.label}`, (mask) => mask.disc(at, this.brush / 2, value));
    } else if (name === "polygon") {
      const last = this.#corners.at(-1);
      if (last !== undefined && last[0] === at[0] && last[1] === at[1]) this.closePolygon();
      else this.#corner(at, event.altKey);
    } else if (name === "rectangle") {
      if (this.#pending === null) this.#pending = at;
      else {
        const from = this.#pending;
        this.#pending = null;
        this.#rectangle(from, at, event.altKey ? 0 : 1);
      }
    } else if (name === "drag") {
      this.#arrow(at, null);
    } else if (name === "pivot") {
      this.drag.setPivot(at);
    }
  }

  /** Show the outline of what is begun, the brush, and the cross that the keys move. */
  #sketch() {
    const action = this.#action;
    const brushes = this.tool.draws !== undefined && !this.spaceIsDown && !this.isOff && this.drag.isOpen;
    this.overlay.showDraft(...draft({
      toStage: (point) => this.viewport.toStage(point),
      rectangle: action?.kind === "rectangle" ? [action.from, action.to] : null,
      arrow: action?.kind === "arrow" ? [action.from, action.to] : null,
      pending: this.#pending,
      corners: this.#corners,
      hover: action?.kind === "pan" ? null : this.#hover,
      cursor: this.cursor,
      brush: brushes ? this.brush / 2 : null,
    }));
  }
}

// One view for several pictures: what is enlarged or moved in one is enlarged and moved in all.

const LARGEST = 12;
const STEP = 1.5;
const TAP_PIXELS = 8;

export class SharedView {
  // `onChange(scale)` is called after each change.
  constructor(onChange = () => {}) {
    this.frames = [];
    this.pointers = new Map();
    this.onChange = onChange;
    this.reset();
  }

  // `frame` clips, `content` inside it is enlarged; `onTap` is called for a press that did not move.
  add(frame, content, onTap = () => {}) {
    this.frames.push(content);
    frame.addEventListener("wheel", (event) => this.#wheel(event, frame), { passive: false });
    frame.addEventListener("pointerdown", (event) => this.#down(event, frame));
    frame.addEventListener("pointermove", (event) => this.#move(event, frame));
    frame.addEventListener("pointerup", (event) => this.#up(event, onTap));
    frame.addEventListener("pointercancel", (event) => this.#up(event));
    frame.addEventListener("dragstart", (event) => event.preventDefault());
  }

  // `x` and `y` in fractions of the frame stay where they are.
  zoom(factor, x = 0.5, y = 0.5) {
    const scale = Math.min(LARGEST, Math.max(1, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.#apply();
  }

  zoomIn() { this.zoom(STEP); }

  zoomOut() { this.zoom(1 / STEP); }

  pan(x, y) {
    this.x += x;
    this.y += y;
    this.#apply();
  }

  reset() {
    this.scale = 1;
    this.x = this.y = 0;
    this.#apply();
  }

  #apply() {
    // No frame ever shows what is beside its picture.
    this.x = Math.min(0, Math.max(1 - this.scale, this.x));
    this.y = Math.min(0, Math.max(1 - this.scale, this.y));
    for (const content of this.frames) {
      content.style.transform = `translate(${this.x * 100}%, ${this.y * 100}%) scale(${this.scale})`;
      content.style.imageRendering = this.scale > 4 ? "pixelated" : "";
    }
    this.onChange(this.scale);
  }

  #place(event, frame) {
    const box = frame.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  #wheel(event, frame) {
    // The page scrolls as usual until a picture is enlarged.
    if (this.scale === 1 && event.deltaY > 0) return;
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400)), ...this.#place(event, frame));
  }

  #down(event, frame) {
    if (event.button > 0) return;
    frame.setPointerCapture(event.pointerId);
    const place = this.#place(event, frame);
    this.pointers.set(event.pointerId, { place, start: [event.clientX, event.clientY], moved: this.pointers.size > 0 });
    if (this.pointers.size > 1) for (const pointer of this.pointers.values()) pointer.moved = true;
  }

  #move(event, frame) {
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) return;
    if (Math.hypot(event.clientX - pointer.start[0], event.clientY - pointer.start[1]) > TAP_PIXELS) pointer.moved = true;
    const before = [...this.pointers.values()].map((each) => each.place);
    const last = pointer.place;
    pointer.place = this.#place(event, frame);
    if (this.pointers.size === 1) {
      if (this.scale > 1 && pointer.moved) this.pan(pointer.place[0] - last[0], pointer.place[1] - last[1]);
      return;
    }
    const [a, b] = [...this.pointers.values()].map((each) => each.place);
    const spread = (one, other) => Math.max(1e-3, Math.hypot(one[0] - other[0], one[1] - other[1]));
    const centre = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const old = [(before[0][0] + before[1][0]) / 2, (before[0][1] + before[1][1]) / 2];
    this.zoom(spread(a, b) / spread(before[0], before[1]), ...centre);
    if (this.scale > 1) this.pan(centre[0] - old[0], centre[1] - old[1]);
  }

  #up(event, onTap) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (pointer && !pointer.moved && onTap) onTap();
  }
}

// Where the picture is on the stage: zoom and pan, for pictures of any size and shape.

import { clamp } from "./geometry.js";

const MARGIN = 28;
const LARGEST_SCALE = 64;

export class Viewport {
  #listeners = [];
  #fitted = true;

  /** @param {HTMLElement} stage what the picture is shown on. */
  constructor(stage) {
    this.stage = stage;
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.picture = [1, 1];
    new ResizeObserver(() => (this.#fitted ? this.fit() : this.#tell())).observe(stage);
  }

  get size() {
    return [this.stage.clientWidth, this.stage.clientHeight];
  }

  /** Show a picture of this size, all of it. */
  show(width, height) {
    this.picture = [width, height];
    this.fit();
  }

  fit() {
    const [width, height] = this.size;
    const room = [Math.max(40, width - 2 * MARGIN), Math.max(40, height - 2 * MARGIN)];
    this.scale = clamp(Math.min(room[0] / this.picture[0], room[1] / this.picture[1]), 0.01, 8);
    this.x = (width - this.picture[0] * this.scale) / 2;
    this.y = (height - this.picture[1] * this.scale) / 2;
    this.#fitted = true;
    this.#tell();
  }

  /** Zoom by a factor, so that what is at a place of the stage stays there. */
  zoom(factor, [x, y] = this.size.map((side) => side / 2)) {
    const [width, height] = this.size;
    const smallest = Math.min(1, width / this.picture[0], height / this.picture[1]) / 4;
    const scale = clamp(this.scale * factor, smallest, LARGEST_SCALE);
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.#moved();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#moved();
  }

  /** Bring a point of the picture into view. */
  reveal(point) {
    const [x, y] = this.toStage(point);
    const [width, height] = this.size;
    if (x < MARGIN || y < MARGIN || x > width - MARGIN || y > height - MARGIN) {
      this.pan(width / 2 - x, height / 2 - y);
    }
  }

  toPicture([x, y]) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  toStage([x, y]) {
    return [x * this.scale + this.x, y * this.scale + this.y];
  }

  onChange(listener) {
    this.#listeners.push(listener);
  }

  #moved() {
    // Some of the picture stays in view.
    const [width, height] = this.size;
    this.x = clamp(this.x, 60 - this.picture[0] * this.scale, width - 60);
    this.y = clamp(this.y, 60 - this.picture[1] * this.scale, height - 60);
    this.#fitted = false;
    this.#tell();
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }
}

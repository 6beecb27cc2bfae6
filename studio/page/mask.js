// A mask layer: one byte per picture pixel, drawn on without antialiasing, and a tinted picture of it for the stage.

const FILL = 84;
const EDGE = 235;

export class Mask {
  #strokeBase = null;
  #baseVersion = 0;
  #lastVersion = 0;
  #box = null;
  #stale = null;
  #canvas;
  #context;
  #count = 0;

  /** @param {string} label what it is called in the history. */
  constructor(width, height, label) {
    this.width = width;
    this.height = height;
    this.label = label;
    this.data = new Uint8Array(width * height);
    this.colour = [0, 0, 0];
    this.isOutline = false;
    /** Equal for equal content only: undo brings the one from before back. */
    this.version = 0;
    this.#stale = this.#all;
  }

  get #all() {
    return [0, 0, this.width - 1, this.height - 1];
  }

  get isEmpty() {
    return this.#count === 0;
  }

  has([x, y]) {
    const [column, row] = [Math.floor(x), Math.floor(y)];
    const inside = column >= 0 && row >= 0 && column < this.width && row < this.height;
    return inside && this.data[row * this.width + column] === 1;
  }

  // --- strokes: what is drawn between `begin` and `commit` is one entry of the history ---------------------------------

  begin() {
    this.#strokeBase = this.data.slice();
    this.#baseVersion = this.version;
    this.#box = null;
  }

  get isDrawing() {
    return this.#strokeBase !== null;
  }

  /** Put a disc of value 0 or 1 on the mask. */
  disc([cx, cy], radius, value) {
    const limit = radius * radius;
    this.#fillRows(cx - radius, cy - radius, cx + radius, cy + radius, (y) => {
      const gap = y + 0.5 - cy;
      const half = limit - gap * gap;
      return half < 0 ? [] : [[cx - Math.sqrt(half), cx + Math.sqrt(half)]];
    }, value);
    // A brush smaller than a pixel draws the pixel that it is in.
    if (radius <= 0.75) this.#set(Math.floor(cx), Math.floor(cy), value);
  }

  /** Drag a disc from one point to another. */
  line(from, to, radius, value) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / Math.max(0.5, radius / 3)));
    for (let step = 0; step <= steps; step += 1) {
      const share = step / steps;
      this.disc([from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])], radius, value);
    }
  }

  /** Fill a polygon by the even-odd rule: the pixels whose centres lie in it. */
  polygon(corners, value) {
    const xs = corners.map(([x]) => x);
    const ys = corners.map(([, y]) => y);
    this.#fillRows(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys), (row) => {
      const y = row + 0.5;
      const crossings = [];
      corners.forEach(([ax, ay], index) => {
        const [bx, by] = corners[(index + 1) % corners.length];
        if (ay <= y !== by <= y) crossings.push(ax + ((y - ay) / (by - ay)) * (bx - ax));
      });
      crossings.sort((a, b) => a - b);
      const spans = [];
      for (let index = 0; index + 1 < crossings.length; index += 2) spans.push([crossings[index], crossings[index + 1]]);
      return spans;
    }, value);
  }

  rectangle([ax, ay], [bx, by], value) {
    this.polygon([[ax, ay], [bx, ay], [bx, by], [ax, by]], value);
  }

  /** Put other data in the mask's place. */
  replace(data) {
    this.data.set(data);
    this.#touch(0, 0, this.width - 1, this.height - 1);
  }

  /** Set the pixels of rows whose centres lie in the spans that a row has. */
  #fillRows(left, top, right, bottom, spansOf, value) {
    const first = Math.max(0, Math.floor(top));
    const last = Math.min(this.height - 1, Math.ceil(bottom));
    for (let y = first; y <= last; y += 1) {
      for (const [start, end] of spansOf(y)) {
        const from = Math.max(0, Math.ceil(start - 0.5));
        const to = Math.min(this.width, Math.ceil(end - 0.5));
        if (to > from) this.data.fill(value, y * this.width + from, y * this.width + to);
      }
    }
    this.#touch(Math.floor(left), first, Math.ceil(right), last);
  }

  #set(x, y, value) {
    if (x >= 0 && y >= 0 && x < this.width && y < this.height) {
      this.data[y * this.width + x] = value;
      this.#touch(x, y, x, y);
    }
  }

  #touch(left, top, right, bottom) {
    this.#box = this.#around(this.#box, [left, top, right, bottom]);
    // A pixel's neighbours show whether it is at an edge.
    this.#stale = this.#around(this.#stale, [left - 1, top - 1, right + 1, bottom + 1]);
    this.version = this.#lastVersion += 1;
  }

  /** The smallest box around both, on the picture. */
  #around(box, [left, top, right, bottom]) {
    const other = box ?? [Infinity, Infinity, -Infinity, -Infinity];
    return [
      Math.min(other[0], Math.max(0, left)),
      Math.min(other[1], Math.max(0, top)),
      Math.max(other[2], Math.min(this.width - 1, right)),
      Math.max(other[3], Math.min(this.height - 1, bottom)),
    ];
  }

  /**
   * End a stroke.
   *
   * @returns {{undo: function, redo: function, bytes: number}|null} null when nothing has changed.
   */
  commit() {
    const [base, box, older, newer] = [this.#strokeBase, this.#box, this.#baseVersion, this.version];
    this.#strokeBase = this.#box = null;
    this.recount();
    if (base === null || box === null) return null;
    const [before, after] = [this.#part(base, box), this.#part(this.data, box)];
    if (before.every((value, index) => value === after[index])) {
      this.version = older;
      return null;
    }
    return {
      undo: () => this.#putBack(before, box, older),
      redo: () => this.#putBack(after, box, newer),
      bytes: before.length + after.length,
    };
  }

  /** Take a stroke back that was not ended. */
  abandon() {
    if (this.#strokeBase !== null) {
      this.replace(this.#strokeBase);
      this.version = this.#baseVersion;
    }
    this.#strokeBase = this.#box = null;
  }

  #part(data, [left, top, right, bottom]) {
    const columns = Math.max(0, right - left + 1);
    const part = new Uint8Array(columns * Math.max(0, bottom - top + 1));
    for (let y = top; y <= bottom; y += 1) {
      const start = y * this.width + left;
      part.set(data.subarray(start, start + columns), (y - top) * columns);
    }
    return part;
  }

  #putBack(part, [left, top, right, bottom], version) {
    const columns = right - left + 1;
    for (let y = top; y <= bottom; y += 1) {
      const start = (y - top) * columns;
      this.data.set(part.subarray(start, start + columns), y * this.width + left);
    }
    this.#stale = this.#around(this.#stale, [left - 1, top - 1, right + 1, bottom + 1]);
    this.version = version;
    this.recount();
  }

  recount() {
    let count = 0;
    for (const value of this.data) count += value;
    this.#count = count;
  }

  // --- pictures of it ----------------------------------------------------------------------------------------------------

  /** A canvas of the picture's size with the mask in its colour, its edge stronger. */
  tinted() {
    if (this.#canvas === undefined) {
      this.#canvas = new OffscreenCanvas(this.width, this.height);
      this.#context = this.#canvas.getContext("2d");
    }
    const box = this.#stale;
    this.#stale = null;
    if (box !== null && box[2] >= box[0] && box[3] >= box[1]) {
      const [data, width] = [this.data, this.width];
      const fill = this.isOutline ? 0 : FILL;
      const alphaOf = (index, x) => {
        const inner =
          x > 0 && x < width - 1 && data[index - 1] === 1 && data[index + 1] === 1 &&
          index >= width && data[index - width] === 1 && data[index + width] === 1;
        return inner ? fill : EDGE;
      };
      this.#context.putImageData(this.#painted(alphaOf, this.colour, box), box[0], box[1]);
    }
    return this.#canvas;
  }

  /** Choose how `tinted` shows it: in which colour, and whether only its outline. */
  setLook(colour, isOutline) {
    if (this.colour === colour && this.isOutline === isOutline) return;
    this.colour = colour;
    this.isOutline = isOutline;
    this.#stale = this.#all;
  }

  /** A canvas of the picture's size with the mask opaque in one colour. */
  solid(colour, alpha = 255) {
    const canvas = new OffscreenCanvas(this.width, this.height);
    canvas.getContext("2d").putImageData(this.#painted(() => alpha, colour, this.#all), 0, 0);
    return canvas;
  }

  #painted(alphaOf, [red, green, blue], [left, top, right, bottom]) {
    const image = new ImageData(right - left + 1, bottom - top + 1);
    const pixels = image.data;
    let place = 0;
    for (let y = top; y <= bottom; y += 1) {
      for (let x = left; x <= right; x += 1) {
        const index = y * this.width + x;
        if (this.data[index] === 1) {
          pixels[place] = red;
          pixels[place + 1] = green;
          pixels[place + 2] = blue;
          pixels[place + 3] = alphaOf(index, x);
        }
        place += 4;
      }
    }
    return image;
  }

  /** A PNG in base64, white on black; null for an empty mask. */
  async toText() {
    if (this.isEmpty) return null;
    const canvas = new OffscreenCanvas(this.width, this.height);
    const context = canvas.getContext("2d");
    context.fillRect(0, 0, this.width, this.height);
    context.drawImage(this.solid([255, 255, 255]), 0, 0);
    const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer());
    let text = "";
    for (let start = 0; start < bytes.length; start += 0x8000) {
      text += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
    }
    return btoa(text);
  }

  /** The mask in a PNG in base64, as `toText` and the studio write it; null for an empty one. */
  static async fromText(text, width, height, label) {
    const mask = new Mask(width, height, label);
    if (text !== null) {
      const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
      const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      context.drawImage(bitmap, 0, 0);
      const pixels = context.getImageData(0, 0, width, height).data;
      for (let index = 0; index < mask.data.length; index += 1) mask.data[index] = pixels[4 * index] > 127 ? 1 : 0;
      mask.recount();
    }
    return mask;
  }
}

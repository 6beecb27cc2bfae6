// What lies under the points: the picture, the masks over it, and the live preview of the turn.

const HOLE = [8, 10, 14];

export class Painter {
  #preview = null;
  #waiting = false;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Viewport} viewport
   * @param {DragDocument} drag
   */
  constructor(canvas, viewport, drag) {
    this.canvas = canvas;
    this.viewport = viewport;
    this.drag = drag;
    this.layer = "mask";
    this.isDrawing = false;
    this.showsMasks = true;
    this.showsPreview = true;
    viewport.onChange(() => this.draw());
    drag.onChange(() => this.draw());
  }

  /** Draw before the next frame. */
  draw() {
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      this.#paint();
    });
  }

  /** The colours of the masks, which differ between dark and light. */
  setColours(mask, object) {
    this.colours = { mask, object };
    this.draw();
  }

  /** The layer that is drawn on, which is the one shown soft, and whether a tool draws on it. */
  setLayer(layer, isDrawing) {
    this.layer = layer;
    this.isDrawing = isDrawing;
    this.draw();
  }

  /** Masks are soft while they are drawn, and outlines where they would cover the preview. */
  #tint() {
    const { mask, object } = this.drag.state;
    const isOutline = this.isPreviewing;
    mask.setLook(this.colours.mask, isOutline || !(object.isEmpty || this.layer === "mask"));
    object.setLook(this.colours.object, isOutline || !(mask.isEmpty || this.layer === "object"));
  }

  #paint() {
    const { canvas, viewport, drag } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = viewport.size;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!drag.isOpen) return;
    this.#tint();
    const { picture, mask, object } = drag.state;
    const scale = viewport.scale * ratio;
    context.setTransform(scale, 0, 0, scale, viewport.x * ratio, viewport.y * ratio);
    context.imageSmoothingEnabled = viewport.scale < 3;
    context.imageSmoothingQuality = "high";
    context.shadowColor = "rgb(0 0 0 / 35%)";
    context.shadowBlur = 14 * ratio;
    context.drawImage(picture.bitmap, 0, 0);
    context.shadowColor = "transparent";
    context.save();
    context.beginPath();
    context.rect(0, 0, picture.width, picture.height);
    context.clip();
    this.#paintPreview(context);
    if (this.showsMasks) {
      if (!mask.isEmpty || mask.isDrawing) context.drawImage(mask.tinted(), 0, 0);
      if (!object.isEmpty || object.isDrawing) context.drawImage(object.tinted(), 0, 0);
    }
    context.restore();
  }

  /** Whether a turn is being previewed; a mask is drawn on the picture as it is. */
  get isPreviewing() {
    if (!this.showsPreview || this.isDrawing || !this.drag.isOpen) return false;
    const { pivot, angle, mask, object } = this.drag.state;
    return pivot !== null && angle !== 0 && !(mask.isEmpty && object.isEmpty);
  }

  #paintPreview(context) {
    if (!this.isPreviewing) return;
    const { pivot, angle } = this.drag.state;
    const { content, hole } = this.#cutOut();
    context.drawImage(hole, 0, 0);
    context.save();
    context.translate(...pivot);
    context.rotate((angle * Math.PI) / 180);
    context.translate(-pivot[0], -pivot[1]);
    context.drawImage(content, 0, 0);
    context.restore();
  }

  /** What turns, cut out of the picture, and the place that it leaves; kept until a mask changes. */
  #cutOut() {
    const { picture, mask, object } = this.drag.state;
    const what = object.isEmpty ? mask : object;
    const known = this.#preview;
    if (known?.what === what && known.version === what.version && known.picture === picture) return known;
    const content = new OffscreenCanvas(picture.width, picture.height);
    const context = content.getContext("2d");
    context.drawImage(picture.bitmap, 0, 0);
    context.globalCompositeOperation = "destination-in";
    context.drawImage(what.solid([0, 0, 0]), 0, 0);
    this.#preview = { what, version: what.version, picture, content, hole: what.solid(HOLE, 190) };
    return this.#preview;
  }
}

// Undo and redo of everything: each entry knows how to take itself back and how to do itself again.

const MOST_ENTRIES = 300;
const MOST_BYTES = 256 * 2 ** 20;
const TOGETHER_MS = 900;

export class History {
  #done = [];
  #undone = [];
  #listeners = [];

  /**
   * Note what was done just now.
   *
   * @param {{label: string, undo: function, redo: function, key?: string, bytes?: number}} entry entries that follow
   * each other with the same key are taken back together: at any time within a gesture (`gesture:…`), and otherwise when
   * they come shortly after each other.
   */
  push(entry) {
    const last = this.#done.at(-1);
    const now = performance.now();
    const together = entry.key !== undefined && last?.key === entry.key && this.#undone.length === 0;
    if (together && (entry.key.startsWith("gesture:") || now - last.time < TOGETHER_MS)) {
      last.redo = entry.redo;
      last.time = now;
    } else {
      this.#done.push({ ...entry, time: now });
      this.#undone = [];
      this.#forget();
    }
    this.#tell();
  }

  get nextUndo() {
    return this.#done.at(-1)?.label ?? null;
  }

  get nextRedo() {
    return this.#undone.at(-1)?.label ?? null;
  }

  undo() {
    return this.#step(this.#done, this.#undone, "undo");
  }

  redo() {
    return this.#step(this.#undone, this.#done, "redo");
  }

  onChange(listener) {
    this.#listeners.push(listener);
  }

  #step(from, to, what) {
    const entry = from.pop();
    if (entry === undefined) return null;
    entry[what]();
    entry.time = 0;
    to.push(entry);
    this.#tell();
    return entry.label;
  }

  #forget() {
    let bytes = this.#done.reduce((sum, entry) => sum + (entry.bytes ?? 0), 0);
    while (this.#done.length > MOST_ENTRIES || (bytes > MOST_BYTES && this.#done.length > 1)) {
      bytes -= this.#done.shift().bytes ?? 0;
    }
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }
}

// The drag that is being annotated. Every change goes through the history.

import { bitmap, pictureAddress } from "./api.js";
import { samePoint, turnBetween, turned, whole } from "./geometry.js";
import { Mask } from "./mask.js";

const FOLLOWS_WITHIN = 2;

/**
 * @typedef {Object} Pair
 * @property {number[]} source
 * @property {number[]} target
 * @property {boolean} follows whether the target is where the turn leads.
 */

export class DragDocument {
  #listeners = [];

  /** @param {History} history */
  constructor(history) {
    this.history = history;
    this.state = null;
  }

  get isOpen() {
    return this.state !== null;
  }

  /** Whether something has changed since it was opened or saved. */
  get isChanged() {
    return this.isOpen && this.state.savedAs !== this.#signature();
  }

  #signature() {
    const { name, prompt, pairs, pivot, pivotGiven, angle, mask, object, picture } = this.state;
    return JSON.stringify([name, prompt, pairs, pivot, pivotGiven, angle, picture.name, mask.version, object.version]);
  }

  markSaved() {
    this.state.savedAs = this.#signature();
    this.#tell("text");
  }

  onChange(listener) {
    this.#listeners.push(listener);
  }

  #tell(what) {
    for (const listener of this.#listeners) listener(what);
  }

  // --- opening ------------------------------------------------------------------------------------------------------

  /** Open a drag in the form in which the server gives samples; undoing it brings the one before back. */
  async open(given) {
    const { width, height } = given;
    const label = given.name ?? "picture";
    const [picture, mask, object] = await Promise.all([
      bitmap(pictureAddress(given.picture)),
      Mask.fromText(given.mask ?? null, width, height, "mask"),
      Mask.fromText(given.object_mask ?? null, width, height, "object"),
    ]);
    const pivot = given.pivot ?? null;
    let angle = given.angle ?? null;
    const raw = (given.pairs ?? []).map(([source, target]) => ({ source, target }));
    if (pivot !== null && angle === null) {
      const turning = raw.find(({ source, target }) => !samePoint(source, target) && !samePoint(source, pivot));
      angle = turning === undefined ? 0 : turnBetween(turning.source, turning.target, pivot);
    }
    const pairs = raw.map(({ source, target }) => {
      const led = pivot === null ? null : turned(source, pivot, angle);
      const near = led !== null && Math.hypot(led[0] - target[0], led[1] - target[1]) <= FOLLOWS_WITHIN;
      return { source, target, follows: near && !samePoint(source, target) };
    });
    this.#swap(
      {
        name: given.name ?? "",
        prompt: given.prompt ?? "",
        picture: { name: given.picture, width, height, bitmap: picture },
        pairs,
        pivot,
        pivotGiven: given.pivot_given ?? true,
        angle: angle ?? 0,
        mask,
        object,
        origin: given.origin ?? null,
        exactResult: given.exact_result ?? false,
        savedAs: null,
        digests: new Set(given.digest === undefined ? [] : [given.digest]),
      },
      `open ${label}`,
    );
    if (given.digest !== undefined) this.markSaved();
  }

  #swap(state, label) {
    const before = this.state;
    const to = (other) => {
      this.state = other;
      this.#tell("picture");
    };
    to(state);
    const bytes = 2 * state.picture.width * state.picture.height;
    if (before !== null) this.history.push({ label, undo: () => to(before), redo: () => to(state), bytes });
  }

  // --- changes --------------------------------------------------------------------------------------------------------

  /**
   * Change some of the fields that are no masks.
   *
   * @param {Object} changes
   * @param {string} label how undo calls it.
   * @param {string} [key] see `History.push`.
   */
  set(changes, label, key) {
    const state = this.state;
    if ("pairs" in changes) {
      // What is taken back together must name the same fields.
      const { pivot, angle } = state;
      changes = { pivot, angle, ...changes };
    }
    const before = Object.fromEntries(Object.keys(changes).map((name) => [name, state[name]]));
    const put = (values) => {
      Object.assign(state, values);
      this.#tell("prompt" in values || "name" in values ? "text" : "points");
    };
    put(changes);
    // Taken together, the first change's undo and the last one's redo stand: both hold whole values.
    this.history.push({ label, key, undo: () => put(before), redo: () => put(changes) });
  }

  /** Change a mask by drawing on it, as one entry of the history. */
  draw(mask, label, drawing) {
    mask.begin();
    drawing(mask);
    this.endStroke(mask, label);
  }

  endStroke(mask, label) {
    const change = mask.commit();
    if (change !== null) {
      const told = (step) => () => {
        step();
        this.#tell("mask");
      };
      this.history.push({ label, undo: told(change.undo), redo: told(change.redo), bytes: change.bytes });
    }
    this.#tell("mask");
  }

  strokeGoesOn() {
    this.#tell("stroke");
  }

  // --- points and the turn ------------------------------------------------------------------------------------------

  /** The pairs as a turn leads them: those that follow have other targets. */
  #led(pairs, pivot, angle) {
    if (pivot === null) return pairs;
    return pairs.map((pair) => (pair.follows ? { ...pair, target: whole(turned(pair.source, pivot, angle)) } : pair));
  }

  addPair(source, target) {
    const { pairs, pivot, angle } = this.state;
    const follows = pivot !== null && target === null;
    const pair = { source: whole(source), target: whole(target ?? source), follows };
    this.set({ pairs: this.#led([...pairs, pair], pivot, angle) }, `add handle ${pairs.length + 1}`);
    return pairs.length;
  }

  removePair(index) {
    this.set({ pairs: this.state.pairs.filter((_, other) => other !== index) }, `remove handle ${index + 1}`);
  }

  moveSource(index, place, key) {
    const { pairs, pivot, angle } = this.state;
    const moved = pairs.map((pair, other) => (other === index ? { ...pair, source: whole(place) } : pair));
    this.set({ pairs: this.#led(moved, pivot, angle) }, `move handle ${index + 1}`, key);
  }

  /** Move a target; one that follows the turn turns all of them. */
  moveTarget(index, place, key) {
    const { pairs, pivot } = this.state;
    const pair = pairs[index];
    if (pivot !== null && pair.follows && !samePoint(pair.source, pivot)) {
      this.turn(turnBetween(pair.source, place, pivot), key);
      return;
    }
    const moved = pairs.map((one, other) => (other === index ? { ...one, target: whole(place) } : one));
    this.set({ pairs: moved }, `move target ${index + 1}`, key);
  }

  setFollows(index, follows) {
    const { pairs, pivot, angle } = this.state;
    const changed = pairs.map((pair, other) => (other === index ? { ...pair, follows } : pair));
    this.set({ pairs: this.#led(changed, pivot, angle) }, follows ? "follow the turn" : "leave the turn");
  }

  /** Put the pivot somewhere; the first time, pairs that are there begin to follow the turn of the first. */
  setPivot(place, key) {
    const { pairs, pivot, angle } = this.state;
    const at = whole(place);
    if (pivot !== null) {
      this.set({ pivot: at, pairs: this.#led(pairs, at, angle) }, "move the pivot", key);
      return;
    }
    const turning = pairs.find(({ source, target }) => !samePoint(source, target) && !samePoint(source, at));
    const turn = turning === undefined ? 0 : Math.round(turnBetween(turning.source, turning.target, at) * 10) / 10;
    const following = pairs.map((pair) => ({ ...pair, follows: !samePoint(pair.source, pair.target) }));
    this.set({ pivot: at, angle: turn, pairs: this.#led(following, at, turn) }, "set the pivot", key);
  }

  removePivot() {
    const pairs = this.state.pairs.map((pair) => ({ ...pair, follows: false }));
    this.set({ pivot: null, angle: 0, pairs }, "remove the pivot");
  }

  /** Turn the dial to an angle in degrees. */
  turn(angle, key) {
    const { pairs, pivot } = this.state;
    const rounded = Math.round(angle * 10) / 10;
    this.set({ angle: rounded, pairs: this.#led(pairs, pivot, rounded) }, "turn", key);
  }

  // --- for the server -----------------------------------------------------------------------------------------------

  /** Whether all that moves is one turn about the pivot. */
  get isOneTurn() {
    const { pairs, pivot } = this.state;
    const moving = pairs.filter(({ source, target }) => !samePoint(source, target));
    return pivot !== null && moving.length > 0 && moving.every(({ follows }) => follows);
  }

  async annotation() {
    const { name, prompt, picture, pairs, pivot, pivotGiven, angle, mask, object, origin } = this.state;
    return {
      name,
      prompt,
      picture: picture.name,
      pairs: pairs.map(({ source, target }) => [source, target]),
      pivot,
      pivot_given: pivotGiven,
      angle: this.isOneTurn ? angle : null,
      mask: await mask.toText(),
      object_mask: await object.toText(),
      origin,
    };
  }
}

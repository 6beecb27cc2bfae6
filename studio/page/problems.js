// What is wrong with a drag, each problem with its place: told while it is drawn, before anything runs.

import { isInside, samePoint } from "./geometry.js";

/**
 * @param {DragDocument} drag
 * @returns {{kind: "problem"|"hint", text: string, place: string|null, at: number[]|null}[]} problems first; `place` is
 * the id of what is to be mended.
 */
export function problemsOf(drag) {
  if (!drag.isOpen) return [problem("Open a picture first.", "open")];
  const { pairs, pivot, angle, mask, picture, name } = drag.state;
  const found = [];
  const { width, height } = picture;
  if (!pairs.some(({ source, target }) => !samePoint(source, target))) {
    if (pairs.length === 0) found.push(problem("Nothing is dragged yet: set a handle (D).", "tool-drag"));
    else if (pivot !== null && angle === 0) found.push(problem("Nothing is dragged yet: turn the dial.", "dial"));
    else found.push(problem("Nothing is dragged yet: move a target.", "target-0", pairs[0].target));
  }
  pairs.forEach(({ source, target }, index) => {
    const number = index + 1;
    if (!isInside(source, width, height)) {
      found.push(problem(`Handle ${number} lies outside the picture.`, `handle-${index}`, source));
    } else if (!mask.isEmpty && !mask.has(source)) {
      found.push(problem(`Handle ${number} lies outside the mask: nothing there may change.`, `handle-${index}`, source));
    }
    if (!isInside(target, width, height)) {
      found.push(problem(`Target ${number} lies outside the picture.`, `target-${index}`, target));
    } else if (!mask.isEmpty && !mask.has(target)) {
      found.push(hint(`Target ${number} lies outside the mask.`, `target-${index}`, target));
    }
    if (pivot !== null && samePoint(source, pivot)) {
      found.push(hint(`Handle ${number} lies on the pivot, where nothing turns.`, `handle-${index}`, source));
    }
  });
  if (pivot !== null && drag.state.pivotGiven && !isInside(pivot, width, height)) {
    found.push(problem("The pivot lies outside the picture and cannot be given to methods.", "pivot", pivot));
  }
  if (mask.isEmpty) found.push(hint("No mask: the whole picture may change.", "tool-brush"));
  if (name.trim() === "") found.push(problem("The sample has no name yet.", "sample-name"));
  else if (/[/\\]/.test(name) || name.startsWith(".")) {
    found.push(problem("A name has no slashes, and no dot in front.", "sample-name"));
  }
  return found.sort((one, other) => (one.kind === "hint") - (other.kind === "hint"));
}

const problem = (text, place, at = null) => ({ kind: "problem", text, place, at });
const hint = (text, place, at = null) => ({ kind: "hint", text, place, at });

/** Only what keeps a drag from being saved or edited. */
export const obstacles = (drag) => problemsOf(drag).filter(({ kind }) => kind === "problem");

// Keys on a focused point or on the dial.

import { wrapped } from "./geometry.js";

const PAGE = 15;

/** The way that an arrow key asks for, or null. */
export function arrowOf(key, step) {
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  return moves[key] ?? null;
}

/**
 * Move, turn or remove what is focused.
 *
 * @param {KeyboardEvent} event
 * @param {{kind: string, index?: string}} point `handle`, `target`, `pivot` or `dial`, and the number of its pair.
 * @param {DragDocument} drag
 * @param {HTMLElement} stage takes the focus of what is removed.
 */
export function keyOnPoint(event, { kind, index }, drag, stage) {
  const step = event.shiftKey ? 10 : 1;
  const move = arrowOf(event.key, step);
  if (kind === "dial") {
    const change = { ArrowUp: step, ArrowRight: step, ArrowDown: -step, ArrowLeft: -step, PageUp: PAGE, PageDown: -PAGE };
    const angle = event.key === "Home" ? 0 : drag.state.angle + (change[event.key] ?? NaN);
    if (Number.isNaN(angle)) return;
    drag.turn(wrapped(angle), "dial keys");
  } else if (move !== null) {
    movePoint(drag, kind, Number(index), move);
  } else if (event.key === "Delete" || event.key === "Backspace") {
    if (kind === "pivot") drag.removePivot();
    else drag.removePair(Number(index));
    stage.focus();
  } else {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
}

function movePoint(drag, kind, index, move) {
  const { pairs, pivot, angle } = drag.state;
  const at = kind === "pivot" ? pivot : pairs[index][kind === "handle" ? "source" : "target"];
  const place = [at[0] + move[0], at[1] + move[1]];
  const key = `keys ${kind} ${index}`;
  if (kind === "pivot") {
    drag.setPivot(place, key);
  } else if (kind === "handle") {
    drag.moveSource(index, place, key);
  } else if (pivot !== null && pairs[index].follows) {
    // A target that follows goes along its arc, by as many degrees, in the direction nearest to the arrow's.
    const along = -(at[1] - pivot[1]) * move[0] + (at[0] - pivot[0]) * move[1];
    drag.turn(wrapped(angle + Math.sign(along) * Math.hypot(...move)), key);
  } else {
    drag.moveTarget(index, place, key);
  }
}

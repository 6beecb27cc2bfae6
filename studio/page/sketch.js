// The outline of what is being drawn, over the picture.

import { svg } from "./dom.js";

const CROSS = 14;

/**
 * SVG nodes that show what is begun.
 *
 * @param {Object} begun in image pixels where nothing else is said:
 * @param {function(number[]): number[]} begun.toStage from image pixels to those of the stage.
 * @param {number[][]|null} begun.rectangle two corners.
 * @param {number[][]|null} begun.arrow its ends.
 * @param {number[]|null} begun.pending where something was begun that waits for its end.
 * @param {number[][]} begun.corners of a polygon.
 * @param {number[]|null} begun.hover where the pointer is, in pixels of the stage.
 * @param {number[]|null} begun.cursor where the cross is that the arrow keys move.
 * @param {number|null} begun.brush its radius.
 */
export function draft({ toStage, rectangle, arrow, pending, corners, hover, cursor, brush }) {
  const nodes = [];
  const end = cursor !== null ? toStage(cursor) : hover;
  if (rectangle !== null) {
    const [[ax, ay], [bx, by]] = rectangle.map(toStage);
    const box = { x: Math.min(ax, bx), y: Math.min(ay, by), width: Math.abs(bx - ax), height: Math.abs(by - ay) };
    nodes.push(svg("rect", { class: "draft", ...box }), svg("rect", { class: "draft-line", ...box }));
  }
  if (arrow !== null || pending !== null) {
    const from = toStage(pending ?? arrow[0]);
    const to = (arrow === null ? end : toStage(arrow[1])) ?? from;
    nodes.push(
      svg("line", { class: "draft", x1: from[0], y1: from[1], x2: to[0], y2: to[1] }),
      svg("circle", { class: "draft", cx: from[0], cy: from[1], r: 6 }),
    );
  }
  if (corners.length > 0) {
    const places = corners.map(toStage);
    const points = [...places, ...(end === null ? [] : [end])].map((point) => point.join(" ")).join(",");
    nodes.push(
      svg("polygon", { class: "draft", points }),
      svg("polygon", { class: "draft-line", points }),
      ...places.map(([cx, cy]) => svg("circle", { class: "draft", cx, cy, r: 4 })),
    );
  }
  if (cursor !== null) {
    const [x, y] = end;
    nodes.push(svg("path", { class: "cursor", d: `M${x - CROSS} ${y}H${x + CROSS}M${x} ${y - CROSS}V${y + CROSS}` }));
  }
  if (brush !== null && end !== null) {
    const radius = toStage([brush, 0])[0] - toStage([0, 0])[0];
    nodes.push(svg("circle", { class: "brush", cx: end[0], cy: end[1], r: radius }));
  }
  return nodes;
}

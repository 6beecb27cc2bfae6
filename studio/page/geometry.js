// Points are [x, y] in image pixels; angles are degrees, positive from +x to +y, which is clockwise on the screen.

/** A point turned about a pivot. */
export function turned([x, y], [px, py], degrees) {
  const angle = (degrees * Math.PI) / 180;
  const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
  return [cosine * (x - px) - sine * (y - py) + px, sine * (x - px) + cosine * (y - py) + py];
}

/** The direction of one point seen from another, in degrees. */
export const direction = ([x, y], [px, py]) => (Math.atan2(y - py, x - px) * 180) / Math.PI;

/** The same direction within ±180. */
export const wrapped = (degrees) => degrees - 360 * Math.round(degrees / 360);

/** The turn about a pivot that leads from the direction of one point to that of another. */
export const turnBetween = (from, to, pivot) => wrapped(direction(to, pivot) - direction(from, pivot));

export const distance = ([ax, ay], [bx, by]) => Math.hypot(ax - bx, ay - by);

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** A point in whole pixels. */
export const whole = ([x, y]) => [Math.round(x), Math.round(y)];

/** Whether a point lies in a picture. */
export const isInside = ([x, y], width, height) => x >= 0 && y >= 0 && x < width && y < height;

export const samePoint = (a, b) => a !== null && b !== null && a[0] === b[0] && a[1] === b[1];

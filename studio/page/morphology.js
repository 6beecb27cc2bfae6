// Operations on whole masks: bytes of 0 and 1, row by row. All are exact, whatever the mask's size.

const FAR = 1e20;

/** Squared distances along one line to the nearest zero cost (Felzenszwalb and Huttenlocher, 2012). */
function transformLine(values, length, hull, bounds, result) {
  let last = 0;
  hull[0] = 0;
  bounds[0] = -FAR;
  bounds[1] = FAR;
  for (let place = 1; place < length; place += 1) {
    let crossing;
    do {
      const other = hull[last];
      crossing = (values[place] + place * place - values[other] - other * other) / (2 * (place - other));
      last -= 1;
    } while (crossing <= bounds[last + 1] && last >= 0);
    last += 1;
    if (crossing > bounds[last]) last += 1;
    hull[last] = place;
    bounds[last] = crossing;
    bounds[last + 1] = FAR;
  }
  let part = 0;
  for (let place = 0; place < length; place += 1) {
    while (bounds[part + 1] < place) part += 1;
    const gap = place - hull[part];
    result[place] = gap * gap + values[hull[part]];
  }
}

/** The squared distance of every pixel from the nearest pixel of the mask with the given value. */
export function squaredDistances(data, width, height, value) {
  const distances = new Float64Array(width * height);
  const longest = Math.max(width, height);
  const line = new Float64Array(longest);
  const result = new Float64Array(longest);
  const hull = new Int32Array(longest);
  const bounds = new Float64Array(longest + 1);
  for (let index = 0; index < data.length; index += 1) distances[index] = data[index] === value ? 0 : FAR;
  for (let x = 0; x < width; x += 1) {
    for (let y = 0; y < height; y += 1) line[y] = distances[y * width + x];
    transformLine(line, height, hull, bounds, result);
    for (let y = 0; y < height; y += 1) distances[y * width + x] = result[y];
  }
  for (let y = 0; y < height; y += 1) {
    const row = distances.subarray(y * width, (y + 1) * width);
    line.set(row);
    transformLine(line, width, hull, bounds, result);
    row.set(result.subarray(0, width));
  }
  return distances;
}

/** The mask with every pixel that is at most `radius` pixels away from it. */
export function grown(data, width, height, radius) {
  const distances = squaredDistances(data, width, height, 1);
  return Uint8Array.from(distances, (value) => (value <= radius * radius ? 1 : 0));
}

/** The mask without every pixel that is at most `radius` pixels away from what is not in it. */
export function shrunk(data, width, height, radius) {
  const distances = squaredDistances(data, width, height, 0);
  return Uint8Array.from(distances, (value) => (value > radius * radius ? 1 : 0));
}

/** The mask with its holes: what the picture's border cannot reach without crossing it. */
export function filled(data, width, height) {
  const outside = new Uint8Array(data.length);
  const waiting = [];
  const reach = (index) => {
    if (data[index] === 0 && outside[index] === 0) {
      outside[index] = 1;
      waiting.push(index);
    }
  };
  for (let x = 0; x < width; x += 1) {
    reach(x);
    reach((height - 1) * width + x);
  }
  for (let y = 0; y < height; y += 1) {
    reach(y * width);
    reach(y * width + width - 1);
  }
  while (waiting.length > 0) {
    const index = waiting.pop();
    const x = index % width;
    if (x > 0) reach(index - 1);
    if (x < width - 1) reach(index + 1);
    if (index >= width) reach(index - width);
    if (index < data.length - width) reach(index + width);
  }
  return outside.map((value) => 1 - value);
}

/** The mask turned about a pivot, by nearest pixel; what leaves the picture is lost. */
export function turnedMask(data, width, height, [px, py], degrees) {
  const angle = (-degrees * Math.PI) / 180;
  const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
  const result = new Uint8Array(data.length);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const fromX = Math.round(cosine * (x - px) - sine * (y - py) + px);
      const fromY = Math.round(sine * (x - px) + cosine * (y - py) + py);
      if (fromX >= 0 && fromY >= 0 && fromX < width && fromY < height) {
        result[y * width + x] = data[fromY * width + fromX];
      }
    }
  }
  return result;
}

/** Everything that the mask passes on its way through a turn, with a margin. */
export function swept(data, width, height, pivot, degrees, margin) {
  // Consecutive poses are no more than two pixels apart where the mask is farthest from the pivot.
  let farthest = 0;
  for (let index = 0; index < data.length; index += 1) {
    if (data[index] === 1) {
      const gap = Math.hypot((index % width) - pivot[0], Math.floor(index / width) - pivot[1]);
      if (gap > farthest) farthest = gap;
    }
  }
  const poses = Math.min(90, Math.max(1, Math.ceil((farthest * Math.abs(degrees) * Math.PI) / 360)));
  const result = data.slice();
  for (let pose = 1; pose <= poses; pose += 1) {
    const part = turnedMask(data, width, height, pivot, (degrees * pose) / poses);
    for (let index = 0; index < result.length; index += 1) result[index] |= part[index];
  }
  return margin > 0 ? grown(result, width, height, margin) : result;
}

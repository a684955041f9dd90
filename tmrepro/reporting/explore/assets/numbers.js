// From losses to heights, levels and words. A height is the loss itself (linear) or log10 of it; null is a gap.

const isNumber = (value) => typeof value === "number";

// A few significant digits, as a person writes them.
function inWords(value, digits = 4) {
  if (!isNumber(value)) return value === null || value === undefined ? "–" : String(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(digits))) : value.toExponential(digits - 1).replace("e+", "e");
}

// The scale that the losses of `grids` share: {kind, low, high, floor}; low and high are null where nothing is finite.
function scaleOf(grids, asked) {
  let least = Infinity, most = -Infinity, floor = Infinity;
  for (const grid of grids) {
    for (const row of grid.loss) {
      for (const loss of row) {
        if (!isNumber(loss)) continue;
        least = Math.min(least, loss);
        most = Math.max(most, loss);
        if (loss > 0) floor = Math.min(floor, loss);
      }
    }
  }
  const wide = least > 0 && most > 100 * least;
  const kind = asked === "log" || (asked === "auto" && wide) ? "log" : "linear";
  if (!(least <= most) || (kind === "log" && floor === Infinity)) return { kind, low: null, high: null, floor };
  const scale = { kind, low: 0, high: 0, floor };
  scale.low = heightOf(least, scale);
  scale.high = heightOf(most, scale);
  if (scale.high - scale.low <= 1e-9 * Math.max(Math.abs(scale.low), 1e-12)) {
    const half = 0.5 * Math.max(Math.abs(scale.low), 1e-12);
    scale.low -= half;
    scale.high += half;
  }
  return scale;
}

function heightOf(loss, scale) {
  if (!isNumber(loss)) return null;
  return scale.kind === "log" ? Math.log10(Math.max(loss, scale.floor)) : loss;
}

// The loss at a level, with as many digits as tell it from the levels beside it.
function levelInWords(level, scale, step) {
  if (scale.kind === "log") return inWords(10 ** level, Math.max(3, 2 + Math.ceil(-Math.log10(step))));
  const round = Number(level.toPrecision(12)), size = Math.abs(round);
  return size && (size < 1e-3 || size >= 1e5) ? round.toExponential().replace("e+", "e") : String(round);
}

// A round number, about span / count.
function roundStep(span, count) {
  const rough = span / count, power = 10 ** Math.floor(Math.log10(rough));
  const found = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9));
  return found * power;
}

// About `count` round heights from low to high, evenly spaced.
function levelsOf(low, high, count) {
  if (low === null) return { start: 0, step: 1, values: [] };
  const step = roundStep(high - low, count), values = [];
  const start = Math.ceil(low / step - 1e-9) * step;
  for (let index = 0; start + index * step <= high + 1e-9 * step; index += 1) values.push(start + index * step);
  return { start, step, values: values.map((value) => (Math.abs(value) < 1e-9 * step ? 0 : value)) };
}

// Where `value` lies along an ascending axis: the index of the point before it and the share of the way to the next.
function placeOn(axis, value) {
  if (!(value >= axis[0] && value <= axis[axis.length - 1])) return null;
  let index = 0;
  while (index < axis.length - 2 && axis[index + 1] <= value) index += 1;
  return [index, (value - axis[index]) / (axis[index + 1] - axis[index])];
}

function nearestOn(axis, value) {
  let best = 0;
  for (let index = 1; index < axis.length; index += 1) {
    if (Math.abs(axis[index] - value) < Math.abs(axis[best] - value)) best = index;
  }
  return best;
}

// The height between four points of the grid, bilinearly; null outside, and where one of them has none.
function heightBetween(heights, i, u, j, v) {
  const corners = [heights[i][j], heights[i + 1][j], heights[i][j + 1], heights[i + 1][j + 1]];
  if (corners.includes(null)) return null;
  return (1 - v) * ((1 - u) * corners[0] + u * corners[1]) + v * ((1 - u) * corners[2] + u * corners[3]);
}

function heightAt(view, a, b) {
  const along = placeOn(view.grid.a, a), across = placeOn(view.grid.b, b);
  return along && across ? heightBetween(view.heights, along[0], along[1], across[0], across[1]) : null;
}

// [red, green, blue] of a height, between the stops of the colour map.
function colourOf(height, scale, stops) {
  const share = Math.min(Math.max((height - scale.low) / (scale.high - scale.low), 0), 1) * (stops.length - 1);
  const index = Math.min(Math.floor(share), stops.length - 2), rest = share - index;
  return stops[index].map((channel, place) => channel + rest * (stops[index + 1][place] - channel));
}

const stopsOf = (colours) => colours.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));

// The map: colours and contour lines over a and b, what lies over them, and the cursor. One SVG, drawn anew for each view.

const SVG = "http://www.w3.org/2000/svg";
const SIZE = 420, LEFT = 62, TOP = 14, BAR = 16, WIDTH = LEFT + SIZE + 96, HEIGHT = TOP + SIZE + 54;
const PIXELS = 420; // of the picture under the lines, at most

function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const toX = (grid, a) => LEFT + (SIZE * (a - grid.a[0])) / (grid.a[grid.a.length - 1] - grid.a[0]);
const toY = (grid, b) => TOP + SIZE - (SIZE * (b - grid.b[0])) / (grid.b[grid.b.length - 1] - grid.b[0]);
const isInside = (grid, a, b) => placeOn(grid.a, a) !== null && placeOn(grid.b, b) !== null;

function drawMap(place, view) {
  const { grid, scale, levels } = view;
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" });
  drawing.append(svg("rect", { class: "gap", x: LEFT, y: TOP, width: SIZE, height: SIZE }));
  if (scale.low !== null) {
    const href = pictureOf(view);
    drawing.append(svg("image", { href, x: LEFT, y: TOP, width: SIZE, height: SIZE, preserveAspectRatio: "none" }));
    drawing.append(svg("path", { class: "contour", d: levels.values.map((level) => contourOf(view, level)).join("") }));
    drawing.append(...colourBar(view));
  }
  drawing.append(...axes(grid), ...overlay(view));
  const cursor = svg("g", { class: "cursor" });
  cursor.append(svg("path", {}), svg("circle", { r: 6 }));
  drawing.append(cursor);
  place.replaceChildren(drawing);
}

function moveCursorOnMap(place, view, i, j) {
  const [line, ring] = place.querySelector(".cursor").children;
  const x = toX(view.grid, view.grid.a[i]), y = toY(view.grid, view.grid.b[j]);
  line.setAttribute("d", `M${LEFT} ${y}H${LEFT + SIZE}M${x} ${TOP}V${TOP + SIZE}`);
  ring.setAttribute("cx", x);
  ring.setAttribute("cy", y);
}

// The point of the grid nearest to a place on the screen.
function pointOnMap(place, view, event) {
  const box = place.querySelector("svg").getBoundingClientRect(), { grid } = view;
  const x = ((event.clientX - box.left) * WIDTH) / box.width, y = ((event.clientY - box.top) * HEIGHT) / box.height;
  const a = grid.a[0] + ((x - LEFT) / SIZE) * (grid.a[grid.a.length - 1] - grid.a[0]);
  const b = grid.b[0] + ((TOP + SIZE - y) / SIZE) * (grid.b[grid.b.length - 1] - grid.b[0]);
  return [nearestOn(grid.a, a), nearestOn(grid.b, b)];
}

function pictureOf(view) {
  const rows = view.grid.a.length - 1, columns = view.grid.b.length - 1;
  const fine = Math.max(1, Math.floor(PIXELS / Math.max(rows, columns)));
  const canvas = document.createElement("canvas");
  canvas.width = rows * fine;
  canvas.height = columns * fine;
  const context = canvas.getContext("2d"), picture = context.createImageData(canvas.width, canvas.height);
  for (let y = 0; y < canvas.height; y += 1) {
    const across = (canvas.height - y - 0.5) / fine, j = Math.min(Math.floor(across), columns - 1);
    for (let x = 0; x < canvas.width; x += 1) {
      const along = (x + 0.5) / fine, i = Math.min(Math.floor(along), rows - 1);
      const height = heightBetween(view.heights, i, along - i, j, across - j);
      if (height === null) continue;
      picture.data.set([...colourOf(height, view.scale, view.stops), 255], 4 * (y * canvas.width + x));
    }
  }
  context.putImageData(picture, 0, 0);
  return canvas.toDataURL("image/png");
}

// Marching squares: the line of one level as an SVG path.
function contourOf(view, level) {
  const { grid, heights } = view;
  let path = "";
  for (let i = 0; i < grid.a.length - 1; i += 1) {
    for (let j = 0; j < grid.b.length - 1; j += 1) {
      const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
      const values = corners.map(([m, n]) => heights[m][n]);
      if (values.includes(null)) continue;
      const crossings = [];
      for (let side = 0; side < 4; side += 1) {
        const here = values[side] - level, there = values[(side + 1) % 4] - level;
        if (here < 0 === there < 0) continue;
        const share = here / (here - there), [from, to] = [corners[side], corners[(side + 1) % 4]];
        const a = grid.a[from[0]] + share * (grid.a[to[0]] - grid.a[from[0]]);
        const b = grid.b[from[1]] + share * (grid.b[to[1]] - grid.b[from[1]]);
        crossings.push(`${toX(grid, a).toFixed(1)} ${toY(grid, b).toFixed(1)}`);
      }
      // A saddle has four: which two belong together follows from the middle.
      const middle = (values[0] + values[1] + values[2] + values[3]) / 4 < level;
      const order = crossings.length === 4 && middle === values[0] < level ? [1, 2, 3, 0] : [0, 1, 2, 3];
      for (let n = 0; n + 1 < crossings.length; n += 2) path += `M${crossings[order[n]]}L${crossings[order[n + 1]]}`;
    }
  }
  return path;
}

function colourBar(view) {
  const { scale, levels, data } = view, x = LEFT + SIZE + 18;
  const toBar = (height) => TOP + SIZE - (SIZE * (height - scale.low)) / (scale.high - scale.low);
  const gradient = svg("linearGradient", { id: "colours", x1: 0, y1: 1, x2: 0, y2: 0 });
  data.colours.forEach((colour, index) => {
    gradient.append(svg("stop", { offset: index / (data.colours.length - 1), "stop-color": colour }));
  });
  const found = [gradient, svg("rect", { x, y: TOP, width: BAR, height: SIZE, fill: "url(#colours)" })];
  for (const level of levels.values) {
    const y = toBar(level);
    found.push(svg("path", { class: "tick", d: `M${x} ${y}h${BAR + 4}` }));
    found.push(svg("text", { x: x + BAR + 8, y: y + 4 }, levelInWords(level, scale, levels.step)));
  }
  const words = `loss (${data.unit})${scale.kind === "log" ? ", log scale" : ""}`;
  found.push(svg("text", { x: WIDTH - 2, y: HEIGHT - 8, "text-anchor": "end" }, words));
  return found;
}

function axes(grid) {
  const found = [svg("rect", { class: "frame", x: LEFT, y: TOP, width: SIZE, height: SIZE })];
  for (const a of levelsOf(grid.a[0], grid.a[grid.a.length - 1], 5).values) {
    const x = toX(grid, a);
    found.push(svg("path", { class: "tick", d: `M${x} ${TOP + SIZE}v5` }));
    found.push(svg("text", { x, y: TOP + SIZE + 20, "text-anchor": "middle" }, inWords(a)));
  }
  for (const b of levelsOf(grid.b[0], grid.b[grid.b.length - 1], 5).values) {
    const y = toY(grid, b);
    found.push(svg("path", { class: "tick", d: `M${LEFT} ${y}h-5` }));
    found.push(svg("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, inWords(b)));
  }
  const turned = `translate(14 ${TOP + SIZE / 2}) rotate(-90)`;
  found.push(svg("text", { x: LEFT, y: HEIGHT - 8 }, grid.labels[0]));
  found.push(svg("text", { transform: turned, "text-anchor": "middle" }, grid.labels[1]));
  return found;
}

function overlay(view) {
  const { grid, path, marks } = view, found = [];
  const places = path.map(([, a, b]) => [toX(grid, a), toY(grid, b)]);
  if (places.length) {
    const clip = svg("clipPath", { id: "inside" }, svg("rect", { x: LEFT, y: TOP, width: SIZE, height: SIZE }));
    const group = svg("g", { class: "path", "clip-path": "url(#inside)" });
    const points = places.map((at) => at.join(",")).join(" ");
    group.append(svg("polyline", { class: "halo", points }), svg("polyline", { points }));
    group.append(...places.map(([cx, cy], index) => svg("circle", { cx, cy, r: index ? 2.5 : 5, class: index ? "" : "start" })));
    found.push(clip, group);
  }
  for (const [name, a, b] of marks) {
    if (!isInside(grid, a, b)) continue;
    const x = toX(grid, a), y = toY(grid, b), isLeft = x < LEFT + SIZE / 2;
    found.push(svg("path", { class: "mark", d: `M${x} ${y - 7}l7 7l-7 7l-7 -7z` }));
    const anchor = isLeft ? "start" : "end";
    found.push(svg("text", { class: "name", x: x + (isLeft ? 11 : -11), y: y + 4, "text-anchor": anchor }, name));
  }
  const [i, j] = grid.home, x = toX(grid, grid.a[i]), y = toY(grid, grid.b[j]);
  const star = Array.from({ length: 10 }, (_, n) => {
    const radius = n % 2 ? 4 : 9.5, angle = (Math.PI * n) / 5;
    return `${x + radius * Math.sin(angle)},${y - radius * Math.cos(angle)}`;
  });
  found.push(svg("polygon", { class: "home", points: star.join(" ") }));
  return found;
}

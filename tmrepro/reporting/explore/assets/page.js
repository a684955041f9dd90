// The page: what is chosen, and everything that follows from it.

const data = JSON.parse(document.getElementById("data").textContent);
const stops = stopsOf(data.colours);
const at = (id) => document.getElementById(id);
const controls = {
  surface: at("surface"), directions: at("directions"), network: at("network"), seed: at("seed"), scale: at("scale"),
  shared: at("shared"), path: at("path"), marks: at("marks"), a: at("cursor-a"), b: at("cursor-b"), shown: at("shown"),
};
const solid = at("solid"), map = at("map");
const webgl = hasWebgl();
const LARGEST_TABLE = 61; // points along an axis
let view = null, cursor = null, waiting = false;

const bases = (items) => [...new Set(items.map((item) => item.base))];
const chosenSurface = () => data.surfaces.find((one) => one.base === controls.surface.value && one.replicate === Number(controls.directions.value));
const chosenNetwork = () => data.networks.find((one) => one.base === controls.network.value && one.replicate === Number(controls.seed.value));
const gridOf = (surface, network) => data.grids.find((grid) => grid.surface === surface.name && grid.network === network.name);

function options(select, entries) {
  const before = select.value;
  select.replaceChildren(...entries.map(([value, words]) => new Option(words, value)));
  if (entries.some(([value]) => String(value) === before)) select.value = before;
  select.closest("label").hidden = entries.length < 2;
}

// Only what there is can be chosen: a network that collapsed has no surface, a plane between minima only one.
function fillControls() {
  const surfaces = data.surfaces.filter((one) => data.grids.some((grid) => grid.surface === one.name));
  options(controls.surface, bases(surfaces).map((base) => [base, `${base}: ${surfaces.find((one) => one.base === base).directions}`]));
  const drawn = surfaces.filter((one) => one.base === controls.surface.value);
  options(controls.directions, drawn.map((one) => [one.replicate, one.seeds ? `seeds ${one.seeds.join(" and ")}` : "not drawn"]));
  const surface = chosenSurface();
  const networks = data.networks.filter((one) => gridOf(surface, one));
  options(controls.network, bases(networks).map((base) => [base, base]));
  const trained = networks.filter((one) => one.base === controls.network.value);
  options(controls.seed, trained.map((one) => [one.replicate, `seed ${one.seed}`]));
}

function choose() {
  fillControls();
  const surface = chosenSurface(), network = chosenNetwork(), grid = gridOf(surface, network);
  const others = data.grids.filter((one) => one.surface === surface.name);
  const scale = scaleOf(controls.shared.checked ? others : [grid], controls.scale.value);
  const levels = levelsOf(scale.low, scale.high, 10);
  const hasPath = grid.path.some(([, a]) => a !== null), hasMarks = grid.marks.length > 0;
  controls.path.closest("label").hidden = !hasPath;
  controls.marks.closest("label").hidden = !hasMarks;
  controls.shared.closest("label").hidden = others.length < 2;
  view = {
    data, grid, scale, levels, stops, network,
    heights: grid.loss.map((row) => row.map((loss) => heightOf(loss, scale))),
    path: hasPath && controls.path.checked ? grid.path.filter(([, a]) => a !== null) : [],
    marks: hasMarks && controls.marks.checked ? grid.marks : [],
  };
  if (!cursor || cursor.grid !== grid) cursor = { grid, i: grid.home[0], j: grid.home[1] };
  controls.a.max = grid.a.length - 1;
  controls.b.max = grid.b.length - 1;
  tell(surface, network, scale);
  draw();
  if (at("values").open) fillTable();
}

function draw() {
  drawMap(map, view);
  placeCursor();
  if (!webgl) return;
  delete solid.dataset.ready;
  drawSolid(solid, view)
    .then(() => moveCursorOnSolid(solid, view, cursor.i, cursor.j))
    .then(() => { solid.dataset.ready = "yes"; });
}

function tell(surface, network, scale) {
  const category = ["LM", "GM", "TM"].includes(network.category) ? network.category : `not a minimum: ${network.reason}`;
  const labels = surface.labels === "relabelled" ? "the network's own answers at θ*" : "the given labels";
  const { stride } = gridOf(surface, network), thinned = stride > 1 ? ` Of the stored points, one in ${stride} along each axis is shown.` : "";
  at("about").textContent = `${network.name} (${category}), surface ${surface.name}: ${surface.directions}; loss against ${labels}; ${scale.kind} scale.${thinned}`;
  const told = `Loss of ${network.name} over the plane ${surface.name}`;
  solid.setAttribute("aria-label", `${told}, in three dimensions. Arrow keys turn it, plus and minus zoom, Home goes back.`);
  map.setAttribute("aria-label", `${told}, as a map with contour lines. Arrow keys move the cursor, Home brings it to θ*.`);
}

const accuracyAt = (i, j) => (view.grid.accuracy ? view.grid.accuracy[i][j] : null);

// The numbers are those of the store, all their digits.
function placeCursor() {
  const { grid, i, j } = cursor, accuracy = accuracyAt(i, j);
  moveCursorOnMap(map, view, i, j);
  const numbers = { a: grid.a[i], b: grid.b[j], loss: grid.loss[i][j], accuracy };
  for (const [name, value] of Object.entries(numbers)) at(`at-${name}`).textContent = value === null ? "–" : String(value);
  at("at-home").textContent = i === grid.home[0] && j === grid.home[1] ? "This is θ*." : "";
  for (const [slider, index, value, axis] of [[controls.a, i, grid.a[i], "a"], [controls.b, j, grid.b[j], "b"]]) {
    slider.value = index;
    const percent = accuracy === null ? "" : `, accuracy ${inWords(100 * accuracy)} %`;
    slider.setAttribute("aria-valuetext", `${axis} ${inWords(value)}: loss ${inWords(grid.loss[i][j])}${percent}`);
  }
}

function goTo(i, j) {
  const { grid } = view, bounded = (index, axis) => Math.min(Math.max(index, 0), axis.length - 1);
  cursor = { grid, i: bounded(i, grid.a), j: bounded(j, grid.b) };
  placeCursor();
  if (!webgl || waiting || !solid.dataset.ready) return;
  waiting = true; // at most once in a picture, however fast the pointer is
  requestAnimationFrame(() => {
    waiting = false;
    moveCursorOnSolid(solid, view, cursor.i, cursor.j);
  });
}

function fillTable() {
  const { grid } = view, values = controls.shown.value === "accuracy" ? grid.accuracy : grid.loss;
  controls.shown.closest("label").hidden = !grid.accuracy;
  const step = Math.ceil(Math.max(grid.a.length, grid.b.length) / LARGEST_TABLE);
  const thinned = (axis, home) => axis.map((_, index) => index).filter((index) => (index - home) % step === 0);
  const rows = thinned(grid.a, grid.home[0]), columns = thinned(grid.b, grid.home[1]);
  const cell = (name, text, scope) => {
    const element = document.createElement(name);
    element.textContent = text;
    if (scope) element.scope = scope;
    return element;
  };
  const line = (...cells) => {
    const row = document.createElement("tr");
    row.append(...cells);
    return row;
  };
  const head = document.createElement("thead"), body = document.createElement("tbody");
  head.append(line(cell("th", "a \\ b", "col"), ...columns.map((j) => cell("th", inWords(grid.b[j]), "col"))));
  body.append(...rows.map((i) => line(cell("th", inWords(grid.a[i]), "row"), ...columns.map((j) => cell("td", inWords((values || grid.loss)[i][j]))))));
  const what = values === grid.accuracy ? "Accuracy" : `Loss (${data.unit})`;
  const caption = cell("caption", `${what} of ${grid.network} on ${grid.surface}${step > 1 ? `, one in ${step} points along each axis` : ""}`);
  at("table").replaceChildren(caption, head, body);
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
const TURNS = {
  ArrowLeft: { across: -10 }, ArrowRight: { across: 10 }, ArrowUp: { up: 8 }, ArrowDown: { up: -8 },
  "+": { distance: 1 / 1.2 }, "=": { distance: 1 / 1.2 }, "-": { distance: 1.2 },
};

function listen() {
  for (const name of ["surface", "directions", "network", "seed", "scale", "shared", "path", "marks"]) controls[name].addEventListener("change", choose);
  controls.shown.addEventListener("change", fillTable);
  at("values").addEventListener("toggle", () => at("values").open && fillTable());
  controls.a.addEventListener("input", () => goTo(Number(controls.a.value), cursor.j));
  controls.b.addEventListener("input", () => goTo(cursor.i, Number(controls.b.value)));
  for (const kind of ["pointerdown", "pointermove"]) {
    map.addEventListener(kind, (event) => {
      if (event.pointerType === "mouse" || event.buttons) goTo(...pointOnMap(map, view, event));
    });
  }
  map.addEventListener("keydown", (event) => {
    const far = event.shiftKey ? 5 : 1, step = STEPS[event.key];
    if (step) goTo(cursor.i + far * step[0], cursor.j + far * step[1]);
    else if (event.key === "Home") goTo(...view.grid.home);
    else return;
    event.preventDefault();
  });
  solid.addEventListener("keydown", (event) => {
    if (event.key === "Home") lookFrom(solid, HOME_EYE);
    else if (TURNS[event.key]) turn(solid, TURNS[event.key]);
    else return;
    event.preventDefault();
  });
  solid.addEventListener("reached", ({ detail: [a, b] }) => goTo(nearestOn(view.grid.a, a), nearestOn(view.grid.b, b)));
  for (const button of document.querySelectorAll("[data-turn]")) {
    const key = button.dataset.turn;
    button.addEventListener("click", () => (key === "Home" ? lookFrom(solid, HOME_EYE) : turn(solid, TURNS[key])));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", draw);
  addEventListener("afterprint", draw);
}

controls.scale.value = data.scale;
at("explorer").hidden = false;
if (!webgl) {
  at("no-webgl").hidden = false;
  solid.closest("figure").hidden = true;
}
listen();
choose();

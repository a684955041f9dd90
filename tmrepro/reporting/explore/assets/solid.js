// The surface in three dimensions, drawn by plotly.js; turned by pointer, keys and buttons alike.

const CURSOR = 4; // which trace the cursor is
const HOME_EYE = { x: 1.45, y: -1.65, z: 1.25 };
const NEAREST = 0.6, FARTHEST = 6;
let eye = { ...HOME_EYE };

const hasWebgl = () => {
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
};

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function drawSolid(place, view) {
  return Plotly.react(place, traces(view), layout(view, sizeOf(place)), { displayModeBar: false }).then(() => {
    tellEye(place);
    if (place.dataset.listens) return;
    place.dataset.listens = "yes";
    new ResizeObserver(() => fit(place)).observe(place);
    place.on("plotly_relayout", (change) => {
      const camera = change["scene.camera"];
      if (camera) eye = { ...camera.eye };
      tellEye(place);
    });
    place.on("plotly_hover", (event) => {
      const [point] = event.points;
      place.dispatchEvent(new CustomEvent("reached", { detail: [point.x, point.y] }));
    });
  });
}

const sizeOf = (place) => ({ width: place.clientWidth, height: place.clientHeight });

// As large as its place, once that has stopped changing; paper keeps the size of the screen.
let fitting = 0;
function fit(place) {
  clearTimeout(fitting);
  fitting = setTimeout(() => {
    const size = sizeOf(place), { width, height } = place.layout;
    if (size.width && !matchMedia("print").matches && (size.width !== width || size.height !== height)) Plotly.relayout(place, size);
  }, 100);
}

function tellEye(place) {
  place.dataset.eye = [eye.x, eye.y, eye.z].map((value) => value.toFixed(3)).join(" ");
}

function traces(view) {
  const { grid, scale, levels, data } = view, last = data.colours.length - 1;
  const z = grid.b.map((_, j) => grid.a.map((__, i) => view.heights[i][j]));
  const line = { color: "#d55e00", width: 5 };
  const still = { type: "scatter3d", hoverinfo: "skip", showlegend: false };
  const path = view.path.map(([, a, b]) => [a, b, heightAt(view, a, b)]);
  const marks = view.marks.map(([name, a, b]) => [a, b, heightAt(view, a, b), name]).filter((mark) => mark[2] !== null);
  const [i, j] = grid.home;
  return [
    {
      type: "surface", x: grid.a, y: grid.b, z, showscale: false, hoverinfo: "none",
      cmin: scale.low ?? 0, cmax: scale.high ?? 1,
      colorscale: data.colours.map((colour, index) => [index / last, colour]),
      lighting: { ambient: 0.78, diffuse: 0.5, specular: 0.04, roughness: 0.9, fresnel: 0 },
      contours: {
        x: { highlight: false }, y: { highlight: false },
        z: {
          show: levels.values.length > 0, start: levels.start, end: (scale.high ?? 0) + levels.step / 2, size: levels.step,
          color: "rgba(20,20,20,0.55)", width: 1, highlight: false,
        },
      },
    },
    {
      ...still, mode: "lines+markers", line, connectgaps: false, marker: { size: 3, color: "#d55e00" },
      x: path.map((at) => at[0]), y: path.map((at) => at[1]), z: path.map((at) => at[2]),
    },
    {
      ...still, mode: "markers+text", x: marks.map((at) => at[0]), y: marks.map((at) => at[1]), z: marks.map((at) => at[2]),
      text: marks.map((at) => at[3]), textfont: { color: ink("--ink"), size: 13 },
      marker: { symbol: "diamond", size: 5, color: "#ffffff", line: { color: "#1a1a1a", width: 2 } },
    },
    {
      ...still, mode: "markers", x: [grid.a[i]], y: [grid.b[j]], z: [view.heights[i][j]],
      marker: { symbol: "diamond", size: 6, color: "#ffffff", line: { color: "#1a1a1a", width: 2 } },
    },
    { ...still, mode: "markers", x: [null], y: [null], z: [null], marker: { size: 5, color: "#e01f7b" } },
  ];
}

function layout(view, size) {
  const { scale, levels } = view, colour = ink("--ink"), line = ink("--line");
  const axis = { color: colour, gridcolor: line, zerolinecolor: line, showspikes: false, tickfont: { size: 11 } };
  const shown = levelsOf(scale.low, scale.high, 5).values;
  const range = scale.low === null ? [0, 1] : [scale.low, scale.high];
  return {
    ...size,
    margin: { l: 0, r: 0, t: 0, b: 0 },
    paper_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour, family: "system-ui, sans-serif", size: 13 },
    showlegend: false,
    scene: {
      aspectmode: "manual", aspectratio: { x: 1.1, y: 1.1, z: 0.75 }, dragmode: "turntable",
      camera: { eye: { ...eye }, center: { x: 0, y: 0, z: -0.12 } },
      xaxis: { ...axis, title: { text: "a" } },
      yaxis: { ...axis, title: { text: "b" } },
      zaxis: {
        ...axis, range, title: { text: "" }, tickmode: "array", tickvals: shown,
        ticktext: shown.map((height) => levelInWords(height, scale, levels.step)),
      },
    },
  };
}

function moveCursorOnSolid(place, view, i, j) {
  const z = view.heights[i][j];
  return Plotly.restyle(place, { x: [[view.grid.a[i]]], y: [[view.grid.b[j]]], z: [[z]] }, [CURSOR]);
}

// Turn by angles in degrees, and come nearer (a factor below 1) or go back.
function turn(place, { across = 0, up = 0, distance = 1 }) {
  const radius = Math.hypot(eye.x, eye.y, eye.z);
  const azimuth = Math.atan2(eye.y, eye.x) + (across * Math.PI) / 180;
  const steepest = (85 * Math.PI) / 180;
  const elevation = Math.min(Math.max(Math.asin(eye.z / radius) + (up * Math.PI) / 180, -steepest), steepest);
  const far = Math.min(Math.max(radius * distance, NEAREST), FARTHEST);
  const level = far * Math.cos(elevation);
  lookFrom(place, { x: level * Math.cos(azimuth), y: level * Math.sin(azimuth), z: far * Math.sin(elevation) });
}

function lookFrom(place, from) {
  eye = { ...from };
  return Plotly.relayout(place, { "scene.camera.eye": { ...eye } }).then(() => tellEye(place));
}

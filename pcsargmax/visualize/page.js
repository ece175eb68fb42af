"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const escape = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");  // Plotly reads tags in texts
const short = (number) => Number(number.toPrecision(4)).toString();
let drawn = 0;  // the latest drawing wins over slower earlier ones

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

// Points come as 16-bit steps from the cloud's middle: three rows x, y, z, little-endian.
async function points(shape) {
  const view = new DataView(await unpack(shape.points));
  const n = shape.count;
  return [0, 1, 2].map((axis) =>
    Float64Array.from({length: n}, (_, i) => view.getInt16(2 * (axis * n + i), true) * shape.step));
}

// Maps come as one byte a point: 0 below chance, else 1 to 255 in equal ratios from chance to the map's peak.
async function probabilities(shape) {
  const bytes = new Uint8Array(await unpack(shape.maps));
  return shape.peaks.map((peak, k) => {
    const ratio = Math.log(Math.max(peak / shape.chance, 1)) / 254;
    return Float64Array.from(bytes.subarray(k * shape.count, (k + 1) * shape.count),
      (level) => level === 0 ? 0 : peak * Math.exp(ratio * (level - 255)));
  });
}

function largest(maps, n) {
  const values = new Float64Array(n);
  for (const map of maps) for (let i = 0; i < n; i++) if (map[i] > values[i]) values[i] = map[i];
  return values;
}

function cloudTrace(shape, xyz, values, title) {
  const peak = values.reduce((a, b) => Math.max(a, b), 0) || 1;
  const log = by("log").checked;
  const color = log ? values.map((value) => Math.log10(Math.max(value / peak, 1e-3))) : values;
  const ticks = [0, 1, 2, 3].map((step) => ({at: -step, text: short(Number((peak / 10 ** step).toPrecision(2)))}));
  const text = Array.from(values, (value, i) =>
    "point " + (shape.index ? shape.index[i] : i) + "<br>probability " +
    (value > 0 ? short(Number(value.toPrecision(2))) : "below chance"));
  return {
    type: "scatter3d", mode: "markers", x: xyz[0], y: xyz[1], z: xyz[2], text, hoverinfo: "text",
    marker: {
      size: Math.max(1.5, Math.min(4, 160 / Math.sqrt(shape.count))), opacity: 1, color, colorscale: DATA.scale,
      cmin: log ? -3 : 0, cmax: log ? 0 : peak,
      colorbar: {
        title: {text: escape(title), side: "right"}, thickness: 14, len: 0.75, x: 0, xanchor: "left",
        ...(log ? {tickvals: ticks.map((t) => t.at), ticktext: ticks.map((t) => t.text)} : {nticks: 5}),
      },
    },
  };
}

function keypointTraces(shape) {
  const shown = shape.keypoints.filter((keypoint) => keypoint.seen);
  const told = (keypoint, what) => what + " " + escape(keypoint.name) +
    "<br>confidence " + short(keypoint.confidence) +
    (keypoint.error === null ? "" : "<br>error " + short(keypoint.error)) +
    "<br>" + keypoint.position.map(short).join(", ");
  const marks = (list, place, what, marker) => ({
    type: "scatter3d", mode: "markers", hoverinfo: "text", marker,
    x: list.map((k) => k[place][0]), y: list.map((k) => k[place][1]), z: list.map((k) => k[place][2]),
    hovertext: list.map((k) => told(k, what)),
  });
  const traces = [marks(shown, "local", "keypoint",
    {size: 10, color: shown.map((k) => k.color), line: {color: "#ffffff", width: 1.5}})];
  const known = shown.filter((keypoint) => keypoint.truth !== null);
  if (by("truth").checked && known.length) {
    traces.push(marks(known, "truth", "truth of", {size: 5, color: DATA.truth}));
    const line = {type: "scatter3d", mode: "lines", hoverinfo: "skip", line: {color: DATA.truth, width: 4}};
    ["x", "y", "z"].forEach((axis, i) => {
      line[axis] = known.flatMap((k) => [k.local[i], k.truth[i], null]);
    });
    traces.push(line);
  }
  if (by("ellipsoids").checked) shown.forEach((keypoint) => traces.push(ellipsoid(keypoint)));
  return traces;
}

// The edges of a skeleton and the points that the cloud is reconstructed by, their strength as opacity.
function skeletonTraces(shape) {
  if (!by("skeleton").checked) return [];
  return shape.edges.flatMap((edge) => {
    const look = {
      type: "scatter3d", opacity: edge.strength, hoverinfo: "text", hovertext: "edge of strength " + short(edge.strength),
    };
    const [ends, points] = [edge.ends, edge.points];
    return [
      {...look, mode: "lines", x: ends[0], y: ends[1], z: ends[2], line: {color: DATA.edge, width: 4}},
      {...look, mode: "markers", x: points[0], y: points[1], z: points[2], marker: {color: DATA.edge, size: 2.5}},
    ];
  });
}

// Annotations, not texts of a trace: points would cover those.
function nameTags(shape) {
  if (!by("names").checked) return [];
  return shape.keypoints.filter((keypoint) => keypoint.seen).map((keypoint) => ({
    x: keypoint.local[0], y: keypoint.local[1], z: keypoint.local[2], text: escape(keypoint.name),
    showarrow: false, yshift: 16, font: {size: 13, color: "#1c1c22"}, bgcolor: "rgba(255,255,255,0.7)", borderpad: 1,
  }));
}

function ellipsoid(keypoint) {
  const mesh = {
    type: "mesh3d", x: [], y: [], z: [], i: [], j: [], k: [],
    color: keypoint.color, opacity: 0.3, hoverinfo: "skip", flatshading: false,
  };
  const rings = 12, sides = 18;
  for (let a = 0; a <= rings; a++) for (let b = 0; b < sides; b++) {
    const [polar, around] = [Math.PI * a / rings, 2 * Math.PI * b / sides];
    const u = [Math.sin(polar) * Math.cos(around), Math.cos(polar), Math.sin(polar) * Math.sin(around)];
    const at = [0, 1, 2].map((row) => keypoint.local[row] + u.reduce((sum, x, i) => sum + keypoint.axes[row][i] * x, 0));
    mesh.x.push(at[0]); mesh.y.push(at[1]); mesh.z.push(at[2]);
    if (a < rings) {
      const [p, q] = [a * sides + b, a * sides + (b + 1) % sides];
      mesh.i.push(p, q); mesh.j.push(q, q + sides); mesh.k.push(p + sides, p + sides);
    }
  }
  return mesh;
}

function fillSide(shape, chosen) {
  const table = by("keypoints");
  const withError = shape.keypoints.some((keypoint) => keypoint.error !== null);
  table.replaceChildren();
  const head = table.insertRow();
  ["keypoint", "confidence", ...(withError ? ["error"] : [])].forEach((text) => {
    head.appendChild(document.createElement("th")).textContent = text;
  });
  shape.keypoints.forEach((keypoint, k) => {
    const row = table.insertRow();
    row.className = (k === chosen ? "chosen " : "") + (keypoint.seen ? "" : "absent");
    row.onclick = () => { by("map").value = String(k); start(); };
    const dot = row.insertCell().appendChild(document.createElement("span"));
    dot.className = "dot"; dot.style.background = keypoint.seen ? keypoint.color : "#d8d8de";
    dot.after(keypoint.name);
    row.insertCell().textContent = keypoint.seen ? keypoint.confidence.toFixed(2) : "absent";
    if (withError) row.insertCell().textContent = keypoint.error === null ? "" : short(Number(keypoint.error.toPrecision(3)));
  });
  by("note").textContent = shape.note;
}

async function draw() {
  const mine = ++drawn;
  const shape = DATA.shapes[Number(by("shape").value)];
  fillMaps(shape);
  const chosen = Number(by("map").value);
  const [xyz, maps] = [await points(shape), await probabilities(shape)];
  if (mine !== drawn) return;
  const values = chosen < 0 ? largest(maps, shape.count) : maps[chosen];
  const title = chosen < 0 ? "largest probability" : "probability of " + shape.keypoints[chosen].name;
  fillSide(shape, chosen);
  const axis = {visible: false, range: [-shape.reach, shape.reach]};
  await Plotly.react("plot", [cloudTrace(shape, xyz, values, title), ...skeletonTraces(shape), ...keypointTraces(shape)], {
    margin: {l: 0, r: 0, t: 0, b: 0}, showlegend: false, hovermode: "closest", uirevision: "keep",
    scene: {
      aspectmode: "cube", xaxis: axis, yaxis: axis, zaxis: axis, dragmode: "orbit", uirevision: "keep",
      annotations: nameTags(shape),
      camera: {up: {x: 0, y: 1, z: 0}, eye: {x: 0.7, y: 0.43, z: 0.98}, projection: {type: "perspective"}},
    },
  }, {displaylogo: false, responsive: true});
}

function fillMaps(shape) {
  const select = by("map"), kept = select.value;
  select.replaceChildren(new Option("largest of all", "-1"),
    ...shape.keypoints.map((keypoint, k) => new Option(keypoint.name, String(k))));
  select.value = kept;
  if (select.selectedIndex < 0) select.value = "-1";
}

function move(step) {
  const select = by("shape");
  select.value = String((Number(select.value) + step + DATA.shapes.length) % DATA.shapes.length);
  start();
}

function start() {
  draw().catch((error) => { by("failed").textContent = "This page could not be drawn: " + error.message; });
}

DATA.shapes.forEach((shape, number) => by("shape").add(new Option(shape.name, String(number))));
["shape", "map", "log", "truth", "ellipsoids", "names", "skeleton"].forEach((id) => { by(id).onchange = start; });
by("with-skeleton").hidden = DATA.shapes.every((shape) => shape.edges.length === 0);
by("previous").onclick = () => move(-1);
by("next").onclick = () => move(1);
start();

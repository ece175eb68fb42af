const ITEM = {name: "shape", there: "on it"};
const START = {up: {x: 0, y: 1, z: 0}, center: {x: 0, y: 0, z: 0}, eye: {x: 0.7, y: 0.43, z: 0.98}};
let camera = START;  // of all plots

// Positions come as 16-bit steps from the cloud's middle: three rows x, y, z of n, little-endian.
async function positions(packed, n, step) {
  const view = new DataView(await unpack(packed));
  return [0, 1, 2].map((axis) =>
    Float64Array.from({length: n}, (_, i) => view.getInt16(2 * (axis * n + i), true) * step));
}

// What one method says of a shape; "points" is null where they are those of the first method.
async function opened(side, number, chosen) {
  const shape = SIDES[side][number];
  const xyz = await positions(shape.points || DATA.shapes[number].points, shape.count, shape.step);
  const maps = await probabilities(shape, shape.count, shape.chance);
  const k = keypointOf(side, number, chosen);
  const samples = shape.samples && by("samples").checked
    ? await positions(shape.samples.packed, shape.samples.count * shape.keypoints.length, shape.samples.step) : null;
  return {
    shape, xyz, samples, edges: await edgesOf(shape), chosen: k,
    values: k < 0 ? largest(maps) : maps[k],
    title: mapTitle(shape, k),
  };
}

// Where a legend beside the cloud would lie on it, it lies below.
const isNarrow = (width) => width < 700;

function cloudTrace({shape, xyz, values, title}, peak, width) {
  const narrow = isNarrow(width);
  const log = by("log").checked;
  const color = log ? values.map((value) => Math.log10(Math.max(value / peak, 1e-3))) : values;
  const ticks = [0, 1, 2, 3].map((step) => ({at: -step, text: short(Number((peak / 10 ** step).toPrecision(2)))}));
  const text = Array.from(values, (value, i) =>
    "point " + (shape.index ? shape.index[i] : i) + (shape.annotated ? "" : "<br>probability " +
    (value > 0 ? short(Number(value.toPrecision(2))) : "below chance")));
  return {
    type: "scatter3d", mode: "markers", x: xyz[0], y: xyz[1], z: xyz[2], text, hoverinfo: "text",
    marker: {
      size: Math.max(1.5, Math.min(4, 160 / Math.sqrt(shape.count)) * Math.min(1, width / 700)), opacity: 1, color, colorscale: DATA.scale,
      cmin: log ? -3 : 0, cmax: log ? 0 : peak, showscale: !shape.annotated,
      colorbar: {
        title: {text: escape(title), side: narrow ? "top" : "right"}, thickness: 14,
        ...(narrow ? {orientation: "h", len: 0.8, x: 0.5, xanchor: "center", y: 0, yanchor: "bottom"}
          : {len: 0.75, x: 0, xanchor: "left"}),
        ...(log ? {tickvals: ticks.map((t) => t.at), ticktext: ticks.map((t) => t.text)} : {nticks: 5}),
      },
    },
  };
}

function keypointTraces({shape, samples, chosen}) {
  const shown = shape.keypoints.filter((keypoint) => keypoint.seen);
  const told = (keypoint, what) => what + " " + escape(keypoint.name) +
    (keypoint.confidence === null ? "<br>annotated" : "<br>confidence " + short(keypoint.confidence)) +
    (keypoint.error === null ? "" : "<br>error " + short(keypoint.error) + " " + escape(shape.unit)) +
    (keypoint.radius === null ? "" : "<br>" + radiusText(shape) + " " + short(keypoint.radius) + " " + escape(shape.unit)) +
    "<br>" + keypoint.position.map((number) => short(number)).join(", ");
  const marks = (list, place, what, marker) => ({
    type: "scatter3d", mode: "markers", hoverinfo: "text", marker,
    x: list.map((k) => k[place][0]), y: list.map((k) => k[place][1]), z: list.map((k) => k[place][2]),
    hovertext: list.map((k) => told(k, what)),
  });
  const traces = [marks(shown, "local", "keypoint",
    {size: 10, color: shown.map((k) => k.color), line: {color: "#ffffff", width: 1.5}})];
  const known = shown.filter((keypoint) => keypoint.truth !== null);
  if (by("truth").checked && known.length) {
    traces.push(marks(known, "truth", DATA.truthName + " of", {size: 5, color: DATA.truth}));
    const line = {type: "scatter3d", mode: "lines", hoverinfo: "skip", line: {color: DATA.truth, width: 4}};
    ["x", "y", "z"].forEach((axis, i) => {
      line[axis] = known.flatMap((k) => [k.local[i], k.truth[i], null]);
    });
    traces.push(line);
  }
  if (by("ellipsoids").checked) shown.forEach((keypoint) => traces.push(ellipsoid(keypoint, keypoint.axes)));
  if (by("radius").checked) {
    shown.filter((keypoint) => keypoint.radius !== null).forEach((keypoint) => {
      const axes = [0, 1, 2].map((row) => [0, 1, 2].map((column) => row === column ? keypoint.radius : 0));
      traces.push(ellipsoid(keypoint, axes));
    });
  }
  if (samples) traces.push(sampleTrace(shape, samples, chosen));
  return traces;
}

// Draws of the keypoints that are shown, or of the chosen one alone.
function sampleTrace(shape, samples, chosen) {
  const count = shape.keypoints.length;
  const rows = Array.from(samples[0].keys()).filter((row) => {
    const k = row % count;
    return shape.keypoints[k].seen && (chosen < 0 || k === chosen);
  });
  const [x, y, z] = samples.map((axis) => rows.map((row) => axis[row]));
  const color = rows.map((row) => shape.keypoints[row % count].color);
  return {type: "scatter3d", mode: "markers", hoverinfo: "skip", x, y, z, marker: {size: 2, color, opacity: 0.6}};
}

const radiusText = (shape) => Math.round(100 * shape.coverage) + " % radius";

// The edges of a skeleton and the points that the cloud is reconstructed by, their strength as opacity.
function skeletonTraces({edges}) {
  return edges.flatMap(({strength, axes}) => {
    const look = {type: "scatter3d", opacity: strength, hoverinfo: "text", hovertext: "edge of strength " + short(strength)};
    const [ends, points] = [axes.map((axis) => axis.slice(0, 2)), axes.map((axis) => axis.slice(2))];
    return [
      {...look, mode: "lines", x: ends[0], y: ends[1], z: ends[2], line: {color: DATA.edge, width: 4}},
      {...look, mode: "markers", x: points[0], y: points[1], z: points[2], marker: {color: DATA.edge, size: 2.5}},
    ];
  });
}

// Of each edge its two ends, then points of the reconstruction.
async function edgesOf({edges}) {
  if (!edges || !by("skeleton").checked) return [];
  const all = await positions(edges.packed, edges.counts.reduce((a, b) => a + b, 0), edges.step);
  let first = 0;
  return edges.strength.map((strength, number) => {
    const axes = all.map((axis) => Array.from(axis.slice(first, first + edges.counts[number])));
    first += edges.counts[number];
    return {strength, axes};
  });
}

// Annotations, not texts of a trace: points would cover those.
function nameTags({shape}) {
  if (!by("names").checked) return [];
  return shape.keypoints.filter((keypoint) => keypoint.seen).map((keypoint) => ({
    x: keypoint.local[0], y: keypoint.local[1], z: keypoint.local[2], text: escape(keypoint.name),
    showarrow: false, yshift: 16, font: {size: 13, color: "#1c1c22"}, bgcolor: "rgba(255,255,255,0.7)", borderpad: 1,
  }));
}

function ellipsoid(keypoint, axes) {
  const mesh = {
    type: "mesh3d", x: [], y: [], z: [], i: [], j: [], k: [],
    color: keypoint.color, opacity: 0.3, hoverinfo: "skip", flatshading: false,
  };
  const rings = 12, sides = 18;
  for (let a = 0; a <= rings; a++) for (let b = 0; b < sides; b++) {
    const [polar, around] = [Math.PI * a / rings, 2 * Math.PI * b / sides];
    const u = [Math.sin(polar) * Math.cos(around), Math.cos(polar), Math.sin(polar) * Math.sin(around)];
    const at = [0, 1, 2].map((row) => keypoint.local[row] + u.reduce((sum, x, i) => sum + axes[row][i] * x, 0));
    mesh.x.push(at[0]); mesh.y.push(at[1]); mesh.z.push(at[2]);
    if (a < rings) {
      const [p, q] = [a * sides + b, a * sides + (b + 1) % sides];
      mesh.i.push(p, q); mesh.j.push(q, q + sides); mesh.k.push(p + sides, p + sides);
    }
  }
  return mesh;
}

const TABLE = {
  what: "keypoint", all: "largest of all", hint: "colour the points by this map",
  fields: (some) => ["confidence", ...["error", "radius"].filter(some)],
  head: ({shape}, field) => field === "confidence" ? (shape.annotated ? "" : field)
    : (field === "radius" ? radiusText(shape.coverage === null ? withRadius : shape) : field) + " (" + shape.unit + ")",
  text: (keypoint, field) => field !== "confidence" ? (keypoint[field] === null ? "" : short(keypoint[field], 3))
    : !keypoint.seen ? "absent" : keypoint.confidence === null ? "annotated" : keypoint.confidence.toFixed(2),
};

// One scale for both methods, as there is one camera.
function paintView(view, side, peak, views) {
  const width = plots[side].clientWidth, reach = Math.max(...views.map(({shape}) => shape.reach));
  return Plotly.react(plots[side], [cloudTrace(view, peak, width), ...skeletonTraces(view), ...keypointTraces(view)],
    layout(view, width, reach), {displaylogo: false, responsive: true, modeBarButtons: [["toImage", "resetCameraDefault3d"]]});
}

function layout(view, width, reach) {
  const axis = {visible: false, range: [-reach, reach]};
  return {
    margin: {l: 0, r: 0, t: 0, b: 0}, showlegend: false, hovermode: "closest",
    scene: {
      aspectmode: "cube", xaxis: axis, yaxis: axis, zaxis: axis, dragmode: "orbit", annotations: nameTags(view),
      domain: {x: [0, 1], y: [isNarrow(width) ? 0.17 : 0, 1]}, camera: {...camera, projection: {type: "perspective"}},
    },
  };
}

// All plots look from the same side.
function look(from, next) {
  camera = next;
  plots.forEach((plot) => { if (plot !== from) Plotly.relayout(plot, {"scene.camera": {...camera, projection: {type: "perspective"}}}); });
}

function turned(around, up, nearer) {
  const {x, y, z} = camera.eye, length = Math.hypot(x, y, z) * nearer;
  const polar = Math.min(3.04, Math.max(0.1, Math.acos(y / Math.hypot(x, y, z)) - up)), angle = Math.atan2(x, z) + around;
  const eye = {x: length * Math.sin(polar) * Math.sin(angle), y: length * Math.cos(polar), z: length * Math.sin(polar) * Math.cos(angle)};
  return {...camera, up: START.up, eye};
}

const KEYS = {
  ArrowLeft: () => look(null, turned(-0.15, 0, 1)), ArrowRight: () => look(null, turned(0.15, 0, 1)),
  ArrowUp: () => look(null, turned(0, 0.15, 1)), ArrowDown: () => look(null, turned(0, -0.15, 1)),
  "+": () => look(null, turned(0, 0, 1 / 1.15)), "-": () => look(null, turned(0, 0, 1.15)), "0": () => look(null, START),
  n: () => move(1), p: () => move(-1),
};

function linkCameras() {
  let waiting = null;
  plots.forEach((plot) => {
    const moved = (change) => {
      const next = change["scene.camera"];
      if (!next || !next.eye) return;
      if (waiting === null) requestAnimationFrame(() => { const [from, at] = waiting; waiting = null; look(from, at); });
      waiting = [plot, {up: next.up, center: next.center, eye: next.eye}];
    };
    plot.on("plotly_relayout", moved);
    plot.on("plotly_relayouting", moved);
  });
}

// A drawing buffer of WebGL is empty by the time that it is printed: a copy lies over it meanwhile.
function copyClouds() {
  plots.forEach((plot) => {
    const drawn = plot._fullLayout?.scene?._scene?.glplot;
    if (!drawn) return;
    drawn.redraw();
    const copy = document.createElement("canvas");
    copy.width = drawn.canvas.width; copy.height = drawn.canvas.height;
    copy.className = "printed";
    copy.getContext("2d").drawImage(drawn.canvas, 0, 0);
    drawn.canvas.parentNode.append(copy);
  });
}

const plots = SIDES.map((_, side) =>
  dressPlot(makeFigure(side).appendChild(document.createElement("div")), side, "cloud", "cloud with keypoints in three dimensions"));
offer("skeleton", every.some((shape) => shape.edges !== null));
offer("radius", every.some((shape) => shape.coverage !== null));
offer("samples", every.some((shape) => shape.samples !== null));
offer("same", SIDES.length > 1);
const withRadius = every.find((shape) => shape.coverage !== null);
if (withRadius) by("radius-text").textContent = radiusText(withRadius);
Object.entries(DATA.switches ?? {}).forEach(([id, on]) => { by(id).checked = on; });
addEventListener("beforeprint", copyClouds);
addEventListener("afterprint", () => document.querySelectorAll(".printed").forEach((copy) => copy.remove()));
const ready = begin().then(linkCameras).catch(failed);

const ITEM = {name: "image", there: "in it"};
const SLICES = WHAT === "surface";
const WHOLE = {x: 0.5, y: 0.5, zoom: 1};  // the middle of what is seen, in shares of the image, and how large
let seen = WHOLE;  // of all pictures

// Rows of surfaces come as 16-bit steps, part after part; null where a row is not known.
async function surfaceRows({surfaces, size}) {
  if (!surfaces) return null;
  const view = new DataView(await unpack(surfaces.packed)), width = size[0], found = {};
  const count = view.byteLength / 2 / width / surfaces.parts.length;
  surfaces.parts.forEach((part, place) => {
    found[part] = Array.from({length: count}, (_, s) => Array.from({length: width}, (_, x) => {
      const steps = view.getInt16(2 * ((place * count + s) * width + x), true);
      return steps === -32768 ? null : steps * surfaces.step;
    }));
  });
  return found;
}

// What one method says of an image.
async function opened(side, number, chosen) {
  const shape = SIDES[side][number];
  const k = keypointOf(side, number, chosen);
  const [maps, rows] = [await probabilities(shape, shape.maps && shape.cells[0] * shape.cells[1], shape.least), await surfaceRows(shape)];
  return {
    shape, rows, chosen: k, title: mapTitle(shape, k), image: shape.image || DATA.shapes[number].image,
    values: maps && by("layer").checked ? (k < 0 ? largest(maps) : maps[k]) : null,
  };
}

function element(parent, kind, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  if (text) made.textContent = text;
  return parent.appendChild(made);
}

// A map as a picture of a pixel a cell; where little is probable the image shows through.
function layerUri({cells: [columns, rows]}, values, peak) {
  const canvas = document.createElement("canvas");
  canvas.width = columns; canvas.height = rows;
  const pen = canvas.getContext("2d"), pixels = pen.createImageData(columns, rows), log = by("log").checked;
  values.forEach((value, i) => {
    const place = log ? 1 + Math.log10(Math.max(value / peak, 1e-30)) / 3 : value / peak;
    const inside = Math.min(Math.max(place, 0), 1), color = DATA.scale[Math.round(255 * inside)];
    [1, 3, 5].forEach((at, channel) => { pixels.data[4 * i + channel] = parseInt(color.slice(at, at + 2), 16); });
    pixels.data[4 * i + 3] = 255 * DATA.cover.most * Math.min(inside / DATA.cover.from, 1);
  });
  pen.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

// What is seen of an image and of the maps beyond its edges, in pixels of the image.
function viewBox({edges: [left, top, right, bottom]}) {
  const [w, h] = [(right - left) / seen.zoom, (bottom - top) / seen.zoom];
  return [left + seen.x * (right - left) - w / 2, top + seen.y * (bottom - top) - h / 2, w, h];
}

function paint(svg, view, peak) {
  const {shape, values, image} = view, [width, height] = shape.size;
  const box = viewBox(shape), ratio = box[2] / (shape.stretch * box[3]);
  svg.replaceChildren();
  svg.setAttribute("viewBox", box.join(" "));
  svg.setAttribute("preserveAspectRatio", "none");
  svg.style.aspectRatio = ratio;
  svg.style.maxWidth = "calc(76vh * " + ratio + ")";  // the most that a picture takes of the window's height
  const unit = {x: box[2] / (svg.clientWidth || 600), y: box[3] / (svg.clientHeight || 600)};  // pixels of the image in one of the screen
  const under = element(svg, "image", {href: image, x: -0.5, y: -0.5, width, height, preserveAspectRatio: "none"});
  if (12 * unit.x < 1) under.style.imageRendering = "pixelated";
  if (values) {
    under.style.filter = "grayscale(1)";
    under.style.opacity = DATA.cover.contrast;
    const [columns, rows] = shape.cells;
    const layer = element(svg, "image", {href: layerUri(shape, values, peak), x: -0.5, y: -0.5, width: columns, height: rows,
      preserveAspectRatio: "none", transform: "matrix(" + shape.placed.join(" ") + ")"});
    layer.style.imageRendering = "pixelated";
  }
  (SLICES ? paintSurfaces : paintKeypoints)(svg, view, unit);
}

function paintKeypoints(svg, {shape, chosen}, unit) {
  const shown = shape.keypoints.filter((keypoint) => keypoint.seen);
  const rows = chosen < 0 ? shown : shown.filter((keypoint) => keypoint === shape.keypoints[chosen]);
  const radius = Math.max(2.5, Math.min(7, svg.clientWidth / (56 + 1.5 * shown.length)));  // on the screen
  if (by("ellipsoids").checked) {
    rows.filter(({ellipse}) => ellipse).forEach(({ellipse: [rx, ry, angle], position: [x, y], color}) => {
      const place = {cx: x, cy: y, rx, ry, transform: "rotate(" + [angle, x, y].join(" ") + ")", class: "mark"};
      element(svg, "ellipse", {...place, fill: "none", stroke: "#fff", "stroke-opacity": rows.length > 24 ? 0 : 0.6, "stroke-width": 3});
      element(svg, "ellipse", {...place, fill: color, "fill-opacity": rows.length > 24 ? 0 : 0.16, stroke: color, "stroke-width": 1.5});
    });
  }
  if (by("truth").checked) {
    const known = rows.filter(({truth}) => truth);
    [["#fff", 4.5], [DATA.truth, 2]].forEach(([stroke, width]) => known.forEach(({position, truth}) => {
      element(svg, "line", {x1: position[0], y1: position[1], x2: truth[0], y2: truth[1], stroke, "stroke-width": width, class: "mark"});
    }));
    known.forEach((keypoint) => disc(svg, keypoint.truth, 0.7 * radius, DATA.truth, unit, told(keypoint, DATA.truthName + " of ")));
  }
  shown.forEach((keypoint) => {
    const size = rows.includes(keypoint) ? radius : 0.6 * radius;
    disc(svg, keypoint.position, size, keypoint.color, unit, told(keypoint, ""));
    if (rows.includes(keypoint) && (by("names").checked || chosen >= 0)) tag(svg, keypoint.name, keypoint.position, radius, unit);
  });
}

function told({name, confidence, error, position}, what) {
  return [what + name, confidence === null ? "annotated" : "confidence " + short(confidence),
    ...(error === null ? [] : ["error " + short(error) + " px"]), position.map((x) => short(x)).join(", ")].join("\n");
}

function disc(svg, [x, y], radius, fill, unit, text) {
  const made = element(svg, "ellipse", {cx: x, cy: y, rx: radius * unit.x, ry: radius * unit.y, fill, stroke: "#fff",
    "stroke-width": 1.2, class: "mark"});
  element(made, "title", {}, text);
}

// A name at the right of a place, or at its left near the right edge.
function tag(svg, name, [x, y], radius, unit) {
  const box = svg.viewBox.baseVal, left = x > box.x + 0.8 * box.width;
  const away = (radius + 3) * (left ? -1 : 1);
  const text = element(svg, "text", {transform: "translate(" + x + " " + y + ") scale(" + unit.x + " " + unit.y + ")",
    x: away, y: 4, "font-size": 12, "text-anchor": left ? "end" : "start", fill: "#1c1c22", stroke: "#fff",
    "stroke-width": 3, "stroke-linejoin": "round", "paint-order": "stroke"});
  text.textContent = name;
}

function paintSurfaces(svg, {shape, rows, chosen}, unit) {
  const {std, truth} = rows;
  const path = (row) => row.map((y, x) => y === null ? "" : (x && row[x - 1] !== null ? "L" : "M") + x + " " + short(y, 6)).join("");
  const look = {fill: "none", class: "mark", "stroke-linejoin": "round"};
  if (truth && by("truth").checked) truth.forEach((row) => {
    element(svg, "path", {...look, d: path(row), stroke: "#fff", "stroke-opacity": 0.7, "stroke-width": 3});
    element(svg, "path", {...look, d: path(row), stroke: DATA.truth, "stroke-width": 1.2, "stroke-dasharray": "5 3"});
  });
  shape.keypoints.forEach((surface, s) => {
    if (!surface.seen) return;
    const faint = chosen >= 0 && chosen !== s, row = rows.rows[s];
    if (std && by("ellipsoids").checked && !faint) {
      const edge = (sign) => row.map((y, x) => y === null || std[s][x] === null ? null : y + sign * std[s][x]);
      const forth = path(edge(-1)), back = edge(1).map((y, x) => [x, y]).filter(([, y]) => y !== null).reverse();
      const d = forth + back.map(([x, y]) => "L" + x + " " + short(y, 6)).join("") + "Z";
      element(svg, "path", {d, fill: surface.color, "fill-opacity": 0.3});
    }
    const line = element(svg, "path", {...look, d: path(row), stroke: surface.color, "stroke-width": faint ? 1 : 2});
    element(line, "title", {}, surface.name + (surface.error === null ? "" : "\nerror " + short(surface.error) + " px"));
    const end = row.length - 1 - [...row].reverse().findIndex((y) => y !== null);
    if (by("names").checked && !faint) tag(svg, surface.name, [end, row[end]], 0, unit);
  });
}

// What the colours mean, below a picture.
function fillScale(place, view, peak) {
  place.hidden = !view.values;
  if (!view.values) return;
  const log = by("log").checked;
  const ticks = log ? [peak / 1000, peak / 100, peak / 10, peak] : [0, peak / 2, peak];
  const [title, bar, numbers] = place.children;
  title.textContent = view.title + (log ? ", log scale" : "");
  bar.style.background = "linear-gradient(to right, " + DATA.scale.filter((_, i) => i % 15 === 0).join(", ") + ")";
  numbers.replaceChildren(...ticks.map((tick) => {
    const text = document.createElement("span");
    text.textContent = short(tick, 2);
    return text;
  }));
}

const TABLE = {
  what: WHAT, all: SLICES ? "all" : "largest of all", hint: SLICES ? "show this surface" : "show this map",
  fields: (some) => ["confidence", "error"].filter(some),
  head: (view, field) => field === "error" ? "error (px)" : SLICES ? "mean σ (px)" : "confidence",
  text: (keypoint, field) => field === "confidence" && !keypoint.seen ? "absent" : keypoint[field] === null ? "" : keypoint[field].toFixed(2),
};

function paintView(view, side, peak) {
  paint(plots[side], view, peak);
  fillScale(plots[side].parentNode.querySelector(".scale"), view, peak);
}

// All pictures show the same part; never beyond the edges.
function look(next) {
  const zoom = Math.min(Math.max(next.zoom, 1), 64), edge = 0.5 / zoom;
  seen = {zoom, x: Math.min(Math.max(next.x, edge), 1 - edge), y: Math.min(Math.max(next.y, edge), 1 - edge)};
  start();
}

// Zoom so that the place under the pointer, in shares of the picture, stays there.
function zoomAt(factor, [px, py] = [0.5, 0.5]) {
  const zoom = Math.min(Math.max(seen.zoom * factor, 1), 64);
  const at = {x: seen.x + (px - 0.5) / seen.zoom, y: seen.y + (py - 0.5) / seen.zoom};
  look({zoom, x: at.x - (px - 0.5) / zoom, y: at.y - (py - 0.5) / zoom});
}

const shift = (x, y) => look({...seen, x: seen.x + x / seen.zoom, y: seen.y + y / seen.zoom});
const KEYS = {
  ArrowLeft: () => shift(-0.1, 0), ArrowRight: () => shift(0.1, 0), ArrowUp: () => shift(0, -0.1), ArrowDown: () => shift(0, 0.1),
  "+": () => zoomAt(1.25), "-": () => zoomAt(0.8), "0": () => look(WHOLE), n: () => move(1), p: () => move(-1),
};

// Drag with one pointer, pinch with two, turn the wheel; a wheel that cannot zoom out further scrolls the page.
function listen(svg) {
  const held = new Map();
  const share = ({clientX, clientY}) => {
    const box = svg.getBoundingClientRect();
    return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  };
  svg.addEventListener("wheel", (event) => {
    if (event.deltaY > 0 && seen.zoom <= 1) return;
    event.preventDefault();
    zoomAt(Math.exp(-event.deltaY / 400), share(event));
  }, {passive: false});
  svg.onpointerdown = (event) => { held.set(event.pointerId, share(event)); svg.setPointerCapture(event.pointerId); };
  svg.onpointerup = svg.onpointercancel = (event) => held.delete(event.pointerId);
  svg.onpointermove = (event) => {
    if (!held.has(event.pointerId)) return;
    const [before, now] = [held.get(event.pointerId), share(event)];
    const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
    held.set(event.pointerId, now);
    if (!other) { shift(before[0] - now[0], before[1] - now[1]); return; }
    const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]);
    if (apart(before) > 0) zoomAt(apart(now) / apart(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
  };
}

function makePlot(side) {
  const figure = makeFigure(side);
  const svg = dressPlot(element(figure, "svg"), side, "picture", "image with " + WHAT + "s");
  listen(svg);
  const scale = figure.appendChild(document.createElement("div"));
  scale.className = "scale";
  ["title", "bar", "ticks"].forEach((name) => { scale.appendChild(document.createElement("div")).className = name; });
  return svg;
}

const plots = SIDES.map((_, side) => makePlot(side));
const mapped = every.some((shape) => shape.maps !== null);
offer("layer", mapped);
offer("log", mapped);
offer("same", mapped && SIDES.length > 1);
offer("ellipsoids", every.some((shape) => shape.keypoints.some(({ellipse}) => ellipse) || shape.surfaces?.parts.includes("std")));
if (SLICES) {
  by("map-text").textContent = "surface";
  by("ellipsoids-text").textContent = "1 σ bands";
  by("ellipsoids").checked = true;
} else if (!mapped) by("map-text").textContent = "keypoint";
by("names").checked = every[0].keypoints.length <= 24;
addEventListener("resize", start);  // marks keep their size on the screen
const ready = begin().catch(failed);

"use strict";
// What the pages of clouds and of images share: choosers, order and scores of the items, and the drawing around
// their pictures. A page brings ITEM, TABLE, KEYS, `opened`, `paintView`, and its `plots`; it calls `begin` at its end.
const DATA = JSON.parse(document.getElementById("data").textContent);
const SIDES = DATA.others ? [DATA.shapes, DATA.others] : [DATA.shapes];  // one, or two methods on the same shapes or images
const by = (id) => document.getElementById(id);
const escape = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");  // Plotly reads tags in texts
const short = (number, digits = 4) => Number(number.toPrecision(digits)).toString();
const every = SIDES.flat();
const offer = (id, wanted) => { by("with-" + id).hidden = !wanted; };
const failed = (error) => { by("failed").textContent = "This page could not be drawn: " + error.message; };
const start = () => draw().catch(failed);
const WHAT = DATA.what ?? "keypoint";
let drawn = 0;  // the latest drawing wins over slower earlier ones
let order = DATA.shapes.map((_, number) => number);

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

// Maps come as one byte a place: 0 below the least told, else 1 to 255 in equal ratios from it to the map's peak.
async function probabilities({maps, peaks}, count, least) {
  if (!maps) return null;
  const bytes = new Uint8Array(await unpack(maps));
  return peaks.map((peak, k) => {
    const ratio = Math.log(Math.max(peak / least, 1)) / 254;
    return Float64Array.from(bytes.subarray(k * count, (k + 1) * count),
      (level) => level === 0 ? 0 : peak * Math.exp(ratio * (level - 255)));
  });
}

function largest(maps) {
  const values = new Float64Array(maps[0].length);
  for (const map of maps) for (let i = 0; i < values.length; i++) if (map[i] > values[i]) values[i] = map[i];
  return values;
}

// The chooser counts the first method's keypoints; the second's is that of the same name, if it has one.
function keypointOf(side, number, chosen) {
  if (side === 0 || chosen < 0) return chosen;
  const name = DATA.shapes[number].keypoints[chosen].name;
  return SIDES[side][number].keypoints.findIndex((keypoint) => keypoint.name === name);
}

// An annotation has no probabilities: all of a map lies on one point.
function mapTitle(shape, k) {
  if (shape.annotated) return k < 0 ? "annotated positions" : "annotated position of " + shape.keypoints[k].name;
  return k < 0 ? "largest probability" : "probability of " + shape.keypoints[k].name;
}

async function draw() {
  const mine = ++drawn;
  const number = Number(by("shape").value);
  fillMaps(DATA.shapes[number]);
  const chosen = Number(by("map").value);
  const views = await Promise.all(SIDES.map((_, side) => opened(side, number, chosen)));
  if (mine !== drawn) return;
  const peaks = views.map(({values}) => values === null ? 0 : values.reduce((a, b) => Math.max(a, b), 0) || 1);
  const most = Math.max(...peaks), same = by("same").checked;
  fillSide(views);
  by("told").textContent = sentence(views[0], number);
  await Promise.all(views.map((view, side) => paintView(view, side, same ? most : peaks[side], views)));
}

// What the pictures show, for those who do not see them.
function sentence({shape, values, title}, number) {
  const seen = shape.keypoints.filter((keypoint) => keypoint.seen);
  const score = scoreText(number) && ", " + DATA.scores.name + " " + scoreText(number);
  return shape.name + ", " + ITEM.name + " " + (order.indexOf(number) + 1) + " of " + order.length + ": " + seen.length + " of " +
    shape.keypoints.length + " " + WHAT + "s " + ITEM.there + score + (values === null ? "" : "; coloured by the " + title) + ".";
}

// The place of a picture, headed by its method where there are two.
function makeFigure(side) {
  const figure = by("plots").appendChild(document.createElement("div"));
  figure.className = "side";
  if (SIDES.length > 1) {
    const title = figure.appendChild(document.createElement("h3"));
    title.textContent = DATA.titles[side];
    title.className = side ? "second" : "first";
  }
  return figure;
}

// A picture is moved by keys, and told to those who do not see it.
function dressPlot(plot, side, kind, label) {
  Object.entries({
    id: side ? "plot2" : "plot", class: kind, tabindex: 0, role: "application", "aria-describedby": "told",
    "aria-label": label + (DATA.titles[side] ? ", " + DATA.titles[side] : ""),
  }).forEach(([name, value]) => plot.setAttribute(name, value));
  plot.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  };
  return plot;
}

function fillSide(views) {
  const names = (view) => view.shape.keypoints.map((keypoint) => keypoint.name).join("\n");
  const groups = views.every((view) => names(view) === names(views[0])) ? [views] : views.map((view) => [view]);
  const table = by("keypoints");
  table.replaceChildren(...groups.flatMap((group) => keypointRows(group, views)));
  by("note").textContent = views[0].shape.note;
}

// One table of both methods where they name the same keypoints, else one of each.
function keypointRows(group, views) {
  const child = (parent, kind, text, scope) => {
    const made = parent.appendChild(document.createElement(kind));
    made.textContent = text;
    if (scope) made.scope = scope;
    return made;
  };
  const fields = TABLE.fields((field) => group.some(({shape}) => shape.keypoints.some((keypoint) => keypoint[field] !== null)));
  const of = (view) => views.length > 1 ? DATA.titles[views.indexOf(view)] : "";
  const head = document.createElement("thead"), body = document.createElement("tbody");
  const line = head.insertRow();
  child(line, "th", TABLE.what, "col");
  fields.forEach((field) => group.forEach((view) => {
    const cell = child(line, "th", TABLE.head(view, field), "col");
    if (of(view)) child(cell, "span", of(view), "").className = "interval";
  }));
  group[0].shape.keypoints.forEach((first, k) => {
    const row = body.insertRow(), there = group.some(({shape}) => shape.keypoints[k].seen);
    row.className = (k === group[0].chosen ? "chosen " : "") + (there ? "" : "absent");
    const name = child(row, "th", "", "row");
    const button = child(name, "button", "", "");
    button.className = "plain";
    button.setAttribute("aria-pressed", String(k === group[0].chosen));
    button.title = TABLE.hint;
    const choice = views[0].shape.keypoints.findIndex((keypoint) => keypoint.name === first.name);  // as the chooser counts
    button.disabled = choice < 0;
    button.onclick = () => { by("map").value = k === group[0].chosen ? "-1" : String(choice); start(); };
    const dot = child(button, "span", "", "");
    dot.className = "dot"; dot.style.background = there ? first.color : "#d8d8de";
    dot.after(first.name);
    fields.forEach((field) => group.forEach(({shape}) => child(row, "td", TABLE.text(shape.keypoints[k], field), "")));
  });
  return [head, body];
}

function fillMaps(shape) {
  const select = by("map"), kept = select.value;
  select.replaceChildren(new Option(TABLE.all, "-1"),
    ...shape.keypoints.map((keypoint, k) => new Option(keypoint.name, String(k))));
  select.value = kept;
  if (select.selectedIndex < 0) select.value = "-1";
}

function scoreText(number) {
  const value = DATA.scores ? DATA.scores.values[number] : null;
  if (value === null) return "";
  return DATA.scores.share ? (100 * value).toFixed(1) + " %" : short(value, 3);
}

// From the worst shape to the best; those without a score count as the best.
function badness(number) {
  const value = DATA.scores.values[number];
  return value === null ? -Infinity : DATA.scores.low_is_best ? value : -value;
}

const ORDERS = {
  worst: ["worst first", (a, b) => badness(b) - badness(a)],
  best: ["best first", (a, b) => badness(a) - badness(b)],
  name: ["by name", (a, b) => DATA.shapes[a].name.localeCompare(DATA.shapes[b].name, undefined, {numeric: true})],
};

// The chooser of shapes, in the order that was asked for, with the score of each where there is one.
function fillShapes() {
  order = DATA.shapes.map((_, number) => number);
  if (DATA.scores) order.sort(ORDERS[by("order").value][1]);
  by("shape").replaceChildren(...order.map((number) => {
    const score = scoreText(number);
    return new Option((score && score + " · ") + DATA.shapes[number].name, String(number));
  }));
}

function move(step) {
  const place = order.indexOf(Number(by("shape").value));
  showShape(order[(place + step + order.length) % order.length]);
}

function showShape(number) {
  by("shape").value = String(number);
  start();
}

// Everything is in place: offer what there is to choose, and draw at every choice.
function begin() {
  by("plots").classList.toggle("beside", SIDES.length > 1);
  offer("truth", every.some((shape) => shape.keypoints.some((keypoint) => keypoint.error !== null)));
  offer("order", DATA.scores !== null);
  by("with-dark").hidden = by("with-truth").hidden;
  by("truth-text").textContent = by("dark-text").textContent = DATA.truthName;
  Object.entries(ORDERS).forEach(([value, [text]]) => by("order").add(new Option(text, value)));
  by("order").onchange = () => { fillShapes(); showShape(order[0]); };
  document.querySelectorAll("#controls input, #shape, #map").forEach((control) => { control.onchange = start; });
  by("previous").onclick = () => move(-1);
  by("next").onclick = () => move(1);
  fillShapes();
  fillMaps(DATA.shapes[Number(by("shape").value)]);
  by("map").value = String(DATA.keypoint);
  return draw();
}

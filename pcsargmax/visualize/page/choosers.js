"use strict";
// What the pages of clouds and of images share: choosers, order and scores of the shapes. A page brings `start`.
const DATA = JSON.parse(document.getElementById("data").textContent);
const SIDES = DATA.others ? [DATA.shapes, DATA.others] : [DATA.shapes];  // one, or two methods on the same shapes or images
const by = (id) => document.getElementById(id);
const escape = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");  // Plotly reads tags in texts
const short = (number, digits = 4) => Number(number.toPrecision(digits)).toString();
const every = SIDES.flat();
const offer = (id, wanted) => { by("with-" + id).hidden = !wanted; };
const failed = (error) => { by("failed").textContent = "This page could not be drawn: " + error.message; };
const start = () => draw().catch(failed);
let drawn = 0;  // the latest drawing wins over slower earlier ones
let order = DATA.shapes.map((_, number) => number);

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
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

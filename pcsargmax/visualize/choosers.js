"use strict";
// What the pages of clouds and of images share: choosers, order and scores of the shapes. A page brings `start`.
const DATA = JSON.parse(document.getElementById("data").textContent);
const SIDES = DATA.others ? [DATA.shapes, DATA.others] : [DATA.shapes];  // one, or two methods on the same shapes or images
const by = (id) => document.getElementById(id);
const escape = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");  // Plotly reads tags in texts
const short = (number, digits = 4) => Number(number.toPrecision(digits)).toString();
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

// The curves, the sorting of the tables, and the ways from both to the pictures.
// Plotly reads tags in texts; the templates of what hovers hold tags of ours, and are escaped where they are made.
const CHARTS = JSON.parse(by("charts").textContent,
  (key, value) => typeof value === "string" && key !== "hovertemplate" ? escape(value) : value);
const GRID = {gridcolor: "#e0e0e7", zerolinecolor: "#c4c4cf", linecolor: "#8a8a94", automargin: true, fixedrange: true};

function chartLayout(chart) {
  const {xaxis, yaxis, ...rest} = chart.layout;
  return {
    height: 320, margin: {l: 52, r: 12, t: 8, b: 42}, hovermode: "closest", dragmode: false,
    font: {family: 'system-ui, "DejaVu Sans", sans-serif', size: 13, color: "#1c1c22"},
    legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom"}, paper_bgcolor: "#fff", plot_bgcolor: "#fff",
    showlegend: chart.traces.filter((trace) => trace.name && trace.showlegend !== false && trace.type !== "heatmap").length > 1,
    ...rest, xaxis: {...GRID, ...xaxis}, yaxis: {...GRID, ...yaxis},
  };
}

async function drawCharts() {
  for (const chart of CHARTS) {
    const place = by(chart.id);
    await Plotly.newPlot(place, chart.traces, chartLayout(chart), {displayModeBar: false, responsive: true});
    place.on("plotly_click", ({points: [point]}) => {
      if (Array.isArray(point.customdata) && point.customdata[0] !== null) open3d(point.customdata[0]);
    });
  }
}

// Show a shape in the pictures and go there.
function open3d(number) {
  showShape(number);
  by("shapes").scrollIntoView({behavior: "smooth", block: "start"});
  plots[0].focus({preventScroll: true});
}

// Numbers by size, texts by letters; what has no value comes last, whatever the order.
function sortRows(table, column, descending) {
  const key = (row) => row.cells[column].dataset.sort;
  const numeric = Array.from(table.tBodies[0].rows).every((row) => key(row) === undefined || !isNaN(key(row)));
  const rows = Array.from(table.tBodies[0].rows).sort((a, b) => {
    const [left, right] = [key(a), key(b)];
    if (left === undefined || right === undefined) return (left === undefined) - (right === undefined);
    const step = numeric ? Number(left) - Number(right) : left.localeCompare(right, undefined, {numeric: true});
    return descending ? -step : step;
  });
  table.tBodies[0].append(...rows);
}

document.querySelectorAll("table.sortable").forEach((table) => {
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    head.querySelector("button").onclick = () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortRows(table, column, descending);
    };
  });
});
document.querySelectorAll("button[data-shape]").forEach((button) => {
  button.onclick = () => open3d(Number(button.dataset.shape));
});

// Paper is narrower than most windows.
const resized = (width) => CHARTS.forEach((chart) => Plotly.relayout(by(chart.id), {width, autosize: width === null}));
addEventListener("beforeprint", () => resized(330));
addEventListener("afterprint", () => resized(null));

const charted = drawCharts().catch(failed);
